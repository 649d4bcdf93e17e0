"""Produce and Fetch, over sockets: what the gateway adds to the engine's rules."""

import asyncio
import struct
from contextlib import suppress
from typing import Any

import pytest

from tailrace_core.ids import NO_TOPIC_ID
from tailrace_gateway.errors import ErrorCode
from tailrace_gateway.kafka.schema import Message
from tailrace_gateway.kafka.schema.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from tailrace_gateway.kafka.schema.messages.produce import (
    PartitionProduceData,
    ProduceRequest,
    TopicProduceData,
)

T0 = 1_700_000_000_000


def produce_request(*parts: tuple[str, int, bytes | None], acks: int = -1, topic_id: bytes = NO_TOPIC_ID) -> Message:
    topics = [
        TopicProduceData(
            name=name, topic_id=topic_id, partition_data=[PartitionProduceData(index=index, records=records)]
        )
        for name, index, records in parts
    ]
    return ProduceRequest(acks=acks, timeout_ms=5000, topic_data=topics)


def produce(broker: Any, *parts: tuple[str, int, bytes | None], version: int = 9, **more: Any) -> list[Any]:
    response = broker.ask(produce_request(*parts, **more), version)
    return [answer for topic in response.responses for answer in topic.partition_responses]


def fetch_request(*asks: tuple[str, int, int], topic_id: bytes = NO_TOPIC_ID, **fields: Any) -> FetchRequest:
    topics = [
        FetchTopic(
            topic=name,
            topic_id=topic_id,
            partitions=[FetchPartition(partition=index, fetch_offset=offset, partition_max_bytes=1 << 20)],
        )
        for name, index, offset in asks
    ]
    return FetchRequest(**{"max_wait_ms": 0, "min_bytes": 1, "max_bytes": 1 << 20, "topics": topics, **fields})


def fetch(broker: Any, *asks: tuple[str, int, int], version: int = 12, **fields: Any) -> list[Any]:
    response = broker.ask(fetch_request(*asks, **fields), version)
    assert (response.error_code, response.session_id) == (0, 0)
    return [part for topic in response.responses for part in topic.partitions]


@pytest.mark.parametrize("version", range(3, 14))
def test_a_batch_is_appended_and_read_back_in_every_version(broker: Any, record_batch: Any, version: int) -> None:
    topic = broker.topic("x")
    named = ("" if version >= 13 else "x", 0)
    topic_id = topic.topic_id if version >= 13 else NO_TOPIC_ID
    batch = record_batch([T0, T0 + 1])
    for base_offset in (0, 2):
        (answer,) = produce(broker, (*named, batch), version=version, topic_id=topic_id)
        assert (answer.error_code, answer.base_offset, answer.log_append_time_ms) == (0, base_offset, -1)
    (found,) = fetch(broker, ("x", 0, 2))
    stored = bytes(found.records)
    assert stored[:8] == struct.pack(">q", 2)
    assert stored[16:] == batch[16:]
    assert (found.high_watermark, found.last_stable_offset, found.log_start_offset) == (4, 4, 0)


@pytest.mark.parametrize("version", range(4, 19))
def test_every_version_of_fetch_reads_whole_batches(broker: Any, record_batch: Any, version: int) -> None:
    topic = broker.topic("x")
    for _ in range(3):
        produce(broker, ("x", 0, record_batch([T0, T0 + 1])))
    named, topic_id = ("", topic.topic_id) if version >= 13 else ("x", NO_TOPIC_ID)
    (found,) = fetch(broker, (named, 0, 3), version=version, topic_id=topic_id)
    batch_bytes = len(record_batch([T0, T0 + 1]))
    assert len(found.records) == 2 * batch_bytes
    assert bytes(found.records[:8]) == struct.pack(">q", 2)


def test_one_bad_partition_does_not_keep_the_others(broker: Any, record_batch: Any) -> None:
    broker.topic("x", 2)
    good = record_batch([T0])
    spoiled = good[:-1] + b"\xff"
    answers = produce(broker, ("x", 0, good), ("missing", 0, good), ("x", 9, good), ("x", 1, spoiled), ("x", 1, good))
    assert [(answer.error_code, answer.base_offset) for answer in answers] == [
        (0, 0),
        (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1),
        (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1),
        (ErrorCode.CORRUPT_MESSAGE, -1),
        (0, 0),
    ]


def test_what_is_not_exactly_one_batch_is_refused(broker: Any, record_batch: Any) -> None:
    broker.topic("x")
    for records in (None, b"", record_batch([T0]) * 2):
        (answer,) = produce(broker, ("x", 0, records))
        assert (answer.error_code, answer.base_offset) == (ErrorCode.INVALID_RECORD, -1)


