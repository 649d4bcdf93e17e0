"""Static members (KIP-345) and what a restart of the coordinator leaves of a group."""

import pytest
from group_support import GROUP, TOPIC, Groups, subscription

from tailrace_core.errors import FencedInstanceId, RebalanceInProgress, UnknownMemberId
from tailrace_engine.coordinator.group_messages import JoinedGroup, LeaveGroup, LeavingMember
from tailrace_engine.coordinator.records import read_group_metadata_value


@pytest.fixture
def groups() -> Groups:
    return Groups(initial_rebalance_delay_ms=0)


def stable_static(groups: Groups) -> tuple[JoinedGroup, JoinedGroup]:
    """A stable group of two static members: "one", which leads, and "two"."""
    one, two = groups.settle([groups.join(instance_id="one"), groups.join(instance_id="two")])
    return one, two


def test_a_static_member_joins_at_once_and_is_named_after_its_instance(groups: Groups) -> None:
    waits = groups.join(instance_id="one", requires_known_member_id=True)
    [one] = groups.settle([waits])
    assert one.member_id.startswith("one-")
    assert one.members[0].group_instance_id == "one"


def test_a_static_member_that_comes_back_takes_its_place_without_a_rebalance(groups: Groups) -> None:
    one, two = stable_static(groups)
    back = groups.answers[groups.join(instance_id="two")]
    assert back.member_id != two.member_id
    assert (back.generation_id, back.leader, back.skip_assignment, back.members) == (1, one.member_id, False, ())
    assert groups.state() == "Stable"
    assert groups.answers[groups.sync(back, instance_id="two")].assignment == two.member_id.encode()
    assert groups.heartbeat(one.member_id, 1, "one") is None


def test_the_replacement_is_kept_before_it_is_told(groups: Groups) -> None:
    _, two = stable_static(groups)
    records = len(groups.log)
    back = groups.answers[groups.join(instance_id="two")]
    [record] = groups.log[records:]
    kept = read_group_metadata_value(record.value or b"")
    assert kept is not None
    members = {member.group_instance_id: member for member in kept.members}
    assert members["two"].member_id == back.member_id
    assert members["two"].assignment == two.member_id.encode()


def test_a_leader_that_comes_back_skips_the_assignment(groups: Groups) -> None:
    stable_static(groups)
    back = groups.answers[groups.join(instance_id="one")]
    assert (back.leader, back.skip_assignment) == (back.member_id, True)
    assert len(back.members) == 2


def test_an_older_leader_that_comes_back_is_not_told_that_it_leads(groups: Groups) -> None:
    one, _ = stable_static(groups)
    back = groups.answers[groups.join(instance_id="one", skipping=False)]
    assert (back.leader, back.skip_assignment, back.members) == (one.member_id, False, ())
    follower = groups.answers[groups.join(instance_id="two", skipping=False)]
    assert follower.leader == back.member_id


def test_the_replaced_id_is_fenced_on_every_call(groups: Groups) -> None:
    one, two = stable_static(groups)
    groups.join(instance_id="two")
    assert isinstance(groups.heartbeat(two.member_id, 1, "two"), FencedInstanceId)
    assert isinstance(groups.answers[groups.sync(two, instance_id="two")], FencedInstanceId)
    assert isinstance(groups.answers[groups.join(two.member_id, instance_id="two")], FencedInstanceId)
    assert isinstance(groups.leave(two.member_id, "two"), FencedInstanceId)
    refused = groups.commit(1, generation_id=1, member_id=two.member_id, instance_id="two")
    assert isinstance(refused, FencedInstanceId)
    assert isinstance(groups.heartbeat(two.member_id, 1), UnknownMemberId)
    assert isinstance(groups.heartbeat(one.member_id, 1, "three"), UnknownMemberId)


def test_a_replacement_that_changes_the_elected_protocol_rebalances(groups: Groups) -> None:
    both = (("range", subscription(TOPIC)), ("sticky", subscription(TOPIC)))
    groups.settle([groups.join(instance_id="one", protocols=both), groups.join(instance_id="two", protocols=both)])
    groups.join(instance_id="one", protocols=(both[1], both[0]))
    assert groups.state() == "Stable"
    groups.join(instance_id="two", protocols=(both[1], both[0]))
    assert groups.state() == "PreparingRebalance"


def test_a_replacement_while_the_group_joins_fences_the_call_that_waits(groups: Groups) -> None:
    _, two = stable_static(groups)
    groups.join()
    waits = groups.join(two.member_id, instance_id="two")
    again = groups.join(instance_id="two")
    assert isinstance(groups.answers[waits], FencedInstanceId)
    assert again in groups.waiting


def test_a_replacement_while_assignments_are_awaited_rebalances(groups: Groups) -> None:
    first, second = groups.join(instance_id="one"), groups.join(instance_id="two")
    groups.advance(0)
    one, two = groups.answers[first], groups.answers[second]
    waits = groups.sync(two, instance_id="two")
    back = groups.join(instance_id="two")
    assert isinstance(groups.answers[waits], FencedInstanceId)
    assert back in groups.waiting
    assert isinstance(groups.answers[groups.sync(one, instance_id="one")], RebalanceInProgress)
    assert groups.answers[groups.join(one.member_id, instance_id="one")].generation_id == 2


