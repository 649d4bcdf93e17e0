"""OffsetCommit: API key 8."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, f, int16, int32, int64, string, uuid


class OffsetCommitRequestPartition(Struct):
    partition_index: int = f(int32, "0+")
    committed_offset: int = f(int64, "0+")
    committed_leader_epoch: int = f(int32, "6+", default=-1, ignorable=True)
    committed_metadata: str | None = f(string, "0+", nullable="0+")


class OffsetCommitRequestTopic(Struct):
    name: str = f(string, "0-9", ignorable=True)
    topic_id: bytes = f(uuid, "10+", ignorable=True)
    partitions: list[OffsetCommitRequestPartition] = f(array(OffsetCommitRequestPartition), "0+")


class OffsetCommitRequest(Message, api_key=8, versions="2-10", flexible="8+"):
    group_id: str = f(string, "0+")
    generation_id_or_member_epoch: int = f(int32, "1+", default=-1, ignorable=True)
    member_id: str = f(string, "1+", ignorable=True)
    group_instance_id: str | None = f(string, "7+", nullable="7+", default=None)
    retention_time_ms: int = f(int64, "2-4", default=-1, ignorable=True)
    topics: list[OffsetCommitRequestTopic] = f(array(OffsetCommitRequestTopic), "0+")


class OffsetCommitResponsePartition(Struct):
    partition_index: int = f(int32, "0+")
    error_code: int = f(int16, "0+")


class OffsetCommitResponseTopic(Struct):
    name: str = f(string, "0-9", ignorable=True)
    topic_id: bytes = f(uuid, "10+", ignorable=True)
    partitions: list[OffsetCommitResponsePartition] = f(array(OffsetCommitResponsePartition), "0+")


class OffsetCommitResponse(Message, api_key=8, versions="2-10", flexible="8+"):
    throttle_time_ms: int = f(int32, "3+", ignorable=True)
    topics: list[OffsetCommitResponseTopic] = f(array(OffsetCommitResponseTopic), "0+")
