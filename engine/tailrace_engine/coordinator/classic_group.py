"""A classic group: members that agree on a protocol, and a leader among them that assigns.

    Empty ──join──> PreparingRebalance ──all joined, or time is up──> CompletingRebalance ──leader syncs──> Stable
      ^                 ^     │                                          │                                   │
      └── all are gone ─┼─────┘<── join, leave, a session that ended ────┴───────────────────────────────────┘

A rebalance lives in memory alone. Two things are kept: the generation with its members and assignments when the leader
has synced, and the generation that ended empty. So a coordinator that is loaded again is back in the last generation
that was complete, and its members go on if they have not moved either. A record says all of the group; `apply` makes
the group what the record says, and leaves the sessions of its members alone.

The order of members is the order in which they came, so that equal inputs elect and vote alike.

Rules: KIP-62 (two timeouts), KIP-134 (initial delay), KIP-345 (static members), KIP-394 (the member id comes first),
KIP-814 (skip the assignment); where those are silent, Apache Kafka 4.3.
"""

from __future__ import annotations

from tailrace_core.errors import (
    FencedInstanceId,
    GroupMaxSizeReached,
    InconsistentGroupProtocol,
    MemberIdRequired,
    NonEmptyGroup,
    RebalanceInProgress,
    TailraceError,
    UnknownMemberId,
)
from tailrace_core.limits import MEMBER_NAME_CHARACTERS_MAX
from tailrace_engine.coordinator.deadlines import Deadline, Deadlines
from tailrace_engine.coordinator.decision import Now, Record, Ticket
from tailrace_engine.coordinator.group_members import GroupMembers
from tailrace_engine.coordinator.group_messages import (
    DescribedGroup,
    DescribedMember,
    Heartbeat,
    JoinedGroup,
    JoinedMember,
    JoinGroup,
    LeaveGroup,
    LeavingMember,
    LeftGroup,
    SyncedGroup,
    SyncGroup,
)
from tailrace_engine.coordinator.group_parts import (
    COMPLETING_REBALANCE,
    CONSUMER,
    DEAD,
    EMPTY,
    NEW_MEMBER_JOIN_TIMEOUT_MS,
    PREPARING_REBALANCE,
    STABLE,
    Draft,
    GroupCounts,
    GroupOptions,
    Member,
    elected_protocol,
    kept_member,
    rebalance_timeout_ms,
    subscriptions,
)
from tailrace_engine.coordinator.records import (
    GroupMetadataValue,
    group_metadata_record,
)


