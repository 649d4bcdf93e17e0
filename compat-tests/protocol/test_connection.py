"""Frames, headers and ApiVersions (protocol.md items 1-17): what a connection may rely on."""

from __future__ import annotations

import struct

import pytest
from harness import wire
from harness.batches import simple_batch
from harness.process import Broker

SERVED = {
    0: (0, 13),
    1: (4, 18),
    2: (1, 11),
    3: (0, 13),
    10: (0, 6),
    18: (0, 4),
    19: (2, 7),
    20: (1, 6),
    22: (0, 5),
    23: (2, 4),
    37: (0, 3),
    60: (0, 2),
    61: (0, 0),
    75: (0, 0),
}
"""Key -> the versions that Apache Kafka 4.3 serves, for what a first broker serves."""


@pytest.mark.parametrize("version", range(5))
def test_api_versions_names_what_is_served(connection: wire.Connection, version: int) -> None:
    software = {"client_software_name": "compat", "client_software_version": "1.0"} if version >= 3 else {}
    answer = connection.call("api_versions", version, **software)
    assert answer.error_code == 0
    served = {each.api_key: (each.min_version, each.max_version) for each in answer.api_keys}
    assert {key: served.get(key) for key in SERVED} == SERVED


@pytest.mark.parametrize("version", [5, 9, 127, 32767])
def test_an_unknown_version_of_api_versions_is_answered_in_v0_with_what_is_known(
    connection: wire.Connection, version: int
) -> None:
    header = wire.encode_header(18, version, 77, "compat", flexible=True)
    connection.send_frame(header + b"\x07anything at all")
    answer = connection.receive("api_versions", 0, 77)
    assert answer.error_code == 35, "UNSUPPORTED_VERSION"
    assert [(each.api_key, each.min_version, each.max_version) for each in answer.api_keys] == [(18, 0, 4)]
    assert connection.call("api_versions", 0).error_code == 0, "the connection goes on"


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize(
    ("name", "good"), [("a", True), ("a-b.c", True), ("", False), ("-a", False), ("a.", False), ("a b", False)]
)
def test_the_client_software_name_is_checked(connection: wire.Connection, version: int, name: str, good: bool) -> None:
    answer = connection.call("api_versions", version, client_software_name=name, client_software_version="1")
    assert answer.error_code == (0 if good else 42)


def test_features_of_minimum_zero_are_told_from_v4_only(connection: wire.Connection) -> None:
    software = {"client_software_name": "compat", "client_software_version": "1"}
    for version in (3, 4):
        frame = _call_raw(connection, version, software)
        zero_minimum = [name for name, (minimum, _) in _supported_features(frame).items() if minimum == 0]
        if version == 3:
            assert not zero_minimum


def _call_raw(connection: wire.Connection, version: int, software: dict[str, str]) -> bytes:
    connection.send("api_versions", version, software)
    return connection.receive_frame()


def _supported_features(frame: bytes) -> dict[str, tuple[int, int]]:
    answer = wire.decode_response("api_versions", 4, frame, 4)
    return {each.name: (each.min_version, each.max_version) for each in answer.supported_features}


def test_unknown_tags_are_skipped(connection: wire.Connection) -> None:
    tags = b"\x02\x05\x03abc\x63\x01z"
    header = struct.pack(">hhih", 18, 3, 5, 6) + b"compat" + tags
    connection.send_frame(header + b"\x02a" + b"\x022" + tags)
    assert connection.receive("api_versions", 3, 5).error_code == 0


def test_a_null_client_id_is_taken(broker: Broker) -> None:
    with wire.Connection(broker.host, broker.port, client_id=None) as connection:
        assert connection.call("metadata", 12, topics=[], allow_auto_topic_creation=False).brokers


def test_pipelined_requests_are_answered_in_order(connection: wire.Connection, topic: str) -> None:
    batch = simple_batch(b"v")
    sent = []
    for _ in range(20):
        sent.append(("produce", 9, connection.send("produce", 9, wire.produce_fields(topic, {0: batch}), lenient=True)))
        sent.append(("metadata", 12, connection.send("metadata", 12, {"topics": None})))
        sent.append(("api_versions", 0, connection.send("api_versions", 0)))
        fetch = wire.fetch_fields(topic, {0: 0}, max_wait_ms=0)
        sent.append(("fetch", 11, connection.send("fetch", 11, fetch, lenient=True)))
    for api, version, correlation_id in sent:
        connection.receive(api, version, correlation_id)


