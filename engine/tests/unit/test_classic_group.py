"""Dynamic members of a classic group: join, sync, heartbeat, leave."""

import pytest
from group_support import GROUP, TOPIC, Groups, subscription

from tailrace_core.errors import (
    GroupIdNotFound,
    GroupMaxSizeReached,
    IllegalGeneration,
    InconsistentGroupProtocol,
    InvalidGroupId,
    InvalidSessionTimeout,
    MemberIdRequired,
    NonEmptyGroup,
    RebalanceInProgress,
    UnknownMemberId,
)
from tailrace_engine.coordinator.group_messages import (
    DeleteGroup,
    DescribeGroup,
    Heartbeat,
    JoinedGroup,
    LeaveGroup,
    LeavingMember,
    LeftGroup,
    ListedGroup,
    ListGroups,
    SyncedGroup,
    SyncGroup,
)
from tailrace_engine.coordinator.records import read_group_metadata_value

RANGE = ("range", subscription(TOPIC))
STICKY = ("sticky", subscription(TOPIC))
ROUND_ROBIN = ("roundrobin", subscription(TOPIC))


@pytest.fixture
def groups() -> Groups:
    return Groups(initial_rebalance_delay_ms=0)


def test_a_new_member_is_told_its_id_first(groups: Groups) -> None:
    error = groups.answers[groups.join(requires_known_member_id=True)]
    assert isinstance(error, MemberIdRequired)
    assert error.member_id.startswith("reader-")
    assert len(error.member_id) == len("reader-") + 36
    [joined] = groups.settle([groups.join(error.member_id, requires_known_member_id=True)])
    assert joined.member_id == error.member_id


def test_a_member_of_an_old_client_joins_at_once(groups: Groups) -> None:
    [joined] = groups.stable(1)
    assert joined.generation_id == 1


def test_an_unknown_member_id_cannot_join(groups: Groups) -> None:
    assert isinstance(groups.answers[groups.join("nobody")], UnknownMemberId)
    groups.stable(1)
    assert isinstance(groups.answers[groups.join("nobody")], UnknownMemberId)


def test_a_refused_join_leaves_no_group_behind(groups: Groups) -> None:
    groups.join("nobody")
    groups.join(group_id="")
    groups.join(session_timeout_ms=1)
    assert groups.call(ListGroups()) == ()


def test_the_leader_hears_of_all_members_and_the_others_of_none(groups: Groups) -> None:
    leader, follower, other = groups.stable(3)
    assert [member.member_id for member in leader.members] == [leader.member_id, follower.member_id, other.member_id]
    assert {member.metadata for member in leader.members} == {subscription(TOPIC)}
    assert follower.members == other.members == ()
    assert {each.leader for each in (leader, follower, other)} == {leader.member_id}


def test_each_member_gets_what_the_leader_assigned_to_it(groups: Groups) -> None:
    tickets = [groups.join(), groups.join(), groups.join()]
    groups.advance(0)
    leader, second, third = (groups.answers[ticket] for ticket in tickets)
    waits = groups.sync(second)
    assert waits in groups.waiting
    assigned = {leader.member_id: b"L", second.member_id: b"S"}
    mine = groups.sync(leader, assigned)
    assert groups.answers[mine] == SyncedGroup("consumer", "range", b"L")
    assert groups.answers[waits].assignment == b"S"
    assert groups.answers[groups.sync(third)].assignment == b""


def test_a_generation_is_kept_when_the_leader_syncs(groups: Groups) -> None:
    tickets = [groups.join(), groups.join()]
    groups.advance(0)
    assert groups.log == []
    leader, follower = (groups.answers[ticket] for ticket in tickets)
    groups.sync(leader, {follower.member_id: b"F"})
    [record] = groups.log
    assert record.value is not None
    kept = read_group_metadata_value(record.value)
    assert kept is not None
    assert (kept.generation, kept.protocol, kept.leader) == (1, "range", leader.member_id)
    assert [(member.member_id, member.assignment) for member in kept.members] == [
        (leader.member_id, b""),
        (follower.member_id, b"F"),
    ]


