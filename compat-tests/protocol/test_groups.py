"""Classic groups: JoinGroup, SyncGroup, Heartbeat, LeaveGroup, and what administrators see of them (protocol.md items
66-78)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from harness import wire
from harness.groups import NOT_READY, OTHER, RANGE, Group, subscription
from harness.process import Broker, Setting, poll
from kio.schema.errors import ErrorCode

OPERATIONS = 3400
"""READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS and ALTER_CONFIGS, as bits."""
NOT_ASKED = -(1 << 31)

CHANGED = (("range", subscription(user_data=b"changed")),)

NewMember = Callable[..., Group]


@pytest.fixture
def new_member(broker: Broker, topic_name: str) -> Iterator[NewMember]:
    """new_member(instance=None, client_id="compat"): a member of this test's group, on a connection of its own."""
    with ExitStack() as stack:

        def make(instance: str | None = None, client_id: str = "compat") -> Group:
            opened = wire.Connection(broker.host, broker.port, client_id=client_id)
            return Group(stack.enter_context(opened), topic_name, instance=instance)

        make().find()
        yield make


@pytest.fixture
def group(new_member: NewMember) -> Group:
    return new_member()


def pair(new_member: NewMember, *, protocols: Any = RANGE) -> tuple[Group, Group]:
    """Two members of a stable group: the leader, then the other."""
    leader, follower = new_member(), new_member()
    leader.become_stable(protocols=protocols)
    joining = follower.join(protocols=protocols)
    assert joining.error_code == ErrorCode.member_id_required
    waiting = follower.send_join(protocols=protocols)
    poll("the group rebalances", lambda: leader.heartbeat() == ErrorCode.rebalance_in_progress)
    joined = leader.join(protocols=protocols)
    assert joined.leader == leader.member_id
    assert waiting().error_code == ErrorCode.none
    assert leader.generation == follower.generation
    rest = follower.send_sync()
    assert leader.sync({leader.member_id: b"one", follower.member_id: b"two"}).assignment == b"one"
    assert rest().assignment == b"two"
    return leader, follower


# --- FindCoordinator


@pytest.mark.parametrize("version", range(7))
def test_the_coordinator_is_this_broker(broker: Broker, group: Group, version: int) -> None:
    fields = {"key": group.group_id, "key_type": 0, "coordinator_keys": [group.group_id, "", group.group_id]}
    answer = group.call("find_coordinator", version, fields)
    found = [answer] if version < 4 else answer.coordinators
    (node,) = group.connection.metadata([]).brokers
    assert [(each.error_code, each.node_id, each.host, each.port) for each in found] == [
        (ErrorCode.none, node.node_id, broker.host, broker.port)
    ] * len(found)
    if version >= 4:
        assert [each.key for each in found] == fields["coordinator_keys"]


def test_no_keys_no_coordinators(group: Group) -> None:
    assert group.call("find_coordinator", 4, {"coordinator_keys": [], "key_type": 0}).coordinators == ()


@pytest.mark.parametrize(("version", "key_type"), [(1, 2), (1, 3), (3, 2), (4, 2), (5, 2), (6, 3), (6, -1)])
def test_a_key_type_unknown_to_the_version_is_an_invalid_request(group: Group, version: int, key_type: int) -> None:
    fields = {"key": "k", "key_type": key_type, "coordinator_keys": ["k"]}
    answer = group.call("find_coordinator", version, fields)
    found = answer if version < 4 else answer.coordinators[0]
    assert (found.error_code, found.node_id, found.host, found.port) == (ErrorCode.invalid_request, -1, "", -1)


def test_a_key_of_a_share_group_names_group_topic_and_partition(group: Group) -> None:
    answer = group.call("find_coordinator", 6, {"coordinator_keys": ["only a name"], "key_type": 2})
    assert answer.coordinators[0].error_code == ErrorCode.invalid_request


def test_the_offsets_topic_is_internal(group: Group) -> None:
    (found,) = group.connection.metadata(["__consumer_offsets"]).topics
    assert (found.error_code, found.is_internal, len(found.partitions)) == (ErrorCode.none, True, 50)


