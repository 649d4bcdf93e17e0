"""Groups of absurd size: served, or refused with an error of Kafka's; the other groups notice nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from harness.groups import Group
from harness.process import Broker, poll
from kio.schema.errors import ErrorCode

MEMBERS = 300
LONG = "n" * 32_767
"""The longest that a string of Kafka can be."""
MIB = 1 << 20


@pytest.fixture(scope="module")
def victim(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, start_broker) -> Broker:
    if request.config.getoption("--bootstrap"):
        return request.getfixturevalue("broker")
    return start_broker(tmp_path_factory.mktemp("victim"))


@pytest.fixture
def neighbour(victim: Broker, topic_name: str) -> Iterator[Group]:
    """A group that was there before, and whose member is one after."""
    with victim.connect() as connection:
        group = Group(connection, f"{topic_name}-neighbour")
        group.find()
        group.become_stable()
        yield group
        assert group.heartbeat() == ErrorCode.none
        assert group.commit(connection.create_usable_topic(topic_name), {0: 5}) == {0: ErrorCode.none}
    assert victim.is_alive()


def test_hundreds_of_members_come_at_once_and_are_one_generation(
    victim: Broker, neighbour: Group, topic_name: str
) -> None:
    with contextlib.ExitStack() as opened:
        members = [Group(opened.enter_context(victim.connect(timeout=60)), topic_name) for _ in range(MEMBERS)]
        first = members[0]
        first.find()
        patient = {"rebalance_timeout_ms": 300_000, "session_timeout_ms": 300_000}
        first.become_stable(**patient)
        for member in members[1:]:
            assert member.join(**patient).error_code == ErrorCode.member_id_required
        waiting = [member.send_join(**patient) for member in members[1:]]
        with victim.connect() as looking:
            poll("all have joined", lambda: len(Group(looking, topic_name).describe().members) == MEMBERS)
        # They wait for the one that was there before.
        answers = [first.join(**patient), *(receive() for receive in waiting)]
        assert {answer.error_code for answer in answers} == {ErrorCode.none}
        assert len({answer.generation_id for answer in answers}) == 1
        assert neighbour.heartbeat() == ErrorCode.none
        (leader,) = {answer.leader for answer in answers}
        told = [
            member.send_sync({each.member_id: each.member_id.encode() for each in members})
            if member.member_id == leader
            else member.send_sync()
            for member in members
        ]
        for member, receive in zip(members, told, strict=True):
            synced = receive()
            assert (synced.error_code, synced.assignment) == (ErrorCode.none, member.member_id.encode())
        assert len(members[0].describe().members) == MEMBERS
        assert members[0].leave([(member.member_id, None) for member in members]) == [ErrorCode.none] * MEMBERS


def test_names_of_the_longest_kind_are_kept_or_refused(victim: Broker, neighbour: Group) -> None:
    with victim.connect() as connection:
        group = Group(connection, LONG)
        group.find()
        answer = group.join_twice(protocol_type=LONG, protocols=((LONG, b""),))
        assert answer.error_code == ErrorCode.none
        synced = group.sync({group.member_id: b"all"}, protocol_type=LONG, protocol_name=LONG)
        assert synced.error_code == ErrorCode.none
        assert group.listed().group_id == LONG
        described = group.describe()
        assert (described.protocol_type, described.members[0].member_assignment) == (LONG, b"all")
        assert group.leave() == [ErrorCode.none]
        assert group.delete() == ErrorCode.none


@pytest.mark.parametrize("size", [900_000, MIB, 60 * MIB])
def test_metadata_that_no_record_can_hold_is_refused(
    victim: Broker, neighbour: Group, topic_name: str, size: int, system: str
) -> None:
    """Apache Kafka says UNKNOWN_SERVER_ERROR."""
    with victim.connect(timeout=60) as connection:
        group = Group(connection, f"{topic_name}-{size}")
        group.find()
        answer = group.join_twice(protocols=(("range", bytes(size)),))
        if answer.error_code == ErrorCode.none:
            answer = group.sync({group.member_id: bytes(size)})
        assert answer.error_code != ErrorCode.none
        assert (answer.error_code == ErrorCode.unknown_server_error) == (system == "kafka")
        assert connection.call("api_versions", 0).error_code == ErrorCode.none


def test_clients_that_say_much_and_are_gone_take_bounded_room_until_their_sessions_end(
    victim: Broker, neighbour: Group, topic_name: str, system: str
) -> None:
    """What they say is kept as long as their sessions. Apache Kafka has no bound."""
    much = {"protocols": (("range", bytes(900_000)),), "session_timeout_ms": 6_000, "rebalance_timeout_ms": 6_000}
    codes = []
    for number in range(100):
        with victim.connect() as connection:
            group = Group(connection, f"{topic_name}-{number}")
            codes.append(group.join(**much).error_code)
            if codes[-1] == ErrorCode.member_id_required:
                group.send_join(**much)
    assert neighbour.heartbeat() == ErrorCode.none
    refused = codes.count(ErrorCode.coordinator_not_available)
    assert codes.count(ErrorCode.member_id_required) + refused == 100
    assert (refused > 0) == (system != "kafka")
    assert refused < 50, "there is room for 64 MiB"
    with victim.connect() as connection:
        later = Group(connection, f"{topic_name}-later")
        accepted = (ErrorCode.member_id_required, ErrorCode.none)
        poll("sessions have ended", lambda: later.join_twice(**much).error_code in accepted, timeout=60)
        later.leave()


def test_ids_that_nobody_joins_with_are_bounded_and_known_groups_go_on(
    victim: Broker, neighbour: Group, topic_name: str, system: str
) -> None:
    """Apache Kafka has no bound."""
    with victim.connect(timeout=60) as connection:
        group = Group(connection, topic_name)
        group.find()
        patient = {"member_id": "", "session_timeout_ms": 300_000}
        answers = []
        for _ in range(103):
            waiting = [group.send_join(**patient) for _ in range(100)]
            answers += [receive() for receive in waiting]
            assert neighbour.heartbeat() == ErrorCode.none
        given = [answer.member_id for answer in answers if answer.error_code == ErrorCode.member_id_required]
        refused = [answer for answer in answers if answer.error_code == ErrorCode.coordinator_not_available]
        assert len(given) + len(refused) == 10_300
        assert bool(refused) == (system != "kafka")
        assert group.leave([(member_id, None) for member_id in given]) == [ErrorCode.none] * len(given)
        assert group.join(**patient).error_code == ErrorCode.member_id_required