@pytest.mark.parametrize("session_timeout_ms", [5_999, 1_800_001, 0, -1])
def test_a_session_timeout_has_bounds(groups: Groups, session_timeout_ms: int) -> None:
    assert isinstance(groups.answers[groups.join(session_timeout_ms=session_timeout_ms)], InvalidSessionTimeout)


@pytest.mark.parametrize("session_timeout_ms", [6_000, 1_800_000])
def test_a_session_timeout_on_the_bounds_is_allowed(groups: Groups, session_timeout_ms: int) -> None:
    assert groups.join(session_timeout_ms=session_timeout_ms) in groups.waiting


def test_a_group_id_is_not_empty(groups: Groups) -> None:
    assert isinstance(groups.answers[groups.join(group_id="")], InvalidGroupId)
    for request in (SyncGroup("", 0, "m", None, None, None, ()), Heartbeat("", 0, "m", None), LeaveGroup("", ())):
        assert isinstance(groups.call(request), InvalidGroupId)


def test_members_have_one_protocol_type(groups: Groups) -> None:
    groups.stable(1)
    assert isinstance(groups.answers[groups.join(protocol_type="connect")], InconsistentGroupProtocol)


def test_members_have_a_protocol_in_common(groups: Groups) -> None:
    groups.stable(1, protocols=(RANGE, STICKY))
    assert isinstance(groups.answers[groups.join(protocols=(ROUND_ROBIN,))], InconsistentGroupProtocol)
    assert groups.join(protocols=(STICKY,)) in groups.waiting


@pytest.mark.parametrize(("protocol_type", "protocols"), [("", (RANGE,)), ("consumer", ())])
def test_a_first_member_names_type_and_protocols(
    groups: Groups, protocol_type: str, protocols: tuple[tuple[str, bytes], ...]
) -> None:
    refused = groups.join(protocol_type=protocol_type, protocols=protocols)
    assert isinstance(groups.answers[refused], InconsistentGroupProtocol)


def test_an_empty_group_may_change_its_type(groups: Groups) -> None:
    [member] = groups.stable(1)
    assert groups.leave(member.member_id) is None
    assert groups.state() == "Empty"
    [connector] = groups.stable(1, protocol_type="connect", protocols=(("compatible", b"\xff\xff"),))
    assert connector.protocol_type == "connect"
    assert connector.generation_id == 3


def test_the_protocol_that_most_prefer_is_chosen(groups: Groups) -> None:
    tickets = [
        groups.join(protocols=(RANGE, STICKY, ROUND_ROBIN)),
        groups.join(protocols=(STICKY, RANGE)),
        groups.join(protocols=(STICKY, RANGE)),
    ]
    assert {joined.protocol_name for joined in groups.settle(tickets)} == {"sticky"}


def test_a_protocol_that_one_member_lacks_gets_no_vote(groups: Groups) -> None:
    tickets = [
        groups.join(protocols=(STICKY, RANGE)),
        groups.join(protocols=(STICKY, RANGE)),
        groups.join(protocols=(ROUND_ROBIN, RANGE)),
    ]
    assert {joined.protocol_name for joined in groups.settle(tickets)} == {"range"}


def test_a_new_member_makes_all_join_again(groups: Groups) -> None:
    leader, follower = groups.stable(2)
    newcomer = groups.join()
    assert groups.state() == "PreparingRebalance"
    assert isinstance(groups.heartbeat(follower.member_id, 1), RebalanceInProgress)
    again = [groups.join(leader.member_id), groups.join(follower.member_id)]
    joined = groups.settle([*again, newcomer])
    assert [each.generation_id for each in joined] == [2, 2, 2]
    assert len(joined[0].members) == 3


def test_a_leader_that_joins_again_rebalances_the_group(groups: Groups) -> None:
    leader, follower = groups.stable(2)
    waits = groups.join(leader.member_id)
    assert groups.state() == "PreparingRebalance"
    assert [each.generation_id for each in groups.settle([waits, groups.join(follower.member_id)])] == [2, 2]


