"""ListPartitionReassignments: API key 46."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, f, int16, int32, string


class ListPartitionReassignmentsTopics(Struct):
    name: str = f(string, "0+")
    partition_indexes: list[int] = f(array(int32), "0+")


class ListPartitionReassignmentsRequest(Message, api_key=46, versions="0", flexible="0+"):
    timeout_ms: int = f(int32, "0+", default=60000)
    topics: list[ListPartitionReassignmentsTopics] | None = f(
        array(ListPartitionReassignmentsTopics), "0+", nullable="0+", default=None
    )


class OngoingPartitionReassignment(Struct):
    partition_index: int = f(int32, "0+")
    replicas: list[int] = f(array(int32), "0+")
    adding_replicas: list[int] = f(array(int32), "0+")
    removing_replicas: list[int] = f(array(int32), "0+")


class OngoingTopicReassignment(Struct):
    name: str = f(string, "0+")
    partitions: list[OngoingPartitionReassignment] = f(array(OngoingPartitionReassignment), "0+")


class ListPartitionReassignmentsResponse(Message, api_key=46, versions="0", flexible="0+"):
    throttle_time_ms: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "0+", nullable="0+")
    topics: list[OngoingTopicReassignment] = f(array(OngoingTopicReassignment), "0+")
