"""Metadata: API key 3."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, boolean, f, int16, int32, string, uuid


class MetadataRequestTopic(Struct):
    topic_id: bytes = f(uuid, "10+", ignorable=True)
    name: str | None = f(string, "0+", nullable="10+")


class MetadataRequest(Message, api_key=3, versions="0-13", flexible="9+"):
    topics: list[MetadataRequestTopic] | None = f(array(MetadataRequestTopic), "0+", nullable="1+")
    allow_auto_topic_creation: bool = f(boolean, "4+", default=True)
    include_cluster_authorized_operations: bool = f(boolean, "8-10")
    include_topic_authorized_operations: bool = f(boolean, "8+")


class MetadataResponseBroker(Struct):
    node_id: int = f(int32, "0+")
    host: str = f(string, "0+")
    port: int = f(int32, "0+")
    rack: str | None = f(string, "1+", nullable="1+", default=None, ignorable=True)


class MetadataResponsePartition(Struct):
    error_code: int = f(int16, "0+")
    partition_index: int = f(int32, "0+")
    leader_id: int = f(int32, "0+")
    leader_epoch: int = f(int32, "7+", default=-1, ignorable=True)
    replica_nodes: list[int] = f(array(int32), "0+")
    isr_nodes: list[int] = f(array(int32), "0+")
    offline_replicas: list[int] = f(array(int32), "5+", ignorable=True)


class MetadataResponseTopic(Struct):
    error_code: int = f(int16, "0+")
    name: str | None = f(string, "0+", nullable="12+")
    topic_id: bytes = f(uuid, "10+", ignorable=True)
    is_internal: bool = f(boolean, "1+", ignorable=True)
    partitions: list[MetadataResponsePartition] = f(array(MetadataResponsePartition), "0+")
    topic_authorized_operations: int = f(int32, "8+", default=-0x8000_0000)


class MetadataResponse(Message, api_key=3, versions="0-13", flexible="9+"):
    throttle_time_ms: int = f(int32, "3+", ignorable=True)
    brokers: list[MetadataResponseBroker] = f(array(MetadataResponseBroker), "0+")
    cluster_id: str | None = f(string, "2+", nullable="2+", default=None, ignorable=True)
    controller_id: int = f(int32, "1+", default=-1, ignorable=True)
    topics: list[MetadataResponseTopic] = f(array(MetadataResponseTopic), "0+")
    cluster_authorized_operations: int = f(int32, "8-10", default=-0x8000_0000)
    error_code: int = f(int16, "13+", ignorable=True)
