"""The log start moves by request: what lies below it is gone everywhere, at once and for good."""

import asyncio
from pathlib import Path
from unittest.mock import patch

import pytest
from engine_support import NOW_MS, Node, failing, make_batch, offsets_of, record

from tailrace_core.errors import OffsetOutOfRange, PolicyViolation, StorageUnavailable, UnknownTopicId
from tailrace_engine.api import HIGH_WATERMARK
from tailrace_engine.log.wal_index import ENTRY_BYTES
from tailrace_engine.runtime import engine as engine_module
from tailrace_engine.runtime.partition import Partition


def three_records(sequence: int = -1) -> bytearray:
    return make_batch([NOW_MS] * 3, producer=(7, 0, sequence) if sequence >= 0 else (-1, -1, -1))


async def refuses_reads_below(node: Node, partition: Partition, offset: int) -> None:
    with pytest.raises(OffsetOutOfRange):
        node.engine.read(partition, offset - 1, 1 << 20, True)
    with pytest.raises(OffsetOutOfRange):
        await node.engine.read_cold(partition, offset - 1, 1 << 20)


def test_offsets_up_to_the_high_watermark_may_be_deleted(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition()
            await node.produce(partition, three_records(), three_records())
            engine = node.engine
            for refused in (7, -2, 1 << 40):
                with pytest.raises(OffsetOutOfRange):
                    await engine.delete_records(partition, refused)
            assert await engine.delete_records(partition, 0) == 0
            assert await engine.delete_records(partition, 4) == 4
            assert await engine.delete_records(partition, 2) == 4  # it never goes down
            await refuses_reads_below(node, partition, 4)
            assert offsets_of(await node.read_all(partition)) == [3]
            assert await engine.delete_records(partition, HIGH_WATERMARK) == 6
            await refuses_reads_below(node, partition, 6)
            assert await node.read_all(partition) == []
            assert await node.produce(partition, three_records()) == [6]

    asyncio.run(run())


def test_what_is_not_durable_is_not_deleted(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition()
            await node.produce(partition, three_records())
            node.append(partition, three_records())
            with pytest.raises(OffsetOutOfRange):
                await node.engine.delete_records(partition, 6)
            await node.durable(partition)

    asyncio.run(run())


def test_a_topic_that_is_compacted_only_keeps_its_records(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            compacted = await node.partition("c", cleanup_policy="compact")
            both = await node.partition("b", cleanup_policy="compact,delete")
            keyed = b"".join(record(at, 0, b"value", b"key") for at in range(3))
            await node.produce(compacted, make_batch([NOW_MS] * 3, body=keyed))
            await node.produce(both, make_batch([NOW_MS] * 3, body=keyed))
            with pytest.raises(PolicyViolation):
                await node.engine.delete_records(compacted, HIGH_WATERMARK)
            assert await node.engine.delete_records(both, HIGH_WATERMARK) == 3

    asyncio.run(run())


def test_nothing_moves_where_the_catalog_does_not_take_it(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition()
            await node.produce(partition, three_records())
            with failing(node.controller, "trim", StorageUnavailable("disk")), pytest.raises(StorageUnavailable):
                await node.engine.delete_records(partition, 3)
            assert partition.state.log_start_offset == 0
            await node.controller.delete_topics(["t"])
            with pytest.raises(UnknownTopicId):
                await node.engine.delete_records(partition, 3)

    asyncio.run(run())


@pytest.mark.parametrize("in_memory", [True, False])
def test_memory_wal_and_uploads_let_go_of_what_is_below(tmp_path: Path, in_memory: bool) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition()
            await node.produce(partition, *[three_records() for _ in range(4)])
            if not in_memory:
                node.forget_hot()
            size = len(three_records())
            await node.engine.delete_records(partition, 7)  # within the third batch
            assert (partition.unuploaded_bytes, node.engine.unuploaded_bytes) == (2 * size, 2 * size)
            assert node.live_records() == 2
            if not in_memory:
                assert node.engine.hot.bytes_used == 2 * ENTRY_BYTES
            await node.uploader.flush()
            extents = node.controller.extents(partition.topic_id, 0)
            assert [extents[place].extent.base_offset for place in range(len(extents))] == [6]
            await node.engine.delete_records(partition, HIGH_WATERMARK)
            await node.produce(partition, three_records())
            await node.engine.delete_records(partition, HIGH_WATERMARK)
            assert (partition.unuploaded_bytes, node.engine.unuploaded, node.live_records()) == (0, {}, 0)
            assert node.engine.hot.bytes_used == 0
            await node.uploader.flush()
            assert node.uploader.objects == 1

    asyncio.run(run())


def test_many_batches_go_in_steps(tmp_path: Path) -> None:
    async def run() -> None:
        with patch.object(engine_module, "_RELEASED_AT_ONCE", 3):
            async with Node(tmp_path) as node:
                partition = await node.partition()
                await node.produce(partition, *[three_records() for _ in range(10)])
                node.forget_hot()
                await node.produce(partition, *[three_records() for _ in range(10)])
                partition_hot = partition.hot_entries[partition.hot_head :]
                assert len(partition_hot) == 10
                await node.engine.delete_records(partition, 16 * 3 + 1)
                await refuses_reads_below(node, partition, 16 * 3 + 1)
                while node.live_records() > 4:
                    # Each step leaves a whole partition behind: what may be read can be read.
                    assert offsets_of(await node.read_all(partition)) == [48, 51, 54, 57]
                    await asyncio.sleep(0)
                assert partition.unuploaded_bytes == 4 * len(three_records())
                assert partition.tier_end_offset == 48

    asyncio.run(run())


@pytest.mark.parametrize("log_start_offset", [1, 6, 7, 9, 10, 12])
def test_a_restart_keeps_the_log_start(tmp_path: Path, log_start_offset: int) -> None:
    async def run() -> None:
        node = Node(tmp_path)
        await node.start()
        partition = await node.partition()
        await node.produce(partition, three_records(0), three_records(3))
        await node.uploader.flush()
        await node.produce(partition, three_records(6), three_records(9))
        await node.engine.delete_records(partition, log_start_offset)
        kept = offsets_of(await node.read_all(partition))
        live = node.live_records()
        for _ in range(2):
            await node.restart()
            partition = node.engine.partition("t", 0)
            state = partition.state
            assert (state.log_start_offset, state.high_watermark) == (log_start_offset, 12)
            assert offsets_of(await node.read_all(partition)) == kept
            assert node.live_records() == live
            assert partition.unuploaded_bytes == live * len(three_records())
        # Whoever wrote the records that are gone is known: sending the last one again adds nothing.
        assert node.append(partition, three_records(9)) == 9
        assert await node.produce(partition, three_records(12)) == [12]
        await node.uploader.flush()
        assert node.live_records() == 0
        assert offsets_of(await node.read_all(partition)) == [*kept, 12]
        await node.stop()

    asyncio.run(run())


@pytest.mark.parametrize("log_start_offset", [2, 3, 4, 6, 8, 9])
@pytest.mark.parametrize("in_memory", [True, False])
def test_an_upload_that_is_under_way_is_judged_right(tmp_path: Path, log_start_offset: int, in_memory: bool) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition()
            await node.produce(partition, three_records(), three_records())
            put = node.store.put

            async def put_while_records_go(key: str, parts: object) -> None:
                node.store.put = put  # type: ignore[method-assign]
                await node.produce(partition, three_records())
                if not in_memory:
                    node.forget_hot()
                await node.engine.delete_records(partition, log_start_offset)
                await put(key, parts)  # type: ignore[arg-type]

            node.store.put = put_while_records_go  # type: ignore[method-assign]
            await node.uploader.upload_once()
            left = 1 if log_start_offset < 9 else 0
            assert node.controller.extents(partition.topic_id, 0).committed_end == 6
            assert node.live_records() == left
            assert partition.unuploaded_bytes == node.engine.unuploaded_bytes == left * len(three_records())
            assert partition.tier_end_offset == (6 if log_start_offset < 9 else 9)
            kept = [base for base in (0, 3, 6) if base + 3 > log_start_offset]
            assert offsets_of(await node.read_all(partition)) == kept
            assert await node.produce(partition, three_records()) == [9]
            await node.uploader.flush()
            assert node.live_records() == 0
            node.forget_hot()
            assert offsets_of(await node.read_all(partition)) == [*kept, 9]

    asyncio.run(run())


def test_an_upload_begins_again_where_the_log_start_passes_what_it_collects(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition()
            await node.produce(partition, *[three_records() for _ in range(6)])
            node.forget_hot()
            read = node.engine.cold.read_wal

            async def read_after_records_go(*arguments: object) -> object:
                if not partition.state.log_start_offset:
                    await node.engine.delete_records(partition, 10)
                return await read(*arguments)  # type: ignore[arg-type]

            with patch.object(node.engine.cold, "read_wal", read_after_records_go):
                await node.uploader.flush()
            extents = node.controller.extents(partition.topic_id, 0)
            assert [extents[place].extent.base_offset for place in range(len(extents))] == [9]
            assert node.live_records() == 0
            assert offsets_of(await node.read_all(partition)) == [9, 12, 15]

    asyncio.run(run())


def test_leader_epochs_below_the_log_start_are_forgotten(tmp_path: Path) -> None:
    async def run() -> None:
        node = Node(tmp_path)
        await node.start()
        partition = await node.partition()
        await node.produce(partition, three_records())
        await node.restart()
        partition = node.engine.partition("t", 0)
        await node.produce(partition, three_records())
        assert len(partition.epochs.entries) == 2
        await node.engine.delete_records(partition, 4)
        assert partition.epochs.entries == [(node.leader_epoch, 4)]
        written_in = node.leader_epoch
        await node.restart()
        partition = node.engine.partition("t", 0)
        assert partition.epochs.entries == [(written_in, 4)]
        await node.stop()

    asyncio.run(run())
