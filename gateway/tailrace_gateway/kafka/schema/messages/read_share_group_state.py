"""ReadShareGroupState: API key 84."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, f, int8, int16, int32, int64, string, uuid


class PartitionData(Struct):
    partition: int = f(int32, "0+")
    leader_epoch: int = f(int32, "0+")


class ReadStateData(Struct):
    topic_id: bytes = f(uuid, "0+")
    partitions: list[PartitionData] = f(array(PartitionData), "0+")


class ReadShareGroupStateRequest(Message, api_key=84, versions="0", flexible="0+"):
    group_id: str = f(string, "0+")
    topics: list[ReadStateData] = f(array(ReadStateData), "0+")


class StateBatch(Struct):
    first_offset: int = f(int64, "0+")
    last_offset: int = f(int64, "0+")
    delivery_state: int = f(int8, "0+")
    delivery_count: int = f(int16, "0+")


class PartitionResult(Struct):
    partition: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "0+", nullable="0+", default=None)
    state_epoch: int = f(int32, "0+")
    start_offset: int = f(int64, "0+")
    state_batches: list[StateBatch] = f(array(StateBatch), "0+")


class ReadStateResult(Struct):
    topic_id: bytes = f(uuid, "0+")
    partitions: list[PartitionResult] = f(array(PartitionResult), "0+")


class ReadShareGroupStateResponse(Message, api_key=84, versions="0", flexible="0+"):
    results: list[ReadStateResult] = f(array(ReadStateResult), "0+")