# --- JoinGroup


@pytest.mark.parametrize("version", range(10))
def test_a_first_member_leads_generation_1(group: Group, version: int) -> None:
    answer = group.join(version=version)
    if version >= 4:
        assert answer.error_code == ErrorCode.member_id_required
        assert (answer.generation_id, answer.leader, answer.members) == (-1, "", ())
        assert answer.protocol_name == (None if version >= 7 else "")
        answer = group.join(version=version)
    assert (answer.error_code, answer.generation_id, answer.protocol_name) == (ErrorCode.none, 1, "range")
    assert answer.leader == answer.member_id == group.member_id
    assert group.member_id.startswith("compat-")
    assert [(member.member_id, member.metadata) for member in answer.members] == [(group.member_id, RANGE[0][1])]
    if version >= 7:
        assert answer.protocol_type == "consumer"
    if version >= 9:
        assert answer.skip_assignment is False


@pytest.mark.parametrize("version", range(10))
def test_an_empty_group_id_is_invalid_in_join(connection: wire.Connection, version: int) -> None:
    answer = Group(connection, "").join(version=version, member_id="me")
    assert (answer.error_code, answer.generation_id, answer.leader) == (ErrorCode.invalid_group_id, -1, "")
    assert (answer.member_id, answer.members) == ("me", ())
    assert answer.protocol_name == (None if version >= 7 else "")


@pytest.mark.parametrize("session_timeout_ms", [5_999, 1_800_001, 0, -1])
def test_session_timeouts_have_bounds(group: Group, session_timeout_ms: int) -> None:
    answer = group.join(session_timeout_ms=session_timeout_ms, member_id="me")
    assert (answer.error_code, answer.member_id) == (ErrorCode.invalid_session_timeout, "me")


@pytest.mark.parametrize("version", [0, 3, 4, 9])
def test_a_member_id_that_the_group_does_not_know_is_refused(group: Group, version: int) -> None:
    answer = group.join(version=version, member_id="stranger")
    assert (answer.error_code, answer.member_id) == (ErrorCode.unknown_member_id, "stranger")
    group.become_stable()
    assert group.join(version=version, member_id="stranger").error_code == ErrorCode.unknown_member_id


@pytest.mark.parametrize("options", [{"protocols": ()}, {"protocol_type": ""}])
def test_a_first_member_says_how_it_is_assigned(group: Group, options: dict[str, Any]) -> None:
    assert group.join(version=3, **options).error_code == ErrorCode.inconsistent_group_protocol


@pytest.mark.parametrize(
    "options", [{"protocol_type": "connect"}, {"protocols": (("other", subscription()),)}, {"protocols": ()}]
)
def test_members_have_a_type_and_a_protocol_in_common(
    new_member: NewMember, group: Group, options: dict[str, Any]
) -> None:
    group.become_stable()
    for version in (3, 9):
        assert new_member().join(version=version, **options).error_code == ErrorCode.inconsistent_group_protocol
    assert group.heartbeat() == ErrorCode.none


@pytest.mark.parametrize(
    ("protocol_type", "protocol", "metadata"),
    [
        ("connect", "sessioned", b"\x00\x02not a consumer's"),
        ("connect", "default", b""),
        ("sr", "v0", b'{"host":"registry","port":8081,"master_eligibility":true}'),
    ],
)
def test_groups_of_other_types_are_kept_as_they_say(
    group: Group, protocol_type: str, protocol: str, metadata: bytes
) -> None:
    joined = group.join_twice(protocol_type=protocol_type, protocols=[(protocol, metadata)])
    assert (joined.error_code, joined.protocol_type, joined.protocol_name) == (ErrorCode.none, protocol_type, protocol)
    assert [bytes(one.metadata) for one in joined.members] == [metadata]
    synced = group.sync({group.member_id: b"\x01any"}, protocol_type=protocol_type, protocol_name=protocol)
    assert (synced.error_code, bytes(synced.assignment)) == (ErrorCode.none, b"\x01any")
    assert group.heartbeat() == ErrorCode.none
    found = group.describe(version=5)
    assert (found.group_state, found.protocol_type, found.protocol_data) == ("Stable", protocol_type, protocol)
    assert [bytes(one.member_metadata) for one in found.members] == [metadata]
    mixed = group.join(member_id="", protocol_type="consumer", protocols=[(protocol, metadata)])
    assert mixed.error_code == ErrorCode.inconsistent_group_protocol


