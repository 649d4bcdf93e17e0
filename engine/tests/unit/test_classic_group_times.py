"""What time decides in a classic group: the initial delay, rebalance and sync timeouts, sessions."""

import pytest
from group_support import Groups

from tailrace_core.errors import MemberIdRequired, RebalanceInProgress, UnknownMemberId
from tailrace_engine.coordinator.deadlines import Deadline, Deadlines
from tailrace_engine.coordinator.decision import Now
from tailrace_engine.coordinator.group_messages import JoinedGroup

DAY_MS = 86_400_000


@pytest.fixture
def groups() -> Groups:
    return Groups(initial_rebalance_delay_ms=0)


def test_the_first_members_wait_for_the_initial_delay() -> None:
    groups = Groups()
    waits = groups.join()
    groups.advance(2_999)
    assert waits in groups.waiting
    groups.advance(1)
    assert groups.answers[waits].generation_id == 1


def test_the_initial_delay_is_extended_while_members_arrive() -> None:
    groups = Groups()
    tickets = [groups.join()]
    groups.advance(2_000)
    tickets.append(groups.join())
    groups.advance(3_999)
    assert len(groups.waiting) == 2
    groups.advance(1)
    assert {groups.answers[ticket].generation_id for ticket in tickets} == {1}


def test_the_initial_delay_is_not_extended_beyond_the_rebalance_timeout() -> None:
    groups = Groups()
    tickets = [groups.join(rebalance_timeout_ms=7_000)]
    for _ in range(6):
        groups.advance(1_000)
        tickets.append(groups.join(rebalance_timeout_ms=7_000))
    groups.advance(999)
    assert len(groups.waiting) == 7
    groups.advance(1)
    assert {groups.answers[ticket].generation_id for ticket in tickets} == {1}


def test_an_initial_rebalance_ends_early_when_an_id_that_was_given_out_expires() -> None:
    groups = Groups(initial_rebalance_delay_ms=20_000)
    groups.join(requires_known_member_id=True, session_timeout_ms=6_000)
    waits = groups.join()
    groups.advance(6_000)
    assert groups.answers[waits].generation_id == 1


def test_members_that_do_not_rejoin_in_time_are_removed(groups: Groups) -> None:
    leader, follower = groups.stable(2, session_timeout_ms=100_000)
    waits = groups.join(follower.member_id, protocols=(("range", b"changed"),), session_timeout_ms=100_000)
    groups.advance(59_999)
    assert waits in groups.waiting
    groups.advance(1)
    joined = groups.answers[waits]
    assert (joined.leader, len(joined.members)) == (follower.member_id, 1)
    assert isinstance(groups.heartbeat(leader.member_id, 2), UnknownMemberId)


def test_the_longest_rebalance_timeout_counts(groups: Groups) -> None:
    tickets = [
        groups.join(rebalance_timeout_ms=milliseconds, session_timeout_ms=200_000) for milliseconds in (1, 90_000)
    ]
    groups.settle(tickets)
    waits = groups.join(rebalance_timeout_ms=1)
    groups.advance(89_999)
    assert waits in groups.waiting
    groups.advance(1)
    assert waits in groups.answers


def test_heartbeats_keep_a_member_through_a_rebalance(groups: Groups) -> None:
    leader, follower = groups.stable(2)
    waits = groups.join(leader.member_id)
    for _ in range(5):
        groups.advance(9_000)
        assert isinstance(groups.heartbeat(follower.member_id, 1), RebalanceInProgress)
    assert waits in groups.waiting
    groups.advance(10_000)
    assert len(groups.answers[waits].members) == 1


def test_who_waits_for_the_others_needs_no_heartbeats(groups: Groups) -> None:
    leader, follower = groups.stable(2, session_timeout_ms=6_000)
    waits = groups.join(leader.member_id, session_timeout_ms=6_000)
    for _ in range(9):
        groups.advance(5_000)
        groups.heartbeat(follower.member_id, 1)
    assert waits in groups.waiting
    joined = groups.settle([waits, groups.join(follower.member_id, session_timeout_ms=6_000)])
    assert len(joined[0].members) == 2


