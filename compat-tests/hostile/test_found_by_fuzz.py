"""Frames that the fuzz (`fuzz/`) found to break something, each by the rule that it broke."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest
from harness import wire
from harness.groups import Group
from harness.process import Broker
from kio.schema.errors import ErrorCode

LONG = "a" * 32_767
"""The longest string that a client can send in most fields."""


@pytest.fixture
def connection(broker: Broker) -> Iterator[wire.Connection]:
    with broker.connect() as opened:
        yield opened


@pytest.mark.parametrize("version", [0, 1])
def test_an_error_about_a_long_name_fits_into_its_answer(
    connection: wire.Connection, topic: str, version: int, system: str
) -> None:
    """Apache Kafka says UNKNOWN_SERVER_ERROR where the text does not fit."""
    config = {"name": LONG, "config_operation": 0, "value": LONG}
    asked = [{"resource_type": 2, "resource_name": name, "configs": [config]} for name in (topic, LONG)]
    answer = connection.call("incremental_alter_configs", version, resources=asked)
    codes = {each.error_code for each in answer.responses}
    assert ErrorCode.none not in codes
    created = connection.create_topic(f"{topic}-n", configs={LONG: LONG}, version=4)
    assert created.error_code != ErrorCode.none
    if system != "kafka":
        assert ErrorCode.unknown_server_error not in {*codes, created.error_code}


@pytest.mark.parametrize("retention_ms", [(1 << 63) - 1, -(1 << 63)])
def test_a_commit_may_ask_for_any_retention(connection: wire.Connection, topic: str, retention_ms: int) -> None:
    """By bytes: kio does not write durations of so many years."""
    group = Group(connection, f"{topic}-{retention_ms}")
    group.find()
    names = [name.encode() for name in (group.group_id, topic)]
    group_id, topic_name = (struct.pack(">h", len(name)) + name for name in names)
    offset = struct.pack(">iqh", 0, 5, -1)
    body = group_id + struct.pack(">ih", -1, 0) + struct.pack(">qi", retention_ms, 1) + topic_name
    body += struct.pack(">i", 1) + offset
    connection.send_frame(wire.encode_header(8, 3, 77, "compat", flexible=False) + body)
    answer = connection.receive("offset_commit", 3, 77)
    assert answer.topics[0].partitions[0].error_code == ErrorCode.none
    if retention_ms > 0:
        assert group.fetch({topic: [0]}) == {(topic, 0): (5, "")}


@pytest.mark.parametrize("size", [32_768, 70_000])
@pytest.mark.parametrize("field", ["group", "protocol type", "instance"])
def test_a_name_longer_than_a_string_may_be_costs_only_its_connection(
    broker: Broker, connection: wire.Connection, topic: str, field: str, size: int
) -> None:
    """A varint can say that length; the coordinator's records cannot."""
    neighbour = Group(connection, f"{topic}-neighbour")
    neighbour.find()
    neighbour.become_stable()
    with broker.connect() as sender:
        group = Group(
            sender, "g" * size if field == "group" else topic, instance="i" * size if field == "instance" else None
        )
        with pytest.raises(wire.ConnectionClosed):
            group.join(protocol_type="p" * size if field == "protocol type" else "consumer")
    assert neighbour.heartbeat() == ErrorCode.none


@pytest.mark.parametrize("static", [False, True])
def test_a_member_of_a_long_name_is_told_and_described(broker: Broker, topic: str, static: bool, system: str) -> None:
    """A member id is a name and a UUID behind it."""
    if system == "kafka":
        pytest.skip("Apache Kafka makes ids that it cannot send")
    with wire.Connection(broker.host, broker.port, client_id=LONG) as connection:
        group = Group(connection, topic, instance=LONG if static else None)
        group.find()
        group.become_stable()
        (member,) = group.describe().members
        assert (member.member_id, member.client_id) == (group.member_id, LONG)
        assert group.leave() == [ErrorCode.none]