def test_the_protocol_is_the_one_that_most_prefer_of_those_that_all_support(new_member: NewMember) -> None:
    first, second, third = new_member(), new_member(), new_member()
    preferences = {
        first: (
            ("a", subscription(user_data=b"1a")),
            ("b", subscription(user_data=b"1b")),
            ("c", subscription(user_data=b"1c")),
        ),
        second: (("c", subscription(user_data=b"2c")), ("b", subscription(user_data=b"2b"))),
        third: (
            ("x", subscription(user_data=b"3x")),
            ("b", subscription(user_data=b"3b")),
            ("c", subscription(user_data=b"3c")),
        ),
    }
    first.join(version=3, protocols=preferences[first])
    waiting = [each.send_join(version=3, protocols=preferences[each]) for each in (second, third)]
    poll("both wait", lambda: len(first.describe().members) == 3)
    joined = first.join(version=3, protocols=preferences[first])
    others = [receive() for receive in waiting]
    # b is the favourite of first and third among b and c
    assert {answer.protocol_name for answer in (joined, *others)} == {"b"}
    assert {answer.generation_id for answer in (joined, *others)} == {2}
    assert {member.metadata for member in joined.members} == {
        subscription(user_data=b"1b"),
        subscription(user_data=b"2b"),
        subscription(user_data=b"3b"),
    }
    assert [answer.members for answer in others] == [(), ()]
    assert {answer.leader for answer in (joined, *others)} == {first.member_id}


def test_metadata_and_assignments_are_opaque_bytes(group: Group) -> None:
    garbage = bytes(range(256)) * 40
    joined = group.join_twice(protocols=(("sessioned", garbage),), protocol_type="connect")
    assert joined.members[0].metadata == garbage
    synced = group.sync({group.member_id: garbage[::-1]}, protocol_type="connect", protocol_name="sessioned")
    assert synced.assignment == garbage[::-1]
    (member,) = group.describe().members
    assert (member.member_metadata, member.member_assignment) == (garbage, garbage[::-1])


def test_an_unchanged_follower_that_joins_again_changes_nothing(new_member: NewMember) -> None:
    leader, follower = pair(new_member)
    again = follower.join()
    assert (again.error_code, again.generation_id, again.members) == (ErrorCode.none, leader.generation, ())
    assert again.leader == leader.member_id
    assert leader.heartbeat() == ErrorCode.none


def test_a_follower_with_other_metadata_rebalances_the_group(new_member: NewMember) -> None:
    leader, follower = pair(new_member)
    before = leader.generation
    waiting = follower.send_join(protocols=OTHER)
    poll("the group rebalances", lambda: leader.heartbeat() == ErrorCode.rebalance_in_progress)
    joined = leader.join()
    assert joined.generation_id == waiting().generation_id == before + 1
    assert {member.metadata for member in joined.members} == {RANGE[0][1], OTHER[0][1]}


def test_a_leader_that_joins_again_rebalances_the_group(new_member: NewMember) -> None:
    leader, follower = pair(new_member)
    before = leader.generation
    waiting = leader.send_join()
    poll("the group rebalances", lambda: follower.heartbeat() == ErrorCode.rebalance_in_progress)
    assert follower.join().generation_id == before + 1
    assert waiting().generation_id == before + 1


def test_joining_again_before_the_sync_gives_the_same_generation(group: Group) -> None:
    first = group.join_twice()
    again = group.join()
    assert (again.error_code, again.generation_id, again.members) == (ErrorCode.none, 1, first.members)
    changed = group.join(protocols=OTHER)
    assert (changed.generation_id, changed.members[0].metadata) == (2, OTHER[0][1])


