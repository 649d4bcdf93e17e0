"""Topics with a compression.type of their own."""

import asyncio
import gc
import threading
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from engine_support import COMPRESSIONS, NOW_MS, Acks, Node, make_batch, offsets_of, record, until

from tailrace_core.batch import HEADER_BYTES, Buffer, check_batch, read_header
from tailrace_core.errors import (
    InvalidRecord,
    MessageTooLarge,
    OutOfOrderSequence,
    UnknownTopicOrPartition,
)
from tailrace_engine.api import APPENDED_LATER
from tailrace_engine.log.codecs import inflate
from tailrace_engine.log.recompress import CODECS
from tailrace_engine.runtime import recompression
from tailrace_engine.runtime.partition import Partition

LARGE = bytes(10_000)


async def stored(node: Node, partition: Partition) -> list[Buffer]:
    await until(lambda: not node.engine.recompression.queues)
    await node.durable(partition)
    return await node.read_all(partition)


def records_of(batch: Buffer) -> bytes:
    return bytes(inflate(read_header(batch).codec, memoryview(batch)[HEADER_BYTES:], 1 << 30))


@pytest.mark.parametrize("target", CODECS)
@pytest.mark.parametrize("value", [b"small", LARGE])
def test_every_batch_is_kept_with_its_topics_codec(tmp_path: Path, target: str, value: bytes) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition(compression_type=target)
            for source in COMPRESSIONS:
                waiter = Acks()
                node.append(partition, make_batch([NOW_MS, NOW_MS + 5], value, compression=source), waiter)
                await until(lambda waiter=waiter: waiter.durable)
            batches = await stored(node, partition)
            assert offsets_of(batches) == list(range(0, 2 * len(COMPRESSIONS), 2))
            expected = record(0, 0, value) + record(1, 5, value)
            for batch in batches:
                header = read_header(batch)
                assert header.codec == CODECS[target]
                assert (header.record_count, header.base_timestamp_ms, header.max_timestamp_ms) == (
                    2,
                    NOW_MS,
                    NOW_MS + 5,
                )
                assert header._replace(base_offset=0) == check_batch(b"\0" * 8 + bytes(batch)[8:])
                assert records_of(batch) == expected

    asyncio.run(run())


@pytest.mark.parametrize("name", [name for name in COMPRESSIONS if name != "none"])
def test_a_batch_that_has_the_topics_codec_is_kept_as_it_is(tmp_path: Path, name: str) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            target = {number: each for each, number in CODECS.items()}[COMPRESSIONS[name][0]]
            partition = await node.partition(compression_type=target)
            batch = make_batch([NOW_MS], LARGE, compression=name)
            await node.produce(partition, bytearray(batch))
            (kept,) = await node.read_all(partition)
            assert bytes(kept)[21:] == bytes(batch)[21:]
            assert node.engine.recompression.batches == 0

    asyncio.run(run())


