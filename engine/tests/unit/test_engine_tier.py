"""Uploads: what is in the tier reads as before, the WAL is released, failures lose nothing."""

import asyncio
from pathlib import Path
from random import Random

import pytest
from engine_support import NOW_MS, Node, failing, make_batch, offsets_of, until, values_of

from tailrace_core.errors import DataCorrupt, StorageUnavailable, UnknownTopicOrPartition
from tailrace_core.membership import NewTopic, TopicDefaults
from tailrace_engine.runtime.partition import Partition
from tailrace_engine.sim.objects import SimObjectFaults, SimObjectStore


def test_what_was_uploaded_reads_as_before(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition()
            await node.produce(partition, *[make_batch(value=bytes([at]) * 900) for at in range(100)])
            before = values_of(await node.read_all(partition))
            await node.uploader.flush()
            assert partition.tier_end_offset == 100
            assert node.controller.extents(partition.topic_id, 0).committed_end == 100
            node.forget_hot()
            assert node.engine.read(partition, 0, 1, True) is None
            assert values_of(await node.read_all(partition)) == before
            assert node.tier.reads > 0
            assert node.engine.cold.wal_bytes_read == 0

    asyncio.run(run())


def test_a_commit_releases_the_wal_and_the_account_of_the_upload(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition()
            await node.produce(partition, *[make_batch(value=bytes(3000)) for _ in range(300)])
            used = len(node.wal.ring.used)
            assert used > 5
            assert node.live_records() == 300
            await node.uploader.flush()
            assert node.live_records() == 0
            assert len(node.wal.ring.used) == 1
            assert node.engine.unuploaded_bytes == partition.unuploaded_bytes == 0
            assert not node.engine.unuploaded

    asyncio.run(run())


def test_what_is_not_durable_is_not_uploaded(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition()
            await node.produce(partition, make_batch())
            node.append(partition)
            await node.uploader.upload_once()
            assert partition.tier_end_offset in (1, 2)
            assert partition.tier_end_offset <= partition.state.high_watermark

    asyncio.run(run())


def test_uploads_from_memory_and_wal_together(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path, hot_bytes=20_000) as node:
            partition = await node.partition()
            await node.produce(partition, *[make_batch(value=bytes([at % 250]) * 700) for at in range(120)])
            assert partition.wal_index is not None
            assert 0 < partition.hot_start_offset() < 120
            before = values_of(await node.read_all(partition))
            await node.uploader.flush()
            assert partition.wal_index is None
            node.forget_hot()
            assert values_of(await node.read_all(partition)) == before
            assert node.live_records() == 0

    asyncio.run(run())


@pytest.mark.parametrize("object_bytes", [64 << 10, 200_000])
def test_a_partition_with_more_than_an_object_takes_is_uploaded_in_parts(tmp_path: Path, object_bytes: int) -> None:
    async def run() -> None:
        async with Node(tmp_path, object_bytes=object_bytes) as node:
            partition = await node.partition()
            await node.produce(partition, *[make_batch(value=bytes(40_000)) for _ in range(50)])
            assert await node.uploader.upload_once()
            assert 0 < partition.tier_end_offset < 50
            await node.uploader.flush()
            assert partition.tier_end_offset == 50
            assert node.uploader.objects > 2
            node.forget_hot()
            assert offsets_of(await node.read_all(partition)) == list(range(50))

    asyncio.run(run())


def test_many_partitions_share_an_object_and_none_is_left(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            await node.topic("t", 30)
            partitions = [node.engine.partition("t", at) for at in range(30)]
            for at, partition in enumerate(partitions):
                await node.produce(partition, *[make_batch(value=b"%d" % at) for _ in range(at)])
            before = [values_of(await node.read_all(partition)) for partition in partitions]
            await node.uploader.flush()
            assert node.uploader.objects == 1
            node.forget_hot()
            assert [values_of(await node.read_all(partition)) for partition in partitions] == before

    asyncio.run(run())


def test_a_store_that_fails_and_loses_replies_costs_retries_and_no_data(tmp_path: Path) -> None:
    async def run() -> None:
        store = SimObjectStore(Random(2), SimObjectFaults(failure=0.3, lost_reply=0.3))
        async with Node(tmp_path, store=store, object_bytes=64 << 10) as node:
            partition = await node.partition()
            for at in range(12):
                await node.produce(partition, *[make_batch(value=bytes([at]) * 20_000) for _ in range(4)])
                try:
                    await node.uploader.upload_once()
                except StorageUnavailable:
                    # Nothing is released that the catalog does not have.
                    assert node.live_records() == 48 - 4 * (11 - at) - partition.tier_end_offset
            store.faults = SimObjectFaults()
            await node.uploader.flush()
            node.forget_hot()
            found = values_of(await node.read_all(partition))
            assert {base: body[-10] for base, body in found.items()} == {base: base // 4 for base in range(48)}

    asyncio.run(run())


def test_an_upload_goes_on_by_itself_when_the_store_is_back(tmp_path: Path) -> None:
    async def run() -> None:
        store = SimObjectStore(Random(2), SimObjectFaults(down=True))
        async with Node(tmp_path, store=store, object_bytes=64 << 10) as node:
            partition = await node.partition()
            running = asyncio.ensure_future(node.uploader.run())
            await node.produce(partition, *[make_batch(value=bytes(20_000)) for _ in range(5)])
            await until(lambda: node.uploader.failures > 0)
            assert partition.tier_end_offset == 0
            store.faults.down = False
            node.clock.ms += 60_000
            await until(lambda: partition.tier_end_offset == 5)
            running.cancel()

    asyncio.run(run())


def test_a_catalog_that_fails_is_asked_again_with_the_same_commit(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition()
            await node.produce(partition, make_batch())
            commit, attempts = node.controller.commit_object, []

            async def commit_object(stored, now_ms):  # type: ignore[no-untyped-def]
                attempts.append(stored)
                result = await commit(stored, now_ms)
                if len(attempts) < 3:
                    raise StorageUnavailable("the reply was lost")
                return result

            node.controller.commit_object = commit_object  # type: ignore[method-assign]
            await node.uploader.flush()
            assert len(attempts) == 3
            assert len(set(attempts)) == 1
            assert partition.tier_end_offset == 1
            assert node.live_records() == 0

    asyncio.run(run())


def test_an_upload_that_is_refused_is_no_progress(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition()
            await node.produce(partition, make_batch())
            put = node.store.put

            async def slow_put(key, parts):  # type: ignore[no-untyped-def]
                await put(key, parts)
                node.clock.ms += 700_000
                await node.controller.expire_registrations(node.clock.ms)

            node.store.put = slow_put  # type: ignore[method-assign]
            assert not await node.uploader.upload_once()
            assert partition.tier_end_offset == 0
            assert node.live_records() == 1
            node.store.put = put  # type: ignore[method-assign]
            await node.uploader.flush()
            assert partition.tier_end_offset == 1

    asyncio.run(run())


def test_a_damaged_batch_in_the_wal_takes_its_partition_offline_and_no_other(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path, sim_seed=3) as node:
            await node.topic("t", 3)
            partitions = [node.engine.partition("t", at) for at in range(3)]
            for partition in partitions:
                await node.produce(partition, *[make_batch(value=bytes(100)) for _ in range(3)])
            entry = partitions[1].hot_entries[1]
            node.forget_hot()
            assert node.disk is not None
            node.disk.rot(entry.wal_segment, entry.wal_position + 80, b"rot")
            with pytest.raises(DataCorrupt):
                await node.read_all(partitions[1])
            await node.uploader.flush()
            assert [partition.tier_end_offset for partition in partitions] == [3, 0, 3]
            assert partitions[0].damage is partitions[2].damage is None
            with pytest.raises(DataCorrupt, match="t-1"):
                node.engine.partition("t", 1)
            assert node.engine.unuploaded_bytes == 0
            await node.controller.delete_topics(["t"])
            assert node.engine.unuploaded_bytes == 0
            assert node.live_records() == 0

    asyncio.run(run())


def test_a_damaged_object_is_never_served(tmp_path: Path) -> None:
    async def run() -> None:
        store = SimObjectStore(Random(2))
        async with Node(tmp_path, store=store) as node:
            partition = await node.partition()
            await node.produce(partition, make_batch(value=bytes(500)))
            await node.uploader.flush()
            node.forget_hot()
            (key,) = store.objects
            store.flip_bit(key, node.controller.extents(partition.topic_id, 0)[0].extent.position + 100)
            with pytest.raises(DataCorrupt):
                await node.read_all(partition)

    asyncio.run(run())


def test_a_store_that_is_down_fails_cold_reads_and_no_others(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path, hot_bytes=2_000) as node:
            partition = await node.partition()
            await node.produce(partition, make_batch(value=bytes(1000)))
            await node.uploader.flush()
            await node.produce(partition, make_batch(value=bytes(1000)), make_batch(value=bytes(1000)))
            node.forget_hot()
            await node.produce(partition, make_batch(value=bytes(1000)))
            with failing(node.store, "get_into", StorageUnavailable("down")):
                with pytest.raises(StorageUnavailable):
                    await node.engine.read_cold(partition, 0, 1)
                assert offsets_of((await node.engine.read_cold(partition, 1, 1))[0]) == [1]
                assert offsets_of((await node.engine.read_cold(partition, 3, 1))[0]) == [3]

    asyncio.run(run())


def test_a_reader_that_waits_for_its_turn_gets_no_batch_of_a_segment_that_was_used_again(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path, capacity_bytes=256 << 10) as node:
            partition = await node.partition()
            other = await node.partition("u")
            await node.produce(partition, *[make_batch(value=b"old" * 300) for _ in range(60)])
            node.forget_hot()
            turns = node.engine.cold._wal_reads
            for _ in range(4):
                await turns.acquire()
            reading = asyncio.ensure_future(node.engine.read_cold(partition, 0, 1 << 20))
            await asyncio.sleep(0)
            await node.controller.delete_topics(["t"])
            for _ in range(3):
                # From memory: the uploader needs no turn.
                await node.produce(other, *[make_batch(value=b"new" * 300) for _ in range(60)])
                await node.uploader.flush()
            for _ in range(4):
                turns.release()
            with pytest.raises(UnknownTopicOrPartition):
                await reading

    asyncio.run(run())


def test_partitions_take_turns_when_one_has_much(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path, segment_bytes=1 << 20, capacity_bytes=64 << 20) as node:
            await node.controller.create_topics([NewTopic("t", 3)], TopicDefaults())
            partitions = [node.engine.partition("t", at) for at in range(3)]
            await node.produce(partitions[0], make_batch())
            await node.produce(partitions[1], *[make_batch(value=bytes(900_000)) for _ in range(10)])
            await node.produce(partitions[2], make_batch())
            ends: list[list[int]] = []
            while await node.uploader.upload_once():
                ends.append([partition.tier_end_offset for partition in partitions])
            assert ends == [[1, 0, 1], [1, 10, 1]]

    asyncio.run(run())


def unread(partition: Partition) -> int:
    return partition.state.high_watermark - partition.tier_end_offset


def test_what_waits_longest_is_due_after_the_interval(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition()
            running = asyncio.ensure_future(node.uploader.run())
            await node.produce(partition, make_batch([NOW_MS]))
            await asyncio.sleep(0.02)
            assert unread(partition) == 1
            node.clock.ms += 60_000
            node.engine.on_upload_due()
            await until(lambda: unread(partition) == 0)
            running.cancel()

    asyncio.run(run())


def test_a_commit_that_the_broker_did_not_take_note_of_is_caught_up_with(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition()
            await node.produce(partition, make_batch(), make_batch())
            noted = node.engine.on_committed

            def forget(*_: object) -> None:
                raise RuntimeError("lost between the catalog and the broker")

            node.engine.on_committed = forget  # type: ignore[method-assign]
            with pytest.raises(RuntimeError):
                await node.uploader.upload_once()
            node.engine.on_committed = noted  # type: ignore[method-assign]
            await node.produce(partition, make_batch())
            await node.uploader.flush()
            assert partition.tier_end_offset == 3
            assert node.engine.unuploaded_bytes == 0
            assert node.live_records() == 0
            assert offsets_of(await node.read_all(partition)) == [0, 1, 2]

    asyncio.run(run())