def test_a_member_that_does_not_come_back_is_removed_after_the_rebalance_timeout(new_member: NewMember) -> None:
    lazy, eager = new_member(), new_member()
    lazy.join(version=3, rebalance_timeout_ms=1_000)
    lazy.sync({lazy.member_id: b"a"})
    joined = eager.join(version=3, rebalance_timeout_ms=1_000)
    assert (joined.error_code, joined.generation_id) == (ErrorCode.none, 2)
    assert [member.member_id for member in joined.members] == [eager.member_id]
    assert lazy.heartbeat() == ErrorCode.unknown_member_id


def test_below_version_1_the_session_timeout_is_the_rebalance_timeout(new_member: NewMember) -> None:
    lazy, eager = new_member(), new_member()
    lazy.join(version=0, session_timeout_ms=6_000, rebalance_timeout_ms=1)
    lazy.sync({lazy.member_id: b"a"}, version=0)
    waiting = eager.send_join(version=0, session_timeout_ms=6_000, rebalance_timeout_ms=1)
    poll("the group rebalances", lambda: lazy.heartbeat() == ErrorCode.rebalance_in_progress)
    assert lazy.join(version=0, session_timeout_ms=6_000, rebalance_timeout_ms=1).generation_id == 2
    assert waiting().generation_id == 2


def test_a_silent_member_is_removed_after_its_session(new_member: NewMember) -> None:
    silent, watching = new_member(), new_member()
    silent.become_stable(session_timeout_ms=6_000)
    poll("the session ends", lambda: watching.state() == "Empty", timeout=20)
    assert silent.heartbeat() == ErrorCode.unknown_member_id


def test_a_member_that_waits_for_the_others_does_not_lose_its_session(new_member: NewMember) -> None:
    lazy, eager = new_member(), new_member()
    lazy.join(version=3, session_timeout_ms=30_000, rebalance_timeout_ms=8_000)
    lazy.sync({lazy.member_id: b"a"})
    joined = eager.join(version=3, session_timeout_ms=6_000, rebalance_timeout_ms=8_000)
    assert (joined.error_code, len(joined.members)) == (ErrorCode.none, 1)


def test_a_member_id_that_was_given_may_be_returned(group: Group) -> None:
    assert group.join().error_code == ErrorCode.member_id_required
    given = group.describe()
    assert (given.group_state, given.members) == ("Empty", ())
    assert group.heartbeat(generation=-1) == ErrorCode.unknown_member_id
    assert group.leave() == [ErrorCode.none]
    assert group.join().error_code == ErrorCode.unknown_member_id


def test_member_ids_begin_with_the_client_id(new_member: NewMember) -> None:
    strange = new_member(client_id="é client/1")
    assert strange.join().member_id.startswith("é client/1-")
    static = new_member(instance="the instance")
    assert static.join().member_id.startswith("the instance-")


def test_a_full_group_takes_nobody_more(start_broker: Any, tmp_path: Path) -> None:
    own = start_broker(tmp_path, {Setting.GROUP_MAX_SIZE: 1, Setting.INITIAL_REBALANCE_DELAY_MS: 0})
    with own.connect() as one, own.connect() as two:
        first, second = Group(one, "small"), Group(two, "small")
        first.find()
        first.become_stable()
        for version in (3, 9):
            refused = second.join(version=version, member_id="")
            assert (refused.error_code, refused.member_id) == (ErrorCode.group_max_size_reached, "")
        assert first.heartbeat() == ErrorCode.none
        assert first.join().error_code == ErrorCode.none
    own.close()


# --- SyncGroup


@pytest.mark.parametrize("version", range(6))
def test_the_leaders_assignment_is_kept_and_given_again(group: Group, version: int) -> None:
    group.join_twice()
    first = group.sync({group.member_id: b"yours"}, version=version)
    again = group.sync({group.member_id: b"ignored now"}, version=version)
    assert [(each.error_code, each.assignment) for each in (first, again)] == [(ErrorCode.none, b"yours")] * 2
    if version >= 5:
        assert (first.protocol_type, first.protocol_name) == ("consumer", "range")


