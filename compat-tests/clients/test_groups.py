"""Consumers in groups, by the clients' own group protocols: what they read, commit, and how they share the work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from clients.members import MEMBERS, Member
from harness import wire
from harness.batches import simple_batch
from harness.groups import Group
from harness.process import Broker, poll

PARTITIONS = 4
RECORDS = 10
"""Of each partition."""
ALL = frozenset(range(PARTITIONS))

JOINS_SECONDS = 60
"""Clients look for the coordinator again after some time only."""

every_member = pytest.mark.parametrize("kind", MEMBERS, ids=lambda kind: kind.name)
every_strategy = pytest.mark.parametrize(
    ("kind", "strategy"),
    [(kind, strategy) for kind in MEMBERS for strategy in kind.strategies],
    ids=lambda value: value if isinstance(value, str) else value.name,
)


@pytest.fixture
def topic(connection: wire.Connection, topic_name: str) -> str:
    """A topic with the same records in each partition."""
    return filled(connection, topic_name)


def filled(connection: wire.Connection, name: str) -> str:
    topic = connection.create_usable_topic(name, PARTITIONS)
    produce(connection, topic)
    return topic


def produce(connection: wire.Connection, topic: str) -> None:
    batch = simple_batch(*(b"%d" % number for number in range(RECORDS)))
    answers = connection.produce(topic, dict.fromkeys(range(PARTITIONS), batch))
    assert all(answer.error_code == 0 for answer in answers.values())


def committed(group: Group, topic: str, partition: int) -> tuple[int, str]:
    """Offset and metadata; confluent-kafka sends the end of the C string, too."""
    ((offset, metadata),) = group.fetch({topic: [partition]}).values()
    return offset, metadata.rstrip("\0")


def until(what: str, condition: Callable[[], object]) -> None:
    poll(what, condition, timeout=JOINS_SECONDS, every=0.05)


def shared_by(*members: Member) -> bool:
    """Whether each partition has exactly one of these members, and each member has its share."""
    shares = [member.assigned for member in members]
    return sum(map(len, shares)) == PARTITIONS == len(frozenset().union(*shares)) and all(
        len(share) == PARTITIONS // len(members) for share in shares
    )


def has_read(member: Member, *partitions: int, begin: int = 0, end: int = RECORDS) -> bool:
    """Whether these partitions were read from begin to end (exclusive), once and in order."""
    found = [member.offsets(partition) for partition in partitions]
    assert all(offsets == list(range(begin, begin + len(offsets))) for offsets in found), found
    return all(len(offsets) >= end - begin for offsets in found)


@every_strategy
def test_the_work_is_shared_as_members_come_and_go(
    broker: Broker, connection: wire.Connection, topic: str, kind: type[Member], strategy: str
) -> None:
    group = Group(connection, topic)
    group.find()
    with kind(broker.bootstrap, topic, topic, strategy=strategy) as first:
        until("one member reads everything", lambda: first.assigned == ALL and has_read(first, *ALL))
        first.keep()
        with kind(broker.bootstrap, topic, topic, strategy=strategy) as second:
            until("both have their share", lambda: shared_by(first, second))
            until("nothing moves any more", lambda: group.state() == "Stable")
            described = group.describe()
            assert (described.protocol_type, described.protocol_data) == ("consumer", strategy)
            assert len(described.members) == 2
            assert "cooperative" not in strategy or first.kept == first.assigned
            for member, partition in ((first, min(first.assigned)), (second, min(second.assigned))):
                member.commit(partition, 3, "three")
                assert committed(group, topic, partition) == (3, "three")
        until("the one that stays has everything again", lambda: first.assigned == ALL)
    until("the group is empty", lambda: group.state() == "Empty")


@every_member
def test_a_member_goes_on_where_the_last_one_had_committed(
    broker: Broker, connection: wire.Connection, topic: str, kind: type[Member]
) -> None:
    group = Group(connection, topic)
    with kind(broker.bootstrap, topic, topic) as first:
        until("everything is read", lambda: has_read(first, *ALL))
        first.commit(0, 4, "four")
        first.commit_without_waiting(1, RECORDS)
        until("it is committed", lambda: committed(group, topic, 1) == (RECORDS, ""))
    with kind(broker.bootstrap, topic, topic) as second:
        until("the rest is read", lambda: has_read(second, 0, begin=4) and has_read(second, 2, 3))
        assert second.offsets(1) == []
        produce(connection, topic)
        until("what is new, too", lambda: has_read(second, 1, begin=RECORDS, end=2 * RECORDS))


@every_member
def test_members_seek(broker: Broker, topic: str, kind: type[Member]) -> None:
    with kind(broker.bootstrap, topic, topic) as member:
        until("everything is read", lambda: has_read(member, *ALL))
        member.go_to(2, 7)
        until("the end is read again", lambda: has_read(member, 2, begin=7))
        member.go_to(2, 0)
        until("all is read again", lambda: has_read(member, 2))


@every_member
def test_a_static_member_that_comes_back_disturbs_nobody(
    broker: Broker, connection: wire.Connection, topic: str, kind: type[Member]
) -> None:
    group = Group(connection, topic)
    with kind(broker.bootstrap, topic, topic, instance="one") as one:
        with kind(broker.bootstrap, topic, topic, instance="two") as two:
            until("both have their share", lambda: shared_by(one, two))
            until("nothing moves any more", lambda: group.state() == "Stable")
            before, share = one.assignments, two.assigned
            ids = {each.group_instance_id: each.member_id for each in group.describe().members}
        assert group.state() == "Stable", "a static member does not leave when it closes"
        with kind(broker.bootstrap, topic, topic, instance="two") as again:
            until("it has its share again", lambda: again.assigned == share)
            after = {each.group_instance_id: each.member_id for each in group.describe().members}
            assert (after["one"], after["two"] != ids["two"]) == (ids["one"], True)
            assert one.assignments == before
            assert one.assigned == ALL - share


def test_members_of_all_clients_share_a_group(broker: Broker, connection: wire.Connection, topic_name: str) -> None:
    topic = connection.create_usable_topic(topic_name, len(MEMBERS))
    members = [kind(broker.bootstrap, topic, topic) for kind in MEMBERS]
    try:
        until("each has a partition", lambda: {each.assigned for each in members} == {frozenset({n}) for n in range(3)})
    finally:
        for member in members:
            member.close()


@every_member
def test_members_go_on_after_the_broker_was_killed(start_broker: Any, tmp_path: Path, kind: type[Member]) -> None:
    broker = start_broker(tmp_path)
    with broker.connect() as connection:
        topic = filled(connection, "topic")
        Group(connection, "group").find()
    with kind(broker.bootstrap, "group", topic) as member:
        until("everything is read", lambda: has_read(member, *ALL))
        for partition in ALL:
            member.commit(partition, RECORDS)
        broker.kill()
        broker.start()
        with broker.connect() as connection:
            for partition in ALL:
                connection.end_offset(topic, partition)
            produce(connection, topic)
            until("what is new is read", lambda: has_read(member, *ALL, end=2 * RECORDS))
            group = Group(connection, "group")
            group.find()
            for partition in ALL:
                member.commit(partition, 2 * RECORDS)
            assert {committed(group, topic, partition) for partition in ALL} == {(2 * RECORDS, "")}
    broker.close()
