"""DeleteRecords (protocol.md item 103)."""

from __future__ import annotations

from typing import Any

import pytest
from harness import wire
from harness.batches import NOW, Record, make_batch, parse_batches, simple_batch


@pytest.fixture
def filled(connection: wire.Connection, topic: str) -> str:
    """Offsets 0-5 in two batches of three records, a second of time between each two."""
    for start in (0, 3):
        batch = make_batch([Record(b"v", timestamp=NOW + (start + each) * 1000) for each in range(3)])
        assert connection.produce(topic, {0: batch})[0].error_code == 0
    return topic


def delete(connection: wire.Connection, *asked: tuple[str, int, int], version: int = 2) -> list[tuple[str, int, Any]]:
    topics = [
        {"name": topic, "partitions": [{"partition_index": partition, "offset": offset}]}
        for topic, partition, offset in asked
    ]
    answer = connection.call("delete_records", version, topics=topics, timeout=10_000)
    return sorted(
        (topic.name, each.partition_index, (each.error_code, each.low_watermark))
        for topic in answer.topics
        for each in topic.partitions
    )


def delete_one(connection: wire.Connection, topic: str, offset: int, *, version: int = 2) -> tuple[int, int]:
    ((_, _, found),) = delete(connection, (topic, 0, offset), version=version)
    return int(found[0]), int(found[1])


@pytest.mark.parametrize("version", range(3))
def test_the_log_start_moves_at_once(connection: wire.Connection, filled: str, version: int) -> None:
    assert delete_one(connection, filled, 4, version=version) == (0, 4)
    assert connection.list_offset(filled, 0, -2).offset == 4
    assert connection.list_offset(filled, 0, -1).offset == 6
    below = connection.fetch(filled, {0: 3})[0]
    assert below.error_code == 1
    found = connection.fetch(filled, {0: 4})[0]
    assert (found.error_code, found.log_start_offset) == (0, 4)
    (batch,) = parse_batches(found.records)
    assert (batch.base_offset, batch.last_offset) == (3, 5)


def test_everything_up_to_the_high_watermark(connection: wire.Connection, filled: str) -> None:
    assert delete_one(connection, filled, -1) == (0, 6)
    assert connection.list_offset(filled, 0, -2).offset == 6
    assert connection.fetch(filled, {0: 5})[0].error_code == 1
    empty = connection.fetch(filled, {0: 6}, max_wait_ms=0)[0]
    assert (empty.error_code, empty.high_watermark, empty.log_start_offset) == (0, 6, 6)
    assert connection.produce(filled, {0: simple_batch(b"next")})[0].base_offset == 6
    assert parse_batches(connection.fetch(filled, {0: 6})[0].records)[0].base_offset == 6


def test_the_log_start_never_goes_down(connection: wire.Connection, filled: str) -> None:
    assert delete_one(connection, filled, 5) == (0, 5)
    assert delete_one(connection, filled, 2) == (0, 5)


@pytest.mark.parametrize("offset", [7, 1 << 40, -2])
def test_offsets_out_of_range(connection: wire.Connection, filled: str, offset: int) -> None:
    assert delete_one(connection, filled, offset) == (1, -1)
    assert connection.list_offset(filled, 0, -2).offset == 0


def test_the_producer_is_told_the_log_start(connection: wire.Connection, filled: str) -> None:
    delete_one(connection, filled, 4)
    assert connection.produce(filled, {0: simple_batch(b"v")})[0].log_start_offset == 4


def test_a_compacted_topic_forbids_it(connection: wire.Connection, topic_name: str) -> None:
    connection.create_usable_topic(topic_name, configs={"cleanup.policy": "compact"})
    connection.produce(topic_name, {0: make_batch([Record(b"v", key=b"k")])})
    assert delete_one(connection, topic_name, 1) == (44, -1)


def test_a_topic_that_is_compacted_and_deleted_allows_it(connection: wire.Connection, topic_name: str) -> None:
    connection.create_usable_topic(topic_name, configs={"cleanup.policy": "compact,delete"})
    connection.produce(topic_name, {0: make_batch([Record(b"v", key=b"k")])})
    assert delete_one(connection, topic_name, 1) == (0, 1)


def test_unknown_partitions_do_not_keep_the_others(connection: wire.Connection, filled: str) -> None:
    missing = f"{filled}-unknown"
    answers = delete(connection, (filled, 0, 2), (filled, 99, 0), (missing, 0, 0))
    assert answers == [(filled, 0, (0, 2)), (filled, 99, (3, -1)), (missing, 0, (3, -1))]


def test_a_search_by_time_begins_at_the_log_start(connection: wire.Connection, filled: str) -> None:
    delete_one(connection, filled, 4)  # within the second batch
    assert connection.list_offset(filled, 0, NOW).offset == 4
    assert connection.list_offset(filled, 0, NOW + 5000).offset == 5
    assert connection.list_offset(filled, 0, -3, version=7).offset == 5


def test_an_idempotent_producer_goes_on(connection: wire.Connection, topic: str) -> None:
    producer_id = connection.new_producer_id()

    def send(sequence: int) -> Any:
        batch = simple_batch(b"v", producer_id=producer_id, producer_epoch=0, base_sequence=sequence)
        return connection.produce(topic, {0: batch})[0]

    for sequence in range(3):
        assert send(sequence).error_code == 0
    assert delete_one(connection, topic, -1) == (0, 3)
    assert send(5).error_code == 45
    assert (send(3).error_code, send(4).base_offset) == (0, 4)
