"""DeleteShareGroupState: API key 86."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, f, int16, int32, string, uuid


class PartitionData(Struct):
    partition: int = f(int32, "0+")


class DeleteStateData(Struct):
    topic_id: bytes = f(uuid, "0+")
    partitions: list[PartitionData] = f(array(PartitionData), "0+")


class DeleteShareGroupStateRequest(Message, api_key=86, versions="0", flexible="0+"):
    group_id: str = f(string, "0+")
    topics: list[DeleteStateData] = f(array(DeleteStateData), "0+")


class PartitionResult(Struct):
    partition: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "0+", nullable="0+", default=None)


class DeleteStateResult(Struct):
    topic_id: bytes = f(uuid, "0+")
    partitions: list[PartitionResult] = f(array(PartitionResult), "0+")


class DeleteShareGroupStateResponse(Message, api_key=86, versions="0", flexible="0+"):
    results: list[DeleteStateResult] = f(array(DeleteStateResult), "0+")