def test_a_static_member_that_does_not_rejoin_stays_until_its_session_ends(groups: Groups) -> None:
    one, two = groups.settle(
        [
            groups.join(instance_id="one", session_timeout_ms=100_000),
            groups.join(instance_id="two", session_timeout_ms=100_000),
        ]
    )
    waits = groups.join(one.member_id, instance_id="one")
    groups.advance(60_000)
    joined = groups.answers[waits]
    assert [member.member_id for member in joined.members] == [one.member_id, two.member_id]
    groups.sync(joined, {two.member_id: b"kept for you"}, instance_id="one")
    assert groups.heartbeat(two.member_id, 2, "two") is None


def test_a_leader_that_does_not_rejoin_is_replaced(groups: Groups) -> None:
    _, two = groups.settle(
        [
            groups.join(instance_id="one", session_timeout_ms=100_000),
            groups.join(instance_id="two", session_timeout_ms=100_000),
        ]
    )
    waits = groups.join(two.member_id, instance_id="two", protocols=(("range", b"changed"),))
    groups.advance(60_000)
    joined = groups.answers[waits]
    assert joined.leader == two.member_id
    assert len(joined.members) == 2


def test_static_members_alone_wait_for_one_of_them(groups: Groups) -> None:
    one, two = groups.settle(
        [
            groups.join(instance_id="one", session_timeout_ms=200_000),
            groups.join(instance_id="two", session_timeout_ms=200_000),
        ]
    )
    newcomer = groups.join()
    groups.leave(groups.describe().members[2].member_id)
    assert isinstance(groups.answers[newcomer], UnknownMemberId)
    groups.advance(60_000)
    assert groups.state() == "PreparingRebalance"
    waits = groups.join(two.member_id, instance_id="two")
    groups.advance(60_000)
    assert groups.answers[waits].leader == two.member_id
    assert groups.heartbeat(one.member_id, 2, "one") is None


def test_an_administrator_sends_a_static_member_away_by_its_instance(groups: Groups) -> None:
    one, _ = stable_static(groups)
    left = groups.call(LeaveGroup(GROUP, (LeavingMember("", "two"), LeavingMember("", "three"))))
    assert [type(error) for _, error in left.members] == [type(None), UnknownMemberId]
    [joined] = groups.settle([groups.join(one.member_id, instance_id="one")])
    assert len(joined.members) == 1


def test_members_go_on_after_a_restart_without_a_rebalance(groups: Groups) -> None:
    static, dynamic = groups.settle([groups.join(instance_id="one"), groups.join()])
    groups.restart()
    assert groups.state() == "Stable"
    assert groups.heartbeat(static.member_id, 1, "one") is None
    assert groups.heartbeat(dynamic.member_id, 1) is None
    assert groups.answers[groups.sync(dynamic)].assignment == dynamic.member_id.encode()
    back = groups.answers[groups.join(instance_id="one")]
    assert (back.generation_id, back.skip_assignment) == (1, True)
    assert groups.state() == "Stable"


def test_sessions_begin_anew_after_a_restart(groups: Groups) -> None:
    [member] = groups.stable(1)
    groups.advance(9_000)
    groups.restart()
    groups.advance(9_000)
    assert groups.heartbeat(member.member_id, 1) is None
    groups.advance(10_000)
    assert groups.state() == "Empty"


def test_a_rebalance_that_a_restart_interrupts_is_forgotten(groups: Groups) -> None:
    leader, follower = groups.stable(2)
    groups.join()
    groups.restart()
    assert groups.state() == "Stable"
    assert [member.member_id for member in groups.describe().members] == [leader.member_id, follower.member_id]
    assert groups.heartbeat(leader.member_id, 1) is None


def test_what_a_member_said_last_is_what_a_restart_brings_back(groups: Groups) -> None:
    [first] = groups.stable(1, protocols=(("range", subscription(TOPIC)),))
    changed = (("sticky", subscription(TOPIC, "other")), ("range", subscription(TOPIC)))
    groups.settle([groups.join(first.member_id, protocols=changed, session_timeout_ms=20_000)])
    before = groups.describe()
    groups.restart()
    assert groups.describe() == before
    assert before.members[0].metadata == subscription(TOPIC, "other")
    groups.advance(19_999)
    assert groups.heartbeat(first.member_id, 2) is None


def test_all_protocols_of_a_member_are_known_after_the_leader_synced(groups: Groups) -> None:
    both = (("range", subscription(TOPIC)), ("sticky", subscription(TOPIC)))
    _, follower = groups.stable(2, protocols=both)
    assert groups.answers[groups.join(follower.member_id, protocols=both)] == follower
    assert groups.state() == "Stable"
