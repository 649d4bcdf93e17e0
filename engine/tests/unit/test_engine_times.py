"""ListOffsets by time over every place that a batch can be in."""

import asyncio
from pathlib import Path

import pytest
from engine_support import COMPRESSIONS, GRACE_MS, NOW_MS, Node, make_batch

from tailrace_core.errors import UnknownTopicOrPartition
from tailrace_engine.runtime.partition import Partition


def expected(times: dict[int, int], timestamp_ms: int, start: int = 0) -> tuple[int, int] | None:
    return next(((offset, at) for offset, at in times.items() if at >= timestamp_ms and offset >= start), None)


async def check(node: Node, partition: Partition, times: dict[int, int], start: int = 0) -> None:
    """Every question, against the list of all records."""
    asked = {each + step for each in times.values() for step in (-1, 0, 1)}
    for timestamp_ms in sorted(asked):
        found = await node.engine.find_timestamp(partition, timestamp_ms)
        assert (found[:2] if found is not None else None) == expected(times, timestamp_ms, start), timestamp_ms
    found = await node.engine.find_max_timestamp(partition)
    assert found is not None
    newest = max(at for offset, at in times.items() if offset >= start)
    assert found[:2] == expected(times, newest, start)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_the_first_record_at_or_after_a_time_is_found_wherever_it_is(tmp_path: Path, compression: str) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition()
            times: dict[int, int] = {}

            async def produce(*deltas: int) -> None:
                stamps = [NOW_MS + delta for delta in deltas]
                (base,) = await node.produce(partition, make_batch(stamps, compression=compression))
                times.update(enumerate(stamps, base))

            await produce(10, 5, 20)
            await produce(7, 7)
            await node.uploader.flush()
            await check(node, partition, times)
            await produce(30, 25)
            await produce(12, 31)
            node.forget_hot()
            await check(node, partition, times)
            await produce(40, 41, 39)
            await produce(3)
            await check(node, partition, times)
            found = await node.engine.find_timestamp(partition, NOW_MS)
            assert found is not None
            assert found.leader_epoch == node.leader_epoch

    asyncio.run(run())


