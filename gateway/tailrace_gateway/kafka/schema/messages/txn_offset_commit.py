"""TxnOffsetCommit: API key 28."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, f, int16, int32, int64, string


class TxnOffsetCommitRequestPartition(Struct):
    partition_index: int = f(int32, "0+")
    committed_offset: int = f(int64, "0+")
    committed_leader_epoch: int = f(int32, "2+", default=-1, ignorable=True)
    committed_metadata: str | None = f(string, "0+", nullable="0+")


class TxnOffsetCommitRequestTopic(Struct):
    name: str = f(string, "0+")
    partitions: list[TxnOffsetCommitRequestPartition] = f(array(TxnOffsetCommitRequestPartition), "0+")


class TxnOffsetCommitRequest(Message, api_key=28, versions="0-5", flexible="3+"):
    transactional_id: str = f(string, "0+")
    group_id: str = f(string, "0+")
    producer_id: int = f(int64, "0+")
    producer_epoch: int = f(int16, "0+")
    generation_id: int = f(int32, "3+", default=-1)
    member_id: str = f(string, "3+")
    group_instance_id: str | None = f(string, "3+", nullable="3+", default=None)
    topics: list[TxnOffsetCommitRequestTopic] = f(array(TxnOffsetCommitRequestTopic), "0+")


class TxnOffsetCommitResponsePartition(Struct):
    partition_index: int = f(int32, "0+")
    error_code: int = f(int16, "0+")


class TxnOffsetCommitResponseTopic(Struct):
    name: str = f(string, "0+")
    partitions: list[TxnOffsetCommitResponsePartition] = f(array(TxnOffsetCommitResponsePartition), "0+")


class TxnOffsetCommitResponse(Message, api_key=28, versions="0-5", flexible="3+"):
    throttle_time_ms: int = f(int32, "0+")
    topics: list[TxnOffsetCommitResponseTopic] = f(array(TxnOffsetCommitResponseTopic), "0+")
