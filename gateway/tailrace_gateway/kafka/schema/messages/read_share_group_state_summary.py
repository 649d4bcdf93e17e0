"""ReadShareGroupStateSummary: API key 87."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, f, int16, int32, int64, string, uuid


class PartitionData(Struct):
    partition: int = f(int32, "0+")
    leader_epoch: int = f(int32, "0+")


class ReadStateSummaryData(Struct):
    topic_id: bytes = f(uuid, "0+")
    partitions: list[PartitionData] = f(array(PartitionData), "0+")


class ReadShareGroupStateSummaryRequest(Message, api_key=87, versions="0-1", flexible="0+"):
    group_id: str = f(string, "0+")
    topics: list[ReadStateSummaryData] = f(array(ReadStateSummaryData), "0+")


class PartitionResult(Struct):
    partition: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "0+", nullable="0+", default=None)
    state_epoch: int = f(int32, "0+")
    leader_epoch: int = f(int32, "0+")
    start_offset: int = f(int64, "0+")
    delivery_complete_count: int = f(int32, "1+", default=-1, ignorable=True)


class ReadStateSummaryResult(Struct):
    topic_id: bytes = f(uuid, "0+")
    partitions: list[PartitionResult] = f(array(PartitionResult), "0+")


class ReadShareGroupStateSummaryResponse(Message, api_key=87, versions="0-1", flexible="0+"):
    results: list[ReadStateSummaryResult] = f(array(ReadStateSummaryResult), "0+")
