"""All groups of one partition of __consumer_offsets: who is asked, what is kept, what time brings.

Of a group there is what its members agree on (ClassicGroup) and what they committed (GroupOffsets). A group comes into
being when a member joins or an offset is committed, and goes when it is deleted, or empty with nothing committed.

Offsets are looked over group by group: a group's look is due when the first of its offsets may go, and then not again
before offsets.retention.check.interval.ms have passed. That is by the wall clock, as the log has it. A jump of it is
noticed with the next request, or within WALL_CLOCK_CHECK_MS.

What forgets many offsets does so in steps, the first of which is the decision itself and the others calls of expire.
Meanwhile a group that is being deleted takes no members and no commits.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final

from tailrace_core import limits
from tailrace_core.errors import (
    CoordinatorLoadInProgress,
    CoordinatorNotAvailable,
    GroupIdNotFound,
    GroupMaxSizeReached,
    GroupSubscribedToTopic,
    IllegalGeneration,
    InvalidGroupId,
    InvalidSessionTimeout,
    NonEmptyGroup,
    TailraceError,
    UnknownMemberId,
)
from tailrace_core.ids import TopicId
from tailrace_core.ports import Entropy
from tailrace_engine.coordinator.classic_group import ClassicGroup
from tailrace_engine.coordinator.deadlines import NEVER, Deadline, Deadlines
from tailrace_engine.coordinator.decision import Decision, Now, Record, Ticket
from tailrace_engine.coordinator.group_messages import (
    ONE_COMMITTED,
    CommitOffsets,
    CommittedOffsets,
    DeletedOffsets,
    DeleteGroup,
    DeleteOffsets,
    DescribeGroup,
    FetchedOffsets,
    FetchOffsets,
    Heartbeat,
    JoinGroup,
    LeaveGroup,
    LeftGroup,
    ListedGroup,
    ListGroups,
    SyncGroup,
    TopicsDeleted,
)
from tailrace_engine.coordinator.group_parts import (
    EMPTY,
    Draft,
    GroupCounts,
    GroupOptions,
    Room,
    joining_bytes,
    least_metadata_bytes,
    protocols_bytes,
)
from tailrace_engine.coordinator.offsets import GroupOffsets, commit_record, expiry_ms, nothing_committed
from tailrace_engine.coordinator.records import (
    OffsetCommitKey,
    OffsetCommitValue,
    group_metadata_key,
    offset_commit_key,
    read_group_metadata_key,
    read_group_metadata_value,
    read_offset_commit_key,
    read_offset_commit_value,
)

CLASSIC: Final = "classic"

RECORDS_PER_EXPIRY_MAX: Final = 1_000
"""Records of one call of expire, after which it asks to be called again: so that they fit into a batch."""
DEADLINES_PER_EXPIRY_MAX: Final = 200
"""Deadlines of one call of expire, for the sake of the loop."""
FORGOTTEN_AT_ONCE: Final = 200
"""Groups and offsets that one step of a deletion looks at: a millisecond or two, with what the owner does with them."""
WALL_CLOCK_CHECK_MS: Final = 60_000
_MINUTE_MS: Final = 60_000


class _Group:
    """A group: its members, its offsets, and when those are looked over."""

    __slots__ = ("is_going", "members", "offsets", "retention")

    def __init__(self, members: ClassicGroup, offsets: GroupOffsets, retention: Deadline) -> None:
        self.members = members
        self.offsets = offsets
        self.retention = retention
        self.is_going = False
        """It is being deleted."""


class GroupShard:
    """The Shard (see decision.py) of consumer groups. Requests are those of group_messages.py."""

    def __init__(self, options: GroupOptions, entropy: Entropy, room: Room) -> None:
        self.counts: Final = GroupCounts()
        """How much there is, for metrics."""
        self._options = options
        self._entropy = entropy
        self._room = room
        self._deadlines = Deadlines()
        """Of members and rebalances; steady."""
        self._looks = Deadlines()
        """When groups are looked over; by the wall clock."""
        self._deletions: deque[Iterator[None]] = deque()
        """Those that are not done. Each gives None for whatever it has looked at."""
        self._draft = Draft()
        self._groups: dict[str, _Group] = {}
        self._retention_ms = options.offsets_retention_minutes * _MINUTE_MS
        self._handlers: dict[type, Callable[[Any, Ticket, Now], None]] = {
            JoinGroup: self._join,
            SyncGroup: self._sync,
            Heartbeat: self._heartbeat,
            LeaveGroup: self._leave,
            CommitOffsets: self._commit_offsets,
            FetchOffsets: self._fetch_offsets,
            DeleteOffsets: self._delete_offsets,
            DescribeGroup: self._describe,
            ListGroups: self._list,
            DeleteGroup: self._delete,
            TopicsDeleted: self._topics_deleted,
        }

    # --- The shard ---

    def decide(self, request: Any, ticket: Ticket, now: Now) -> Decision:
        """See Shard."""
        self._handlers[type(request)](request, ticket, now)
        return self._draft.take()

    def replay(self, record: Record) -> None:
        """See Shard. Raises DecodeError when a record of a known kind cannot be read."""
        decoded = record.decoded
        if decoded is not None:
            self._replay_offset(*decoded)
            return
        offset_key = read_offset_commit_key(record.key)
        if offset_key is not None:
            if record.value is None:
                self._replay_tombstone(offset_key)
            elif (value := read_offset_commit_value(record.value)) is not None:
                self._replay_offset(offset_key, value)
            return
        group_key = read_group_metadata_key(record.key)
        if group_key is not None:
            self._replay_group(group_key.group, record.value)

    def on_loaded(self, now: Now) -> Decision:
        """See Shard."""
        for group in self._groups.values():
            group.members.on_loaded(now)
        return self._draft.take()

    def expire(self, now: Now) -> Decision:
        """See Shard. What does not fit into this decision is due at once."""
        for _ in range(DEADLINES_PER_EXPIRY_MAX):
            deadline = self._deadlines.pop_due(now.steady_ms) or self._looks.pop_due(now.wall_ms)
            if deadline is None:
                break
            deadline.act(now)
            if len(self._draft.records) >= RECORDS_PER_EXPIRY_MAX:
                break
        if self._deletions and not self._draft.records:
            self._forget_some(self._deletions.popleft())
        return self._draft.take()

    def next_deadline_ms(self, now: Now) -> int | None:
        """See Shard."""
        if self._deletions:
            return now.steady_ms
        deadline_ms = self._deadlines.next_ms()
        look_ms = self._looks.next_ms()
        if look_ms is None:
            return deadline_ms
        ahead_ms = look_ms - now.wall_ms
        look_ms = now.steady_ms + (ahead_ms if ahead_ms < WALL_CLOCK_CHECK_MS else WALL_CLOCK_CHECK_MS)
        return look_ms if deadline_ms is None or look_ms < deadline_ms else deadline_ms

    # --- Members ---

    def _join(self, request: JoinGroup, ticket: Ticket, now: Now) -> None:
        error = self._refusal_of_join(request)
        if error is not None:
            self._draft.answer(ticket, error)
            return
        suffix = str(uuid.UUID(bytes=self._entropy.bytes(16), version=4)) if request.member_id == "" else ""
        group = self._group(request.group_id)
        group.members.join(request, suffix, ticket, now)
        if group.retention.due_ms == NEVER:
            self._looks.set(group.retention, now.wall_ms + self._options.offsets_retention_check_interval_ms)

    def _refusal_of_join(self, request: JoinGroup) -> TailraceError | None:
        options = self._options
        if request.group_id == "":
            return InvalidGroupId("a group id is not empty")
        if not options.session_timeout_ms_min <= request.session_timeout_ms <= options.session_timeout_ms_max:
            return InvalidSessionTimeout(
                f"{request.session_timeout_ms} ms, allowed are {options.session_timeout_ms_min} to "
                f"{options.session_timeout_ms_max}"
            )
        group = self._groups.get(request.group_id)
        if group is None:
            return _no_member(request.group_id) if request.member_id != "" else self._refusal_of_size(request, None)
        return _is_going(request.group_id) if group.is_going else self._refusal_of_size(request, group.members)

    def _refusal_of_size(self, request: JoinGroup, members: ClassicGroup | None) -> TailraceError | None:
        """What a member says stays in memory as long as its session: refused is what no record could keep later on, and
        what is more than there is room for. Who joins again without saying more is never refused."""
        member = None if members is None else members.member_of(request)
        record_bytes = least_metadata_bytes(request.protocols)
        more_bytes = joining_bytes(request)
        if member is not None:
            if protocols_bytes(request.protocols) <= protocols_bytes(member.protocols):
                return None
            record_bytes -= least_metadata_bytes(member.protocols)
            more_bytes -= member.held_bytes()
        if members is not None:
            record_bytes += members.least_metadata_bytes
        record_bytes_max = self._room.record_bytes_max()
        if record_bytes > record_bytes_max:
            return GroupMaxSizeReached(
                f"with this member, group {request.group_id} would have {record_bytes} bytes of metadata, and a record "
                f"of {record_bytes_max} has to keep it"
            )
        counts = list(self._room.counts())
        if sum(each.member_bytes for each in counts) + more_bytes > self._options.member_bytes_max:
            return CoordinatorNotAvailable(f"members of groups take {self._options.member_bytes_max} bytes already")
        if (
            request.member_id == ""
            and request.requires_known_member_id
            and request.group_instance_id is None
            and sum(each.pending_members for each in counts) >= limits.PENDING_MEMBERS_MAX
        ):
            return CoordinatorNotAvailable("too many members have been given an id and have not joined yet")
        return None

    def _sync(self, request: SyncGroup, ticket: Ticket, now: Now) -> None:
        group = self._members_of(request.group_id, ticket)
        if group is not None:
            group.sync(request, ticket, now)

    def _heartbeat(self, request: Heartbeat, ticket: Ticket, now: Now) -> None:
        group = self._members_of(request.group_id, ticket)
        if group is not None:
            group.heartbeat(request, ticket, now)

    def _members_of(self, group_id: str, ticket: Ticket) -> ClassicGroup | None:
        """The group of a member's request; answers it when there is none."""
        group = self._groups.get(group_id)
        if group is not None:
            return group.members
        self._draft.answer(ticket, _no_member(group_id) if group_id else InvalidGroupId("a group id is not empty"))
        return None

    def _leave(self, request: LeaveGroup, ticket: Ticket, now: Now) -> None:
        group = self._groups.get(request.group_id)
        if group is not None:
            group.members.leave(request, ticket, now)
        elif request.group_id == "":
            self._draft.answer(ticket, InvalidGroupId("a group id is not empty"))
        else:
            error = _no_member(request.group_id)
            self._draft.answer(ticket, LeftGroup(tuple((leaving, error) for leaving in request.members)))

    # --- Offsets ---

    def _commit_offsets(self, request: CommitOffsets, ticket: Ticket, now: Now) -> None:
        group = self._groups.get(request.group_id)
        error = _refusal_of_commit(request, group)
        if error is not None:
            self._draft.answer(ticket, error)
            return
        if group is not None:
            group.members.touch(request.member_id, now)
        errors: list[TailraceError | None] = []
        for offset in request.offsets:
            record = commit_record(request, offset, self._options, now)
            if isinstance(record, Record):
                self._draft.records.append(record)
                errors.append(None)
            else:
                errors.append(record)
        self._draft.answer(ticket, ONE_COMMITTED if errors == [None] else CommittedOffsets(tuple(errors)))

    def _fetch_offsets(self, request: FetchOffsets, ticket: Ticket, now: Now) -> None:
        group = self._groups.get(request.group_id)
        if request.partitions is None:
            offsets = () if group is None else group.offsets.fetch_all()
        else:
            fetch = nothing_committed if group is None else group.offsets.fetch
            offsets = tuple(fetch(topic_name, topic_id, number) for topic_name, topic_id, number in request.partitions)
        self._draft.answer(ticket, FetchedOffsets(offsets))

    def _delete_offsets(self, request: DeleteOffsets, ticket: Ticket, now: Now) -> None:
        group = self._groups.get(request.group_id)
        error = _not_found(request.group_id) if group is None else group.members.refusal_of_offset_deletion()
        if group is None or error is not None:
            self._draft.answer(ticket, error)
            return
        errors: list[TailraceError | None] = []
        for topic_name, partition in request.partitions:
            if group.members.is_subscribed_to(topic_name):
                errors.append(GroupSubscribedToTopic(f"members of group {request.group_id} read {topic_name}"))
                continue
            if group.offsets.get(topic_name, partition) is not None:
                self._forget(request.group_id, topic_name, partition)
            errors.append(None)
        self._draft.answer(ticket, DeletedOffsets(tuple(errors)))

    def _topics_deleted(self, request: TopicsDeleted, ticket: Ticket, now: Now) -> None:
        self._forget_some(self._forget_topics(request.topics, ticket))

    def _forget_topics(self, topics: tuple[tuple[str, TopicId], ...], ticket: Ticket) -> Iterator[None]:
        for group_id, group in list(self._groups.items()):
            yield
            for topic_name, topic_id in topics:
                for partition in group.offsets.of_topic(topic_name, topic_id):
                    self._forget(group_id, topic_name, partition)
                    yield
        self._draft.answer(ticket, None)

    def _forget_some(self, deletion: Iterator[None]) -> None:
        """One step of a deletion; the others are up to expire."""
        if sum(1 for _ in islice(deletion, FORGOTTEN_AT_ONCE)) == FORGOTTEN_AT_ONCE:
            self._deletions.append(deletion)

    def _forget(self, group_id: str, topic_name: str, partition: int) -> None:
        self._draft.records.append(Record(offset_commit_key(group_id, topic_name, partition), None))

    # --- Groups ---

    def _describe(self, request: DescribeGroup, ticket: Ticket, now: Now) -> None:
        group = self._groups.get(request.group_id)
        self._draft.answer(ticket, _not_found(request.group_id) if group is None else group.members.describe())

    def _list(self, request: ListGroups, ticket: Ticket, now: Now) -> None:
        states = {state.lower() for state in request.states}
        types = {group_type.lower() for group_type in request.types}
        listed = tuple(
            ListedGroup(group_id, group.members.protocol_type, group.members.state, CLASSIC)
            for group_id, group in self._groups.items()
            if (not states or group.members.state.lower() in states) and (not types or CLASSIC in types)
        )
        self._draft.answer(ticket, listed)

    def _delete(self, request: DeleteGroup, ticket: Ticket, now: Now) -> None:
        group = self._groups.get(request.group_id)
        if group is None:
            self._draft.answer(ticket, _not_found(request.group_id))
        elif group.members.state != EMPTY:
            self._draft.answer(ticket, NonEmptyGroup(f"group {request.group_id} has members"))
        elif group.is_going:
            self._draft.answer(ticket, _is_going(request.group_id))
        else:
            group.is_going = True
            self._looks.clear(group.retention)
            self._forget_some(self._forget_group(request.group_id, group.offsets, ticket))

    def _forget_group(self, group_id: str, offsets: GroupOffsets, ticket: Ticket) -> Iterator[None]:
        for topic_name in offsets.topic_names():
            for partition in offsets.partitions(topic_name):
                self._forget(group_id, topic_name, partition)
                yield
        self._draft.records.append(Record(group_metadata_key(group_id), None))
        self._draft.answer(ticket, None)

    def _group(self, group_id: str) -> _Group:
        """The group, a new one if need be."""
        group = self._groups.get(group_id)
        if group is None:
            members = ClassicGroup(group_id, self._options, self._deadlines, self._draft, self.counts)
            retention = Deadline(lambda now: self._look_over(group_id, now))
            group = self._groups[group_id] = _Group(members, GroupOffsets(self.counts), retention)
        return group

    # --- What is kept ---

    def _replay_tombstone(self, key: OffsetCommitKey) -> None:
        group = self._groups.get(key.group)
        if group is not None:
            group.offsets.forget(key.topic, key.partition)

    def _replay_offset(self, key: OffsetCommitKey, value: OffsetCommitValue) -> None:
        group = self._group(key.group)
        group.offsets.put(key.topic, key.partition, value)
        own_expiry_ms = value.expire_timestamp
        due_ms = own_expiry_ms if own_expiry_ms != -1 else value.commit_timestamp + self._retention_ms
        if due_ms < group.retention.due_ms:
            self._looks.set(group.retention, due_ms)

    def _replay_group(self, group_id: str, record_value: bytes | None) -> None:
        if record_value is None:
            group = self._groups.pop(group_id, None)
            if group is not None:
                group.members.on_removed()
                self._looks.clear(group.retention)
                for topic_name, partition, _ in list(group.offsets):
                    group.offsets.forget(topic_name, partition)
            return
        value = read_group_metadata_value(record_value)
        if value is None:
            return
        group = self._group(group_id)
        group.members.apply(value)
        due_ms = value.current_state_timestamp + self._options.offsets_retention_check_interval_ms
        if due_ms < group.retention.due_ms:
            self._looks.set(group.retention, due_ms)

    def _look_over(self, group_id: str, now: Now) -> None:
        """Forget the offsets whose time has come, and the group when nothing is left of it."""
        group = self._groups[group_id]
        next_look_ms: int | None = None
        kept = 0
        for topic_name, partition, value in group.offsets:
            due_ms = expiry_ms(group.members, value, self._options)
            if due_ms is not None and due_ms <= now.wall_ms and not group.members.is_subscribed_to(topic_name):
                if len(self._draft.records) >= RECORDS_PER_EXPIRY_MAX:
                    self._looks.set(group.retention, now.wall_ms)
                    return
                self._forget(group_id, topic_name, partition)
                continue
            kept += 1
            if due_ms is not None and (next_look_ms is None or due_ms < next_look_ms):
                next_look_ms = due_ms
        if not kept and group.members.state == EMPTY and not group.members.pending_members:
            self._draft.records.append(Record(group_metadata_key(group_id), None))
            return
        soonest_ms = now.wall_ms + self._options.offsets_retention_check_interval_ms
        self._looks.set(group.retention, max(soonest_ms, next_look_ms or 0))


def _refusal_of_commit(request: CommitOffsets, group: _Group | None) -> TailraceError | None:
    if group is not None:
        if group.is_going:
            return _is_going(request.group_id)
        return group.members.refusal_of_commit(request.generation_id, request.member_id, request.group_instance_id)
    if request.generation_id < 0:
        return None
    if request.missing_group_is_illegal_generation:
        return IllegalGeneration(f"there is no group {request.group_id}")
    return _not_found(request.group_id)


def _is_going(group_id: str) -> CoordinatorLoadInProgress:
    return CoordinatorLoadInProgress(f"group {group_id} is being deleted")


def _not_found(group_id: str) -> GroupIdNotFound:
    return GroupIdNotFound(f"there is no group {group_id}")


def _no_member(group_id: str) -> UnknownMemberId:
    return UnknownMemberId(f"there is no group {group_id}")