class ClassicGroup(GroupMembers):
    """The state of one group and its rules. Decisions go into the shard's draft."""

    def __init__(
        self, group_id: str, options: GroupOptions, deadlines: Deadlines, draft: Draft, counts: GroupCounts
    ) -> None:
        super().__init__(group_id, deadlines, draft, counts)
        self.state = EMPTY
        self.state_timestamp_ms = -1
        """When it came into this state, by the wall clock; -1 when that is not known."""
        self.protocol_type = ""
        """"" of a group that only keeps offsets."""
        self.protocol_name: str | None = None
        self.topics: frozenset[str] | None = None
        """What the members of type "consumer" subscribe to; None when that is not known."""
        self._options = options
        self._rebalance = Deadline(self._on_rebalance_deadline)
        """In PreparingRebalance: when the join ends. In the states after: when members must have synced."""
        self._initial_rebalance = False
        """The rebalance began in an empty group: it ends by time alone."""
        self._extended_until_ms = 0
        """The initial rebalance is not extended beyond; steady."""
        self._member_arrived = False
        """Somebody joined since the initial rebalance was last extended."""
        counts.groups[EMPTY] += 1

    # --- Join ---

    def join(self, request: JoinGroup, member_id_suffix: str, ticket: Ticket, now: Now) -> None:
        """A member joins, or joins again; it is answered when the others have, too."""
        error = self._refusal_of_join(request)
        if error is not None:
            self._draft.answer(ticket, error)
        elif request.member_id == "":
            self._join_new(request, member_id_suffix, ticket, now)
        elif request.member_id in self.pending_members and request.group_instance_id is None:
            self._add_member(request.member_id, request, ticket, now)
        else:
            self._join_again(request, ticket, now)

    def _refusal_of_join(self, request: JoinGroup) -> TailraceError | None:
        member = self.members.get(request.member_id)
        if self.state == PREPARING_REBALANCE:
            # Those who wait are counted: more members than may be can only be left out by not letting them rejoin.
            full = self.waiting_joins >= self._options.members_max
            accepted = member is not None and member.join_ticket is not None
        else:
            full = self.state != EMPTY and len(self.members) >= self._options.members_max
            accepted = member is not None
        if full and not accepted:
            if member is not None:
                self._remove(member)
            elif request.member_id in self.pending_members:
                self._forget_pending(request.member_id)
            return GroupMaxSizeReached(f"group {self.group_id} has {self._options.members_max} members already")
        if not self._supports(request):
            return InconsistentGroupProtocol(
                f"the members of group {self.group_id} have no protocol of type {request.protocol_type!r} in common "
                "with this one"
            )
        return None

    def member_of(self, request: JoinGroup) -> Member | None:
        """The member that joins again, under its own id or a new one."""
        member_id = request.member_id
        if member_id == "" and request.group_instance_id is not None:
            member_id = self.static_members.get(request.group_instance_id, "")
        return self.members.get(member_id)

    def _supports(self, request: JoinGroup) -> bool:
        if self.state == EMPTY or not self.members:
            return bool(request.protocol_type and request.protocols)
        if request.protocol_type != self.protocol_type:
            return False
        return any(self.supporters.get(name) == len(self.members) for name, _ in request.protocols)

    def _join_new(self, request: JoinGroup, suffix: str, ticket: Ticket, now: Now) -> None:
        instance_id = request.group_instance_id
        if instance_id is not None:
            member_id = f"{instance_id[:MEMBER_NAME_CHARACTERS_MAX]}-{suffix}"
            old_member_id = self.static_members.get(instance_id)
            if old_member_id is None:
                self._add_member(member_id, request, ticket, now)
            else:
                self._replace_static(self.members[old_member_id], member_id, request, ticket, now)
            return
        member_id = f"{request.client_id[:MEMBER_NAME_CHARACTERS_MAX]}-{suffix}"
        if not request.requires_known_member_id:
            self._add_member(member_id, request, ticket, now)
            return
        deadline = Deadline(lambda now: self._on_never_joined(member_id, now))
        self._expect(member_id, deadline, now.steady_ms + request.session_timeout_ms)
        self._draft.answer(ticket, MemberIdRequired("join again with this member id", member_id))

    def _join_again(self, request: JoinGroup, ticket: Ticket, now: Now) -> None:
        error = self._check_member(request.member_id, request.group_instance_id)
        if error is not None:
            self._draft.answer(ticket, error)
            return
        member = self.members[request.member_id]
        unchanged = member.protocols == request.protocols
        if self.state == COMPLETING_REBALANCE and unchanged:
            # The answer to its first call may have been lost.
            self._draft.answer(ticket, self._joined(member))
        elif self.state == STABLE and unchanged and member.member_id != self.leader:
            self._draft.answer(ticket, self._joined(member))
        else:
            self._update(member, request, ticket)
            self._rebalance_or_complete_join(now)

    def _add_member(self, member_id: str, request: JoinGroup, ticket: Ticket, now: Now) -> None:
        if self.state == PREPARING_REBALANCE and self._initial_rebalance:
            self._member_arrived = True
        if not self.members:
            self.protocol_type = request.protocol_type
        if self.leader is None:
            self.leader = member_id
        if member_id in self.pending_members:
            self._forget_pending(member_id)
        member = self._insert(
            member_id,
            request.group_instance_id,
            request.client_id,
            request.client_host,
            request.rebalance_timeout_ms,
            request.session_timeout_ms,
            request.protocols,
        )
        member.is_new = True
        member.join_ticket = ticket
        self.waiting_joins += 1
        self._deadlines.set(member.session, now.steady_ms + NEW_MEMBER_JOIN_TIMEOUT_MS)
        self._rebalance_or_complete_join(now)

    def _update(self, member: Member, request: JoinGroup, ticket: Ticket) -> None:
        self._count(member, -1)
        member.protocols = request.protocols
        self._count(member, 1)
        member.rebalance_timeout_ms = request.rebalance_timeout_ms
        member.session_timeout_ms = request.session_timeout_ms
        self._answer_join(member, RebalanceInProgress("the member has joined once more"))
        member.join_ticket = ticket
        self.waiting_joins += 1

    def _replace_static(self, old: Member, member_id: str, request: JoinGroup, ticket: Ticket, now: Now) -> None:
        """A static member came back without its member id: it takes the place of what it was."""
        old_leader = self.leader
        self._fence(old)
        self._forget(old)
        member = self._insert(
            member_id,
            old.group_instance_id,
            old.client_id,
            old.client_host,
            old.rebalance_timeout_ms,
            old.session_timeout_ms,
            old.protocols,
        )
        self._set_assignment(member, old.assignment)
        if old_leader == old.member_id:
            self.leader = member_id
        self._touch(member, now)
        self._update(member, request, ticket)
        if self.state == COMPLETING_REBALANCE:
            # The leader may be assigning to the old id already.
            self._prepare_rebalance(now)
        elif self.state == PREPARING_REBALANCE:
            self._maybe_complete_join(now)
        elif elected_protocol(self.members, self.supporters) != self.protocol_name:
            self._rebalance_or_complete_join(now)
        else:
            self._draft.records.append(self.record())
            joined = self._joined(member)
            if request.supports_skipping_assignment:
                joined = joined._replace(skip_assignment=self.leader == member_id)
            else:
                # It must not take itself for the leader: it would assign anew.
                joined = joined._replace(leader=old_leader or "", members=())
            self._answer_join(member, joined)

    def _fence(self, member: Member) -> None:
        error = FencedInstanceId(f"another member joined as {member.group_instance_id}")
        self._answer_join(member, error)
        self._answer_sync(member, error)

    # --- The rebalance ---

    def _rebalance_or_complete_join(self, now: Now) -> None:
        if self.state == PREPARING_REBALANCE:
            self._maybe_complete_join(now)
        else:
            self._prepare_rebalance(now)

    def _prepare_rebalance(self, now: Now) -> None:
        if self.state == COMPLETING_REBALANCE:
            for member in self.members.values():
                self._set_assignment(member, b"")
                if self._answer_sync(member, RebalanceInProgress("the group rebalances")):
                    self._touch(member, now)
        self.pending_syncs.clear()
        self._deadlines.clear(self._rebalance)
        self._initial_rebalance = self.state == EMPTY
        self._become(PREPARING_REBALANCE, now.wall_ms)
        if self._initial_rebalance:
            self._member_arrived = False
            self._extended_until_ms = now.steady_ms + max(
                rebalance_timeout_ms(self.members), self._options.initial_rebalance_delay_ms
            )
            self._deadlines.set(self._rebalance, now.steady_ms + self._options.initial_rebalance_delay_ms)
        elif self._all_joined():
            self._complete_join(now)
        else:
            self._deadlines.set(self._rebalance, now.steady_ms + rebalance_timeout_ms(self.members))

    def _maybe_complete_join(self, now: Now) -> None:
        if self.state == PREPARING_REBALANCE and not self._initial_rebalance and self._all_joined():
            self._complete_join(now)

    def _all_joined(self) -> bool:
        return self.waiting_joins == len(self.members) and not self.pending_members

    def _complete_join(self, now: Now) -> None:
        """Those who joined are the next generation, with the static members that are still counted on."""
        self._deadlines.clear(self._rebalance)
        for member in list(self.members.values()):
            if member.join_ticket is None and member.group_instance_id is None:
                self._remove(member)
        if self.members and not self._elect_leader():
            # Only static members are left, and none of them has come back: their sessions decide.
            self._deadlines.set(self._rebalance, now.steady_ms + rebalance_timeout_ms(self.members))
            return
        self.generation_id += 1
        if not self.members:
            self.protocol_name = None
            self.topics = frozenset()
            self._become(EMPTY, now.wall_ms)
            self._draft.records.append(self.record())
            return
        self.protocol_name = elected_protocol(self.members, self.supporters)
        self.topics = subscriptions(self.members, self.protocol_type, self.protocol_name)
        self._become(COMPLETING_REBALANCE, now.wall_ms)
        for member in self.members.values():
            self._answer_join(member, self._joined(member))
            self._touch(member, now)
            member.is_new = False
            self.pending_syncs[member.member_id] = None
        self._deadlines.set(self._rebalance, now.steady_ms + rebalance_timeout_ms(self.members))

    def _on_rebalance_deadline(self, now: Now) -> None:
        if self.state == PREPARING_REBALANCE:
            if self._initial_rebalance and self._member_arrived and now.steady_ms < self._extended_until_ms:
                self._member_arrived = False
                delayed_ms = now.steady_ms + self._options.initial_rebalance_delay_ms
                self._deadlines.set(self._rebalance, min(delayed_ms, self._extended_until_ms))
            else:
                self._complete_join(now)
        elif self.state in (COMPLETING_REBALANCE, STABLE) and self.pending_syncs:
            for member_id in list(self.pending_syncs):
                self._remove(self.members[member_id])
            self._prepare_rebalance(now)

    def _elect_leader(self) -> bool:
        """False when nobody is there who could lead."""
        leader = self.members.get(self.leader or "")
        if leader is None or leader.join_ticket is None:
            joined = (member.member_id for member in self.members.values() if member.join_ticket is not None)
            elected = next(joined, None)
            if elected is None:
                return False
            self.leader = elected
        return True

    def _joined(self, member: Member) -> JoinedGroup:
        protocol_name = self.protocol_name or ""
        members: tuple[JoinedMember, ...] = ()
        if member.member_id == self.leader:
            members = tuple(
                JoinedMember(each.member_id, each.group_instance_id, each.metadata(protocol_name))
                for each in self.members.values()
            )
        return JoinedGroup(
            member.member_id, self.generation_id, self.protocol_type, protocol_name, self.leader or "", False, members
        )

    # --- Sync, heartbeat, leave ---

    def sync(self, request: SyncGroup, ticket: Ticket, now: Now) -> None:
        """A member asks for its assignment; the leader brings all of them."""
        error = self.check_generation(request.member_id, request.group_instance_id, request.generation_id)
        if error is None and (
            request.protocol_type not in (None, self.protocol_type)
            or (None not in (request.protocol_name, self.protocol_name) and request.protocol_name != self.protocol_name)
        ):
            error = InconsistentGroupProtocol(
                f"group {self.group_id} has protocol {self.protocol_name} of type {self.protocol_type}"
            )
        if error is None and self.state == PREPARING_REBALANCE:
            error = RebalanceInProgress("the group rebalances")
        if error is not None:
            self._draft.answer(ticket, error)
            return
        member = self.members[request.member_id]
        self.pending_syncs.pop(member.member_id, None)
        if self.state == STABLE:
            self._draft.answer(ticket, self._synced(member.assignment))
            return
        self._answer_sync(member, RebalanceInProgress("the member has synced once more"))
        member.sync_ticket = ticket
        if member.member_id == self.leader:
            self._assign(dict(request.assignments), now)

    def _assign(self, assignments: dict[str, bytes], now: Now) -> None:
        """The generation is complete: it is kept, and who waits hears of it."""
        self._draft.records.append(self.record(assignments, now))
        for member in self.members.values():
            if self._answer_sync(member, self._synced(assignments.get(member.member_id, b""))):
                # Its session may have ended while it waited, which did not count.
                self._touch(member, now)

    def _synced(self, assignment: bytes) -> SyncedGroup:
        return SyncedGroup(self.protocol_type, self.protocol_name or "", assignment)

    def heartbeat(self, request: Heartbeat, ticket: Ticket, now: Now) -> None:
        """A member is alive, and hears whether it must join again."""
        error = self.check_generation(request.member_id, request.group_instance_id, request.generation_id)
        if error is None:
            self._touch(self.members[request.member_id], now)
            if self.state == PREPARING_REBALANCE:
                error = RebalanceInProgress("the group rebalances")
        self._draft.answer(ticket, error)

    def leave(self, request: LeaveGroup, ticket: Ticket, now: Now) -> None:
        """Members leave, or are sent away by an administrator; then the rest rebalances, once."""
        outcomes = tuple((leaving, self._leave_one(leaving, now)) for leaving in request.members)
        self._draft.answer(ticket, LeftGroup(outcomes))
        if self.state != EMPTY and any(error is None for _, error in outcomes):
            self._rebalance_or_complete_join(now)

    def _leave_one(self, leaving: LeavingMember, now: Now) -> TailraceError | None:
        member_id, instance_id = leaving.member_id, leaving.group_instance_id
        if member_id in self.pending_members:
            self._forget_pending(member_id)
            return None
        if member_id == "" and instance_id is not None:
            member_id = self.static_members.get(instance_id, "")
        error = self._check_member(member_id, instance_id)
        if error is None:
            self._remove(self.members[member_id])
        return error

    # --- Members and their sessions ---

    def touch(self, member_id: str, now: Now) -> None:
        """The member was heard of: it committed offsets."""
        member = self.members.get(member_id)
        if member is not None and self.state in (STABLE, PREPARING_REBALANCE):
            self._touch(member, now)

    def _on_session_end(self, member_id: str, now: Now) -> None:
        member = self.members.get(member_id)
        if member is None or (not member.is_new and (member.join_ticket is not None or member.sync_ticket is not None)):
            return
        self._remove(member)
        if self.state == PREPARING_REBALANCE:
            self._complete_join_of_the_rest(now)
        else:
            self._prepare_rebalance(now)

    def _on_never_joined(self, member_id: str, now: Now) -> None:
        self._forget_pending(member_id)
        self._complete_join_of_the_rest(now)

    def _complete_join_of_the_rest(self, now: Now) -> None:
        """Nobody is waited for any more, the initial delay included."""
        if self.state == PREPARING_REBALANCE and self._all_joined():
            self._complete_join(now)

    # --- What is kept ---

    def record(self, assignments: dict[str, bytes] | None = None, now: Now | None = None) -> Record:
        """The group as it is to be kept: with new assignments from now on, or as it is."""
        protocol_name = self.protocol_name
        members = [
            kept_member(
                member,
                protocol_name or "",
                assignments.get(member.member_id, b"") if assignments is not None else member.assignment,
            )
            for member in self.members.values()
        ]
        value = GroupMetadataValue(
            protocol_type=self.protocol_type,
            generation=self.generation_id,
            protocol=protocol_name,
            leader=self.leader,
            current_state_timestamp=self.state_timestamp_ms if now is None else now.wall_ms,
            members=members,
        )
        return group_metadata_record(self.group_id, value)

    def apply(self, value: GroupMetadataValue) -> None:
        """Be the group that the record says. Nobody waits in the states that are kept."""
        assert not self.waiting_joins
        before, self.members = self.members, {}
        self._counts.members -= len(before)
        for member in before.values():
            self._count(member, -1)
        self.static_members.clear()
        for kept in value.members:
            known = before.get(kept.member_id)
            said = (value.protocol or "", bytes(kept.subscription))
            member = self._insert(
                kept.member_id,
                kept.group_instance_id,
                kept.client_id,
                kept.client_host,
                kept.rebalance_timeout if kept.rebalance_timeout != -1 else kept.session_timeout,
                kept.session_timeout,
                known.protocols if known is not None and said in known.protocols else (said,),
            )
            if known is not None:
                assert known.sync_ticket is None
                member.session = known.session
            self._set_assignment(member, bytes(kept.assignment))
        self.protocol_type = value.protocol_type
        self.generation_id = value.generation
        self.protocol_name = value.protocol
        self.leader = value.leader
        self.topics = subscriptions(self.members, self.protocol_type, self.protocol_name)
        self._become(STABLE if self.members else EMPTY, value.current_state_timestamp)

    def on_loaded(self, now: Now) -> None:
        """Sessions begin to run."""
        for member in self.members.values():
            self._touch(member, now)
        if len(self.members) > self._options.members_max:
            self._prepare_rebalance(now)

    def on_removed(self) -> None:
        """The group is deleted."""
        self._counts.groups[self.state] -= 1
        self._counts.members -= len(self.members)
        self.state = DEAD
        self._deadlines.clear(self._rebalance)
        for member_id in list(self.pending_members):
            self._forget_pending(member_id)
        for member in self.members.values():
            self._deadlines.clear(member.session)
            self._count(member, -1)

    def _become(self, state: str, timestamp_ms: int) -> None:
        self._counts.groups[self.state] -= 1
        self._counts.groups[state] += 1
        self.state = state
        self.state_timestamp_ms = timestamp_ms

    # --- What others ask ---

    def is_subscribed_to(self, topic_name: str) -> bool:
        """True also when that cannot be known."""
        return self.protocol_type == CONSUMER and (self.topics is None or topic_name in self.topics)

    def refusal_of_commit(self, generation_id: int, member_id: str, instance_id: str | None) -> TailraceError | None:
        """A generation below 0 without a member is from outside of the group, which then must be empty."""
        if self.state == EMPTY and generation_id < 0:
            return None
        if generation_id < 0 and not member_id and instance_id is None:
            return UnknownMemberId(f"group {self.group_id} has members, and only they commit")
        error = self.check_generation(member_id, instance_id, generation_id)
        if error is None and self.state == COMPLETING_REBALANCE:
            return RebalanceInProgress("the group rebalances")
        return error

    def refusal_of_offset_deletion(self) -> TailraceError | None:
        """Only of groups whose topics are known offsets may be deleted while there are members."""
        if self.state != EMPTY and self.protocol_type != CONSUMER:
            return NonEmptyGroup(f"group {self.group_id} has members")
        return None

    def describe(self) -> DescribedGroup:
        """As DescribeGroups tells it: what the members said only when they are of one mind."""
        stable = self.state == STABLE
        protocol_name = (self.protocol_name or "") if stable else ""
        return DescribedGroup(
            self.group_id,
            self.state,
            self.protocol_type,
            protocol_name,
            tuple(
                DescribedMember(
                    member.member_id,
                    member.group_instance_id,
                    member.client_id,
                    member.client_host,
                    member.metadata(protocol_name) if stable else b"",
                    member.assignment,
                )
                for member in self.members.values()
            ),
        )