def test_a_member_that_the_leader_left_out_gets_nothing(new_member: NewMember) -> None:
    leader, follower = pair(new_member)
    waiting = follower.send_join(protocols=OTHER)
    poll("the group rebalances", lambda: leader.heartbeat() == ErrorCode.rebalance_in_progress)
    leader.join()
    waiting()
    rest = follower.send_sync()
    assert leader.sync({leader.member_id: b"all"}).assignment == b"all"
    answer = rest()
    assert (answer.error_code, answer.assignment) == (ErrorCode.none, b"")


def test_sync_knows_generation_member_and_protocol(group: Group) -> None:
    group.join_twice()
    failures = {
        ErrorCode.illegal_generation: {"generation": group.generation + 1},
        ErrorCode.unknown_member_id: {"member_id": "stranger"},
        ErrorCode.inconsistent_group_protocol: {"protocol_name": "other"},
    }
    for code, options in failures.items():
        refused = group.sync({}, **options)
        assert (refused.error_code, refused.assignment) == (code, b"")
        assert (refused.protocol_type, refused.protocol_name) == (None, None)
    assert group.sync({}, protocol_type="connect").error_code == ErrorCode.inconsistent_group_protocol
    for missing in ({"protocol_name": None}, {"protocol_type": None}):
        assert group.sync({}, **missing).error_code == ErrorCode.inconsistent_group_protocol
    assert group.sync({group.member_id: b"a"}).error_code == ErrorCode.none


@pytest.mark.parametrize("version", range(6))
def test_sync_without_a_group(connection: wire.Connection, group: Group, version: int) -> None:
    assert group.sync({}, version=version, member_id="m").error_code == ErrorCode.unknown_member_id
    assert Group(connection, "").sync({}, version=version).error_code == ErrorCode.invalid_group_id


def test_while_the_group_is_joining_sync_says_so(new_member: NewMember) -> None:
    leader, follower = pair(new_member)
    waiting = follower.send_join(protocols=OTHER)
    poll("the group rebalances", lambda: leader.heartbeat() == ErrorCode.rebalance_in_progress)
    assert leader.sync({}).error_code == ErrorCode.rebalance_in_progress
    leader.join()
    waiting()


def test_a_new_rebalance_ends_the_wait_for_an_assignment(new_member: NewMember) -> None:
    leader, follower = pair(new_member)
    waiting = follower.send_join(protocols=OTHER)
    poll("the group rebalances", lambda: leader.heartbeat() == ErrorCode.rebalance_in_progress)
    leader.join()
    waiting()
    rest = follower.send_sync()
    joining = leader.send_join(protocols=CHANGED)
    assert rest().error_code == ErrorCode.rebalance_in_progress
    assert follower.join().error_code == joining().error_code == ErrorCode.none


def test_members_that_never_sync_are_removed(new_member: NewMember) -> None:
    member, watching = new_member(), new_member()
    member.join(version=3, rebalance_timeout_ms=500, session_timeout_ms=30_000)
    assert watching.state() == "CompletingRebalance"
    poll("it is removed", lambda: watching.state() == "Empty", timeout=20)
    assert member.sync({}).error_code == ErrorCode.unknown_member_id


# --- Heartbeat


@pytest.mark.parametrize("version", range(5))
def test_a_heartbeat_knows_member_and_generation(connection: wire.Connection, group: Group, version: int) -> None:
    assert Group(connection, "").heartbeat(version=version) == ErrorCode.invalid_group_id
    assert group.heartbeat(version=version, member_id="m", generation=1) == ErrorCode.unknown_member_id
    group.join_twice()
    assert group.heartbeat(version=version) == ErrorCode.none
    group.sync({group.member_id: b"a"})
    assert group.heartbeat(version=version) == ErrorCode.none
    assert group.heartbeat(version=version, generation=group.generation + 1) == ErrorCode.illegal_generation
    assert group.heartbeat(version=version, generation=-1) == ErrorCode.illegal_generation
    assert group.heartbeat(version=version, member_id="stranger") == ErrorCode.unknown_member_id
    group.leave()
    assert group.heartbeat(version=version) == ErrorCode.unknown_member_id


# --- LeaveGroup


