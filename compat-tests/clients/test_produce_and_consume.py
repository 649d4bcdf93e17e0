"""Each client produces and consumes by assignment; what is stored is looked at by raw Fetch, so no client vouches for
itself."""

from __future__ import annotations

import random
import time

import pytest
from clients.all_clients import CLIENTS, every_client
from clients.drivers import Driver, sample_records
from harness import wire
from harness.batches import CODECS, LOG_APPEND_TIME, Record, make_batch, simple_batch
from harness.process import Broker


def stored(connection: wire.Connection, topic: str, partition: int = 0) -> list[Record]:
    return [record for batch in connection.read_all(topic, partition) for record in batch.records()]


def content(records: list[Record]) -> list[tuple[object, ...]]:
    return [record.content() for record in records]


@every_client
@pytest.mark.parametrize("codec", CODECS)
def test_records_of_every_codec_are_stored_as_sent_and_read_back(
    broker: Broker, connection: wire.Connection, topic: str, driver: Driver, codec: str
) -> None:
    records = sample_records(driver)
    offsets = driver.produce(broker.bootstrap, topic, 0, records, codec=codec)
    batches = connection.read_all(topic)
    kept = [record for batch in batches for record in batch.records()]
    assert content(kept) == content(records)
    assert [record.offset for record in kept] == list(range(len(records)))
    # A client leaves a batch as it is where compressing makes it larger; the first one here always shrinks.
    assert batches[0].codec == CODECS[codec]
    if "produced offsets" not in driver.lacks:
        assert offsets == [record.offset for record in kept]
    if "timestamps" not in driver.lacks:
        assert [record.timestamp for record in kept] == [record.timestamp for record in records]
    assert driver.consume(broker.bootstrap, topic, 0, len(records)) == kept


@every_client
def test_every_client_reads_what_all_clients_wrote(
    broker: Broker, connection: wire.Connection, topic_name: str, driver: Driver
) -> None:
    topic = connection.create_usable_topic(topic_name, len(CLIENTS))
    for partition, producer in enumerate(CLIENTS):
        records = sample_records(producer)
        if "binary" in driver.lacks:
            records = [record for record in records if all(name and value for name, value in record.headers)]
        producer.produce(broker.bootstrap, topic, partition, records, codec="lz4")
        kept = stored(connection, topic, partition)
        assert content(kept) == content(records)
        assert driver.consume(broker.bootstrap, topic, partition, len(records)) == kept


@every_client
def test_a_record_of_900_kb_is_read_back_whole(broker: Broker, topic: str, driver: Driver) -> None:
    body = random.Random(1).randbytes(450_000).hex().encode()
    records = [Record(body, b"large"), Record(b"small", b"k"), Record(body[::-1], b"large")]
    driver.produce(broker.bootstrap, topic, 0, records)
    assert content(driver.consume(broker.bootstrap, topic, 0, 3)) == content(records)


@every_client
def test_consuming_starts_in_the_middle_of_a_batch(
    broker: Broker, connection: wire.Connection, topic: str, driver: Driver
) -> None:
    connection.produce(topic, {0: simple_batch(*(b"%d" % i for i in range(10)), codec="zstd")})
    connection.produce(topic, {0: simple_batch(*(b"%d" % i for i in range(10, 20)))})
    found = driver.consume(broker.bootstrap, topic, 0, 13, offset=7)
    assert [(record.offset, record.value) for record in found] == [(i, b"%d" % i) for i in range(7, 20)]


@every_client
def test_an_offset_is_found_by_time(broker: Broker, connection: wire.Connection, topic: str, driver: Driver) -> None:
    base = Record(None).timestamp
    times = [base, base + 10, base + 10, base + 5, base + 20, base + 30]
    for start in (0, 3):
        answer = connection.produce(
            topic, {0: make_batch([Record(b"v", timestamp=stamp) for stamp in times[start : start + 3]])}
        )
        assert answer[0].error_code == 0
    for asked, expected in (
        (base - 5, 0),
        (base, 0),
        (base + 1, 1),
        (base + 10, 1),
        (base + 11, 4),
        (base + 30, 5),
        (base + 31, None),
    ):
        assert driver.offset_at(broker.bootstrap, topic, 0, asked) == expected, asked - base


@every_client
def test_an_idempotent_producer_leaves_its_id_and_sequences_in_the_log(
    broker: Broker, connection: wire.Connection, topic: str, driver: Driver
) -> None:
    records = [Record(b"value %d" % i, b"k") for i in range(50)]
    driver.produce(broker.bootstrap, topic, 0, records, idempotent=True)
    batches = connection.read_all(topic)
    assert content(stored(connection, topic)) == content(records)
    assert len({batch.producer_id for batch in batches}) == 1
    assert batches[0].producer_id >= 0
    assert batches[0].producer_epoch == 0
    assert [batch.base_sequence for batch in batches] == [batch.base_offset for batch in batches]


@every_client
@pytest.mark.parametrize("acks", ["0", "1", "all"])
def test_all_records_arrive_with_every_kind_of_acks(
    broker: Broker, connection: wire.Connection, topic: str, driver: Driver, acks: str
) -> None:
    records = [Record(b"value %d" % i, b"k") for i in range(200)]
    offsets = driver.produce(broker.bootstrap, topic, 0, records, acks=acks)
    assert content(driver.consume(broker.bootstrap, topic, 0, len(records))) == content(records)
    if acks != "0" and "produced offsets" not in driver.lacks:
        assert offsets == list(range(200))


@every_client
def test_producing_to_an_unknown_topic_creates_it(broker: Broker, topic_name: str, driver: Driver) -> None:
    driver.produce(broker.bootstrap, topic_name, 0, [Record(b"first", b"k")])
    assert content(driver.consume(broker.bootstrap, topic_name, 0, 1)) == [(b"k", b"first", ())]


@every_client
def test_log_append_time_replaces_the_producers_time(
    broker: Broker, connection: wire.Connection, topic_name: str, driver: Driver
) -> None:
    topic = connection.create_usable_topic(topic_name, configs={"message.timestamp.type": "LogAppendTime"})
    before = time.time_ns() // 1_000_000
    driver.produce(broker.bootstrap, topic, 0, [Record(b"value %d" % i, b"k") for i in range(10)], codec="gzip")
    after = time.time_ns() // 1_000_000
    batches = connection.read_all(topic)
    assert all(batch.attributes & LOG_APPEND_TIME for batch in batches)
    found = driver.consume(broker.bootstrap, topic, 0, 10)
    assert all(before <= record.timestamp <= after for record in found)
    assert [record.value for record in found] == [b"value %d" % i for i in range(10)]


@every_client
def test_a_batch_over_max_message_bytes_is_refused_and_the_next_one_taken(
    broker: Broker, connection: wire.Connection, topic_name: str, driver: Driver
) -> None:
    topic = connection.create_usable_topic(topic_name, configs={"max.message.bytes": "10000"})
    with pytest.raises(Exception, match=r"(?i)too.?large|size.?too"):
        driver.produce(broker.bootstrap, topic, 0, [Record(b"x" * 20_000, b"k")])
    driver.produce(broker.bootstrap, topic, 0, [Record(b"x" * 5_000, b"k")])
    assert [len(record.value or b"") for record in stored(connection, topic)] == [5_000]