def test_an_unchanged_follower_that_joins_again_gets_the_generation_there_is(groups: Groups) -> None:
    _, follower = groups.stable(2)
    assert groups.answers[groups.join(follower.member_id)] == follower
    assert groups.state() == "Stable"
    assert groups.answers[groups.sync(follower)].assignment == follower.member_id.encode()


def test_a_follower_with_other_metadata_rebalances_the_group(groups: Groups) -> None:
    _, follower = groups.stable(2)
    assert groups.join(follower.member_id, protocols=(("range", subscription(TOPIC, "more")),)) in groups.waiting
    assert groups.state() == "PreparingRebalance"


def test_while_assignments_are_awaited_an_unchanged_member_gets_the_same_answer_again(groups: Groups) -> None:
    first, second = groups.join(), groups.join()
    groups.advance(0)
    leader, follower = groups.answers[first], groups.answers[second]
    assert groups.answers[groups.join(leader.member_id)] == leader
    assert groups.answers[groups.join(follower.member_id)] == follower
    assert groups.state() == "CompletingRebalance"


def test_while_assignments_are_awaited_changed_metadata_rebalances_again(groups: Groups) -> None:
    first, second = groups.join(), groups.join()
    groups.advance(0)
    leader, follower = groups.answers[first], groups.answers[second]
    waits = groups.sync(follower)
    groups.join(follower.member_id, protocols=(("range", b"changed"),))
    assert isinstance(groups.answers[waits], RebalanceInProgress)
    assert isinstance(groups.answers[groups.sync(leader)], RebalanceInProgress)


def test_a_member_that_joins_twice_leaves_no_call_without_an_answer(groups: Groups) -> None:
    leader, _ = groups.stable(2)
    first = groups.join(leader.member_id)
    second = groups.join(leader.member_id)
    assert isinstance(groups.answers[first], RebalanceInProgress)
    assert second in groups.waiting


def test_a_member_that_syncs_twice_leaves_no_call_without_an_answer(groups: Groups) -> None:
    first, second = groups.join(), groups.join()
    groups.advance(0)
    leader, follower = groups.answers[first], groups.answers[second]
    waits = groups.sync(follower)
    again = groups.sync(follower)
    assert isinstance(groups.answers[waits], RebalanceInProgress)
    groups.sync(leader, {follower.member_id: b"F"})
    assert groups.answers[again].assignment == b"F"


def test_a_sync_names_the_generation_and_protocol_that_the_group_has(groups: Groups) -> None:
    [member] = groups.stable(1)
    for refused, error in (
        (groups.sync(member, generation_id=0), IllegalGeneration),
        (groups.sync(member, generation_id=2), IllegalGeneration),
        (groups.sync(member, protocol_type="connect"), InconsistentGroupProtocol),
        (groups.sync(member, protocol_name="sticky"), InconsistentGroupProtocol),
        (groups.sync(member._replace(member_id="nobody")), UnknownMemberId),
    ):
        assert isinstance(groups.answers[refused], error)
    same = groups.sync(member, protocol_type="consumer", protocol_name="range")
    assert groups.answers[same].assignment == member.member_id.encode()


def test_a_sync_while_the_group_rebalances_is_too_early(groups: Groups) -> None:
    [member] = groups.stable(1)
    groups.join()
    assert isinstance(groups.answers[groups.sync(member)], RebalanceInProgress)


def test_heartbeats_say_how_the_group_is(groups: Groups) -> None:
    assert isinstance(groups.heartbeat("nobody", 1), UnknownMemberId)
    ticket = groups.join()
    groups.advance(0)
    member: JoinedGroup = groups.answers[ticket]
    assert groups.heartbeat(member.member_id, 1) is None
    groups.sync(member)
    assert groups.heartbeat(member.member_id, 1) is None
    assert isinstance(groups.heartbeat(member.member_id, 0), IllegalGeneration)
    assert isinstance(groups.heartbeat("nobody", 1), UnknownMemberId)
    groups.join()
    assert isinstance(groups.heartbeat(member.member_id, 1), RebalanceInProgress)
    groups.leave(member.member_id)
    assert isinstance(groups.heartbeat(member.member_id, 1), UnknownMemberId)