@pytest.mark.parametrize("version", range(6))
def test_leaving_empties_the_group(connection: wire.Connection, group: Group, version: int) -> None:
    assert Group(connection, "").leave([("m", None)], version=version) == [ErrorCode.invalid_group_id]
    assert group.leave([("m", None)], version=version) == [ErrorCode.unknown_member_id]
    group.become_stable()
    assert group.leave([("stranger", None)], version=version) == [ErrorCode.unknown_member_id]
    assert group.leave(version=version) == [ErrorCode.none]
    assert group.state() == "Empty"
    assert group.leave(version=version) == [ErrorCode.unknown_member_id]


@pytest.mark.parametrize("version", [3, 4, 5])
def test_several_leave_at_once(new_member: NewMember, version: int) -> None:
    leader, follower = pair(new_member)
    leaving = [(leader.member_id, None), ("stranger", None), ("", "nobody"), (follower.member_id, None)]
    unknown = ErrorCode.unknown_member_id
    assert leader.leave(leaving, version=version) == [ErrorCode.none, unknown, unknown, ErrorCode.none]
    assert leader.state() == "Empty"
    assert leader.leave([], version=version) == []


def test_the_others_take_over_when_a_member_leaves(new_member: NewMember) -> None:
    leader, follower = pair(new_member)
    assert leader.leave() == [ErrorCode.none]
    assert follower.heartbeat() == ErrorCode.rebalance_in_progress
    joined = follower.join()
    assert (joined.error_code, joined.leader, len(joined.members)) == (ErrorCode.none, follower.member_id, 1)


def test_a_group_goes_on_counting_when_it_was_empty(new_member: NewMember) -> None:
    first = new_member()
    first.become_stable()
    first.leave()
    assert new_member().join_twice().generation_id == 3


def test_an_empty_group_may_become_one_of_another_type(new_member: NewMember, group: Group) -> None:
    group.become_stable()
    group.leave()
    other = new_member()
    assert other.join_twice(protocol_type="connect").error_code == ErrorCode.none
    assert other.describe().protocol_type == "connect"


# --- static members


@pytest.mark.parametrize("version", range(5, 10))
def test_a_static_member_needs_no_second_join(new_member: NewMember, version: int) -> None:
    static = new_member(instance="one")
    joined = static.join(version=version)
    assert (joined.error_code, joined.generation_id) == (ErrorCode.none, 1)
    assert joined.members[0].group_instance_id == "one"


@pytest.mark.parametrize("version", range(5, 10))
def test_a_static_member_that_returns_does_not_rebalance_the_group(new_member: NewMember, version: int) -> None:
    static, again = new_member(instance="one"), new_member(instance="one")
    assignment = static.become_stable(version=version)
    joined = again.join(version=version)
    assert (joined.error_code, joined.generation_id) == (ErrorCode.none, static.generation)
    assert joined.member_id != static.member_id
    if version >= 9:
        # The leader sees the members, and is told to leave the assignment as it is.
        assert (joined.leader, joined.skip_assignment) == (joined.member_id, True)
        assert [member.member_id for member in joined.members] == [joined.member_id]
    else:
        # It must not assign: it is told of a leader that it is not.
        assert (joined.leader, joined.members) == (static.member_id, ())
    assert again.sync({}).assignment == assignment
    assert again.heartbeat() == ErrorCode.none


def test_whom_a_static_member_replaced_is_fenced(new_member: NewMember, topic: str) -> None:
    old, new = new_member(instance="one"), new_member(instance="one")
    old.become_stable()
    new.join()
    fenced = ErrorCode.fenced_instance_id
    assert old.heartbeat() == fenced
    assert old.sync({}).error_code == fenced
    refused = old.join()
    assert (refused.error_code, refused.member_id) == (fenced, old.member_id)
    assert old.commit(topic, {0: 1}) == {0: fenced}
    assert old.leave() == [fenced]
    # By its member id alone it is not known any more.
    old.instance = None
    assert old.heartbeat() == ErrorCode.unknown_member_id
    assert old.commit(topic, {0: 1}) == {0: ErrorCode.unknown_member_id}
    assert new.heartbeat() == ErrorCode.none


