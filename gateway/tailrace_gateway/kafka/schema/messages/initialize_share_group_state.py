"""InitializeShareGroupState: API key 83."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, f, int16, int32, int64, string, uuid


class PartitionData(Struct):
    partition: int = f(int32, "0+")
    state_epoch: int = f(int32, "0+")
    start_offset: int = f(int64, "0+")


class InitializeStateData(Struct):
    topic_id: bytes = f(uuid, "0+")
    partitions: list[PartitionData] = f(array(PartitionData), "0+")


class InitializeShareGroupStateRequest(Message, api_key=83, versions="0", flexible="0+"):
    group_id: str = f(string, "0+")
    topics: list[InitializeStateData] = f(array(InitializeStateData), "0+")


class PartitionResult(Struct):
    partition: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "0+", nullable="0+", default=None)


class InitializeStateResult(Struct):
    topic_id: bytes = f(uuid, "0+")
    partitions: list[PartitionResult] = f(array(PartitionResult), "0+")


class InitializeShareGroupStateResponse(Message, api_key=83, versions="0", flexible="0+"):
    results: list[InitializeStateResult] = f(array(InitializeStateResult), "0+")
