"""Produce and idempotence (protocol.md items 28-45)."""

from __future__ import annotations

import time
import uuid

import pytest
from harness import wire
from harness.batches import CODECS, CONTROL, LOG_APPEND_TIME, TRANSACTIONAL, Record, make_batch, simple_batch

MINUTE_MS = 60_000


def named(connection: wire.Connection, topic: str, version: int) -> str | uuid.UUID:
    """How a version of Produce or Fetch names a topic."""
    return connection.topic_id(topic) if version >= 13 else topic


@pytest.mark.parametrize("version", range(3, 14))
@pytest.mark.parametrize("acks", [1, -1])
def test_produce_of_every_version(connection: wire.Connection, topic: str, version: int, acks: int) -> None:
    for start in (0, 3):
        answer = connection.produce(
            named(connection, topic, version), {0: simple_batch(b"a", b"b", b"c")}, version=version, acks=acks
        )
        assert (answer[0].error_code, answer[0].base_offset) == (0, start)
        assert answer[0].log_append_time is None
        if version >= 5:
            assert answer[0].log_start_offset == 0
    (first, second) = connection.read_all(topic)
    assert (first.base_offset, second.base_offset, second.last_offset) == (0, 3, 5)
    assert first.leader_epoch == connection.metadata([topic]).topics[0].partitions[0].leader_epoch


@pytest.mark.parametrize("codec", CODECS)
def test_a_batch_is_stored_as_it_was_sent(connection: wire.Connection, topic: str, codec: str) -> None:
    records = [Record(b"value" * 20, b"k%d" % i, (("h", b"v"),)) for i in range(50)]
    sent = make_batch(records, codec=codec)
    assert connection.produce(topic, {0: sent})[0].error_code == 0
    (batch,) = connection.read_all(topic)
    assert batch.raw[16:] == sent[16:], "all but base offset, length and leader epoch"
    assert [record.content() for record in batch.records()] == [record.content() for record in records]


def test_zstd_needs_v7(connection: wire.Connection, topic: str) -> None:
    batch = simple_batch(b"x" * 100, codec="zstd")
    assert connection.produce(topic, {0: batch}, version=6)[0].error_code == 76
    assert connection.produce(topic, {0: batch}, version=7)[0].error_code == 0


@pytest.mark.parametrize("acks", [2, -2, 7])
def test_other_acks_are_invalid(connection: wire.Connection, topic: str, acks: int) -> None:
    assert connection.produce(topic, {0: simple_batch(b"v")}, acks=acks)[0].error_code == 21


def test_errors_are_per_partition(connection: wire.Connection, topic: str) -> None:
    good = simple_batch(b"good")
    bad = bytearray(good)
    bad[-1] ^= 1
    assert {
        partition: answer.error_code for partition, answer in connection.produce(topic, {0: good, 5: good}).items()
    } == {0: 0, 5: 3}
    topic_two = connection.create_usable_topic(f"{topic}-two", 2)
    assert {p: a.error_code for p, a in connection.produce(topic_two, {0: bytes(bad), 1: good}).items()} == {0: 2, 1: 0}
    assert connection.produce(f"{topic}-unknown", {0: good})[0].error_code == 3
    assert connection.metadata([f"{topic}-unknown"]).topics[0].error_code == 3, "Produce never creates topics"


def test_an_unknown_topic_id(connection: wire.Connection) -> None:
    unknown = uuid.UUID("00000000-0000-4000-8000-00000000abce")
    assert connection.produce(unknown, {0: simple_batch(b"v")}, version=13)[0].error_code == 100


def test_the_size_limit_counts_the_whole_batch(connection: wire.Connection, topic_name: str) -> None:
    fits = simple_batch(b"x" * 1000)
    topic = connection.create_usable_topic(topic_name, configs={"max.message.bytes": str(len(fits))})
    assert connection.produce(topic, {0: simple_batch(b"x" * 1001)})[0].error_code == 10
    assert connection.produce(topic, {0: fits})[0].base_offset == 0
    shrinks = simple_batch(b"x" * 5000, codec="gzip")
    assert connection.produce(topic, {0: shrinks})[0].base_offset == 1


def test_the_default_limit_is_kafkas(connection: wire.Connection, topic: str) -> None:
    overhead = len(simple_batch(b"x" * 1_000_000)) - 1_000_000
    assert connection.produce(topic, {0: simple_batch(b"x" * (1_048_588 - overhead))})[0].error_code == 0
    assert connection.produce(topic, {0: simple_batch(b"x" * (1_048_589 - overhead))})[0].error_code == 10


