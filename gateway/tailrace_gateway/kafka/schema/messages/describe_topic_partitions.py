"""DescribeTopicPartitions: API key 75."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, boolean, f, int16, int32, string, uuid


class TopicRequest(Struct):
    name: str = f(string, "0+")


class Cursor(Struct):
    topic_name: str = f(string, "0+")
    partition_index: int = f(int32, "0+")


class DescribeTopicPartitionsRequest(Message, api_key=75, versions="0", flexible="0+"):
    topics: list[TopicRequest] = f(array(TopicRequest), "0+")
    response_partition_limit: int = f(int32, "0+", default=2000)
    cursor: Cursor | None = f(Cursor, "0+", nullable="0+", default=None)


class DescribeTopicPartitionsResponsePartition(Struct):
    error_code: int = f(int16, "0+")
    partition_index: int = f(int32, "0+")
    leader_id: int = f(int32, "0+")
    leader_epoch: int = f(int32, "0+", default=-1, ignorable=True)
    replica_nodes: list[int] = f(array(int32), "0+")
    isr_nodes: list[int] = f(array(int32), "0+")
    eligible_leader_replicas: list[int] | None = f(array(int32), "0+", nullable="0+", default=None)
    last_known_elr: list[int] | None = f(array(int32), "0+", nullable="0+", default=None)
    offline_replicas: list[int] = f(array(int32), "0+", ignorable=True)


class DescribeTopicPartitionsResponseTopic(Struct):
    error_code: int = f(int16, "0+")
    name: str | None = f(string, "0+", nullable="0+")
    topic_id: bytes = f(uuid, "0+", ignorable=True)
    is_internal: bool = f(boolean, "0+", ignorable=True)
    partitions: list[DescribeTopicPartitionsResponsePartition] = f(
        array(DescribeTopicPartitionsResponsePartition), "0+"
    )
    topic_authorized_operations: int = f(int32, "0+", default=-0x8000_0000)


class DescribeTopicPartitionsResponse(Message, api_key=75, versions="0", flexible="0+"):
    throttle_time_ms: int = f(int32, "0+", ignorable=True)
    topics: list[DescribeTopicPartitionsResponseTopic] = f(array(DescribeTopicPartitionsResponseTopic), "0+")
    next_cursor: Cursor | None = f(Cursor, "0+", nullable="0+", default=None)
