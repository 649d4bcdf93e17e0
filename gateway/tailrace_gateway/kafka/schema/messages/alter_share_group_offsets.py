"""AlterShareGroupOffsets: API key 91."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, f, int16, int32, int64, string, uuid


class AlterShareGroupOffsetsRequestPartition(Struct):
    partition_index: int = f(int32, "0+")
    start_offset: int = f(int64, "0+")


class AlterShareGroupOffsetsRequestTopic(Struct):
    topic_name: str = f(string, "0+")
    partitions: list[AlterShareGroupOffsetsRequestPartition] = f(array(AlterShareGroupOffsetsRequestPartition), "0+")


class AlterShareGroupOffsetsRequest(Message, api_key=91, versions="0", flexible="0+"):
    group_id: str = f(string, "0+")
    topics: list[AlterShareGroupOffsetsRequestTopic] = f(array(AlterShareGroupOffsetsRequestTopic), "0+")


class AlterShareGroupOffsetsResponsePartition(Struct):
    partition_index: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "0+", nullable="0+", default=None)


class AlterShareGroupOffsetsResponseTopic(Struct):
    topic_name: str = f(string, "0+")
    topic_id: bytes = f(uuid, "0+")
    partitions: list[AlterShareGroupOffsetsResponsePartition] = f(array(AlterShareGroupOffsetsResponsePartition), "0+")


class AlterShareGroupOffsetsResponse(Message, api_key=91, versions="0", flexible="0+"):
    throttle_time_ms: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "0+", nullable="0+", default=None)
    responses: list[AlterShareGroupOffsetsResponseTopic] = f(array(AlterShareGroupOffsetsResponseTopic), "0+")
