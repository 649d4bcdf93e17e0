"""ShareGroupHeartbeat: API key 76."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, f, int16, int32, string, uuid


class ShareGroupHeartbeatRequest(Message, api_key=76, versions="1", flexible="0+"):
    group_id: str = f(string, "0+")
    member_id: str = f(string, "0+")
    member_epoch: int = f(int32, "0+")
    rack_id: str | None = f(string, "0+", nullable="0+", default=None)
    subscribed_topic_names: list[str] | None = f(array(string), "0+", nullable="0+", default=None)


class TopicPartitions(Struct):
    topic_id: bytes = f(uuid, "0+")
    partitions: list[int] = f(array(int32), "0+")


class Assignment(Struct):
    topic_partitions: list[TopicPartitions] = f(array(TopicPartitions), "0+")


class ShareGroupHeartbeatResponse(Message, api_key=76, versions="1", flexible="0+"):
    throttle_time_ms: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "0+", nullable="0+", default=None)
    member_id: str | None = f(string, "0+", nullable="0+", default=None)
    member_epoch: int = f(int32, "0+")
    heartbeat_interval_ms: int = f(int32, "0+")
    assignment: Assignment | None = f(Assignment, "0+", nullable="0+", default=None)
