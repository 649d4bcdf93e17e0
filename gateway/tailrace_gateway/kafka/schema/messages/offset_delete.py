"""OffsetDelete: API key 47."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, f, int16, int32, string


class OffsetDeleteRequestPartition(Struct):
    partition_index: int = f(int32, "0+")


class OffsetDeleteRequestTopic(Struct):
    name: str = f(string, "0+")
    partitions: list[OffsetDeleteRequestPartition] = f(array(OffsetDeleteRequestPartition), "0+")


class OffsetDeleteRequest(Message, api_key=47, versions="0", flexible="none"):
    group_id: str = f(string, "0+")
    topics: list[OffsetDeleteRequestTopic] = f(array(OffsetDeleteRequestTopic), "0+")


class OffsetDeleteResponsePartition(Struct):
    partition_index: int = f(int32, "0+")
    error_code: int = f(int16, "0+")


class OffsetDeleteResponseTopic(Struct):
    name: str = f(string, "0+")
    partitions: list[OffsetDeleteResponsePartition] = f(array(OffsetDeleteResponsePartition), "0+")


class OffsetDeleteResponse(Message, api_key=47, versions="0", flexible="none"):
    error_code: int = f(int16, "0+")
    throttle_time_ms: int = f(int32, "0+", ignorable=True)
    topics: list[OffsetDeleteResponseTopic] = f(array(OffsetDeleteResponseTopic), "0+")
