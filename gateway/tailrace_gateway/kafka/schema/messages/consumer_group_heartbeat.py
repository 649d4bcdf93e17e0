"""ConsumerGroupHeartbeat: API key 68."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, f, int16, int32, string, uuid


class TopicPartitions(Struct):
    topic_id: bytes = f(uuid, "0+")
    partitions: list[int] = f(array(int32), "0+")


class ConsumerGroupHeartbeatRequest(Message, api_key=68, versions="0-1", flexible="0+"):
    group_id: str = f(string, "0+")
    member_id: str = f(string, "0+")
    member_epoch: int = f(int32, "0+")
    instance_id: str | None = f(string, "0+", nullable="0+", default=None)
    rack_id: str | None = f(string, "0+", nullable="0+", default=None)
    rebalance_timeout_ms: int = f(int32, "0+", default=-1)
    subscribed_topic_names: list[str] | None = f(array(string), "0+", nullable="0+", default=None)
    subscribed_topic_regex: str | None = f(string, "1+", nullable="1+", default=None)
    server_assignor: str | None = f(string, "0+", nullable="0+", default=None)
    topic_partitions: list[TopicPartitions] | None = f(array(TopicPartitions), "0+", nullable="0+", default=None)


class Assignment(Struct):
    topic_partitions: list[TopicPartitions] = f(array(TopicPartitions), "0+")


class ConsumerGroupHeartbeatResponse(Message, api_key=68, versions="0-1", flexible="0+"):
    throttle_time_ms: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "0+", nullable="0+", default=None)
    member_id: str | None = f(string, "0+", nullable="0+", default=None)
    member_epoch: int = f(int32, "0+")
    heartbeat_interval_ms: int = f(int32, "0+")
    assignment: Assignment | None = f(Assignment, "0+", nullable="0+", default=None)
