"""compression.type of a topic (protocol.md item 33)."""

from __future__ import annotations

import struct

import pytest
from crc32c import crc32c
from harness import wire
from harness.batches import CODECS, HEADER, NOW, Batch, Record, make_batch, parse_batches, simple_batch

TARGETS = {"uncompressed": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
INVALID = (-1, 87)
"""Apache Kafka says UNKNOWN_SERVER_ERROR of what most codecs cannot read, INVALID_RECORD of some."""


def topic_of(connection: wire.Connection, name: str, target: str, **configs: str) -> str:
    more = {key.replace("_", "."): value for key, value in configs.items()}
    return connection.create_usable_topic(name, configs={"compression.type": target, **more})


def kept(connection: wire.Connection, topic: str, batch: bytes) -> Batch:
    answer = connection.produce(topic, {0: batch})[0]
    assert answer.error_code == 0
    (found,) = parse_batches(connection.fetch(topic, {0: answer.base_offset})[0].records)
    assert found.base_offset == answer.base_offset
    return found


def with_body(batch: bytes, body: bytes) -> bytes:
    head = bytearray(batch[: HEADER.size])
    struct.pack_into(">i", head, 8, HEADER.size - 12 + len(body))
    struct.pack_into(">I", head, 17, crc32c(bytes(head[21:]) + body))
    return bytes(head) + body


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("size", [100, 30_000])
def test_every_codec_becomes_the_topics(connection: wire.Connection, topic_name: str, target: str, size: int) -> None:
    topic = topic_of(connection, topic_name, target)
    records = [Record(bytes([i]) * size, b"key", (("h", b"1"),), NOW + i) for i in range(20)]
    for codec in CODECS:
        found = kept(connection, topic, make_batch(records, codec=codec))
        assert found.codec == TARGETS[target]
        assert [record.content() for record in found.records()] == [record.content() for record in records]
        assert [record.timestamp for record in found.records()] == [NOW + i for i in range(20)]


@pytest.mark.parametrize("codec", [codec for codec in CODECS if codec != "none"])
def test_the_topics_codec_is_kept_as_it_is(connection: wire.Connection, topic_name: str, codec: str) -> None:
    topic = topic_of(connection, topic_name, codec)
    batch = simple_batch(b"v" * 1_000, codec=codec)
    assert kept(connection, topic, batch).raw[21:] == batch[21:]


@pytest.mark.parametrize("codec", [codec for codec in CODECS if codec != "none"])
def test_bytes_that_are_not_of_the_codec(connection: wire.Connection, topic_name: str, codec: str) -> None:
    topic = topic_of(connection, topic_name, "uncompressed")
    batch = simple_batch(b"v" * 1_000, codec=codec)
    body = batch[HEADER.size :]
    for bad in (bytes(range(60)), body[: len(body) // 2]):
        assert connection.produce(topic, {0: with_body(batch, bad)})[0].error_code in INVALID
    assert connection.end_offset(topic) == 0
    assert kept(connection, topic, batch).base_offset == 0


def test_the_size_is_checked_again(connection: wire.Connection, topic_name: str) -> None:
    topic = topic_of(connection, topic_name, "uncompressed", max_message_bytes="5000")
    batch = simple_batch(b"v" * 10_000, codec="gzip")
    assert len(batch) < 1_000
    assert connection.produce(topic, {0: batch})[0].error_code == 10
    smaller = topic_of(connection, f"{topic_name}-2", "gzip", max_message_bytes="5000")
    assert connection.produce(smaller, {0: simple_batch(b"v" * 10_000)})[0].error_code == 10


def test_a_decompression_bomb_is_too_large(connection: wire.Connection, topic_name: str) -> None:
    topic = topic_of(connection, topic_name, "uncompressed")
    bomb = simple_batch(bytes(20 << 20), codec="zstd")
    assert len(bomb) < 100_000
    assert connection.produce(topic, {0: bomb})[0].error_code == 10


def test_order_is_kept_whatever_takes_longer(connection: wire.Connection, topic_name: str) -> None:
    topic = topic_of(connection, topic_name, "gzip")
    producer_id = connection.new_producer_id()
    sizes = (200_000, 10, 50_000, 1, 1, 100_000, 10)
    asked = []
    for sequence, size in enumerate(sizes):
        batch = simple_batch(bytes(size), producer_id=producer_id, producer_epoch=0, base_sequence=sequence)
        asked.append(connection.send("produce", 9, wire.produce_fields(topic, {0: batch}), lenient=True))
    for offset, correlation_id in enumerate(asked):
        answer = connection.receive("produce", 9, correlation_id).responses[0].partition_responses[0]
        assert (answer.error_code, answer.base_offset) == (0, offset)
    found = connection.read_all(topic)
    assert [batch.base_sequence for batch in found] == list(range(len(sizes)))
    assert {batch.codec for batch in found} == {1}


def test_a_sequence_is_checked_after_what_came_before(connection: wire.Connection, topic_name: str) -> None:
    topic = topic_of(connection, topic_name, "zstd")
    producer_id = connection.new_producer_id()

    def send(sequence: int, size: int) -> int:
        batch = simple_batch(bytes(size), producer_id=producer_id, producer_epoch=0, base_sequence=sequence)
        return connection.send("produce", 9, wire.produce_fields(topic, {0: batch}), lenient=True)

    asked = [send(0, 300_000), send(1, 10), send(0, 300_000), send(5, 10)]
    answers = [connection.receive("produce", 9, each).responses[0].partition_responses[0] for each in asked]
    assert [(each.error_code, each.base_offset) for each in answers] == [(0, 0), (0, 1), (0, 0), (45, -1)]


def test_log_append_time_is_the_brokers_in_a_batch_that_was_compressed_anew(
    connection: wire.Connection, topic_name: str
) -> None:
    topic = topic_of(connection, topic_name, "lz4", message_timestamp_type="LogAppendTime")
    answer = connection.produce(topic, {0: make_batch([Record(b"v" * 50_000, timestamp=1)])})[0]
    (found,) = parse_batches(connection.fetch(topic, {0: answer.base_offset})[0].records)
    assert found.codec == 3
    assert found.max_timestamp >= NOW
    assert [record.timestamp for record in found.records()] == [found.max_timestamp]


def test_several_partitions_in_one_request(connection: wire.Connection, topic_name: str) -> None:
    topic = connection.create_usable_topic(topic_name, 3, configs={"compression.type": "snappy"})
    batch = simple_batch(b"v" * 20_000)
    answers = connection.produce(topic, {0: batch, 1: simple_batch(b"v"), 2: batch})
    assert [(each.error_code, each.base_offset) for each in answers.values()] == [(0, 0)] * 3
    for partition in range(3):
        assert [found.codec for found in connection.read_all(topic, partition)] == [2]


def test_acks_0_keeps_its_place(connection: wire.Connection, topic_name: str) -> None:
    topic = topic_of(connection, topic_name, "zstd")
    fields = wire.produce_fields(topic, {0: simple_batch(bytes(300_000))}, acks=0)
    connection.send("produce", 9, fields, lenient=True)
    assert connection.produce(topic, {0: simple_batch(b"v")})[0].base_offset == 1
