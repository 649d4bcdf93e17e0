"""OffsetForLeaderEpoch: API key 23."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, f, int16, int32, int64, string


class OffsetForLeaderPartition(Struct):
    partition: int = f(int32, "0+")
    current_leader_epoch: int = f(int32, "2+", default=-1, ignorable=True)
    leader_epoch: int = f(int32, "0+")


class OffsetForLeaderTopic(Struct):
    topic: str = f(string, "0+")
    partitions: list[OffsetForLeaderPartition] = f(array(OffsetForLeaderPartition), "0+")


class OffsetForLeaderEpochRequest(Message, api_key=23, versions="2-4", flexible="4+"):
    replica_id: int = f(int32, "3+", default=-2, ignorable=True)
    topics: list[OffsetForLeaderTopic] = f(array(OffsetForLeaderTopic), "0+")


class EpochEndOffset(Struct):
    error_code: int = f(int16, "0+")
    partition: int = f(int32, "0+")
    leader_epoch: int = f(int32, "1+", default=-1, ignorable=True)
    end_offset: int = f(int64, "0+", default=-1)


class OffsetForLeaderTopicResult(Struct):
    topic: str = f(string, "0+")
    partitions: list[EpochEndOffset] = f(array(EpochEndOffset), "0+")


class OffsetForLeaderEpochResponse(Message, api_key=23, versions="2-4", flexible="4+"):
    throttle_time_ms: int = f(int32, "2+", ignorable=True)
    topics: list[OffsetForLeaderTopicResult] = f(array(OffsetForLeaderTopicResult), "0+")
