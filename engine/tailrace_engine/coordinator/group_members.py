"""Who is in a group, whom it waits for, and who waits for it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from tailrace_core.errors import FencedInstanceId, IllegalGeneration, TailraceError, UnknownMemberId
from tailrace_engine.coordinator.deadlines import Deadline, Deadlines
from tailrace_engine.coordinator.decision import Now
from tailrace_engine.coordinator.group_parts import (
    MEMBER_OVERHEAD_BYTES,
    Draft,
    GroupCounts,
    Member,
    least_metadata_bytes,
)


class GroupMembers(ABC):
    """The members of a group, their sessions and their tickets."""

    def __init__(self, group_id: str, deadlines: Deadlines, draft: Draft, counts: GroupCounts) -> None:
        self.group_id = group_id
        self.generation_id = 0
        self.leader: str | None = None
        self.members: dict[str, Member] = {}
        """By id, in the order in which they came."""
        self.static_members: dict[str, str] = {}
        """Member ids by group instance id."""
        self.pending_members: dict[str, Deadline] = {}
        """Ids that were given out and have not joined yet (KIP-394)."""
        self.pending_syncs: dict[str, None] = {}
        """Members that have not synced in this generation."""
        self.supporters: dict[str, int] = {}
        """How many members support a protocol, by its name."""
        self.least_metadata_bytes = 0
        """Of what the members say of themselves, so much stands in each record of the group."""
        self.waiting_joins = 0
        """Members with a join ticket."""
        self._deadlines = deadlines
        self._draft = draft
        self._counts = counts

    @abstractmethod
    def _on_session_end(self, member_id: str, now: Now) -> None:
        """Nothing was heard of the member for its session timeout."""

    def check_generation(self, member_id: str, instance_id: str | None, generation_id: int) -> TailraceError | None:
        """UnknownMemberId, FencedInstanceId, IllegalGeneration."""
        error = self._check_member(member_id, instance_id)
        if error is None and generation_id != self.generation_id:
            return IllegalGeneration(f"{generation_id=} but group {self.group_id} is at {self.generation_id}")
        return error

    def _check_member(self, member_id: str, group_instance_id: str | None) -> TailraceError | None:
        if group_instance_id is not None:
            holder = self.static_members.get(group_instance_id)
            if holder is not None and holder != member_id:
                return FencedInstanceId(f"another member joined as {group_instance_id}")
            if holder is None:
                return UnknownMemberId(f"no member of group {self.group_id} is {group_instance_id}")
        if member_id not in self.members:
            return UnknownMemberId(f"group {self.group_id} has no member {member_id!r}")
        return None

    def _insert(
        self,
        member_id: str,
        group_instance_id: str | None,
        client_id: str,
        client_host: str,
        rebalance_timeout_ms: int,
        session_timeout_ms: int,
        protocols: tuple[tuple[str, bytes], ...],
    ) -> Member:
        session = Deadline(lambda now: self._on_session_end(member_id, now))
        member = self.members[member_id] = Member(
            member_id,
            group_instance_id,
            client_id,
            client_host,
            rebalance_timeout_ms,
            session_timeout_ms,
            protocols,
            session,
        )
        if group_instance_id is not None:
            self.static_members[group_instance_id] = member_id
        self._counts.members += 1
        self._count(member, 1)
        return member

    def _count(self, member: Member, change: int) -> None:
        """Take a member into the sums (1), or out of them (-1): also before and after a change of what it says."""
        self._counts.member_bytes += change * member.held_bytes()
        self.least_metadata_bytes += change * least_metadata_bytes(member.protocols)
        for name in dict(member.protocols):
            self.supporters[name] = self.supporters.get(name, 0) + change
            if not self.supporters[name]:
                del self.supporters[name]

    def _set_assignment(self, member: Member, assignment: bytes) -> None:
        self._counts.member_bytes += len(assignment) - len(member.assignment)
        member.assignment = assignment

    def _touch(self, member: Member, now: Now) -> None:
        self._deadlines.set(member.session, now.steady_ms + member.session_timeout_ms)

    def _remove(self, member: Member) -> None:
        """The member is gone. What waits for it is answered with UnknownMemberId: if it lives, it joins anew."""
        error = UnknownMemberId("the member was removed from the group")
        self._answer_join(member, error)
        self._answer_sync(member, error)
        self._forget(member)
        if self.leader == member.member_id:
            self.leader = next(iter(self.members), None)

    def _forget(self, member: Member) -> None:
        del self.members[member.member_id]
        self.pending_syncs.pop(member.member_id, None)
        if member.group_instance_id is not None:
            del self.static_members[member.group_instance_id]
        self._deadlines.clear(member.session)
        self._counts.members -= 1
        self._count(member, -1)

    def _answer_join(self, member: Member, outcome: Any) -> None:
        if member.join_ticket is not None:
            self._draft.answer(member.join_ticket, outcome)
            member.join_ticket = None
            self.waiting_joins -= 1

    def _answer_sync(self, member: Member, outcome: Any) -> bool:
        if member.sync_ticket is None:
            return False
        self._draft.answer(member.sync_ticket, outcome)
        member.sync_ticket = None
        return True

    def _expect(self, member_id: str, deadline: Deadline, due_ms: int) -> None:
        """The id is given out; who has it is to join before the deadline."""
        self.pending_members[member_id] = deadline
        self._deadlines.set(deadline, due_ms)
        self._counts.pending_members += 1
        self._counts.member_bytes += MEMBER_OVERHEAD_BYTES + len(member_id)

    def _forget_pending(self, member_id: str) -> None:
        self._deadlines.clear(self.pending_members.pop(member_id))
        self._counts.pending_members -= 1
        self._counts.member_bytes -= MEMBER_OVERHEAD_BYTES + len(member_id)