def test_an_instance_that_the_group_does_not_know(new_member: NewMember) -> None:
    dynamic = new_member()
    dynamic.become_stable()
    dynamic.instance = "unheard of"
    assert dynamic.heartbeat() == ErrorCode.unknown_member_id
    assert dynamic.sync({}).error_code == ErrorCode.unknown_member_id
    stranger = new_member(instance="unheard of")
    assert stranger.join(member_id="stranger").error_code == ErrorCode.unknown_member_id


def test_a_static_member_leaves_by_its_instance_id(new_member: NewMember) -> None:
    static = new_member(instance="one")
    static.become_stable()
    assert static.leave([("", "one")]) == [ErrorCode.none]
    assert static.state() == "Empty"


def test_a_static_member_that_returns_with_another_preference_rebalances_the_group(new_member: NewMember) -> None:
    static, changed, preferring = (new_member(instance="one") for _ in range(3))
    static.become_stable()
    # Metadata alone does not: what counts is the protocol that is chosen.
    assert changed.join(protocols=OTHER).generation_id == 1
    joined = preferring.join(protocols=(("other", subscription()), *RANGE))
    assert (joined.error_code, joined.generation_id, joined.protocol_name) == (ErrorCode.none, 2, "other")


def test_a_static_member_that_returns_before_the_sync_rebalances_the_group(new_member: NewMember) -> None:
    static, again = new_member(instance="one"), new_member(instance="one")
    static.join()
    joined = again.join()
    assert (joined.error_code, joined.generation_id, joined.leader) == (ErrorCode.none, 2, again.member_id)
    assert static.heartbeat() == ErrorCode.fenced_instance_id


# --- what administrators see


@pytest.mark.parametrize("version", range(7))
def test_a_group_that_is_not_there(group: Group, version: int) -> None:
    found = group.describe(version=version, operations=True)
    assert (found.group_state, found.protocol_type, found.protocol_data, found.members) == ("Dead", "", "", ())
    if version >= 6:
        assert (found.error_code, found.authorized_operations) == (ErrorCode.group_id_not_found, NOT_ASKED)
        assert group.group_id in found.error_message
    else:
        assert found.error_code == ErrorCode.none
        assert getattr(found, "authorized_operations", OPERATIONS) == OPERATIONS


@pytest.mark.parametrize("version", range(7))
def test_a_group_is_described_through_its_states(new_member: NewMember, version: int) -> None:
    member, other = new_member(), new_member()
    seen = {}

    def look() -> None:
        found = member.describe(version=version)
        assert found.error_code == ErrorCode.none
        assert getattr(found, "authorized_operations", NOT_ASKED) == NOT_ASKED
        seen[found.group_state] = found

    member.join_twice()
    look()
    member.sync({member.member_id: b"assigned"})
    look()
    waiting = other.send_join(version=3)
    poll("the group rebalances", lambda: member.heartbeat() == ErrorCode.rebalance_in_progress)
    look()
    member.join()
    waiting()
    member.leave([(member.member_id, None), (other.member_id, None)])
    look()
    assert [(state, found.protocol_type, found.protocol_data, len(found.members)) for state, found in seen.items()] == [
        ("CompletingRebalance", "consumer", "", 1),
        ("Stable", "consumer", "range", 1),
        ("PreparingRebalance", "consumer", "", 2),
        ("Empty", "consumer", "", 0),
    ]
    (one,) = seen["Stable"].members
    assert (one.member_id, one.client_id, one.client_host) == (member.member_id, "compat", "/127.0.0.1")
    assert (one.member_metadata, one.member_assignment) == (RANGE[0][1], b"assigned")
    assert seen["CompletingRebalance"].members[0].member_metadata == b""


@pytest.mark.parametrize("version", [3, 4, 5, 6])
def test_operations_are_told_when_asked_for(group: Group, version: int) -> None:
    group.become_stable()
    assert group.describe(version=version, operations=True).authorized_operations == OPERATIONS


def test_instances_are_described(new_member: NewMember) -> None:
    static = new_member(instance="one")
    static.become_stable()
    assert static.describe().members[0].group_instance_id == "one"