def test_acks_are_minus_1_to_1(broker: Any, record_batch: Any) -> None:
    broker.topic("x")
    for acks in (-2, 2):
        (answer,) = produce(broker, ("x", 0, record_batch([T0])), acks=acks)
        assert answer.error_code == ErrorCode.INVALID_REQUIRED_ACKS
    assert fetch(broker, ("x", 0, 0))[0].high_watermark == 0


def test_zstd_needs_version_7(broker: Any, record_batch: Any) -> None:
    broker.topic("x")
    batch = bytearray(record_batch([T0]))
    batch[22] |= 4
    (answer,) = produce(broker, ("x", 0, bytes(batch)), version=6)
    assert answer.error_code == ErrorCode.UNSUPPORTED_COMPRESSION_TYPE


def test_clients_may_not_write_to_internal_topics(broker: Any, record_batch: Any) -> None:
    broker.topic("__consumer_offsets")
    (answer,) = produce(broker, ("__consumer_offsets", 0, record_batch([T0])))
    assert answer.error_code == ErrorCode.INVALID_TOPIC_EXCEPTION


def test_an_unknown_topic_id_is_told_by_produce_and_fetch(broker: Any, record_batch: Any) -> None:
    unknown = b"\x07" * 16
    (answer,) = produce(broker, ("", 0, record_batch([T0])), version=13, topic_id=unknown)
    assert answer.error_code == ErrorCode.UNKNOWN_TOPIC_ID
    (found,) = fetch(broker, ("", 0, 0), version=13, topic_id=unknown)
    assert (found.error_code, found.high_watermark) == (ErrorCode.UNKNOWN_TOPIC_ID, -1)


def test_a_producers_retry_gets_the_offset_of_its_original(broker: Any, record_batch: Any) -> None:
    broker.topic("x")
    for base_sequence in (0, 1, 1, 0):
        (answer,) = produce(broker, ("x", 0, record_batch([T0], producer=(5, 0, base_sequence))))
        assert (answer.error_code, answer.base_offset) == (0, base_sequence)
    (answer,) = produce(broker, ("x", 0, record_batch([T0], producer=(5, 0, 3))))
    assert answer.error_code == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER


def test_log_append_time_is_told(broker: Any, record_batch: Any) -> None:
    broker.topic("x", configs={"message.timestamp.type": "LogAppendTime"})
    (answer,) = produce(broker, ("x", 0, record_batch([T0])))
    assert answer.log_append_time_ms > T0


def test_offsets_outside_of_the_log_are_out_of_range_and_its_end_is_empty(broker: Any, record_batch: Any) -> None:
    broker.topic("x")
    produce(broker, ("x", 0, record_batch([T0])))
    for offset in (-1, 2):
        (found,) = fetch(broker, ("x", 0, offset))
        assert (found.error_code, found.high_watermark, bytes(found.records)) == (
            ErrorCode.OFFSET_OUT_OF_RANGE,
            -1,
            b"",
        )
    (found,) = fetch(broker, ("x", 0, 1))
    assert (found.error_code, found.high_watermark, bytes(found.records)) == (0, 1, b"")


def test_the_first_batch_is_sent_whatever_its_size_and_later_ones_obey_the_limits(
    broker: Any, record_batch: Any
) -> None:
    broker.topic("x", 2)
    batch = record_batch([T0, T0 + 1])
    for partition in (0, 0, 1):
        produce(broker, ("x", partition, batch))
    first, second = fetch(broker, ("x", 0, 0), ("x", 1, 0), max_bytes=1)
    assert (len(first.records), len(second.records)) == (len(batch), 0)
    first, second = fetch(broker, ("x", 0, 0), ("x", 1, 0), max_bytes=2 * len(batch))
    assert (len(first.records), len(second.records)) == (2 * len(batch), 0)
    assert second.error_code == 0


def test_read_committed_gets_a_list_of_aborted_transactions_and_read_uncommitted_none(broker: Any) -> None:
    broker.topic("x")
    assert fetch(broker, ("x", 0, 0), isolation_level=1)[0].aborted_transactions == []
    assert fetch(broker, ("x", 0, 0), isolation_level=0)[0].aborted_transactions is None


def test_a_session_that_nobody_opened_is_not_found(broker: Any) -> None:
    response = broker.ask(fetch_request(("x", 0, 0), session_id=5, session_epoch=1), 12)
    assert (response.error_code, response.responses) == (ErrorCode.FETCH_SESSION_ID_NOT_FOUND, [])


def test_a_client_whose_log_diverged_is_told_where(broker: Any, record_batch: Any) -> None:
    broker.topic("x")
    produce(broker, ("x", 0, record_batch([T0])))
    epoch = broker.leader_epoch
    broker.engine.partition("x", 0).state.leader_epoch = epoch + 2
    produce(broker, ("x", 0, record_batch([T0])))
    request = fetch_request(("x", 0, 2))
    request.topics[0].partitions[0].last_fetched_epoch = epoch
    (found,) = broker.ask(request, 12).responses[0].partitions
    assert (found.diverging_epoch.epoch, found.diverging_epoch.end_offset) == (epoch, 1)
    assert bytes(found.records) == b""