def test_who_leaves_makes_the_others_join_again(groups: Groups) -> None:
    leader, follower = groups.stable(2)
    assert groups.leave(leader.member_id) is None
    assert groups.state() == "PreparingRebalance"
    [joined] = groups.settle([groups.join(follower.member_id)])
    assert (joined.leader, joined.generation_id) == (follower.member_id, 2)


def test_the_last_member_leaves_an_empty_generation_which_is_kept(groups: Groups) -> None:
    [member] = groups.stable(1)
    groups.leave(member.member_id)
    kept = read_group_metadata_value(groups.log[-1].value or b"")
    assert kept is not None
    assert (kept.generation, kept.protocol, kept.leader, kept.members) == (2, None, None, [])
    assert kept.current_state_timestamp == groups.wall_ms
    assert kept.protocol_type == "consumer"


def test_several_members_leave_in_one_call_and_each_has_its_own_answer(groups: Groups) -> None:
    leader, second, third = groups.stable(3)
    pending = groups.answers[groups.join(requires_known_member_id=True)].member_id
    leaving = tuple(LeavingMember(id_, None) for id_ in (second.member_id, "nobody", third.member_id, pending, ""))
    left = groups.call(LeaveGroup(GROUP, leaving))
    assert [member for member, _ in left.members] == list(leaving)
    assert [type(error) for _, error in left.members] == [
        type(None),
        UnknownMemberId,
        type(None),
        type(None),
        UnknownMemberId,
    ]
    [joined] = groups.settle([groups.join(leader.member_id)])
    assert joined.generation_id == 2


def test_nobody_leaves_a_group_that_is_not_there(groups: Groups) -> None:
    left = groups.call(LeaveGroup(GROUP, (LeavingMember("nobody", None),)))
    assert isinstance(left, LeftGroup)
    assert isinstance(left.members[0][1], UnknownMemberId)


def test_who_leaves_while_it_waits_is_answered(groups: Groups) -> None:
    leader, follower = groups.stable(2)
    joining = groups.join(leader.member_id)
    groups.leave(leader.member_id)
    assert isinstance(groups.answers[joining], UnknownMemberId)
    newcomer = groups.join()
    joined = groups.join(follower.member_id)
    assert {groups.answers[ticket].generation_id for ticket in (newcomer, joined)} == {2}
    follower = groups.answers[joined]
    waiting = groups.sync(follower if not follower.members else groups.answers[newcomer])
    groups.leave(groups.waiting[waiting].member_id)
    assert isinstance(groups.answers[waiting], UnknownMemberId)


def test_a_group_has_at_most_so_many_members() -> None:
    groups = Groups(initial_rebalance_delay_ms=0, members_max=2)
    leader, follower = groups.stable(2)
    assert isinstance(groups.answers[groups.join()], GroupMaxSizeReached)
    assert groups.state() == "Stable"
    waits = groups.join(leader.member_id)
    assert [each.generation_id for each in groups.settle([waits, groups.join(follower.member_id)])] == [2, 2]


def test_while_members_join_those_who_came_first_are_kept() -> None:
    groups = Groups(initial_rebalance_delay_ms=0, members_max=2)
    leader, follower = groups.stable(2)
    groups.leave(leader.member_id)
    first, second = groups.join(), groups.join()
    assert isinstance(groups.answers[groups.join(follower.member_id)], GroupMaxSizeReached)
    assert isinstance(groups.answers[groups.join()], GroupMaxSizeReached)
    groups.advance(60_000)
    assert {groups.answers[ticket].generation_id for ticket in (first, second)} == {2}


