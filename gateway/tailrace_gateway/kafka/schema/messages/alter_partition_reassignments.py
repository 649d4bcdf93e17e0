"""AlterPartitionReassignments: API key 45."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, boolean, f, int16, int32, string


class ReassignablePartition(Struct):
    partition_index: int = f(int32, "0+")
    replicas: list[int] | None = f(array(int32), "0+", nullable="0+", default=None)


class ReassignableTopic(Struct):
    name: str = f(string, "0+")
    partitions: list[ReassignablePartition] = f(array(ReassignablePartition), "0+")


class AlterPartitionReassignmentsRequest(Message, api_key=45, versions="0-1", flexible="0+"):
    timeout_ms: int = f(int32, "0+", default=60000)
    allow_replication_factor_change: bool = f(boolean, "1+", default=True)
    topics: list[ReassignableTopic] = f(array(ReassignableTopic), "0+")


class ReassignablePartitionResponse(Struct):
    partition_index: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "0+", nullable="0+")


class ReassignableTopicResponse(Struct):
    name: str = f(string, "0+")
    partitions: list[ReassignablePartitionResponse] = f(array(ReassignablePartitionResponse), "0+")


class AlterPartitionReassignmentsResponse(Message, api_key=45, versions="0-1", flexible="0+"):
    throttle_time_ms: int = f(int32, "0+")
    allow_replication_factor_change: bool = f(boolean, "1+", default=True, ignorable=True)
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "0+", nullable="0+")
    responses: list[ReassignableTopicResponse] = f(array(ReassignableTopicResponse), "0+")