def test_leader_epochs_are_compared(broker: Any) -> None:
    broker.topic("x")
    broker.engine.partition("x", 0).state.leader_epoch = 5
    for current, code in ((4, ErrorCode.FENCED_LEADER_EPOCH), (6, ErrorCode.UNKNOWN_LEADER_EPOCH), (5, 0), (-1, 0)):
        request = fetch_request(("x", 0, 0))
        request.topics[0].partitions[0].current_leader_epoch = current
        (found,) = broker.ask(request, 12).responses[0].partitions
        assert found.error_code == code


def test_a_fetch_waits_for_min_bytes_until_its_time_is_up(broker: Any, record_batch: Any) -> None:
    broker.topic("x")
    batch = record_batch([T0])
    produce(broker, ("x", 0, batch))

    async def race() -> tuple[float, Any]:
        loop = asyncio.get_running_loop()
        start = loop.time()
        response = await broker._ask(fetch_request(("x", 0, 0), max_wait_ms=150, min_bytes=10_000), 12, "PLAINTEXT")
        return loop.time() - start, response

    seconds, response = broker.run(race())
    assert seconds >= 0.14
    assert len(response.responses[0].partitions[0].records) == len(batch)


@pytest.mark.parametrize("what", ["data", "deletion"])
def test_a_fetch_that_waits_is_answered_when_data_comes_or_the_topic_goes(
    broker: Any, record_batch: Any, what: str
) -> None:
    broker.topic("x")
    partition = broker.engine.partition("x", 0)

    async def race() -> Any:
        async with asyncio.timeout(20):
            waiting = asyncio.ensure_future(
                broker._ask(fetch_request(("x", 0, 0), max_wait_ms=60_000), 12, "PLAINTEXT")
            )
            while not partition.visibility_waiters:
                await asyncio.sleep(0)
            if what == "data":
                await broker._ask(produce_request(("x", 0, record_batch([T0]))), 9, "PLAINTEXT")
            else:
                await broker.membership.delete_topics(["x"])
            return await waiting

    (found,) = broker.run(race()).responses[0].partitions
    if what == "data":
        assert (found.error_code, found.high_watermark) == (0, 1)
        assert len(found.records) == len(record_batch([T0]))
    else:
        assert found.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert not partition.visibility_waiters


def test_a_waiting_fetch_of_a_closed_connection_leaves_the_partition(broker: Any) -> None:
    broker.topic("x")
    partition = broker.engine.partition("x", 0)

    async def leave() -> None:
        async with asyncio.timeout(20):
            waiting = asyncio.ensure_future(
                broker._ask(fetch_request(("x", 0, 0), max_wait_ms=60_000), 12, "PLAINTEXT")
            )
            while not partition.visibility_waiters:
                await asyncio.sleep(0)
            next(iter(broker.server.connections)).close("the test")
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await waiting

    broker.run(leave())
    assert not partition.visibility_waiters


def test_acks_0_gets_no_response_and_an_error_closes_the_connection(broker: Any, record_batch: Any) -> None:
    broker.topic("x")

    async def send(name: str) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", broker.ports["PLAINTEXT"])
        request = produce_request((name, 0, record_batch([T0])), acks=0)
        metadata = struct.pack(">ihhihi", 14, 3, 1, 99, -1, 0)
        body = struct.pack(">hhihB", 0, 9, 1, -1, 0) + request.encoder(9)(request)
        writer.write(struct.pack(">i", len(body)) + body + metadata)
        try:
            return await reader.readexactly(8)
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    assert broker.run(send("x"))[4:] == struct.pack(">i", 99)
    assert fetch(broker, ("x", 0, 0), max_wait_ms=20_000)[0].high_watermark == 1
    assert broker.run(send("missing")) == b""


def test_a_topic_without_partitions_beside_one_that_succeeds_is_answered_as_it_was_asked(
    broker: Any, record_batch: Any
) -> None:
    broker.topic("a")
    broker.topic("b")
    request = produce_request(("a", 0, record_batch([T0])))
    request.topic_data.append(TopicProduceData(name="b", partition_data=[]))
    response = broker.ask(request, 9)
    told = [(topic.name, [part.error_code for part in topic.partition_responses]) for topic in response.responses]
    assert told == [("a", [0]), ("b", [])]


def test_min_bytes_beyond_what_a_response_may_hold_does_not_hold_it_back(broker: Any, record_batch: Any) -> None:
    broker.topic("x")
    produce(broker, ("x", 0, record_batch([T0])))
    (part,) = fetch(broker, ("x", 0, 0), max_wait_ms=60_000, min_bytes=1 << 30, max_bytes=1)
    assert part.records
