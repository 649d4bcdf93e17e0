"""One group and its clients, which join, sync, leave, fall silent and come back, beside what was promised to them.

Promises: each call is answered once; generations only rise, and no answer is of one that is over; what a member is
assigned is what the leader of its generation assigned to it, and to nobody else; what is fetched was committed last;
a shard that is loaded from the log is the one that was lost, but for the rebalance under way.
"""

from dataclasses import dataclass
from typing import Any

from group_support import GROUP, TOPIC, TOPIC_ID, Groups, subscription
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tailrace_core.errors import (
    FencedInstanceId,
    GroupIdNotFound,
    IllegalGeneration,
    MemberIdRequired,
    NonEmptyGroup,
    TailraceError,
    UnknownMemberId,
)
from tailrace_engine.coordinator.group_messages import (
    DeleteGroup,
    DescribedGroup,
    DescribeGroup,
    FetchOffsets,
    JoinedGroup,
    JoinGroup,
    LeaveGroup,
    LeavingMember,
    SyncedGroup,
    SyncGroup,
)
from tailrace_engine.coordinator.group_parts import MEMBER_OVERHEAD_BYTES
from tailrace_engine.coordinator.groups import GroupShard
from tailrace_engine.coordinator.records import GroupMetadataValue, read_group_metadata_key, read_group_metadata_value

CLIENTS = st.integers(0, 5)
STATIC = {4: "four", 5: "five"}
PROTOCOLS = st.sampled_from(
    [
        (("range", subscription(TOPIC)),),
        (("range", subscription(TOPIC)), ("sticky", b"s")),
        (("sticky", b"s"), ("range", subscription(TOPIC, "other"))),
        (("sticky", b"only"),),
    ]
)
EVERY_PROTOCOL = (("range", subscription(TOPIC)), ("sticky", b"s"))
DAY_MS = 86_400_000
"""The wall clock may be so far off: no offset is as old as that makes it."""
LONG_MS = 4_000_000
"""Longer than everything that a group waits for."""


@dataclass
class Client:
    """What one client believes."""

    instance_id: str | None
    member_id: str = ""
    joined: JoinedGroup | None = None


class GroupsMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.groups = Groups()
        self.clients = [Client(STATIC.get(number)) for number in range(6)]
        self.askers: dict[int, tuple[int, Any]] = {}
        """The client and request behind each ticket that has not been looked at."""
        self.generation_id = 0
        self.kept_generation_id = 0
        self.records_seen = 0
        self.assigned: dict[int, dict[str, bytes]] = {}
        """By generation and member id."""
        self.offered: dict[str, bytes] = {}
        """What the last sync brings."""
        self.holders: dict[bytes, str] = {}
        """Who was given an assignment; a static member by its instance id."""
        self.names: dict[str, str] = {}
        """Instance ids by the member ids that they had."""
        self.rosters: dict[int, frozenset[str]] = {}
        """Who was in a generation, as its leader was told."""
        self.offsets: dict[int, int] = {}
        self.serial = 0
        self.skew_ms = 0

    @initialize(delay_ms=st.sampled_from([0, 500, 3_000]), members_max=st.sampled_from([3, 100]))
    def begin(self, delay_ms: int, members_max: int) -> None:
        self.groups = Groups(initial_rebalance_delay_ms=delay_ms, members_max=members_max)
        self.groups.after_decision = self.look

    # --- What clients do ---

    @rule(number=CLIENTS, protocols=PROTOCOLS, known=st.booleans(), skipping=st.booleans())
    def join(self, number: int, protocols: Any, known: bool, skipping: bool) -> None:
        client = self.clients[number]
        ticket = self.groups.join(
            client.member_id,
            instance_id=client.instance_id,
            protocols=protocols,
            session_timeout_ms=10_000 + 10_000 * number,
            requires_known_member_id=known,
            skipping=skipping,
        )
        self.askers[ticket] = number, self.groups.waiting.get(ticket)
        self.look()

    @rule(number=CLIENTS)
    def sync(self, number: int) -> None:
        client = self.clients[number]
        if client.joined is None:
            return
        assignments = {}
        for member in client.joined.members:
            self.serial += 1
            assignments[member.member_id] = b"assignment %d" % self.serial
        request = SyncGroup(
            GROUP,
            client.joined.generation_id,
            client.member_id,
            client.instance_id,
            "consumer",
            client.joined.protocol_name,
            tuple(assignments.items()),
        )
        self.offered = assignments
        ticket = self.groups.ask(request)
        self.askers[ticket] = number, request
        self.look()

    @rule(numbers=st.sets(CLIENTS, min_size=1), order=st.permutations(range(6)))
    def become_stable(self, numbers: set[int], order: list[int]) -> None:
        """Some clients join, who does not is given up, and all of the generation sync."""
        for number in sorted(numbers):
            self.join(number, EVERY_PROTOCOL, known=False, skipping=True)
        for _ in range(3):
            if self.groups.waiting:
                self.groups.advance(60_000)
        for number in order:
            if number in numbers:
                self.sync(number)

    @rule(number=CLIENTS)
    def heartbeat(self, number: int) -> None:
        client = self.clients[number]
        if client.joined is not None:
            outcome = self.groups.heartbeat(client.member_id, client.joined.generation_id, client.instance_id)
            self.hear(client, outcome)
            if outcome is None:
                assert client.joined is not None
                assert client.joined.generation_id == self.generation_id

    @rule(number=CLIENTS)
    def speak_of_the_past(self, number: int) -> None:
        client = self.clients[number]
        # A restart may take back a generation that was not kept, and what was before it is not past.
        if client.joined is not None and client.joined.generation_id <= self.generation_id:
            generation_id = client.joined.generation_id - 1
            assert self.groups.heartbeat(client.member_id, generation_id, client.instance_id) is not None
            assert self.groups.commit(-7, generation_id=generation_id, member_id=client.member_id) is not None

    @rule(number=st.sampled_from(sorted(STATIC)), skipping=st.booleans())
    def come_back(self, number: int, skipping: bool) -> None:
        """A static member starts again, and goes on where it was if it can."""
        self.lose_its_memory(number)
        self.join(number, EVERY_PROTOCOL, known=True, skipping=skipping)
        if self.clients[number].joined is not None:
            self.sync(number)

    @rule(number=CLIENTS)
    def leave(self, number: int) -> None:
        client = self.clients[number]
        if client.member_id or client.instance_id:
            self.groups.call(LeaveGroup(GROUP, (LeavingMember(client.member_id, client.instance_id),)))
            self.look()
            client.member_id, client.joined = "", None

    @rule(number=CLIENTS)
    def lose_its_memory(self, number: int) -> None:
        self.clients[number].member_id = ""
        self.clients[number].joined = None

    @rule(number=CLIENTS, partition=st.integers(0, 2), offset=st.integers(0, 1_000))
    def commit(self, number: int, partition: int, offset: int) -> None:
        client = self.clients[number]
        generation_id = -1 if client.joined is None else client.joined.generation_id
        outcome = self.groups.commit(
            offset,
            partition=partition,
            generation_id=generation_id,
            member_id=client.member_id if client.joined else "",
            instance_id=client.instance_id if client.joined else None,
        )
        if outcome is None:
            self.offsets[partition] = offset
            assert generation_id in (-1, self.generation_id)
        else:
            self.hear(client, outcome)

    @rule()
    def delete(self) -> None:
        outcome = self.groups.call(DeleteGroup(GROUP))
        if outcome is None:
            self.offsets.clear()
        else:
            assert isinstance(outcome, GroupIdNotFound | NonEmptyGroup)
        self.look()

    # --- What happens to all of them ---

    @rule(milliseconds=st.sampled_from([0, 1, 500, 3_000, 9_000, 25_000, 60_000]))
    def time_passes(self, milliseconds: int) -> None:
        self.groups.advance(milliseconds)
        self.look()

    @rule(skew_ms=st.integers(-DAY_MS, DAY_MS))
    def the_wall_clock_jumps(self, skew_ms: int) -> None:
        self.groups.wall_ms += skew_ms - self.skew_ms
        self.skew_ms = skew_ms

    @rule()
    def restart(self) -> None:
        self.groups.restart()
        self.askers.clear()
        self.generation_id = self.kept_generation_id
        for generation_id in [each for each in self.rosters if each > self.kept_generation_id]:
            del self.rosters[generation_id]
        self.look()

    # --- What was promised ---

    def described(self) -> DescribedGroup | None:
        outcome = self.groups.call(DescribeGroup(GROUP))
        return None if isinstance(outcome, GroupIdNotFound) else outcome

    def hear(self, client: Client, outcome: object) -> None:
        if isinstance(outcome, UnknownMemberId | FencedInstanceId):
            client.member_id, client.joined = "", None
        elif isinstance(outcome, IllegalGeneration):
            client.joined = None

    def look(self) -> None:
        """Take in what was written and answered since the last look."""
        for record in self.groups.log[self.records_seen :]:
            if read_group_metadata_key(record.key) is None:
                continue
            if record.value is None:
                self.generation_id = self.kept_generation_id = 0
                self.assigned.clear()
                self.rosters.clear()
            else:
                kept = read_group_metadata_value(record.value)
                assert kept is not None
                assert kept.generation >= self.kept_generation_id, "generations only rise"
                self.kept_generation_id = kept.generation
                self.generation_id = max(self.generation_id, kept.generation)
                if kept.members:
                    self.on_kept(kept)
        self.records_seen = len(self.groups.log)
        answered = [(ticket, *self.askers.pop(ticket)) for ticket in list(self.askers) if ticket in self.groups.answers]
        for ticket, _, _ in answered:
            outcome = self.groups.answers[ticket]
            if isinstance(outcome, JoinedGroup):
                assert outcome.generation_id >= self.generation_id, "no answer is of a generation that is over"
                self.generation_id = outcome.generation_id
        for ticket, number, request in answered:
            outcome = self.groups.answers[ticket]
            if isinstance(request, SyncGroup):
                self.on_synced(self.clients[number], request, outcome)
            else:
                self.on_joined(self.clients[number], outcome)

    def on_kept(self, kept: GroupMetadataValue) -> None:
        """A generation is assigned once; then only ids of static members change."""
        for member in kept.members:
            if member.group_instance_id is not None:
                self.names[member.member_id] = member.group_instance_id
        assigned = self.assigned.setdefault(kept.generation, self.offered)
        offered = {self.holder(member_id): assignment for member_id, assignment in assigned.items()}
        for member in kept.members:
            assert member.assignment == offered.get(self.holder(member.member_id), b"")

    def holder(self, member_id: str) -> str:
        """Who a member id belongs to: static members outlive theirs."""
        return self.names.get(member_id, member_id)

    def on_joined(self, client: Client, outcome: object) -> None:
        if isinstance(outcome, MemberIdRequired):
            client.member_id, client.joined = outcome.member_id, None
        elif isinstance(outcome, JoinedGroup):
            assert outcome.generation_id == self.generation_id
            client.member_id, client.joined = outcome.member_id, outcome
            if client.instance_id is not None:
                self.names[outcome.member_id] = client.instance_id
            ids = [member.member_id for member in outcome.members]
            assert len(set(ids)) == len(ids)
            assert bool(ids) == (outcome.leader == outcome.member_id)
            for member in outcome.members:
                if member.group_instance_id is not None:
                    self.names[member.member_id] = member.group_instance_id
            if ids:
                roster = frozenset(map(self.holder, ids))
                assert self.rosters.setdefault(outcome.generation_id, roster) == roster, "a generation has its members"
        else:
            assert isinstance(outcome, TailraceError)
            self.hear(client, outcome)

    def on_synced(self, client: Client, request: SyncGroup, outcome: object) -> None:
        if not isinstance(outcome, SyncedGroup):
            assert isinstance(outcome, TailraceError)
            self.hear(client, outcome)
            return
        assigned = self.assigned[request.generation_id]
        holder = self.holder(request.member_id)
        mine = {assignment for member_id, assignment in assigned.items() if self.holder(member_id) == holder}
        assert outcome.assignment in mine or (outcome.assignment == b"" and request.member_id not in assigned)
        if outcome.assignment:
            assert self.holders.setdefault(outcome.assignment, holder) == holder

    @invariant()
    def what_is_fetched_was_committed_last(self) -> None:
        fetched = self.groups.call(
            FetchOffsets(GROUP, None, -1, tuple((TOPIC, TOPIC_ID, partition) for partition in range(3)))
        )
        assert [each.offset for each in fetched.offsets] == [self.offsets.get(partition, -1) for partition in range(3)]

    @invariant()
    def the_log_says_what_the_shard_knows(self) -> None:
        described = self.described()
        if described is not None and described.state in ("Stable", "Empty"):
            lost = self.groups.shard
            shard = GroupShard(self.groups.options, self.groups.entropy, self.groups)
            for record in self.groups.log:
                shard.replay(record)
            self.groups.shard = shard
            loaded = self.described()
            offsets = self.groups.call(FetchOffsets(GROUP, None, -1, None))
            self.groups.shard = lost
            assert offsets == self.groups.call(FetchOffsets(GROUP, None, -1, None))
            # Of a group that never had a generation or an offset nothing is kept.
            assert loaded == described or (loaded is None and not self.offsets and not self.kept_generation_id)

    @invariant()
    def counts_are_true(self) -> None:
        described = self.described()
        counts = self.groups.shard.counts
        assert counts.offsets == len(self.offsets)
        assert counts.members == (0 if described is None else len(described.members))
        held = [group.members for group in self.groups.shard._groups.values()]
        members = [member for group in held for member in group.members.values()]
        pending = [member_id for group in held for member_id in group.pending_members]
        assert counts.pending_members == len(pending)
        assert counts.member_bytes == sum(member.held_bytes() for member in members) + sum(
            MEMBER_OVERHEAD_BYTES + len(member_id) for member_id in pending
        )
        for group in held:
            metadata = [min(len(said) for _, said in member.protocols) for member in group.members.values()]
            assert group.least_metadata_bytes == sum(metadata)
        states = {state: count for state, count in counts.groups.items() if count}
        assert states == ({} if described is None else {described.state: 1})

    @invariant()
    def who_waits_is_a_member(self) -> None:
        waiting = list(self.groups.waiting.values())
        described = self.described()
        ids = set() if described is None else {member.member_id for member in described.members}
        assert all(request.member_id in ids for request in waiting if request.member_id)
        assert len(waiting) <= len(ids)
        assert all(isinstance(request, JoinGroup | SyncGroup) for request in waiting)

    def teardown(self) -> None:
        self.groups.advance(LONG_MS)
        self.look()
        assert not self.groups.waiting, "each call is answered"
        described = self.described()
        assert described is None or described.state == "Empty"
        self.groups.restart()
        assert self.described() == described


TestGroupsMachine = GroupsMachine.TestCase
TestGroupsMachine.settings = settings(stateful_step_count=60)
