"""WriteShareGroupState: API key 85."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, f, int8, int16, int32, int64, string, uuid


class StateBatch(Struct):
    first_offset: int = f(int64, "0+")
    last_offset: int = f(int64, "0+")
    delivery_state: int = f(int8, "0+")
    delivery_count: int = f(int16, "0+")


class PartitionData(Struct):
    partition: int = f(int32, "0+")
    state_epoch: int = f(int32, "0+")
    leader_epoch: int = f(int32, "0+")
    start_offset: int = f(int64, "0+")
    delivery_complete_count: int = f(int32, "1+", default=-1, ignorable=True)
    state_batches: list[StateBatch] = f(array(StateBatch), "0+")


class WriteStateData(Struct):
    topic_id: bytes = f(uuid, "0+")
    partitions: list[PartitionData] = f(array(PartitionData), "0+")


class WriteShareGroupStateRequest(Message, api_key=85, versions="0-1", flexible="0+"):
    group_id: str = f(string, "0+")
    topics: list[WriteStateData] = f(array(WriteStateData), "0+")


class PartitionResult(Struct):
    partition: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "0+", nullable="0+", default=None)


class WriteStateResult(Struct):
    topic_id: bytes = f(uuid, "0+")
    partitions: list[PartitionResult] = f(array(PartitionResult), "0+")


class WriteShareGroupStateResponse(Message, api_key=85, versions="0-1", flexible="0+"):
    results: list[WriteStateResult] = f(array(WriteStateResult), "0+")