def test_a_timestamp_too_far_ahead_is_refused(connection: wire.Connection, topic: str) -> None:
    now = time.time_ns() // 1_000_000
    late = make_batch([Record(b"v", timestamp=now + 70 * MINUTE_MS)])
    assert connection.produce(topic, {0: late})[0].error_code == 32
    near = make_batch([Record(b"v", timestamp=now + 50 * MINUTE_MS)])
    assert connection.produce(topic, {0: near})[0].error_code == 0
    none = make_batch([Record(b"v", timestamp=-1)])
    assert connection.produce(topic, {0: none})[0].error_code == 0


@pytest.mark.parametrize("codec", ["none", "lz4"])
def test_log_append_time_is_stamped(connection: wire.Connection, topic_name: str, codec: str) -> None:
    topic = connection.create_usable_topic(topic_name, configs={"message.timestamp.type": "LogAppendTime"})
    before = time.time_ns() // 1_000_000
    answer = connection.produce(
        topic, {0: make_batch([Record(b"a" * 99, timestamp=5), Record(b"b" * 99, timestamp=7)], codec=codec)}
    )[0]
    after = time.time_ns() // 1_000_000
    assert answer.error_code == 0
    (batch,) = connection.read_all(topic)
    assert batch.attributes & LOG_APPEND_TIME
    assert before <= batch.max_timestamp <= after
    assert round(answer.log_append_time.timestamp() * 1000) == batch.max_timestamp
    assert {record.timestamp for record in batch.records()} == {batch.max_timestamp}


def test_a_tombstone_batch_of_null_keys_and_values_is_taken(connection: wire.Connection, topic: str) -> None:
    records = [Record(None, b"k"), Record(None, None), Record(b"", b"")]
    connection.produce(topic, {0: make_batch(records)})
    assert [record.content() for batch in connection.read_all(topic) for record in batch.records()] == [
        record.content() for record in records
    ]


# Idempotence


def idempotent(producer_id: int, sequence: int, *, epoch: int = 0, count: int = 1) -> bytes:
    values = [b"%d" % (sequence + i) for i in range(count)]
    return simple_batch(*values, producer_id=producer_id, producer_epoch=epoch, base_sequence=sequence)


def test_a_duplicate_is_answered_with_its_first_offset_and_not_appended(
    connection: wire.Connection, topic: str
) -> None:
    producer_id = connection.new_producer_id()
    batches = [idempotent(producer_id, sequence, count=2) for sequence in range(0, 10, 2)]
    for offset, batch in zip(range(0, 10, 2), batches, strict=True):
        assert connection.produce(topic, {0: batch})[0].base_offset == offset
    for offset, batch in zip(range(0, 10, 2), batches, strict=True):
        answer = connection.produce(topic, {0: batch})[0]
        assert (answer.error_code, answer.base_offset) == (0, offset)
    assert connection.list_offset(topic, 0, -1).offset == 10


def test_the_last_five_batches_are_remembered(connection: wire.Connection, topic: str) -> None:
    producer_id = connection.new_producer_id()
    for sequence in range(6):
        connection.produce(topic, {0: idempotent(producer_id, sequence)})
    assert connection.produce(topic, {0: idempotent(producer_id, 1)})[0].base_offset == 1
    assert connection.produce(topic, {0: idempotent(producer_id, 0)})[0].error_code == 45


def test_a_part_of_a_known_batch_is_out_of_order(connection: wire.Connection, topic: str) -> None:
    producer_id = connection.new_producer_id()
    connection.produce(topic, {0: idempotent(producer_id, 0, count=4)})
    assert connection.produce(topic, {0: idempotent(producer_id, 0, count=2)})[0].error_code == 45
    assert connection.produce(topic, {0: idempotent(producer_id, 2, count=2)})[0].error_code == 45


def test_a_gap_is_out_of_order_also_for_pipelined_successors(connection: wire.Connection, topic: str) -> None:
    producer_id = connection.new_producer_id()
    connection.produce(topic, {0: idempotent(producer_id, 0)})
    sent = [
        connection.send("produce", 9, wire.produce_fields(topic, {0: idempotent(producer_id, sequence)}), lenient=True)
        for sequence in (2, 3, 4)
    ]
    for correlation_id in sent:
        answer = connection.receive("produce", 9, correlation_id)
        assert answer.responses[0].partition_responses[0].error_code == 45
    for sequence in range(1, 5):
        assert connection.produce(topic, {0: idempotent(producer_id, sequence)})[0].base_offset == sequence