def test_a_session_that_ends_rebalances_the_others(groups: Groups) -> None:
    leader, follower = groups.stable(2)
    groups.advance(9_999)
    assert groups.heartbeat(leader.member_id, 1) is None
    groups.advance(1)
    assert groups.state() == "PreparingRebalance"
    assert isinstance(groups.heartbeat(follower.member_id, 1), UnknownMemberId)
    assert isinstance(groups.heartbeat(leader.member_id, 1), RebalanceInProgress)


def test_the_last_session_that_ends_leaves_the_group_empty(groups: Groups) -> None:
    groups.stable(2)
    groups.advance(10_000)
    assert groups.state() == "Empty"
    groups.restart()
    assert groups.state() == "Empty"
    assert groups.stable(1)[0].generation_id == 3


def test_a_commit_keeps_the_session_alive(groups: Groups) -> None:
    [member] = groups.stable(1)
    for _ in range(5):
        groups.advance(9_000)
        assert groups.commit(1, generation_id=1, member_id=member.member_id) is None
    assert groups.state() == "Stable"


def test_an_id_that_was_given_out_is_forgotten_after_the_session_timeout(groups: Groups) -> None:
    error = groups.answers[groups.join(requires_known_member_id=True)]
    assert isinstance(error, MemberIdRequired)
    groups.advance(10_000)
    assert isinstance(groups.answers[groups.join(error.member_id)], UnknownMemberId)


def test_a_rebalance_waits_for_ids_that_were_given_out(groups: Groups) -> None:
    [leader] = groups.stable(1)
    error = groups.answers[groups.join(requires_known_member_id=True)]
    assert groups.state() == "Stable"
    waits = groups.join(leader.member_id)
    assert waits in groups.waiting
    newcomer = groups.join(error.member_id)
    assert {groups.answers[ticket].generation_id for ticket in (waits, newcomer)} == {2}


def test_a_rebalance_goes_on_when_an_id_that_was_given_out_expires(groups: Groups) -> None:
    [leader] = groups.stable(1, session_timeout_ms=100_000)
    groups.join(requires_known_member_id=True)
    waits = groups.join(leader.member_id, session_timeout_ms=100_000)
    groups.advance(10_000)
    assert groups.answers[waits].generation_id == 2


def test_a_new_member_that_waits_too_long_is_taken_for_gone(groups: Groups) -> None:
    [leader] = groups.stable(1, session_timeout_ms=1_800_000, rebalance_timeout_ms=1_800_000)
    waits = groups.join()
    groups.advance(300_000)
    assert isinstance(groups.answers[waits], UnknownMemberId)
    assert isinstance(groups.heartbeat(leader.member_id, 1), RebalanceInProgress)


def test_members_that_never_sync_are_removed_after_the_rebalance_timeout(groups: Groups) -> None:
    tickets = [groups.join(session_timeout_ms=100_000) for _ in range(3)]
    groups.advance(0)
    leader, follower, silent = (groups.answers[ticket] for ticket in tickets)
    groups.sync(leader, {})
    groups.sync(follower)
    groups.advance(59_999)
    assert groups.state() == "Stable"
    groups.advance(1)
    assert groups.state() == "PreparingRebalance"
    assert isinstance(groups.heartbeat(silent.member_id, 1), UnknownMemberId)
    assert isinstance(groups.heartbeat(follower.member_id, 1), RebalanceInProgress)


def test_a_leader_that_never_syncs_is_removed_and_the_others_are_told_to_rejoin(groups: Groups) -> None:
    tickets = [groups.join(session_timeout_ms=100_000) for _ in range(2)]
    groups.advance(0)
    leader, follower = (groups.answers[ticket] for ticket in tickets)
    waits = groups.sync(follower)
    groups.advance(60_000)
    assert isinstance(groups.answers[waits], RebalanceInProgress)
    assert isinstance(groups.heartbeat(leader.member_id, 1), UnknownMemberId)
    [joined] = groups.settle([groups.join(follower.member_id)])
    assert (joined.leader, joined.generation_id) == (follower.member_id, 2)


