"""ListOffsets: API key 2."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, f, int8, int16, int32, int64, string


class ListOffsetsPartition(Struct):
    partition_index: int = f(int32, "0+")
    current_leader_epoch: int = f(int32, "4+", default=-1, ignorable=True)
    timestamp: int = f(int64, "0+")


class ListOffsetsTopic(Struct):
    name: str = f(string, "0+")
    partitions: list[ListOffsetsPartition] = f(array(ListOffsetsPartition), "0+")


class ListOffsetsRequest(Message, api_key=2, versions="1-11", flexible="6+"):
    replica_id: int = f(int32, "0+")
    isolation_level: int = f(int8, "2+")
    topics: list[ListOffsetsTopic] = f(array(ListOffsetsTopic), "0+")
    timeout_ms: int = f(int32, "10+", ignorable=True)


class ListOffsetsPartitionResponse(Struct):
    partition_index: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
    timestamp: int = f(int64, "1+", default=-1)
    offset: int = f(int64, "1+", default=-1)
    leader_epoch: int = f(int32, "4+", default=-1)


class ListOffsetsTopicResponse(Struct):
    name: str = f(string, "0+")
    partitions: list[ListOffsetsPartitionResponse] = f(array(ListOffsetsPartitionResponse), "0+")


class ListOffsetsResponse(Message, api_key=2, versions="1-11", flexible="6+"):
    throttle_time_ms: int = f(int32, "2+", ignorable=True)
    topics: list[ListOffsetsTopicResponse] = f(array(ListOffsetsTopicResponse), "0+")
