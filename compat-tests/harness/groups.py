"""One member's (or admin's) view of a group, in frames: every version of every API of groups, spelled once.

Each method sends one request and returns the decoded answer; `send_join` and `send_sync` leave the answer to be
received, for members that wait for each other (each on a connection of its own).
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from kio.schema.errors import ErrorCode

from harness import wire
from harness.process import poll


def subscription(*topics: str, user_data: bytes = b"") -> bytes:
    """A consumer's metadata (ConsumerProtocolSubscription version 0). Kafka reads it where the type is "consumer"."""
    names = b"".join(struct.pack(">h", len(topic.encode())) + topic.encode() for topic in topics)
    return struct.pack(">hi", 0, len(topics)) + names + struct.pack(">i", len(user_data)) + user_data


RANGE = (("range", subscription()),)
OTHER = (("range", subscription(user_data=b"other")),)
NOT_READY = (
    ErrorCode.coordinator_not_available,
    ErrorCode.not_coordinator,
    ErrorCode.coordinator_load_in_progress,
)

Offsets = Mapping[int, int | tuple[int, str] | tuple[int, str, int]]
"""Partition -> offset, or with metadata, or with metadata and leader epoch."""


class Group:
    """`group_id` as seen on one connection. member_id, generation and instance are those of the last join."""

    def __init__(self, connection: wire.Connection, group_id: str, *, instance: str | None = None) -> None:
        self.connection = connection
        self.group_id = group_id
        self.instance = instance
        self.member_id = ""
        self.generation = -1

    def call(self, api: str, version: int, fields: Mapping[str, Any]) -> Any:
        return self.connection.receive(api, version, self.connection.send(api, version, fields, lenient=True))

    def find(self) -> None:
        """Wait until the group has a coordinator that has read its state."""

        def is_served() -> bool:
            found = self.call("find_coordinator", 4, {"coordinator_keys": [self.group_id], "key_type": 0})
            if found.coordinators[0].error_code in NOT_READY:
                return False
            return self.describe(version=5).error_code not in NOT_READY

        poll(f"a coordinator for {self.group_id}", is_served)

    # --- membership

    def send_join(
        self,
        *,
        version: int = 9,
        member_id: str | None = None,
        protocols: Sequence[tuple[str, bytes]] = RANGE,
        protocol_type: str = "consumer",
        session_timeout_ms: int = 30_000,
        rebalance_timeout_ms: int = 30_000,
    ) -> Callable[[], Any]:
        """Returns what receives the answer, and remembers the member id and the generation in it."""
        fields = {
            "group_id": self.group_id,
            "session_timeout": session_timeout_ms,
            "session_timeout_ms": session_timeout_ms,
            "rebalance_timeout": rebalance_timeout_ms,
            "rebalance_timeout_ms": rebalance_timeout_ms,
            "member_id": self.member_id if member_id is None else member_id,
            "group_instance_id": self.instance,
            "protocol_type": protocol_type,
            "protocols": [{"name": name, "metadata": metadata} for name, metadata in protocols],
            "reason": "a test",
        }
        correlation_id = self.connection.send("join_group", version, fields, lenient=True)

        def receive() -> Any:
            answer = self.connection.receive("join_group", version, correlation_id)
            if answer.error_code in (ErrorCode.none, ErrorCode.member_id_required):
                self.member_id = answer.member_id
            if answer.error_code == ErrorCode.none:
                self.generation = answer.generation_id
            return answer

        return receive

    def join(self, **options: Any) -> Any:
        return self.send_join(**options)()

    def join_twice(self, **options: Any) -> Any:
        """As clients do since version 4: once for a member id, once with it."""
        answer = self.join(**options)
        return self.join(**options) if answer.error_code == ErrorCode.member_id_required else answer

    def send_sync(
        self,
        assignments: Mapping[str, bytes] | None = None,
        *,
        version: int = 5,
        protocol_type: str | None = "consumer",
        protocol_name: str | None = "range",
        generation: int | None = None,
        member_id: str | None = None,
    ) -> Callable[[], Any]:
        fields = {
            **self._member(generation, member_id),
            "protocol_type": protocol_type,
            "protocol_name": protocol_name,
            "assignments": [{"member_id": member, "assignment": data} for member, data in (assignments or {}).items()],
        }
        correlation_id = self.connection.send("sync_group", version, fields, lenient=True)
        return lambda: self.connection.receive("sync_group", version, correlation_id)

    def sync(self, assignments: Mapping[str, bytes] | None = None, **options: Any) -> Any:
        return self.send_sync(assignments, **options)()

    def become_stable(self, **options: Any) -> bytes:
        """Join alone and sync; the assignment."""
        answer = self.join_twice(**options)
        assert answer.error_code == ErrorCode.none, answer
        protocol_type = options.get("protocol_type", "consumer")
        synced = self.sync({self.member_id: b"all of it"}, protocol_type=protocol_type)
        assert synced.error_code == ErrorCode.none, synced
        return bytes(synced.assignment)

    def heartbeat(self, *, version: int = 4, generation: int | None = None, member_id: str | None = None) -> ErrorCode:
        answer = self.call("heartbeat", version, self._member(generation, member_id))
        code: ErrorCode = answer.error_code
        return code

    def leave(self, members: Iterable[tuple[str, str | None]] | None = None, *, version: int = 5) -> list[ErrorCode]:
        """The errors of the members (member id, instance id); of this one alone by default. Below v3 only one."""
        named = [(self.member_id, self.instance)] if members is None else list(members)
        fields = {
            "group_id": self.group_id,
            "member_id": named[0][0] if named else "",
            "members": [
                {"member_id": member, "group_instance_id": instance, "reason": "a test"} for member, instance in named
            ],
        }
        answer = self.call("leave_group", version, fields)
        if version < 3 or answer.error_code != ErrorCode.none:
            return [answer.error_code]
        assert [(each.member_id, each.group_instance_id) for each in answer.members] == named
        return [each.error_code for each in answer.members]

    def _member(self, generation: int | None, member_id: str | None) -> dict[str, Any]:
        return {
            "group_id": self.group_id,
            "generation_id": self.generation if generation is None else generation,
            "member_id": self.member_id if member_id is None else member_id,
            "group_instance_id": self.instance,
        }

    # --- offsets

    def commit(
        self,
        topic: str | uuid.UUID,
        offsets: Offsets,
        *,
        version: int = 8,
        generation: int | None = None,
        member_id: str | None = None,
    ) -> dict[int, ErrorCode]:
        """Partition -> error. A UUID names the topic by id (v10)."""
        return self.commit_all({topic: offsets}, version=version, generation=generation, member_id=member_id)[topic]

    def commit_all(
        self,
        topics: Mapping[str | uuid.UUID, Offsets],
        *,
        version: int = 8,
        generation: int | None = None,
        member_id: str | None = None,
    ) -> dict[str | uuid.UUID, dict[int, ErrorCode]]:
        fields = {
            **self._member(generation, member_id),
            "generation_id_or_member_epoch": self.generation if generation is None else generation,
            "retention_time_ms": -1,
            "retention_time": -1,
            "topics": [
                {
                    **_named(topic),
                    "partitions": [
                        {
                            "partition_index": partition,
                            "committed_offset": offset,
                            "committed_metadata": metadata,
                            "committed_leader_epoch": epoch,
                        }
                        for partition, (offset, metadata, epoch) in (
                            (partition, _with_defaults(what)) for partition, what in offsets.items()
                        )
                    ],
                }
                for topic, offsets in topics.items()
            ],
        }
        answer = self.call("offset_commit", version, fields)
        return {
            _name(topic): {each.partition_index: each.error_code for each in topic.partitions}
            for topic in answer.topics
        }

    def fetch_answer(
        self,
        topics: Mapping[str | uuid.UUID, Sequence[int]] | None,
        *,
        version: int = 8,
        member_id: str | None = None,
        member_epoch: int = -1,
        require_stable: bool = False,
    ) -> Any:
        """The group's part of the answer: error_code (v2 and later) and topics."""
        named = (
            None
            if topics is None
            else [{**_named(topic), "partition_indexes": list(partitions)} for topic, partitions in topics.items()]
        )
        group = {"group_id": self.group_id, "member_id": member_id, "member_epoch": member_epoch, "topics": named}
        fields = {"group_id": self.group_id, "topics": named, "groups": [group], "require_stable": require_stable}
        answer = self.call("offset_fetch", version, fields)
        if version < 8:
            return answer
        (found,) = answer.groups
        assert found.group_id == self.group_id
        return found

    def fetch(
        self, topics: Mapping[str | uuid.UUID, Sequence[int]] | None, **options: Any
    ) -> dict[tuple[str | uuid.UUID, int], tuple[int, str]]:
        """(topic, partition) -> (offset, metadata); there must be no error."""
        answer = self.fetch_answer(topics, **options)
        assert getattr(answer, "error_code", ErrorCode.none) == ErrorCode.none, answer
        assert all(part.error_code == ErrorCode.none for topic in answer.topics for part in topic.partitions), answer
        return {
            (_name(topic), part.partition_index): (part.committed_offset, part.metadata)
            for topic in answer.topics
            for part in topic.partitions
        }

    def delete_offsets(self, topics: Mapping[str, Sequence[int]]) -> Any:
        asked = [
            {"name": name, "partitions": [{"partition_index": each} for each in partitions]}
            for name, partitions in topics.items()
        ]
        return self.call("offset_delete", 0, {"group_id": self.group_id, "topics": asked})

    # --- administration

    def describe(self, *, version: int = 6, operations: bool = False) -> Any:
        fields = {"groups": [self.group_id], "include_authorized_operations": operations}
        (found,) = self.call("describe_groups", version, fields).groups
        return found

    def state(self) -> str:
        return str(self.describe(version=5).group_state)

    def listed(self, *, version: int = 5, states: Sequence[str] = (), types: Sequence[str] = ()) -> Any:
        """The group as ListGroups tells it; None when it does not."""
        answer = self.call("list_groups", version, {"states_filter": list(states), "types_filter": list(types)})
        assert answer.error_code == ErrorCode.none
        return next((group for group in answer.groups if group.group_id == self.group_id), None)

    def delete(self, *, version: int = 2) -> ErrorCode:
        (result,) = self.call("delete_groups", version, {"groups_names": [self.group_id]}).results
        code: ErrorCode = result.error_code
        return code


def _named(topic: str | uuid.UUID) -> dict[str, Any]:
    return {"topic_id": topic} if isinstance(topic, uuid.UUID) else {"name": topic}


def _name(topic: Any) -> str | uuid.UUID:
    found: str | uuid.UUID = topic.topic_id if hasattr(topic, "topic_id") else topic.name
    return found


def _with_defaults(what: int | tuple[Any, ...]) -> tuple[int, str | None, int]:
    given = (what,) if isinstance(what, int) else what
    offset, metadata, epoch = (*given, *("", -1)[len(given) - 1 :])
    return offset, metadata, epoch