def test_when_nobody_syncs_the_group_is_empty(groups: Groups) -> None:
    groups.join(session_timeout_ms=100_000)
    groups.advance(60_000)
    assert groups.state() == "Empty"


def test_when_all_have_synced_nobody_is_removed(groups: Groups) -> None:
    leader, follower = groups.stable(2, session_timeout_ms=200_000)
    groups.advance(100_000)
    for member in (leader, follower):
        assert groups.heartbeat(member.member_id, 1) is None


def test_cooperative_members_that_rejoin_after_each_generation_are_not_timed_out(groups: Groups) -> None:
    leader, follower = groups.stable(2)
    for generation_id in range(2, 12):
        groups.advance(5_000)
        joined = groups.settle([groups.join(leader.member_id), groups.join(follower.member_id)])
        assert {each.generation_id for each in joined} == {generation_id}


@pytest.mark.parametrize("jump_ms", [DAY_MS, -DAY_MS])
def test_a_jump_of_the_wall_clock_ends_no_session(groups: Groups, jump_ms: int) -> None:
    members = groups.stable(3)
    for _ in range(10):
        groups.advance(4_000)
        groups.wall_ms += jump_ms
        groups.advance(4_000)
        for member in members:
            assert groups.heartbeat(member.member_id, 1) is None


@pytest.mark.parametrize("jump_ms", [DAY_MS, -DAY_MS])
def test_a_session_ends_on_time_whatever_the_wall_clock_does(groups: Groups, jump_ms: int) -> None:
    groups.stable(1)
    groups.wall_ms += jump_ms
    groups.advance(9_999)
    assert groups.state() == "Stable"
    groups.advance(1)
    assert groups.state() == "Empty"


@pytest.mark.parametrize("jump_ms", [DAY_MS, -DAY_MS])
def test_a_rebalance_ends_on_time_whatever_the_wall_clock_does(jump_ms: int) -> None:
    groups = Groups()
    _, follower = groups.stable(2, session_timeout_ms=100_000)
    waits = groups.join(follower.member_id, protocols=(("range", b"changed"),), session_timeout_ms=100_000)
    groups.wall_ms += jump_ms
    groups.advance(59_999)
    assert waits in groups.waiting
    groups.advance(1)
    assert groups.answers[waits].generation_id == 2
    groups.wall_ms += jump_ms
    groups.advance(59_999)
    assert groups.state() == "CompletingRebalance"
    groups.advance(1)
    assert groups.state() == "Empty"


def test_a_heartbeat_moves_no_deadline_of_another_member(groups: Groups) -> None:
    members: list[JoinedGroup] = groups.stable(50)
    deadline_ms = groups.next_deadline_ms()
    groups.advance(5_000)
    for member in members[1:]:
        assert groups.heartbeat(member.member_id, 1) is None
    assert groups.next_deadline_ms() == deadline_ms
    groups.advance(5_000)
    assert len(groups.describe().members) == 49


def test_a_deadline_that_moves_passes_once_at_its_last_time() -> None:
    deadlines, passed = Deadlines(), list[Now]()
    deadline = Deadline(passed.append)
    for due_ms in (50, 10, 30, 20, 40):
        deadlines.set(deadline, due_ms)
    for now_ms in range(60):
        while (due := deadlines.pop_due(now_ms)) is not None:
            due.act(Now(now_ms, 0))
    assert passed == [Now(40, 0)]
    assert deadlines.next_ms() is None


def test_a_deadline_that_is_called_off_does_not_pass() -> None:
    deadlines, passed = Deadlines(), list[Now]()
    first, second = Deadline(passed.append), Deadline(passed.append)
    deadlines.set(first, 10)
    deadlines.set(second, 20)
    deadlines.clear(first)
    assert deadlines.next_ms() == 20
    deadlines.set(first, 30)
    deadlines.clear(second)
    assert deadlines.pop_due(29) is None
    assert deadlines.pop_due(30) is first
    assert deadlines.pop_due(99) is None