def test_what_is_not_durable_and_what_has_no_time_is_not_found(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition()
            assert await node.engine.find_max_timestamp(partition) is None
            assert await node.engine.find_timestamp(partition, 0) is None
            await node.produce(partition, make_batch([-1, -1]))
            assert await node.engine.find_max_timestamp(partition) is None
            assert await node.engine.find_timestamp(partition, 0) is None
            node.append(partition, make_batch([NOW_MS]))
            assert await node.engine.find_timestamp(partition, 0) is None
            assert await node.engine.find_max_timestamp(partition) is None
            await node.durable(partition)
            found = await node.engine.find_timestamp(partition, 0)
            assert found is not None
            assert found[:2] == (2, NOW_MS)

    asyncio.run(run())


def test_log_append_time_is_every_records_time(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition(message_timestamp_type="LogAppendTime")
            await node.produce(partition, make_batch([5, 6, 7], compression="gzip"))
            node.clock.ms += 100
            await node.produce(partition, make_batch([5, 6, 7], compression="zstd"))
            for step in (lambda: asyncio.sleep(0), node.uploader.flush):
                await step()
                found = await node.engine.find_timestamp(partition, NOW_MS + 1)
                assert found is not None
                assert found[:2] == (3, NOW_MS + 100)

    asyncio.run(run())


def test_what_retention_deleted_is_not_the_newest_though_memory_has_it(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition(retention_bytes="0")
            await node.produce(partition, make_batch([NOW_MS + 50]))
            await node.uploader.flush()
            await node.retention.check()
            assert partition.state.log_start_offset == 1
            assert await node.engine.find_max_timestamp(partition) is None
            await node.controller.alter_topic_configs("t", {"retention.bytes": "-1"})
            await node.produce(partition, make_batch([NOW_MS + 20]), make_batch([NOW_MS + 10]))
            await check(node, partition, {0: NOW_MS + 50, 1: NOW_MS + 20, 2: NOW_MS + 10}, 1)
            node.clock.ms += GRACE_MS
            await node.uploader.flush()
            await check(node, partition, {0: NOW_MS + 50, 1: NOW_MS + 20, 2: NOW_MS + 10}, 1)
            await node.restart()
            await check(node, node.engine.partition("t", 0), {0: NOW_MS + 50, 1: NOW_MS + 20, 2: NOW_MS + 10}, 1)

    asyncio.run(run())


@pytest.mark.parametrize("compression", ["none", "lz4"])
@pytest.mark.parametrize("place", ["tier", "wal", "memory"])
def test_a_search_begins_at_a_log_start_within_an_extent_or_a_batch(
    tmp_path: Path, place: str, compression: str
) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition()
            times: dict[int, int] = {}
            for deltas in ((90, 10, 95), (50, 60, 40), (70, 20), (30, 65)):
                stamps = [NOW_MS + delta for delta in deltas]
                (base,) = await node.produce(partition, make_batch(stamps, compression=compression))
                times.update(enumerate(stamps, base))
            if place == "tier":
                await node.uploader.flush()
            elif place == "wal":
                node.forget_hot()
            for log_start_offset in range(len(times)):
                await node.engine.delete_records(partition, log_start_offset)
                await check(node, partition, times, log_start_offset)
            await node.engine.delete_records(partition, len(times))
            assert await node.engine.find_max_timestamp(partition) is None
            assert await node.engine.find_timestamp(partition, 0) is None

    asyncio.run(run())


@pytest.mark.parametrize("place", ["tier", "several extents", "wal", "memory"])
@pytest.mark.parametrize("liars", [(0,), (2,), (5,), (1, 2, 4), (0, 1, 2, 3, 4, 5)])
def test_a_claim_that_no_record_keeps_does_not_end_a_search(tmp_path: Path, place: str, liars: tuple[int, ...]) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition(message_timestamp_after_max_ms="9" * 12)
            times: dict[int, int] = {}
            for number, deltas in enumerate(((10, 11), (30, 25), (31, 5), (20, 21), (31, 30), (3, 4))):
                stamps = [NOW_MS + delta for delta in deltas]
                claim = NOW_MS + 1_000 - number % 2 if number in liars else max(stamps)
                (base,) = await node.produce(partition, make_batch(stamps, max_timestamp_ms=claim))
                times.update(enumerate(stamps, base))
                if place == "several extents":
                    await node.uploader.flush()
            if place == "tier":
                await node.uploader.flush()
            elif place == "wal":
                node.forget_hot()
            await check(node, partition, times)
            assert await node.engine.find_timestamp(partition, NOW_MS + 500) is None

    asyncio.run(run())


def test_records_without_a_time_are_not_the_newest_whatever_their_header_claims(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition()
            await node.produce(partition, make_batch([-1, -1], max_timestamp_ms=NOW_MS))
            assert await node.engine.find_max_timestamp(partition) is None
            assert await node.engine.find_timestamp(partition, 0) is None

    asyncio.run(run())


@pytest.mark.parametrize("uploaded", [False, True])
def test_a_search_ends_when_its_topic_is_deleted(tmp_path: Path, uploaded: bool) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition()
            await node.produce(partition, *[make_batch() for _ in range(1200)])
            if uploaded:
                await node.uploader.flush()
                node.forget_hot()
                await node.produce(partition, make_batch())
            searches = [
                asyncio.ensure_future(node.engine.find_timestamp(partition, NOW_MS + 1)),
                asyncio.ensure_future(node.engine.find_max_timestamp(partition)),
            ]
            await asyncio.sleep(0)
            await node.controller.delete_topics(["t"])
            done, left = await asyncio.wait(searches, timeout=10)
            for search in left:
                search.cancel()
            assert not left
            for search in done:
                error = search.exception()
                assert error is None or isinstance(error, UnknownTopicOrPartition), error

    asyncio.run(run())