def test_pipelined_duplicates_get_the_offset_of_the_original(connection: wire.Connection, topic: str) -> None:
    producer_id = connection.new_producer_id()
    batch = idempotent(producer_id, 0, count=3)
    sent = [connection.send("produce", 9, wire.produce_fields(topic, {0: batch}), lenient=True) for _ in range(5)]
    for correlation_id in sent:
        answer = connection.receive("produce", 9, correlation_id).responses[0].partition_responses[0]
        assert (answer.error_code, answer.base_offset) == (0, 0)
    assert connection.list_offset(topic, 0, -1).offset == 3


def test_an_unknown_producer_may_start_anywhere(connection: wire.Connection, topic: str) -> None:
    producer_id = connection.new_producer_id()
    assert connection.produce(topic, {0: idempotent(producer_id, 1234)})[0].error_code == 0
    assert connection.produce(topic, {0: idempotent(producer_id, 1236)})[0].error_code == 45
    assert connection.produce(topic, {0: idempotent(producer_id, 1235)})[0].error_code == 0


def test_sequences_wrap_to_zero(connection: wire.Connection, topic: str) -> None:
    producer_id = connection.new_producer_id()
    last = 2**31 - 1
    assert connection.produce(topic, {0: idempotent(producer_id, last - 1)})[0].error_code == 0
    over = simple_batch(b"last", b"zero", producer_id=producer_id, producer_epoch=0, base_sequence=last)
    assert connection.produce(topic, {0: over})[0].error_code == 0
    assert connection.produce(topic, {0: idempotent(producer_id, 1)})[0].error_code == 0


def test_epochs_of_a_producer(connection: wire.Connection, topic: str) -> None:
    producer_id = connection.new_producer_id()
    assert connection.produce(topic, {0: idempotent(producer_id, 0)})[0].error_code == 0
    assert connection.produce(topic, {0: idempotent(producer_id, 5, epoch=1)})[0].error_code == 45, (
        "a new epoch starts at 0"
    )
    assert connection.produce(topic, {0: idempotent(producer_id, 0, epoch=1)})[0].error_code == 0
    assert connection.produce(topic, {0: idempotent(producer_id, 1, epoch=0)})[0].error_code == 47, (
        "INVALID_PRODUCER_EPOCH"
    )


def test_partitions_have_sequences_of_their_own(connection: wire.Connection, topic_name: str) -> None:
    topic = connection.create_usable_topic(topic_name, 2)
    producer_id = connection.new_producer_id()
    for _ in range(2):
        answer = connection.produce(topic, {0: idempotent(producer_id, 0), 1: idempotent(producer_id, 0)})
        assert [(answer[p].error_code, answer[p].base_offset) for p in (0, 1)] == [(0, 0), (0, 0)]


@pytest.mark.parametrize("version", range(6))
def test_init_producer_id_gives_new_ids_of_epoch_0(connection: wire.Connection, version: int) -> None:
    connection.new_producer_id()
    more = {"producer_id": -1, "producer_epoch": -1} if version >= 3 else {}
    answers = [
        connection.call("init_producer_id", version, transactional_id=None, transaction_timeout=1000, **more)
        for _ in range(3)
    ]
    assert [(answer.error_code, answer.producer_epoch) for answer in answers] == [(0, 0)] * 3
    assert len({answer.producer_id for answer in answers}) == 3


@pytest.mark.parametrize(("producer_id", "epoch"), [(5, -1), (-1, 5)])
def test_init_producer_id_needs_both_or_neither(connection: wire.Connection, producer_id: int, epoch: int) -> None:
    answer = connection.call(
        "init_producer_id",
        4,
        transactional_id=None,
        transaction_timeout=1000,
        producer_id=producer_id,
        producer_epoch=epoch,
    )
    assert answer.error_code == 42


def test_a_transactional_id_is_not_served_yet(connection: wire.Connection, system: str) -> None:
    if system != "tailrace":
        pytest.skip("Apache Kafka serves transactions")
    answer = connection.call(
        "init_producer_id", 4, transactional_id="t", transaction_timeout=1000, producer_id=-1, producer_epoch=-1
    )
    assert answer.error_code == 15


