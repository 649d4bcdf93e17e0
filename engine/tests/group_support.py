"""A group shard with its owner's part played synchronously: what is decided is replayed, answers are collected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tailrace_engine.coordinator.decision import Decision, Now, Record
from tailrace_engine.coordinator.group_messages import (
    CommitOffsets,
    DescribedGroup,
    DescribeGroup,
    FetchedOffset,
    FetchOffsets,
    Heartbeat,
    JoinedGroup,
    JoinGroup,
    LeaveGroup,
    LeavingMember,
    OffsetToCommit,
    SyncedGroup,
    SyncGroup,
)
from tailrace_engine.coordinator.group_parts import GroupCounts, GroupOptions
from tailrace_engine.coordinator.groups import GroupShard

GROUP = "billing"
TOPIC = "orders"
TOPIC_ID = b"orders-orders-id"


class CountingEntropy:
    """Different bytes each time, the same in each run."""

    def __init__(self) -> None:
        self.count = 0

    def bytes(self, count: int) -> bytes:
        self.count += 1
        return self.count.to_bytes(count, "big")


def subscription(*topics: str) -> bytes:
    """The metadata of a consumer that subscribes to these topics (version 0)."""
    names = b"".join(len(topic).to_bytes(2, "big") + topic.encode() for topic in topics)
    return b"\x00\x00" + len(topics).to_bytes(4, "big") + names + b"\xff\xff\xff\xff"


class Groups:
    """A shard, its log and its clocks. Also the Room of the shard."""

    def __init__(self, **options: int) -> None:
        self.options = GroupOptions(**options)
        self.entropy = CountingEntropy()
        self.shard = GroupShard(self.options, self.entropy, self)
        self.record_bytes = 1 << 20
        self.other_counts = GroupCounts()
        """Of the broker's other shards."""
        self.log: list[Record] = []
        self.steady_ms = 5_000
        self.wall_ms = 1_000_000
        self.answers: dict[int, Any] = {}
        self.waiting: dict[int, Any] = {}
        """Requests that are not answered, by ticket."""
        self.after_decision: Callable[[], None] = lambda: None
        self._tickets = 0

    def now(self) -> Now:
        return Now(self.steady_ms, self.wall_ms)

    def record_bytes_max(self) -> int:
        return self.record_bytes

    def counts(self) -> list[GroupCounts]:
        return [self.shard.counts, self.other_counts]

    def next_deadline_ms(self) -> int | None:
        """Steady."""
        return self.shard.next_deadline_ms(self.now())

    def _take(self, decision: Decision) -> None:
        for record in decision.records:
            self.log.append(Record(record.key, record.value))
            self.shard.replay(record)
        for ticket, outcome in decision.answers:
            assert isinstance(ticket, int)
            assert ticket in self.waiting, "each ticket is answered once"
            del self.waiting[ticket]
            self.answers[ticket] = outcome
        self.after_decision()

    def ask(self, request: Any) -> int:
        """The request's ticket; its answer may come later."""
        self._tickets += 1
        self.waiting[self._tickets] = request
        self._take(self.shard.decide(request, self._tickets, self.now()))
        return self._tickets

    def call(self, request: Any) -> Any:
        """The outcome, which has to be there at once."""
        return self.answers[self.ask(request)]

    def advance(self, milliseconds: int) -> None:
        """Let time pass, each deadline at its time."""
        until_ms = self.steady_ms + milliseconds
        while (deadline_ms := self.next_deadline_ms()) is not None and deadline_ms <= until_ms:
            self._pass(max(deadline_ms - self.steady_ms, 0))
            self._take(self.shard.expire(self.now()))
        self._pass(until_ms - self.steady_ms)

    def _pass(self, milliseconds: int) -> None:
        self.steady_ms += milliseconds
        self.wall_ms += milliseconds

    def restart(self) -> None:
        """A new shard from the log; who waited is told by the owner that the coordinator is gone."""
        self.shard = GroupShard(self.options, self.entropy, self)
        self.waiting.clear()
        for record in self.log:
            self.shard.replay(record)
        self._take(self.shard.on_loaded(self.now()))

    # --- Requests with what tests say often ---

    def join(
        self,
        member_id: str = "",
        *,
        group_id: str = GROUP,
        instance_id: str | None = None,
        protocols: tuple[tuple[str, bytes], ...] = (("range", subscription(TOPIC)),),
        protocol_type: str = "consumer",
        session_timeout_ms: int = 10_000,
        rebalance_timeout_ms: int = 60_000,
        requires_known_member_id: bool = False,
        skipping: bool = True,
    ) -> int:
        return self.ask(
            JoinGroup(
                group_id,
                member_id,
                instance_id,
                "reader",
                "/127.0.0.1",
                session_timeout_ms,
                rebalance_timeout_ms,
                protocol_type,
                protocols,
                requires_known_member_id,
                skipping,
            )
        )

    def sync(
        self,
        joined: JoinedGroup,
        assignments: dict[str, bytes] | None = None,
        *,
        generation_id: int | None = None,
        protocol_type: str | None = None,
        protocol_name: str | None = None,
        instance_id: str | None = None,
    ) -> int:
        return self.ask(
            SyncGroup(
                GROUP,
                joined.generation_id if generation_id is None else generation_id,
                joined.member_id,
                instance_id,
                protocol_type,
                protocol_name,
                tuple((assignments or {}).items()),
            )
        )

    def heartbeat(self, member_id: str, generation_id: int, instance_id: str | None = None) -> Any:
        return self.call(Heartbeat(GROUP, generation_id, member_id, instance_id))

    def leave(self, member_id: str, instance_id: str | None = None) -> Any:
        return self.call(LeaveGroup(GROUP, (LeavingMember(member_id, instance_id),))).members[0][1]

    def describe(self) -> DescribedGroup:
        described = self.call(DescribeGroup(GROUP))
        assert isinstance(described, DescribedGroup)
        return described

    def state(self) -> str:
        return self.describe().state

    def commit(
        self,
        offset: int,
        *,
        topic: str = TOPIC,
        topic_id: bytes = TOPIC_ID,
        partition: int = 0,
        generation_id: int = -1,
        member_id: str = "",
        instance_id: str | None = None,
        metadata: str = "",
        retention_time_ms: int = -1,
        group_id: str = GROUP,
    ) -> Any:
        """None or the error, of the request or of the only partition."""
        offsets = (OffsetToCommit(topic, topic_id, partition, offset, 3, metadata),)
        outcome = self.call(CommitOffsets(group_id, generation_id, member_id, instance_id, offsets, retention_time_ms))
        return outcome if isinstance(outcome, Exception) else outcome.errors[0]

    def fetch(self, topic: str = TOPIC, topic_id: bytes = TOPIC_ID, partition: int = 0) -> FetchedOffset:
        fetched = self.call(FetchOffsets(GROUP, None, -1, ((topic, topic_id, partition),)))
        offset = fetched.offsets[0]
        assert isinstance(offset, FetchedOffset)
        return offset

    # --- Whole generations ---

    def stable(self, count: int, **options: Any) -> list[JoinedGroup]:
        """A stable group of so many new members, the leader first; each is assigned its own member id."""
        tickets = [self.join(**options) for _ in range(count)]
        return self.settle(tickets)

    def settle(self, tickets: list[int]) -> list[JoinedGroup]:
        """Members that have joined get to a stable group."""
        if any(ticket in self.waiting for ticket in tickets):
            self.advance(self.options.initial_rebalance_delay_ms * 2)
        joined = [self.answers[ticket] for ticket in tickets]
        assert all(isinstance(each, JoinedGroup) for each in joined), joined
        assignments = {each.member_id: each.member_id.encode() for each in joined}
        synced = [self.sync(each, assignments) for each in sorted(joined, key=lambda each: not each.members)]
        assert all(isinstance(self.answers[ticket], SyncedGroup) for ticket in synced)
        assert self.state() == "Stable"
        return joined
