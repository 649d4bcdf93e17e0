"""ConsumerGroupDescribe: API key 69."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, boolean, f, int8, int16, int32, string, uuid


class ConsumerGroupDescribeRequest(Message, api_key=69, versions="0-1", flexible="0+"):
    group_ids: list[str] = f(array(string), "0+")
    include_authorized_operations: bool = f(boolean, "0+")


class TopicPartitions(Struct):
    topic_id: bytes = f(uuid, "0+")
    topic_name: str = f(string, "0+")
    partitions: list[int] = f(array(int32), "0+")


class Assignment(Struct):
    topic_partitions: list[TopicPartitions] = f(array(TopicPartitions), "0+")


class Member(Struct):
    member_id: str = f(string, "0+")
    instance_id: str | None = f(string, "0+", nullable="0+", default=None)
    rack_id: str | None = f(string, "0+", nullable="0+", default=None)
    member_epoch: int = f(int32, "0+")
    client_id: str = f(string, "0+")
    client_host: str = f(string, "0+")
    subscribed_topic_names: list[str] = f(array(string), "0+")
    subscribed_topic_regex: str | None = f(string, "0+", nullable="0+", default=None)
    assignment: Assignment = f(Assignment, "0+")
    target_assignment: Assignment = f(Assignment, "0+")
    member_type: int = f(int8, "1+", default=-1, ignorable=True)


class DescribedGroup(Struct):
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "0+", nullable="0+", default=None)
    group_id: str = f(string, "0+")
    group_state: str = f(string, "0+")
    group_epoch: int = f(int32, "0+")
    assignment_epoch: int = f(int32, "0+")
    assignor_name: str = f(string, "0+")
    members: list[Member] = f(array(Member), "0+")
    authorized_operations: int = f(int32, "0+", default=-0x8000_0000)


class ConsumerGroupDescribeResponse(Message, api_key=69, versions="0-1", flexible="0+"):
    throttle_time_ms: int = f(int32, "0+")
    groups: list[DescribedGroup] = f(array(DescribedGroup), "0+")
