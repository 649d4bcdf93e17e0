"""DescribeShareGroupOffsets: API key 90."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, f, int16, int32, int64, string, uuid


class DescribeShareGroupOffsetsRequestTopic(Struct):
    topic_name: str = f(string, "0+")
    partitions: list[int] = f(array(int32), "0+")


class DescribeShareGroupOffsetsRequestGroup(Struct):
    group_id: str = f(string, "0+")
    topics: list[DescribeShareGroupOffsetsRequestTopic] | None = f(
        array(DescribeShareGroupOffsetsRequestTopic), "0+", nullable="0+"
    )


class DescribeShareGroupOffsetsRequest(Message, api_key=90, versions="0-1", flexible="0+"):
    groups: list[DescribeShareGroupOffsetsRequestGroup] = f(array(DescribeShareGroupOffsetsRequestGroup), "0+")


class DescribeShareGroupOffsetsResponsePartition(Struct):
    partition_index: int = f(int32, "0+")
    start_offset: int = f(int64, "0+")
    leader_epoch: int = f(int32, "0+")
    lag: int = f(int64, "1+", default=-1, ignorable=True)
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "0+", nullable="0+", default=None)


class DescribeShareGroupOffsetsResponseTopic(Struct):
    topic_name: str = f(string, "0+")
    topic_id: bytes = f(uuid, "0+")
    partitions: list[DescribeShareGroupOffsetsResponsePartition] = f(
        array(DescribeShareGroupOffsetsResponsePartition), "0+"
    )


class DescribeShareGroupOffsetsResponseGroup(Struct):
    group_id: str = f(string, "0+")
    topics: list[DescribeShareGroupOffsetsResponseTopic] = f(array(DescribeShareGroupOffsetsResponseTopic), "0+")
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "0+", nullable="0+", default=None)


class DescribeShareGroupOffsetsResponse(Message, api_key=90, versions="0-1", flexible="0+"):
    throttle_time_ms: int = f(int32, "0+")
    groups: list[DescribeShareGroupOffsetsResponseGroup] = f(array(DescribeShareGroupOffsetsResponseGroup), "0+")
