"""Fetch (protocol.md items 46-62) without sessions."""

from __future__ import annotations

import threading
import time
import uuid

import pytest
from harness import wire
from harness.batches import parse_batches, parse_records, simple_batch
from harness.process import Broker

LONG_MS = 5_000


def named(connection: wire.Connection, topic: str, version: int) -> str | uuid.UUID:
    """How a version of Fetch names a topic."""
    return connection.topic_id(topic) if version >= 13 else topic


@pytest.mark.parametrize("version", range(4, 19))
def test_fetch_of_every_version(connection: wire.Connection, topic: str, version: int) -> None:
    connection.produce(topic, {0: simple_batch(b"a", b"b")})
    answer = connection.fetch(named(connection, topic, version), {0: 0}, version=version)[0]
    assert (answer.error_code, answer.high_watermark, answer.last_stable_offset) == (0, 2, 2)
    assert [record.value for record in parse_records(answer.records)] == [b"a", b"b"]
    assert not answer.aborted_transactions
    if version >= 5:
        assert answer.log_start_offset == 0
    if version >= 11:
        assert answer.preferred_read_replica == -1


def test_a_batch_that_contains_the_offset_comes_whole(connection: wire.Connection, topic: str) -> None:
    connection.produce(topic, {0: simple_batch(*(b"%d" % i for i in range(10)))})
    for offset in (1, 5, 9):
        (batch,) = parse_batches(connection.fetch(topic, {0: offset})[0].records)
        assert (batch.base_offset, batch.last_offset) == (0, 9)


def test_offsets_out_of_range(connection: wire.Connection, topic: str) -> None:
    connection.produce(topic, {0: simple_batch(b"a", b"b")})
    for offset in (3, 100, 2**62):
        answer = connection.fetch(topic, {0: offset}, max_wait_ms=LONG_MS)[0]
        assert (answer.error_code, answer.high_watermark) == (1, -1)
        assert answer.records in (b"", None)
    at_the_end = connection.fetch(topic, {0: 2}, max_wait_ms=0)[0]
    assert (at_the_end.error_code, at_the_end.high_watermark, at_the_end.records) == (0, 2, b"")


def test_an_error_in_one_partition_is_answered_at_once_beside_the_others(
    connection: wire.Connection, topic_name: str
) -> None:
    topic = connection.create_usable_topic(topic_name, 2)
    connection.produce(topic, {0: simple_batch(b"a")})
    before = time.monotonic()
    answer = connection.fetch(topic, {0: 0, 1: 5}, max_wait_ms=LONG_MS, min_bytes=1 << 20)
    assert time.monotonic() - before < LONG_MS / 2000
    assert (answer[0].error_code, answer[1].error_code) == (0, 1)
    assert parse_records(answer[0].records)


def test_an_unknown_partition_does_not_hide_the_others(connection: wire.Connection, topic: str) -> None:
    connection.produce(topic, {0: simple_batch(b"a")})
    answer = connection.fetch(topic, {0: 0, 9: 0})
    assert (answer[0].error_code, answer[9].error_code) == (0, 3)
    assert parse_records(answer[0].records)


def test_unknown_topics_and_ids(connection: wire.Connection, topic_name: str) -> None:
    assert connection.fetch(topic_name, {0: 0}, max_wait_ms=LONG_MS)[0].error_code == 3
    unknown = uuid.UUID("00000000-0000-4000-8000-00000000abcf")
    assert connection.fetch(unknown, {0: 0}, version=13, max_wait_ms=LONG_MS)[0].error_code == 100
    assert connection.metadata([topic_name]).topics[0].error_code == 3, "Fetch never creates topics"


def test_a_long_poll_ends_with_its_time(connection: wire.Connection, topic: str) -> None:
    before = time.monotonic()
    answer = connection.fetch(topic, {0: 0}, max_wait_ms=300)[0]
    assert 0.25 < time.monotonic() - before < 2
    assert (answer.error_code, answer.records) == (0, b"")


def test_an_append_wakes_a_long_poll(broker: Broker, connection: wire.Connection, topic: str) -> None:
    waiting = connection.send("fetch", 11, wire.fetch_fields(topic, {0: 0}, max_wait_ms=LONG_MS), lenient=True)
    assert connection.has_nothing_to_read(0.1)
    with broker.connect() as other:
        before = time.monotonic()
        other.produce(topic, {0: simple_batch(b"awake")})
        answer = connection.receive("fetch", 11, waiting)
    assert time.monotonic() - before < 1
    assert [record.value for record in parse_records(answer.responses[0].partitions[0].records)] == [b"awake"]


def test_a_long_poll_waits_for_min_bytes_over_all_partitions(
    broker: Broker, connection: wire.Connection, topic_name: str
) -> None:
    topic = connection.create_usable_topic(topic_name, 2)
    batch = simple_batch(b"x" * 1000)
    fields = wire.fetch_fields(topic, {0: 0, 1: 0}, max_wait_ms=LONG_MS, min_bytes=2 * len(batch))
    waiting = connection.send("fetch", 11, fields, lenient=True)
    with broker.connect() as other:
        other.produce(topic, {0: batch})
        assert connection.has_nothing_to_read(0.3)
        other.produce(topic, {1: batch})
        answer = connection.receive("fetch", 11, waiting)
    assert [len(partition.records) for partition in answer.responses[0].partitions] == [len(batch)] * 2