def test_an_append_that_is_put_off_tells_where_it_went(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition(compression_type="zstd", message_timestamp_type="LogAppendTime")
            waiter = Acks()
            engine = node.engine
            assert engine.append(partition, memoryview(make_batch([5], LARGE)), waiter, 3) == APPENDED_LATER
            assert engine.append(partition, memoryview(make_batch([5])), waiter, 4) == APPENDED_LATER
            assert engine.recompression.waiting_bytes > len(LARGE)
            await until(lambda: waiter.durable == 2)
            assert waiter.appended == [(3, 0, NOW_MS), (4, 1, NOW_MS)]
            assert engine.recompression.waiting_bytes == 0
            assert engine.append(partition, memoryview(make_batch([5])), waiter, 5) == (2, NOW_MS)
            await until(lambda: waiter.durable == 3)

    asyncio.run(run())


class Gate:
    """Holds the threads until it is opened."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.made = recompression.recompress

    def __call__(self, *arguments: Any) -> bytearray:
        if threading.current_thread() is not threading.main_thread():
            assert self.opened.wait(20)
        return self.made(*arguments)


def test_a_batch_that_left_the_loop_holds_back_the_later_ones_of_its_partition(tmp_path: Path) -> None:
    async def run() -> None:
        gate = Gate()
        async with Node(tmp_path) as node:
            partition = await node.partition(compression_type="lz4")
            other = await node.partition("other", compression_type="lz4")
            with patch.object(recompression, "recompress", gate):
                node.append(partition, make_batch([NOW_MS], LARGE, producer=(1, 0, 0)))
                node.append(partition, make_batch(producer=(1, 0, 1)))
                node.append(partition, make_batch(producer=(1, 0, 2), compression="lz4"))
                await node.controller.alter_topic_configs("t", {"compression.type": "producer"})
                node.append(partition, make_batch(producer=(1, 0, 3), compression="gzip"))
                waiter = Acks()
                node.append(partition, make_batch(producer=(1, 0, 5)), waiter)
                node.append(other)
                await node.durable(other)
                assert partition.state.log_end_offset == 0
                gate.opened.set()
                batches = await stored(node, partition)
            assert [read_header(batch).base_sequence for batch in batches] == [0, 1, 2, 3]
            assert [read_header(batch).codec for batch in batches] == [3, 3, 3, 1]
            ((_, error),) = waiter.failures
            assert isinstance(error, OutOfOrderSequence)
            assert waiter.appended == [(0, -1, -1)]
            node.append(partition, make_batch(producer=(1, 0, 4)))
            assert len(await stored(node, partition)) == 5

    asyncio.run(run())


class Faulty(Acks):
    """Has a bug."""

    def on_appended(self, ordinal: int, base_offset: int, log_append_time_ms: int) -> None:
        raise ZeroDivisionError("a bug")


def test_a_bug_of_one_that_waits_does_not_hold_back_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition(compression_type="lz4")
            waiter = Acks()
            node.append(partition, make_batch([NOW_MS], LARGE), Faulty())
            node.append(partition, make_batch(), waiter)
            await until(lambda: waiter.durable)
            assert waiter.appended == [(0, 1, -1)]
            assert not node.engine.recompression.queues
            assert node.engine.recompression.waiting_bytes == 0
            assert "ZeroDivisionError" in caplog.text
            assert offsets_of(await stored(node, partition)) == [0, 1]

    asyncio.run(run())


def test_a_duplicate_is_answered_with_its_originals_offset(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition(compression_type="gzip")
            told: list[object] = []
            first, again, later = Acks("first", told), Acks("again", told), Acks("later", told)
            batch = make_batch([NOW_MS], LARGE, producer=(1, 0, 0))
            node.append(partition, bytearray(batch), first)
            node.append(partition, bytearray(batch), again)
            await until(lambda: first.durable and again.durable)
            node.append(partition, bytearray(batch), later)
            await until(lambda: later.durable)
            assert first.appended == again.appended == later.appended == [(0, 0, -1)]
            assert told == ["first", "again", "later"]
            assert partition.state.log_end_offset == 1

    asyncio.run(run())


@pytest.mark.parametrize("compression", [name for name in COMPRESSIONS if name != "none"])
def test_what_cannot_be_inflated_is_an_invalid_record(tmp_path: Path, compression: str) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition(compression_type="uncompressed")
            whole = bytes(make_batch([NOW_MS], LARGE, compression=compression))[HEADER_BYTES:]
            codec = COMPRESSIONS[compression][0]
            for body in (b"", bytes(range(60)), whole[: len(whole) // 2]):
                waiter = Acks()
                node.append(partition, make_batch(body=body, attributes=codec), waiter)
                await until(lambda waiter=waiter: waiter.failures)
                assert isinstance(waiter.failures[0][1], InvalidRecord)
            waiter = Acks()
            liar = make_batch([NOW_MS] * 2, b"", compression=compression, record_count=900, last_offset_delta=899)
            node.append(partition, liar, waiter)
            await until(lambda: waiter.failures)
            assert isinstance(waiter.failures[0][1], InvalidRecord)
            assert partition.state.log_end_offset == 0

    asyncio.run(run())


@pytest.mark.parametrize("target", ["uncompressed", "gzip"])
def test_the_size_is_checked_before_and_after(tmp_path: Path, target: str) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition(compression_type=target, max_message_bytes="5000")
            with pytest.raises(MessageTooLarge):
                node.append(partition, make_batch([NOW_MS], LARGE))
            waiter = Acks()
            node.append(partition, make_batch([NOW_MS], LARGE, compression="zstd"), waiter)
            await until(lambda: waiter.durable or waiter.failures)
            if target == "gzip":
                assert waiter.durable == 1
            else:
                assert isinstance(waiter.failures[0][1], MessageTooLarge)

    asyncio.run(run())


@pytest.mark.parametrize("compression", ["gzip", "lz4", "zstd"])
def test_a_decompression_bomb_is_too_large(tmp_path: Path, compression: str) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition(compression_type="snappy")
            waiter = Acks()
            with patch.object(recompression, "INFLATED_BATCH_BYTES_MAX", 1 << 20):
                node.append(partition, make_batch([NOW_MS], bytes(2 << 20), compression=compression), waiter)
                await until(lambda: waiter.failures)
            assert isinstance(waiter.failures[0][1], MessageTooLarge)

    asyncio.run(run())


@pytest.mark.parametrize(
    "configs",
    [
        {"compression_type": "uncompressed", "max_message_bytes": "5000"},
        {"compression_type": "snappy", "max_message_bytes": "300"},
        {"cleanup_policy": "compact"},
        {"compression_type": "snappy"},
    ],
)
def test_a_batch_that_was_looked_into_is_gone_without_the_collector(tmp_path: Path, configs: dict[str, str]) -> None:
    """It never looks at what is older than a second: a refusal's frames, and what they hold, would stay."""

    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition(**configs)
            waiter = Acks()
            gc.collect()
            gc.disable()
            try:
                node.append(partition, make_batch([NOW_MS] * 2, LARGE, compression="zstd"), waiter)
                await until(lambda: waiter.durable or waiter.failures)
                waiter.failures.clear()
                assert not [each for each in gc.get_objects() if isinstance(each, recompression._Later)]
            finally:
                gc.enable()

    asyncio.run(run())


def test_a_topic_that_is_deleted_meanwhile_gets_no_batches(tmp_path: Path) -> None:
    async def run() -> None:
        gate = Gate()
        async with Node(tmp_path) as node:
            partition = await node.partition(compression_type="lz4")
            waiter = Acks()
            with patch.object(recompression, "recompress", gate):
                node.append(partition, make_batch([NOW_MS], LARGE), waiter)
                await node.controller.delete_topics(["t"])
                gate.opened.set()
                await until(lambda: waiter.failures)
            assert isinstance(waiter.failures[0][1], UnknownTopicOrPartition)

    asyncio.run(run())


def test_what_waits_is_counted_against_memory(tmp_path: Path) -> None:
    async def run() -> None:
        gate = Gate()
        async with Node(tmp_path, capacity_bytes=128 << 20, segment_bytes=8 << 20) as node:
            partition = await node.partition(compression_type="lz4")
            with patch.object(recompression, "recompress", gate):
                waiters = []
                while not node.engine.must_hold_back:
                    waiters.append(Acks())
                    node.append(partition, make_batch([NOW_MS], bytes(1_000_000)), waiters[-1])
                    assert node.engine.recompression.waiting_bytes <= 17 << 20
                assert node.engine.recompression.waiting_bytes > 15 << 20
                gate.opened.set()
                await until(lambda: all(waiter.durable for waiter in waiters))
            assert not node.engine.must_hold_back
            assert node.engine.recompression.waiting_bytes == 0
            assert node.engine.recompression.batches == len(waiters)
            assert node.engine.recompression.bytes_before > 100 * node.engine.recompression.bytes_after

    asyncio.run(run())
