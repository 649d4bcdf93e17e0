"""Clients in other languages: groups that share their work, committed offsets, configs, deleted records."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from clients.all_clients import every_program
from clients.external import EXTERNAL, External, Polled
from harness import wire
from harness.batches import Record, simple_batch
from harness.groups import Group
from harness.process import Broker, poll

PARTITIONS = 4
RECORDS = 10
"""Of each partition."""
ALL = frozenset(range(PARTITIONS))
JOINS_SECONDS = 60

every_program_and_strategy = pytest.mark.parametrize(
    ("program", "assignor"),
    [(program, assignor) for program in EXTERNAL for assignor in program.assignors],
    ids=lambda value: value if isinstance(value, str) else value.name,
)


def every_program_with(ability: str) -> pytest.MarkDecorator:
    able = [program for program in EXTERNAL if ability not in program.lacks]
    return pytest.mark.parametrize("program", able, ids=lambda program: program.name)


@pytest.fixture
def topic(connection: wire.Connection, topic_name: str) -> str:
    """A topic with the same records in each partition."""
    topic = connection.create_usable_topic(topic_name, PARTITIONS)
    batch = simple_batch(*(b"%d" % number for number in range(RECORDS)))
    connection.produce(topic, dict.fromkeys(range(PARTITIONS), batch))
    Group(connection, topic_name).find()
    return topic


class Watched:
    """A member, with all that it has read so far."""

    def __init__(self, program: External, broker: Broker, topic: str, **how: str) -> None:
        self.program = program
        self.number = program.join(broker.bootstrap, topic, [topic], **how)
        self.read: list[tuple[int, int]] = []
        self.assigned: frozenset[int] = frozenset()

    def look(self) -> None:
        polled: Polled = self.program.poll(self.number)
        self.read += [(partition, record.offset) for partition, record in polled.records]
        self.assigned = frozenset(partition for _, partition in polled.assignment)

    def commit(self) -> None:
        self.program.commit(self.number)

    def leave(self) -> None:
        self.program.leave(self.number)


def until(what: str, *members: Watched, condition: object) -> None:
    def attempt() -> bool:
        for member in members:
            member.look()
        return bool(condition())  # type: ignore[operator]

    poll(what, attempt, timeout=JOINS_SECONDS, every=0.05)


def everything() -> Iterator[tuple[int, int]]:
    return ((partition, offset) for partition in range(PARTITIONS) for offset in range(RECORDS))


@every_program_and_strategy
def test_members_share_the_work_and_go_on_from_what_was_committed(
    broker: Broker, connection: wire.Connection, topic: str, program: External, assignor: str
) -> None:
    group = Group(connection, topic)
    first = Watched(program, broker, topic, assignor=assignor)
    until(
        "one member reads everything",
        first,
        condition=lambda: first.assigned == ALL and sorted(first.read) == sorted(everything()),
    )
    first.commit()
    poll(
        "all is committed",
        # Some clients put a word of their own beside the offset.
        lambda: {offset for offset, _ in group.fetch({topic: sorted(ALL)}).values()} == {RECORDS},
    )
    second = Watched(program, broker, topic, assignor=assignor)
    until(
        "both have their share",
        first,
        second,
        condition=lambda: (
            len(first.assigned) == len(second.assigned) == PARTITIONS // 2 and first.assigned | second.assigned == ALL
        ),
    )
    assert program.group_state(broker.bootstrap, topic) == ("stable", 2)
    assert second.read == []
    connection.produce(topic, dict.fromkeys(range(PARTITIONS), simple_batch(b"new")))
    until(
        "each reads what is new in its share",
        first,
        second,
        condition=lambda: (
            sorted(second.read) == [(partition, RECORDS) for partition in sorted(second.assigned)]
            and {(partition, RECORDS) for partition in first.assigned} <= set(first.read)
        ),
    )
    second.commit()
    second.leave()
    until("the one that stays has everything", first, condition=lambda: first.assigned == ALL)
    first.leave()
    poll("the group is empty", lambda: program.group_state(broker.bootstrap, topic) == ("empty", 0), every=0.1)


@every_program_with("static members")
def test_a_static_member_that_comes_back_has_its_share(
    broker: Broker, connection: wire.Connection, topic: str, program: External
) -> None:
    group = Group(connection, topic)
    one = Watched(program, broker, topic, instance="one")
    two = Watched(program, broker, topic, instance="two")
    until(
        "both have their share",
        one,
        two,
        condition=lambda: (
            len(one.assigned) == len(two.assigned) == PARTITIONS // 2 and one.assigned | two.assigned == ALL
        ),
    )
    poll("nothing moves any more", lambda: group.state() == "Stable", timeout=JOINS_SECONDS)
    before = {each.group_instance_id: each.member_id for each in group.describe().members}
    share = two.assigned
    two.leave()
    assert (group.state(), len(group.describe().members)) == ("Stable", 2), "a static member stays when it closes"
    again = Watched(program, broker, topic, instance="two")
    until("it has its share again", one, again, condition=lambda: again.assigned == share)
    after = {each.group_instance_id: each.member_id for each in group.describe().members}
    assert after["one"] == before["one"]
    assert after["two"] != before["two"]
    assert one.assigned == ALL - share
    again.leave()
    one.leave()


@every_program_with("seek in a group")
def test_members_of_programs_seek(broker: Broker, topic: str, program: External) -> None:
    member = Watched(program, broker, topic)
    until("everything is read", member, condition=lambda: sorted(member.read) == sorted(everything()))
    for start in (7, 0):
        member.read.clear()
        program.seek(member.number, topic, 2, start)
        again = [(2, offset) for offset in range(start, RECORDS)]
        until("the end is read again", member, condition=lambda again=again: member.read == again)
    member.leave()


@every_program
def test_offsets_of_a_group_are_set_read_and_deleted(broker: Broker, topic: str, program: External) -> None:
    address = broker.bootstrap
    assert program.committed(address, topic, topic, 1) is None
    program.commit_offset(address, topic, topic, 1, 7)
    poll("the offset", lambda: program.committed(address, topic, topic, 1) == 7, every=0.1)
    program.commit_offset(address, topic, topic, 1, 3)
    poll("the lower one", lambda: program.committed(address, topic, topic, 1) == 3, every=0.1)
    assert topic in program.groups(address)
    program.delete_group(address, topic)
    assert topic not in program.groups(address)
    assert program.group_state(address, topic) == ("dead", 0)
    assert program.committed(address, topic, topic, 1) is None


@every_program
def test_the_configs_of_a_topic_are_read_and_changed(broker: Broker, topic_name: str, program: External) -> None:
    address = broker.bootstrap
    program.create_topic(address, topic_name, 1, {"retention.ms": "3600000"})
    configs = poll("the topic", lambda: program.topic_configs(address, topic_name), every=0.1)
    assert (configs["retention.ms"], configs["cleanup.policy"]) == ("3600000", "delete")
    program.alter_topic(address, topic_name, {"retention.ms": "7200000"})
    poll(
        "the change",
        lambda: program.topic_configs(address, topic_name)["retention.ms"] == "7200000",
        every=0.1,
    )
    with pytest.raises(Exception, match=r"(?i)config"):
        program.alter_topic(address, topic_name, {"retention.ms": "soon"})


@every_program
def test_records_are_deleted_up_to_an_offset(
    broker: Broker, connection: wire.Connection, topic: str, program: External
) -> None:
    assert program.delete_records(broker.bootstrap, topic, 2, 6) == 6
    assert connection.list_offset(topic, 2, -2).offset == 6
    found = program.consume(broker.bootstrap, topic, 2, RECORDS - 6, 6)
    assert [record.offset for record in found] == list(range(6, RECORDS))
    program.produce(broker.bootstrap, topic, 2, [Record(b"next", b"k")])
    assert program.consume(broker.bootstrap, topic, 2, 1, RECORDS)[0].value == b"next"
