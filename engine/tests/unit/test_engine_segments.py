"""Segments are what one upload holds of a partition: what seals them, and what retention lets go."""

import asyncio
from pathlib import Path

from engine_support import NOW_MS, Node, make_batch, offsets_of, until

from tailrace_core.errors import StorageUnavailable
from tailrace_engine.runtime.partition import Partition

MIB = 1 << 20


def extents_of(node: Node, partition: Partition) -> list[tuple[int, int]]:
    extents = node.controller.extents(partition.topic_id, 0)
    return [(extents[place].extent.base_offset, extents[place].extent.end_offset) for place in range(len(extents))]


async def produce_mib(node: Node, partition: Partition, count: int = 1) -> None:
    for _ in range(count):
        await node.produce(partition, make_batch(value=bytes(MIB - 1_000)))


def test_a_partition_is_uploaded_with_segment_bytes(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path, segment_bytes=4 * MIB, capacity_bytes=64 * MIB) as node:
            small = await node.partition("small", segment_bytes=str(MIB))
            other = await node.partition("other")
            running = asyncio.ensure_future(node.uploader.run())
            await produce_mib(node, small)
            await node.produce(other, make_batch())
            assert list(node.engine.sealing) == [small]
            assert not node.uploader.objects
            await node.produce(small, make_batch(value=bytes(2_000)))
            await until(lambda: small.tier_end_offset == 2)
            assert extents_of(node, small) == [(0, 2)]
            assert not node.engine.sealing
            running.cancel()

    asyncio.run(run())


def test_a_partition_is_uploaded_after_segment_ms(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition(segment_ms="5000")
            await node.produce(partition, make_batch())
            assert not node.uploader._due()
            node.clock.ms += 5_000
            assert node.uploader._due()
            await node.uploader.upload_once()
            assert extents_of(node, partition) == [(0, 1)]
            assert not node.uploader._due()

    asyncio.run(run())


def test_a_changed_setting_seals_what_waits_already(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path, segment_bytes=4 * MIB, capacity_bytes=64 * MIB) as node:
            partition = await node.partition()
            await produce_mib(node, partition, 2)
            assert not node.uploader._due()
            await node.controller.alter_topic_configs("t", {"segment.bytes": str(MIB)})
            assert node.uploader._due()
            await node.controller.alter_topic_configs("t", {"segment.bytes": None})
            assert not node.uploader._due()
            await node.controller.alter_topic_configs("t", {"segment.ms": "1"})
            node.clock.ms += 1
            running = asyncio.ensure_future(node.uploader.run())
            await until(lambda: partition.tier_end_offset == 2)
            running.cancel()

    asyncio.run(run())


def test_what_waited_before_a_restart_is_sealed_too(tmp_path: Path) -> None:
    async def run() -> None:
        node = await Node(tmp_path, segment_bytes=4 * MIB, capacity_bytes=64 * MIB).start()
        partition = await node.partition(segment_bytes=str(MIB))
        await produce_mib(node, partition, 2)
        await node.restart()
        assert node.uploader._due()
        await node.uploader.flush()
        assert not node.engine.sealing
        await node.stop()

    asyncio.run(run())


def test_batches_without_a_time_go_by_the_time_of_their_upload(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition(retention_ms="1000")
            await node.produce(partition, make_batch([-1]))
            node.clock.ms += 10_000
            await node.retention.check()
            assert partition.state.log_start_offset == 0
            await node.uploader.flush()
            assert await node.engine.find_timestamp(partition, 0) is None
            assert await node.engine.find_max_timestamp(partition) is None
            node.clock.ms += 1_000
            await node.retention.check()
            assert partition.state.log_start_offset == 0
            node.clock.ms += 1
            await node.retention.check()
            assert partition.state.log_start_offset == 1

    asyncio.run(run())


def test_what_is_not_uploaded_goes_by_its_newest_time_when_all_before_it_is_gone(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition(retention_ms="1000")
            await node.produce(partition, make_batch([NOW_MS + 300]))
            await node.uploader.flush()
            await node.produce(partition, make_batch([NOW_MS]), make_batch([NOW_MS + 500]), make_batch([NOW_MS + 200]))
            node.clock.ms += 1_301
            await node.retention.check()
            assert offsets_of(await node.read_all(partition)) == [1, 2, 3]
            node.forget_hot()
            await node.produce(partition, make_batch([NOW_MS + 100]))
            node.clock.ms += 199
            await node.retention.check()
            assert partition.state.log_start_offset == 1
            node.clock.ms += 1
            await node.retention.check()
            assert partition.state.log_start_offset == 5
            assert (partition.unuploaded_bytes, node.live_records()) == (0, 0)

    asyncio.run(run())


def test_without_room_nothing_is_kept_uploaded_or_not(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition(retention_bytes="0", retention_ms="-1")
            await node.produce(partition, make_batch())
            await node.uploader.flush()
            await node.produce(partition, make_batch([-1]))
            await node.retention.check()
            assert partition.state.log_start_offset == 2
            assert node.engine.stored_bytes(partition.topic_id, 0) == 0

    asyncio.run(run())


def test_retention_bytes_counts_what_is_not_uploaded(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            size = len(make_batch(value=bytes(1_000)))
            partition = await node.partition(retention_bytes=str(2 * size), retention_ms="-1")
            for _ in range(2):
                await node.produce(partition, make_batch(value=bytes(1_000)))
                await node.uploader.flush()
            await node.produce(partition, make_batch(value=bytes(1_000)))
            assert node.engine.stored_bytes(partition.topic_id, 0) == 3 * size
            await node.retention.check()
            assert partition.state.log_start_offset == 1
            assert node.engine.stored_bytes(partition.topic_id, 0) == 2 * size

    asyncio.run(run())


def test_a_changed_setting_is_looked_at_without_delay(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path, check_interval_ms=3_600_000) as node:
            partition = await node.partition(retention_ms="-1")
            await node.produce(partition, make_batch())
            await node.uploader.flush()
            node.clock.ms += 10_000
            running = asyncio.ensure_future(node.retention.run())
            await asyncio.sleep(0)
            assert partition.state.log_start_offset == 0
            await node.controller.alter_topic_configs("t", {"retention.ms": "5000"})
            await until(lambda: partition.state.log_start_offset == 1)
            running.cancel()

    asyncio.run(run())


def test_a_topic_that_is_gone_when_its_change_is_looked_at_is_passed_over(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path, check_interval_ms=3_600_000) as node:
            await node.topic("gone")
            partition = await node.partition()
            await node.produce(partition, make_batch())
            node.clock.ms += 10_000
            await node.controller.alter_topic_configs("gone", {"retention.ms": "5000"})
            await node.controller.delete_topics(["gone"])
            await node.controller.alter_topic_configs("t", {"retention.ms": "5000"})
            running = asyncio.ensure_future(node.retention.run())
            await until(lambda: partition.state.log_start_offset == 1)
            running.cancel()

    asyncio.run(run())


def test_a_catalog_that_refuses_a_trim_leaves_everything(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition(retention_ms="1000")
            await node.produce(partition, make_batch())
            node.clock.ms += 10_000
            trim = node.controller.trim

            async def refuse(*_: object) -> int:
                raise StorageUnavailable("disk")

            node.controller.trim = refuse  # type: ignore[method-assign]
            await node.retention.check()
            assert partition.state.log_start_offset == 0
            assert partition.unuploaded_bytes
            node.controller.trim = trim  # type: ignore[method-assign]
            await node.retention.check()
            assert partition.state.log_start_offset == 1

    asyncio.run(run())
