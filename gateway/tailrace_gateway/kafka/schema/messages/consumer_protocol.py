"""What members of a classic group of consumers tell each other; brokers pass it on unread."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, binary, f, int32, string


class ConsumerProtocolAssignmentTopicPartition(Struct):
    topic: str = f(string, "0+")
    partitions: list[int] = f(array(int32), "0+")


class ConsumerProtocolAssignment(Message, versions="0-3", flexible="none"):
    assigned_partitions: list[ConsumerProtocolAssignmentTopicPartition] = f(
        array(ConsumerProtocolAssignmentTopicPartition), "0+"
    )
    user_data: bytes | None = f(binary, "0+", nullable="0+", default=None)


class ConsumerProtocolSubscriptionTopicPartition(Struct):
    topic: str = f(string, "1+")
    partitions: list[int] = f(array(int32), "1+")


class ConsumerProtocolSubscription(Message, versions="0-3", flexible="none"):
    topics: list[str] = f(array(string), "0+")
    user_data: bytes | None = f(binary, "0+", nullable="0+", default=None)
    owned_partitions: list[ConsumerProtocolSubscriptionTopicPartition] = f(
        array(ConsumerProtocolSubscriptionTopicPartition), "1+", ignorable=True
    )
    generation_id: int = f(int32, "2+", default=-1, ignorable=True)
    rack_id: str | None = f(string, "3+", nullable="3+", default=None, ignorable=True)
