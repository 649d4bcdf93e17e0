"""CreatePartitions: API key 37."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, boolean, f, int16, int32, string


class CreatePartitionsAssignment(Struct):
    broker_ids: list[int] = f(array(int32), "0+")


class CreatePartitionsTopic(Struct):
    name: str = f(string, "0+")
    count: int = f(int32, "0+")
    assignments: list[CreatePartitionsAssignment] | None = f(array(CreatePartitionsAssignment), "0+", nullable="0+")


class CreatePartitionsRequest(Message, api_key=37, versions="0-3", flexible="2+"):
    topics: list[CreatePartitionsTopic] = f(array(CreatePartitionsTopic), "0+")
    timeout_ms: int = f(int32, "0+")
    validate_only: bool = f(boolean, "0+")


class CreatePartitionsTopicResult(Struct):
    name: str = f(string, "0+")
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "0+", nullable="0+", default=None)


class CreatePartitionsResponse(Message, api_key=37, versions="0-3", flexible="2+"):
    throttle_time_ms: int = f(int32, "0+")
    results: list[CreatePartitionsTopicResult] = f(array(CreatePartitionsTopicResult), "0+")
