"""StreamsGroupHeartbeat: API key 88."""

from __future__ import annotations

from tailrace_core.schema.declare import (
    Message,
    Struct,
    array,
    boolean,
    f,
    int8,
    int16,
    int32,
    int64,
    string,
    uint16,
)


class KeyValue(Struct):
    key: str = f(string, "0+")
    value: str = f(string, "0+")


class TopicInfo(Struct):
    name: str = f(string, "0+")
    partitions: int = f(int32, "0+")
    replication_factor: int = f(int16, "0+")
    topic_configs: list[KeyValue] = f(array(KeyValue), "0+")


class CopartitionGroup(Struct):
    source_topics: list[int] = f(array(int16), "0+")
    source_topic_regex: list[int] = f(array(int16), "0+")
    repartition_source_topics: list[int] = f(array(int16), "0+")


class Subtopology(Struct):
    subtopology_id: str = f(string, "0+")
    source_topics: list[str] = f(array(string), "0+")
    source_topic_regex: list[str] = f(array(string), "0+")
    state_changelog_topics: list[TopicInfo] = f(array(TopicInfo), "0+")
    repartition_sink_topics: list[str] = f(array(string), "0+")
    repartition_source_topics: list[TopicInfo] = f(array(TopicInfo), "0+")
    copartition_groups: list[CopartitionGroup] = f(array(CopartitionGroup), "0+")


class Topology(Struct):
    epoch: int = f(int32, "0+")
    subtopologies: list[Subtopology] = f(array(Subtopology), "0+")


class TaskIds(Struct):
    subtopology_id: str = f(string, "0+")
    partitions: list[int] = f(array(int32), "0+")


class Endpoint(Struct):
    host: str = f(string, "0+")
    port: int = f(uint16, "0+")


class TaskOffset(Struct):
    subtopology_id: str = f(string, "0+")
    partition: int = f(int32, "0+")
    offset: int = f(int64, "0+")


class StreamsGroupHeartbeatRequest(Message, api_key=88, versions="0", flexible="0+"):
    group_id: str = f(string, "0+")
    member_id: str = f(string, "0+")
    member_epoch: int = f(int32, "0+")
    endpoint_information_epoch: int = f(int32, "0+")
    instance_id: str | None = f(string, "0+", nullable="0+", default=None)
    rack_id: str | None = f(string, "0+", nullable="0+", default=None)
    rebalance_timeout_ms: int = f(int32, "0+", default=-1)
    topology: Topology | None = f(Topology, "0+", nullable="0+", default=None)
    active_tasks: list[TaskIds] | None = f(array(TaskIds), "0+", nullable="0+", default=None)
    standby_tasks: list[TaskIds] | None = f(array(TaskIds), "0+", nullable="0+", default=None)
    warmup_tasks: list[TaskIds] | None = f(array(TaskIds), "0+", nullable="0+", default=None)
    process_id: str | None = f(string, "0+", nullable="0+", default=None)
    user_endpoint: Endpoint | None = f(Endpoint, "0+", nullable="0+", default=None)
    client_tags: list[KeyValue] | None = f(array(KeyValue), "0+", nullable="0+", default=None)
    task_offsets: list[TaskOffset] | None = f(array(TaskOffset), "0+", nullable="0+", default=None)
    task_end_offsets: list[TaskOffset] | None = f(array(TaskOffset), "0+", nullable="0+", default=None)
    shutdown_application: bool = f(boolean, "0+")


class Status(Struct):
    status_code: int = f(int8, "0+")
    status_detail: str = f(string, "0+")


class TopicPartition(Struct):
    topic: str = f(string, "0+")
    partitions: list[int] = f(array(int32), "0+")


class EndpointToPartitions(Struct):
    user_endpoint: Endpoint = f(Endpoint, "0+")
    active_partitions: list[TopicPartition] = f(array(TopicPartition), "0+")
    standby_partitions: list[TopicPartition] = f(array(TopicPartition), "0+")


class StreamsGroupHeartbeatResponse(Message, api_key=88, versions="0", flexible="0+"):
    throttle_time_ms: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "0+", nullable="0+", default=None)
    member_id: str = f(string, "0+")
    member_epoch: int = f(int32, "0+")
    heartbeat_interval_ms: int = f(int32, "0+")
    acceptable_recovery_lag: int = f(int32, "0+")
    task_offset_interval_ms: int = f(int32, "0+")
    status: list[Status] | None = f(array(Status), "0+", nullable="0+")
    active_tasks: list[TaskIds] | None = f(array(TaskIds), "0+", nullable="0+", default=None)
    standby_tasks: list[TaskIds] | None = f(array(TaskIds), "0+", nullable="0+", default=None)
    warmup_tasks: list[TaskIds] | None = f(array(TaskIds), "0+", nullable="0+", default=None)
    endpoint_information_epoch: int = f(int32, "0+")
    partitions_by_user_endpoint: list[EndpointToPartitions] | None = f(
        array(EndpointToPartitions), "0+", nullable="0+", default=None
    )
