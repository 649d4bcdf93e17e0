"""StreamsGroupDescribe: API key 89."""

from __future__ import annotations

from tailrace_core.schema.declare import (
    Message,
    Struct,
    array,
    boolean,
    f,
    int16,
    int32,
    int64,
    string,
    uint16,
)


class StreamsGroupDescribeRequest(Message, api_key=89, versions="0", flexible="0+"):
    group_ids: list[str] = f(array(string), "0+")
    include_authorized_operations: bool = f(boolean, "0+")


class KeyValue(Struct):
    key: str = f(string, "0+")
    value: str = f(string, "0+")


class TopicInfo(Struct):
    name: str = f(string, "0+")
    partitions: int = f(int32, "0+")
    replication_factor: int = f(int16, "0+")
    topic_configs: list[KeyValue] = f(array(KeyValue), "0+")


class Subtopology(Struct):
    subtopology_id: str = f(string, "0+")
    source_topics: list[str] = f(array(string), "0+")
    repartition_sink_topics: list[str] = f(array(string), "0+")
    state_changelog_topics: list[TopicInfo] = f(array(TopicInfo), "0+")
    repartition_source_topics: list[TopicInfo] = f(array(TopicInfo), "0+")


class Topology(Struct):
    epoch: int = f(int32, "0+")
    subtopologies: list[Subtopology] | None = f(array(Subtopology), "0+", nullable="0+", default=None)


class Endpoint(Struct):
    host: str = f(string, "0+")
    port: int = f(uint16, "0+")


class TaskOffset(Struct):
    subtopology_id: str = f(string, "0+")
    partition: int = f(int32, "0+")
    offset: int = f(int64, "0+")


class TaskIds(Struct):
    subtopology_id: str = f(string, "0+")
    partitions: list[int] = f(array(int32), "0+")


class Assignment(Struct):
    active_tasks: list[TaskIds] = f(array(TaskIds), "0+")
    standby_tasks: list[TaskIds] = f(array(TaskIds), "0+")
    warmup_tasks: list[TaskIds] = f(array(TaskIds), "0+")


class Member(Struct):
    member_id: str = f(string, "0+")
    member_epoch: int = f(int32, "0+")
    instance_id: str | None = f(string, "0+", nullable="0+", default=None)
    rack_id: str | None = f(string, "0+", nullable="0+", default=None)
    client_id: str = f(string, "0+")
    client_host: str = f(string, "0+")
    topology_epoch: int = f(int32, "0+")
    process_id: str = f(string, "0+")
    user_endpoint: Endpoint | None = f(Endpoint, "0+", nullable="0+", default=None)
    client_tags: list[KeyValue] = f(array(KeyValue), "0+")
    task_offsets: list[TaskOffset] = f(array(TaskOffset), "0+")
    task_end_offsets: list[TaskOffset] = f(array(TaskOffset), "0+")
    assignment: Assignment = f(Assignment, "0+")
    target_assignment: Assignment = f(Assignment, "0+")
    is_classic: bool = f(boolean, "0+")


class DescribedGroup(Struct):
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "0+", nullable="0+", default=None)
    group_id: str = f(string, "0+")
    group_state: str = f(string, "0+")
    group_epoch: int = f(int32, "0+")
    assignment_epoch: int = f(int32, "0+")
    topology: Topology | None = f(Topology, "0+", nullable="0+", default=None)
    members: list[Member] = f(array(Member), "0+")
    authorized_operations: int = f(int32, "0+", default=-0x8000_0000)


class StreamsGroupDescribeResponse(Message, api_key=89, versions="0", flexible="0+"):
    throttle_time_ms: int = f(int32, "0+")
    groups: list[DescribedGroup] = f(array(DescribedGroup), "0+")
