"""Topics that brokers keep for themselves: who may write them, and that tools may read them (protocol.md item 39)."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from harness import batches, wire
from harness.batches import Record, make_batch
from harness.groups import Group, subscription
from harness.process import Broker, poll
from kio.schema.errors import ErrorCode

OFFSETS = "__consumer_offsets"
NOBODYS = struct.pack(">h", 99)
"""A key of a kind that no coordinator knows."""


@pytest.fixture
def group(connection: wire.Connection, topic_name: str) -> Group:
    found = Group(connection, topic_name)
    found.find()
    return found


def partition_of(group_id: str, partitions: int) -> int:
    """Java's String.hashCode, of ASCII."""
    value = 0
    for character in group_id.encode("ascii"):
        value = (31 * value + character) & 0xFFFF_FFFF
    value -= (value >> 31) << 32
    return (0 if value == -(1 << 31) else abs(value)) % partitions


def records_of(group: Group, kinds: tuple[int, ...]) -> list[Record]:
    """The records of these kinds (the key's version) that the offsets topic has of a group."""
    (topic,) = group.connection.metadata([OFFSETS]).topics
    partition = partition_of(group.group_id, len(topic.partitions))
    name = group.group_id.encode()
    begin = tuple(struct.pack(">hh", kind, len(name)) + name for kind in kinds)
    found = [record for batch in group.connection.read_all(OFFSETS, partition) for record in batch.records()]
    return [record for record in found if record.key is not None and record.key.startswith(begin)]


@pytest.mark.parametrize("version", [3, 9, 12])
def test_clients_may_not_write_the_offsets_topic(group: Group, version: int) -> None:
    batch = make_batch([Record(None, key=NOBODYS)])
    end = group.connection.end_offset(OFFSETS)
    answer = group.connection.produce(OFFSETS, {0: batch}, version=version)[0]
    assert (answer.error_code, answer.base_offset) == (ErrorCode.invalid_topic_exception, -1)
    by_id = group.connection.produce(group.connection.topic_id(OFFSETS), {0: batch}, version=13)[0]
    assert by_id.error_code == ErrorCode.invalid_topic_exception
    assert group.connection.end_offset(OFFSETS) == end


def test_the_admin_client_may(broker: Broker, group: Group, topic: str) -> None:
    partition = partition_of(group.group_id, 50)
    assert group.commit(topic, {0: 1}) == {0: ErrorCode.none}
    with wire.Connection(broker.host, broker.port, client_id="__admin_client") as admin:
        answer = admin.produce(OFFSETS, {partition: make_batch([Record(None, key=NOBODYS)])})[partition]
    assert answer.error_code == ErrorCode.none
    # Kafka's coordinator notices that somebody else wrote, and reads its log again.
    poll("the group is served", lambda: group.commit(topic, {0: 2}) == {0: ErrorCode.none})
    assert group.fetch({topic: [0]}) == {(topic, 0): (2, "")}


def test_tools_read_what_was_committed(group: Group, topic: str) -> None:
    group.commit(topic, {0: (258, "some text", 3)})
    (record,) = records_of(group, (0, 1))
    name, group_id = topic.encode(), group.group_id.encode()
    key = struct.pack(">hh", 1, len(group_id)) + group_id + struct.pack(">h", len(name)) + name + struct.pack(">i", 0)
    assert record.key == key
    assert record.value is not None
    version, offset = struct.unpack_from(">hq", record.value)
    assert (version >= 3, offset) == (True, 258)
    assert b"some text" in record.value
    group.delete()
    assert [each.value for each in records_of(group, (0, 1))] == [record.value, None]


def test_tools_read_who_was_in_a_group(group: Group, topic: str) -> None:
    group.become_stable(protocols=(("range", subscription(topic)),))
    record = records_of(group, (2,))[-1]
    name = group.group_id.encode()
    assert record.key == struct.pack(">hh", 2, len(name)) + name
    assert record.value is not None
    assert struct.unpack_from(">h", record.value)[0] >= 3
    for part in (b"consumer", b"range", group.member_id.encode(), b"all of it", b"/127.0.0.1", subscription(topic)):
        assert part in record.value
    group.leave()
    group.delete()
    assert records_of(group, (2,))[-1].value is None


def test_a_batch_is_as_any_other(group: Group, topic: str) -> None:
    group.commit(topic, {0: 5})
    batch = group.connection.read_all(OFFSETS, partition_of(group.group_id, 50))[-1]
    assert (batch.magic, batch.attributes & ~batches.LOG_APPEND_TIME, batch.producer_id) == (2, 0, -1)


def test_internal_topics_are_made_grown_and_deleted_as_others_are(start_broker: Any, tmp_path: Path) -> None:
    own = start_broker(tmp_path)
    with own.connect() as connection:
        connection.create_usable_topic("__transaction_state", 2)
        (found,) = connection.metadata(["__transaction_state"]).topics
        assert found.is_internal is True
        assert connection.create_topic("__transaction_state").error_code == ErrorCode.topic_already_exists

        group, topic = Group(connection, "g"), connection.create_usable_topic("t")
        group.find()
        grow = {"topics": [{"name": OFFSETS, "count": 51, "assignments": None}], "timeout": 15_000}
        assert group.call("create_partitions", 3, {**grow, "validate_only": True}).results[0].error_code == 0
        group.commit(topic, {0: 1})
        deleted = group.call("delete_topics", 5, {"topic_names": [OFFSETS], "timeout": 15_000})
        assert deleted.responses[0].error_code == ErrorCode.none
        poll("it is gone", lambda: connection.metadata([OFFSETS]).topics[0].error_code != ErrorCode.none)
        group.find()
        poll("the group is gone", lambda: group.describe().error_code == ErrorCode.group_id_not_found)
        assert group.commit(topic, {0: 2}) == {0: ErrorCode.none}
    own.close()
