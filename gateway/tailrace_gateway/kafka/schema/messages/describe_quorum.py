"""DescribeQuorum: API key 55."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, f, int16, int32, int64, string, uint16, uuid


class RequestPartitionData(Struct):
    partition_index: int = f(int32, "0+")


class RequestTopicData(Struct):
    topic_name: str = f(string, "0+")
    partitions: list[RequestPartitionData] = f(array(RequestPartitionData), "0+")


class DescribeQuorumRequest(Message, api_key=55, versions="0-2", flexible="0+"):
    topics: list[RequestTopicData] = f(array(RequestTopicData), "0+")


class ReplicaState(Struct):
    replica_id: int = f(int32, "0+")
    replica_directory_id: bytes = f(uuid, "2+")
    log_end_offset: int = f(int64, "0+")
    last_fetch_timestamp: int = f(int64, "1+", default=-1, ignorable=True)
    last_caught_up_timestamp: int = f(int64, "1+", default=-1, ignorable=True)


class ResponsePartitionData(Struct):
    partition_index: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "2+", nullable="2+", ignorable=True)
    leader_id: int = f(int32, "0+")
    leader_epoch: int = f(int32, "0+")
    high_watermark: int = f(int64, "0+")
    current_voters: list[ReplicaState] = f(array(ReplicaState), "0+")
    observers: list[ReplicaState] = f(array(ReplicaState), "0+")


class ResponseTopicData(Struct):
    topic_name: str = f(string, "0+")
    partitions: list[ResponsePartitionData] = f(array(ResponsePartitionData), "0+")


class Listener(Struct):
    name: str = f(string, "2+")
    host: str = f(string, "2+")
    port: int = f(uint16, "2+")


class Node(Struct):
    node_id: int = f(int32, "2+")
    listeners: list[Listener] = f(array(Listener), "2+")


class DescribeQuorumResponse(Message, api_key=55, versions="0-2", flexible="0+"):
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "2+", nullable="2+", ignorable=True)
    topics: list[ResponseTopicData] = f(array(ResponseTopicData), "0+")
    nodes: list[Node] = f(array(Node), "2+")