def test_a_long_poll_wakes_when_the_topic_is_deleted_or_its_time_is_over(
    broker: Broker, connection: wire.Connection, topic: str
) -> None:
    waiting = connection.send("fetch", 11, wire.fetch_fields(topic, {0: 0}, max_wait_ms=2000), lenient=True)
    with broker.connect() as other:
        other.call("delete_topics", 5, topic_names=[topic], timeout=10_000)
        answer = connection.receive("fetch", 11, waiting)
    assert answer.responses[0].partitions[0].error_code in (0, 3, 6)


def test_partition_max_bytes_is_soft_for_the_first_partition_only(connection: wire.Connection, topic_name: str) -> None:
    topic = connection.create_usable_topic(topic_name, 3)
    batch = simple_batch(b"x" * 1000)
    for _ in range(3):
        connection.produce(topic, {0: batch, 1: batch, 2: batch})
    size = len(batch)

    def sizes(**limits: int) -> list[int]:
        answer = connection.fetch(topic, {0: 0, 1: 0, 2: 0}, **limits)
        return [sum(len(batch.raw) for batch in parse_batches(answer[p].records)) for p in range(3)]

    assert sizes() == [3 * size] * 3
    assert sizes(partition_max_bytes=2 * size) == [2 * size] * 3
    assert sizes(partition_max_bytes=1) == [size, 0, 0]
    assert sizes(max_bytes=1) == [size, 0, 0]
    assert sizes(max_bytes=4 * size) == [3 * size, size, 0]
    assert sizes(max_bytes=0) == [size, 0, 0]


def test_a_first_batch_larger_than_every_limit_is_sent_whole(connection: wire.Connection, topic: str) -> None:
    connection.produce(topic, {0: simple_batch(b"x" * 900_000)})
    answer = connection.fetch(topic, {0: 0}, max_bytes=1000, partition_max_bytes=1000)[0]
    assert len(parse_records(answer.records)) == 1


def test_partitions_are_answered_in_the_order_of_the_request(connection: wire.Connection, topic_name: str) -> None:
    topic = connection.create_usable_topic(topic_name, 3)
    connection.produce(topic, {p: simple_batch(b"v") for p in range(3)})
    assert list(connection.fetch(topic, {2: 0, 0: 0, 1: 0})) == [2, 0, 1]


def test_the_leader_epoch_of_the_client_is_checked(connection: wire.Connection, topic: str) -> None:
    epoch = connection.metadata([topic]).topics[0].partitions[0].leader_epoch
    connection.produce(topic, {0: simple_batch(b"v")})
    assert connection.fetch(topic, {0: 0}, current_leader_epoch=epoch)[0].error_code == 0
    assert connection.fetch(topic, {0: 0}, current_leader_epoch=epoch + 1)[0].error_code == 75
    assert connection.list_offset(topic, 0, -1, current_leader_epoch=epoch).error_code == 0
    assert connection.list_offset(topic, 0, -1, current_leader_epoch=epoch + 1).error_code == 75
    if epoch > 0:
        assert connection.fetch(topic, {0: 0}, current_leader_epoch=epoch - 1)[0].error_code == 74


def test_read_committed_without_transactions_is_the_same_with_a_list_that_is_not_null(
    connection: wire.Connection, topic: str
) -> None:
    connection.produce(topic, {0: simple_batch(b"v")})
    answer = connection.fetch(topic, {0: 0}, isolation_level=1)[0]
    assert (answer.last_stable_offset, answer.aborted_transactions) == (1, ())
    assert len(parse_records(answer.records)) == 1
    assert connection.fetch(topic, {0: 0}, isolation_level=0)[0].aborted_transactions is None


def test_an_unknown_session_is_refused_and_a_full_fetch_is_served(connection: wire.Connection, topic: str) -> None:
    connection.produce(topic, {0: simple_batch(b"v")})
    unknown = {**wire.fetch_fields(topic, {0: 0}), "session_id": 12345, "session_epoch": 3}
    answer = connection.receive("fetch", 11, connection.send("fetch", 11, unknown, lenient=True))
    assert answer.error_code == 70, "FETCH_SESSION_ID_NOT_FOUND"
    full = {**wire.fetch_fields(topic, {0: 0}), "session_id": 0, "session_epoch": 0}
    answer = connection.receive("fetch", 11, connection.send("fetch", 11, full, lenient=True))
    assert answer.error_code == 0
    assert len(parse_records(answer.responses[0].partitions[0].records)) == 1


def test_many_waiting_consumers_are_all_woken(broker: Broker, connection: wire.Connection, topic: str) -> None:
    found: list[bytes | None] = []

    def consume() -> None:
        with broker.connect() as mine:
            found.extend(
                record.value for record in parse_records(mine.fetch(topic, {0: 0}, max_wait_ms=LONG_MS)[0].records)
            )

    threads = [threading.Thread(target=consume) for _ in range(20)]
    for thread in threads:
        thread.start()
    connection.produce(topic, {0: simple_batch(b"to all")})
    for thread in threads:
        thread.join(LONG_MS / 1000)
    assert found == [b"to all"] * 20