def test_a_member_that_is_refused_for_the_size_is_not_waited_for() -> None:
    groups = Groups(initial_rebalance_delay_ms=0, members_max=1)
    [member] = groups.stable(1)
    error = groups.answers[groups.join(requires_known_member_id=True)]
    assert isinstance(error, GroupMaxSizeReached)
    groups.leave(member.member_id)
    pending = [groups.answers[groups.join(requires_known_member_id=True)].member_id for _ in range(2)]
    joined = groups.join(pending[0])
    assert isinstance(groups.answers[groups.join(pending[1])], GroupMaxSizeReached)
    groups.advance(0)
    groups.sync(groups.answers[joined])
    assert groups.answers[groups.join(pending[0])].generation_id == groups.answers[joined].generation_id + 1


def test_an_id_that_was_given_out_ends_with_its_group(groups: Groups) -> None:
    error = groups.answers[groups.join(requires_known_member_id=True)]
    assert groups.call(DeleteGroup(GROUP)) is None
    assert isinstance(groups.answers[groups.join(error.member_id)], UnknownMemberId)
    assert groups.next_deadline_ms() is None


def test_a_group_that_is_over_its_size_when_loaded_rebalances(groups: Groups) -> None:
    groups.stable(2)
    groups.options = groups.options._replace(members_max=1)
    groups.restart()
    assert groups.state() == "PreparingRebalance"


def test_a_stable_group_is_described_with_what_its_members_said(groups: Groups) -> None:
    leader, _ = groups.stable(2)
    described = groups.describe()
    assert (described.state, described.protocol_type, described.protocol_name) == ("Stable", "consumer", "range")
    member = described.members[0]
    assert (member.member_id, member.client_id, member.client_host) == (leader.member_id, "reader", "/127.0.0.1")
    assert (member.metadata, member.assignment) == (subscription(TOPIC), leader.member_id.encode())
    groups.join()
    described = groups.describe()
    assert (described.state, described.protocol_name) == ("PreparingRebalance", "")
    assert {member.metadata for member in described.members} == {b""}


def test_a_group_that_is_not_there_is_not_found(groups: Groups) -> None:
    for request in (DescribeGroup(GROUP), DeleteGroup(GROUP)):
        assert isinstance(groups.call(request), GroupIdNotFound)


def test_groups_are_listed_by_state_and_type(groups: Groups) -> None:
    groups.stable(1)
    groups.commit(1, group_id="simple")
    stable = ListedGroup(GROUP, "consumer", "Stable", "classic")
    simple = ListedGroup("simple", "", "Empty", "classic")
    assert groups.call(ListGroups()) == (stable, simple)
    assert groups.call(ListGroups(states=("sTaBlE",))) == (stable,)
    assert groups.call(ListGroups(states=("Dead", "EMPTY"))) == (simple,)
    assert groups.call(ListGroups(types=("Classic",))) == (stable, simple)
    assert groups.call(ListGroups(types=("consumer", "share"))) == ()


def test_only_an_empty_group_is_deleted_and_its_offsets_with_it(groups: Groups) -> None:
    [member] = groups.stable(1)
    groups.commit(5, generation_id=1, member_id=member.member_id)
    assert isinstance(groups.call(DeleteGroup(GROUP)), NonEmptyGroup)
    groups.leave(member.member_id)
    assert groups.call(DeleteGroup(GROUP)) is None
    assert groups.fetch().offset == -1
    assert groups.call(ListGroups()) == ()
    groups.restart()
    assert groups.call(ListGroups()) == ()
    assert groups.shard.counts == Groups().shard.counts


def test_counts_follow_groups_members_and_offsets(groups: Groups) -> None:
    leader, _ = groups.stable(2)
    groups.commit(5, group_id="simple")
    counts = groups.shard.counts
    assert (counts.groups["Stable"], counts.groups["Empty"], counts.members, counts.offsets) == (1, 1, 2, 1)
    groups.restart()
    assert groups.shard.counts == counts
    groups.leave(leader.member_id)
    assert (groups.shard.counts.groups["PreparingRebalance"], groups.shard.counts.members) == (1, 1)