def test_an_answer_waits_behind_a_long_poll(connection: wire.Connection, topic: str) -> None:
    waiting = connection.send("fetch", 11, wire.fetch_fields(topic, {0: 0}, max_wait_ms=400), lenient=True)
    later = connection.send("api_versions", 0)
    assert connection.has_nothing_to_read(0.2)
    connection.receive("fetch", 11, waiting)
    connection.receive("api_versions", 0, later)


def test_a_fetch_behind_produces_on_one_connection_reads_them(connection: wire.Connection, topic: str) -> None:
    for round_number in range(20):
        values = [b"%d-%d" % (round_number, i) for i in range(3)]
        produced = [
            connection.send("produce", 9, wire.produce_fields(topic, {0: simple_batch(value)}), lenient=True)
            for value in values
        ]
        start = round_number * 3
        fetch = wire.fetch_fields(topic, {0: start}, max_wait_ms=0)
        fetched = connection.send("fetch", 11, fetch, lenient=True)
        for correlation_id in produced:
            connection.receive("produce", 9, correlation_id)
        answer = connection.receive("fetch", 11, fetched)
        assert answer.responses[0].partitions[0].high_watermark == start + 3
        batches_found = wire.batches.parse_batches(answer.responses[0].partitions[0].records)
        assert [record.value for batch in batches_found for record in batch.records()] == values


def test_acks_0_gets_no_answer_and_the_next_request_does(connection: wire.Connection, topic: str) -> None:
    fields = wire.produce_fields(topic, {0: simple_batch(b"silent")}, acks=0)
    for version in (3, 9, 12):
        connection.send("produce", version, fields, lenient=True)
    later = connection.send("list_offsets", 5, _latest(topic), lenient=True)
    answer = connection.receive("list_offsets", 5, later)
    assert answer.topics[0].partitions[0].offset == 3


def test_an_error_at_acks_0_closes_the_connection(connection: wire.Connection, topic: str) -> None:
    fields = wire.produce_fields(topic, {7: simple_batch(b"no such partition")}, acks=0)
    connection.send("produce", 9, fields, lenient=True)
    assert connection.is_closed_by_peer()


def _latest(topic: str) -> dict[str, object]:
    return {"replica_id": -1, "topics": [{"name": topic, "partitions": [{"partition_index": 0, "timestamp": -1}]}]}


def test_frames_in_small_pieces_are_put_together(connection: wire.Connection, topic: str) -> None:
    frame = wire.encode_request(
        "produce", 9, wire.produce_fields(topic, {0: simple_batch(b"x" * 300)}), 9, lenient=True
    )
    data = struct.pack(">i", len(frame)) + frame
    for at in range(0, len(data), 7):
        connection.send_bytes(data[at : at + 7])
    assert connection.receive("produce", 9, 9).responses[0].partition_responses[0].error_code == 0


def test_many_frames_in_one_piece_are_taken_apart(connection: wire.Connection, topic: str) -> None:
    frames = [
        wire.encode_request("produce", 9, wire.produce_fields(topic, {0: simple_batch(b"%d" % i)}), i, lenient=True)
        for i in range(200)
    ]
    connection.send_bytes(b"".join(struct.pack(">i", len(frame)) + frame for frame in frames))
    offsets = [connection.receive("produce", 9, i).responses[0].partition_responses[0].base_offset for i in range(200)]
    assert offsets == list(range(200))


def test_bytes_behind_a_request_are_ignored(connection: wire.Connection, topic: str) -> None:
    """librdkafka 2.16 sends three of them with Metadata v13; Apache Kafka reads what it knows and no further."""
    for api, version, fields in (
        ("metadata", 13, {"topics": None}),
        ("metadata", 4, {"topics": None}),
        ("fetch", 12, wire.fetch_fields(topic, {0: 0}, max_wait_ms=0)),
        ("produce", 9, wire.produce_fields(topic, {0: simple_batch(b"v")})),
    ):
        connection.send_frame(wire.encode_request(api, version, fields, 3, lenient=True) + b"\0\0\0")
        connection.receive(api, version, 3)