def test_several_groups_are_described_each_by_itself(group: Group) -> None:
    group.become_stable()
    asked = [group.group_id, f"{group.group_id}-not-there", "", group.group_id]
    found = group.call("describe_groups", 5, {"groups": asked, "include_authorized_operations": False}).groups
    states = {asked[0]: "Stable", asked[1]: "Dead", "": "Dead"}
    assert sorted((each.group_id, each.group_state) for each in found) == sorted((name, states[name]) for name in asked)


@pytest.mark.parametrize("version", range(6))
def test_groups_are_listed(group: Group, version: int) -> None:
    assert group.listed(version=version) is None
    group.become_stable()
    found = group.listed(version=version)
    assert found.protocol_type == "consumer"
    if version >= 4:
        assert found.group_state == "Stable"
    if version >= 5:
        assert found.group_type == "classic"


def test_groups_are_listed_by_state(group: Group) -> None:
    group.become_stable()
    for version, states in itertools.product((4, 5), (["Stable"], ["sTABLE"], ["Empty", "stable"])):
        assert group.listed(version=version, states=states) is not None
    for states in (["Empty"], ["Dead"], ["no such state"]):
        assert group.listed(states=states) is None


def test_groups_are_listed_by_type(group: Group) -> None:
    group.become_stable()
    assert group.listed(types=["Classic"]) is not None
    assert group.listed(types=["consumer"]) is None
    assert group.listed(types=["no such type"]) is None


@pytest.mark.parametrize("version", range(3))
def test_only_empty_groups_are_deleted(group: Group, version: int) -> None:
    assert group.delete(version=version) == ErrorCode.group_id_not_found
    group.become_stable()
    assert group.delete(version=version) == ErrorCode.non_empty_group
    group.leave()
    assert group.delete(version=version) == ErrorCode.none
    assert group.state() == "Dead"
    assert group.listed() is None
    assert group.delete(version=version) == ErrorCode.group_id_not_found


def test_several_groups_are_deleted_and_each_is_answered_once(group: Group) -> None:
    group.become_stable()
    asked = [group.group_id, f"{group.group_id}-not-there", group.group_id, ""]
    results = group.call("delete_groups", 2, {"groups_names": asked}).results
    assert {each.group_id: each.error_code for each in results} == {
        asked[0]: ErrorCode.non_empty_group,
        asked[1]: ErrorCode.group_id_not_found,
        "": ErrorCode.group_id_not_found,
    }
    assert len(results) == 3


# --- the connection


def test_a_member_whose_connection_is_gone_leaves_the_others_alone(new_member: NewMember) -> None:
    leader, gone = new_member(), new_member()
    leader.become_stable()
    gone.send_join(version=3, rebalance_timeout_ms=30_000)
    poll("the group rebalances", lambda: leader.heartbeat() == ErrorCode.rebalance_in_progress)
    gone.connection.close()
    joined = leader.join()
    assert (joined.error_code, len(joined.members)) == (ErrorCode.none, 2)
    assert leader.sync({leader.member_id: b"all"}).error_code == ErrorCode.none


def test_a_join_that_waits_holds_back_only_its_connection(new_member: NewMember) -> None:
    leader, follower = pair(new_member)
    waiting = follower.send_join(protocols=OTHER)
    poll("the group rebalances", lambda: leader.heartbeat() == ErrorCode.rebalance_in_progress)
    behind = follower.connection.send("api_versions", 0)
    assert follower.connection.has_nothing_to_read()
    leader.join()
    assert waiting().error_code == ErrorCode.none
    follower.connection.receive("api_versions", 0, behind)


# --- a broker that nobody asked for a coordinator yet


def test_groups_wait_for_their_topic(start_broker: Any, tmp_path: Path) -> None:
    own = start_broker(tmp_path)
    with own.connect() as connection:
        group = Group(connection, "first")
        # Clients look for the coordinator then.
        assert group.heartbeat(member_id="m") in NOT_READY
        assert group.join(version=3).error_code in NOT_READY
        assert group.call("list_groups", 5, {}).groups == ()
        group.find()
        assert group.heartbeat(member_id="m") == ErrorCode.unknown_member_id
    own.close()
