"""What classic groups are made of: their options, their members, and a decision in the making."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

from tailrace_core.schema.errors import DecodeError
from tailrace_engine.coordinator.deadlines import Deadline
from tailrace_engine.coordinator.decision import Answer, Decision, Record, Ticket
from tailrace_engine.coordinator.group_messages import JoinGroup
from tailrace_engine.coordinator.records import MemberMetadata, subscribed_topics

EMPTY: Final = "Empty"
PREPARING_REBALANCE: Final = "PreparingRebalance"
COMPLETING_REBALANCE: Final = "CompletingRebalance"
STABLE: Final = "Stable"
DEAD: Final = "Dead"

CONSUMER: Final = "consumer"
"""The protocol type whose metadata is read: it names the topics that the offsets belong to."""

NEW_MEMBER_JOIN_TIMEOUT_MS: Final = 300_000
"""How long a member that joins for the first time may wait: it has no session yet that would end when it is gone."""


class GroupOptions(NamedTuple):
    """What the rules need of the settings; tailrace_core.settings.GroupSettings explains them."""

    initial_rebalance_delay_ms: int = 3_000
    session_timeout_ms_min: int = 6_000
    session_timeout_ms_max: int = 1_800_000
    members_max: int = (1 << 31) - 1
    member_bytes_max: int = 64 << 20
    offset_metadata_bytes_max: int = 4_096
    offsets_retention_minutes: int = 10_080
    offsets_retention_check_interval_ms: int = 600_000


@dataclass(slots=True)
class GroupCounts:
    """How much there is in a shard, kept as it changes."""

    groups: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys((EMPTY, PREPARING_REBALANCE, COMPLETING_REBALANCE, STABLE), 0)
    )
    """By state."""
    members: int = 0
    member_bytes: int = 0
    """Member.held_bytes of all members, and what pending ones take."""
    pending_members: int = 0
    """Member ids that were given out and have not joined yet."""
    offsets: int = 0


class Room(Protocol):
    """What all shards of a broker share."""

    def record_bytes_max(self) -> int:
        """No record of the shards' topic can have more bytes."""

    def counts(self) -> Iterable[GroupCounts]:
        """Of all shards."""


MEMBER_OVERHEAD_BYTES: Final = 1_000
"""What a member takes besides what it says: objects, and its places in dicts and among the deadlines."""


def protocols_bytes(protocols: tuple[tuple[str, bytes], ...]) -> int:
    """What it takes to keep what a member says of itself."""
    return sum(len(name) + len(metadata) for name, metadata in protocols)


def least_metadata_bytes(protocols: tuple[tuple[str, bytes], ...]) -> int:
    """A record of the member's group has no less of it, whichever protocol is elected."""
    return min((len(metadata) for _, metadata in protocols), default=0)


def joining_bytes(request: JoinGroup) -> int:
    """Member.held_bytes of the member that it makes; its id may add some."""
    names = len(request.client_id) + len(request.client_host) + len(request.group_instance_id or "")
    return MEMBER_OVERHEAD_BYTES + names + len(request.member_id) + protocols_bytes(request.protocols)


class Draft:
    """A decision in the making."""

    __slots__ = ("answers", "records")

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.answers: list[Answer] = []

    def answer(self, ticket: Ticket, outcome: Any) -> None:
        self.answers.append(Answer(ticket, outcome))

    def take(self) -> Decision:
        """The decision; the draft begins anew."""
        decision = Decision(self.records, self.answers)
        self.records = []
        self.answers = []
        return decision


class Member:
    """A member of a group. Tickets and the session are soft, the rest is kept."""

    __slots__ = (
        "assignment",
        "client_host",
        "client_id",
        "group_instance_id",
        "is_new",
        "join_ticket",
        "member_id",
        "protocols",
        "rebalance_timeout_ms",
        "session",
        "session_timeout_ms",
        "sync_ticket",
    )

    def __init__(
        self,
        member_id: str,
        group_instance_id: str | None,
        client_id: str,
        client_host: str,
        rebalance_timeout_ms: int,
        session_timeout_ms: int,
        protocols: tuple[tuple[str, bytes], ...],
        session: Deadline,
    ) -> None:
        self.member_id = member_id
        self.group_instance_id = group_instance_id
        self.client_id = client_id
        self.client_host = client_host
        self.rebalance_timeout_ms = rebalance_timeout_ms
        self.session_timeout_ms = session_timeout_ms
        self.protocols = protocols
        """(name, metadata), the favourite first."""
        self.assignment = b""
        self.session = session
        self.join_ticket: Ticket | None = None
        self.sync_ticket: Ticket | None = None
        self.is_new = False
        """It has not been told its first generation: it cannot send heartbeats yet."""

    def held_bytes(self) -> int:
        """About what it takes in memory."""
        names = len(self.member_id) + len(self.client_id) + len(self.client_host) + len(self.group_instance_id or "")
        return MEMBER_OVERHEAD_BYTES + names + protocols_bytes(self.protocols) + len(self.assignment)

    def metadata(self, protocol_name: str) -> bytes:
        """What it said for a protocol that it supports."""
        return next(metadata for name, metadata in self.protocols if name == protocol_name)


Members = Mapping[str, Member]
"""By id, in the order in which they came."""


def rebalance_timeout_ms(members: Members) -> int:
    """The longest that one of them asks for."""
    return max((member.rebalance_timeout_ms for member in members.values()), default=0)


def elected_protocol(members: Members, supporters: Mapping[str, int]) -> str:
    """Each member votes for its favourite of those that all support; there is at least one."""
    votes: dict[str, int] = {}
    for member in members.values():
        choice = next(name for name, _ in member.protocols if supporters[name] == len(members))
        votes[choice] = votes.get(choice, 0) + 1
    return max(votes, key=lambda name: votes[name])


def subscriptions(members: Members, protocol_type: str, protocol_name: str | None) -> frozenset[str] | None:
    """The topics that the members subscribe to; None when that is not known, and may be all."""
    if protocol_type != CONSUMER:
        return None
    try:
        return frozenset(
            topic for member in members.values() for topic in subscribed_topics(member.metadata(protocol_name or ""))
        )
    except DecodeError:
        return None


def kept_member(member: Member, protocol_name: str, assignment: bytes) -> MemberMetadata:
    """The member as the group's record has it."""
    return MemberMetadata(
        member_id=member.member_id,
        group_instance_id=member.group_instance_id,
        client_id=member.client_id,
        client_host=member.client_host,
        rebalance_timeout=member.rebalance_timeout_ms,
        session_timeout=member.session_timeout_ms,
        subscription=member.metadata(protocol_name),
        assignment=assignment,
    )