def test_a_transactional_batch_without_a_transaction_is_refused(
    connection: wire.Connection, topic: str, system: str
) -> None:
    producer_id = connection.new_producer_id()
    batch = simple_batch(b"v", producer_id=producer_id, producer_epoch=0, base_sequence=0, attributes=TRANSACTIONAL)
    answer = connection.produce(topic, {0: batch}, transactional_id="none")
    # Apache Kafka asks the transaction's coordinator, which is not there (19).
    assert answer[0].error_code == (48 if system == "tailrace" else 19)
    assert connection.list_offset(topic, 0, -1).offset == 0


@pytest.mark.parametrize("attributes", [CONTROL, CONTROL | TRANSACTIONAL])
def test_a_control_batch_of_a_client_is_refused(connection: wire.Connection, topic: str, attributes: int) -> None:
    batch = make_batch(
        [Record(b"\0\0\0\0\0\0", b"\0\0\0\1")], producer_id=1, producer_epoch=0, base_sequence=0, attributes=attributes
    )
    assert connection.produce(topic, {0: batch})[0].error_code in (48, 53, 87)
    assert connection.list_offset(topic, 0, -1).offset == 0


def test_describe_producers(connection: wire.Connection, topic: str) -> None:
    producer_id = connection.new_producer_id()
    connection.produce(topic, {0: idempotent(producer_id, 0, count=3)})
    (found,) = connection.call("describe_producers", 0, topics=[{"name": topic, "partition_indexes": [0, 3]}]).topics
    known, unknown = sorted(found.partitions, key=lambda partition: partition.partition_index)
    assert (known.error_code, unknown.error_code) == (0, 3)
    (producer,) = known.active_producers
    assert (producer.producer_id, producer.producer_epoch, producer.last_sequence) == (producer_id, 0, 2)
    assert producer.current_txn_start_offset == -1


@pytest.mark.parametrize("codec", ["none", "lz4"])
def test_the_log_append_time_bit_of_a_producer_is_never_stored(
    connection: wire.Connection, topic: str, codec: str
) -> None:
    """Apache Kafka clears it on a CreateTime topic; refusing the batch is as good."""
    batch = make_batch([Record(b"v" * 90)], codec=codec, attributes=LOG_APPEND_TIME)
    if connection.produce(topic, {0: batch})[0].error_code == 0:
        (stored,) = connection.read_all(topic)
        assert not stored.attributes & LOG_APPEND_TIME


@pytest.mark.parametrize("codec", ["none", "zstd"])
@pytest.mark.parametrize("size", [10, 20_000])
def test_a_compacted_topic_takes_no_record_without_a_key(
    connection: wire.Connection, topic_name: str, codec: str, size: int
) -> None:
    topic = connection.create_usable_topic(topic_name, configs={"cleanup.policy": "compact"})
    value = b"v" * size
    keyed, empty, without = Record(value, b"k"), Record(value, b""), Record(value)
    answer = connection.produce(topic, {0: make_batch([keyed, without, empty, without], codec=codec)})[0]
    assert (answer.error_code, answer.base_offset) == (87, -1)
    reason = f"Compacted topic cannot accept message without key in topic partition {topic}-0"
    assert [(each.batch_index, each.batch_index_error_message) for each in answer.record_errors] == [
        (1, reason),
        (3, reason),
    ]
    assert answer.error_message.startswith("One or more records have been rejected due to 2 record errors in total")
    assert connection.produce(topic, {0: make_batch([keyed, empty], codec=codec)})[0].base_offset == 0


def test_records_of_compacted_topics_are_appended_in_their_order(connection: wire.Connection, topic_name: str) -> None:
    topic = connection.create_usable_topic(topic_name, configs={"cleanup.policy": "compact,delete"})
    large = make_batch([Record(b"v" * 100, b"%d" % number) for number in range(5000)])
    small, without = make_batch([Record(b"v", b"k")]), make_batch([Record(b"v")])
    batches = [large, small, without, make_batch([Record(b"v" * 50_000, b"k")], codec="gzip"), small, without, small]
    ids = [connection.send("produce", 9, wire.produce_fields(topic, {0: batch}), lenient=True) for batch in batches]
    answers = [connection.receive("produce", 9, each).responses[0].partition_responses[0] for each in ids]
    assert [(each.error_code, each.base_offset) for each in answers] == [
        (0, 0), (0, 5000), (87, -1), (0, 5001), (0, 5002), (87, -1), (0, 5003)
    ]  # fmt: skip
    assert connection.end_offset(topic, 0) == 5004
