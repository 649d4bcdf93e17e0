"""Deletion and retention: what goes, goes everywhere, once."""

import asyncio
from pathlib import Path

import pytest
from engine_support import GRACE_MS, NOW_MS, Acks, Node, make_batch, offsets_of, until, values_of

from tailrace_core.errors import OffsetOutOfRange, UnknownTopicId, UnknownTopicOrPartition
from tailrace_core.membership import NewPartitions
from tailrace_engine.cache.hot import BATCH_OVERHEAD_BYTES

DAY_MS = 86_400_000


@pytest.mark.parametrize("hot_bytes", [64 << 20, 9_000])
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_deleting_a_topic_with_appends_in_flight_leaves_nothing_behind(
    tmp_path: Path, hot_bytes: int, turns: int
) -> None:
    async def run() -> None:
        async with Node(tmp_path, hot_bytes=hot_bytes) as node:
            other = await node.partition("other")
            partition = await node.partition("t")
            await node.produce(partition, *[make_batch(value=bytes(500)) for _ in range(30)])
            await node.uploader.upload_once()
            await node.produce(partition, *[make_batch(value=bytes(500)) for _ in range(30)])
            for _ in range(turns):
                await asyncio.sleep(0)
            waiter = Acks()
            deleting = asyncio.ensure_future(node.controller.delete_topics(["t"]))
            for _ in range(10):
                node.append(partition, make_batch(value=bytes(500)), waiter)
            await deleting
            assert waiter.durable + len(waiter.failures) == 10
            assert all(isinstance(error, UnknownTopicOrPartition) for _, error in waiter.failures)
            for call in (
                lambda: node.append(partition),
                lambda: node.engine.partition("t", 0),
            ):
                with pytest.raises(UnknownTopicOrPartition):
                    call()
            with pytest.raises(UnknownTopicId):
                node.engine.partition_by_id(partition.topic_id, 0)
            await node.produce(other, make_batch())
            assert node.live_records() == 1
            assert node.engine.hot.bytes_used == sum(entry.size + BATCH_OVERHEAD_BYTES for entry in other.hot_entries)
            assert node.engine.unuploaded_bytes == other.unuploaded_bytes
            assert list(node.engine.unuploaded) == [other]

    asyncio.run(run())


def test_a_topic_of_many_batches_is_freed_in_steps_and_others_run_between(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            other = await node.partition("other")
            partition = await node.partition("t")
            for _ in range(10):
                await node.produce(partition, *[make_batch() for _ in range(700)])
            await node.produce(other, make_batch())
            await node.controller.delete_topics(["t"])
            of_others = other.hot_entries[0].size + BATCH_OVERHEAD_BYTES
            assert node.engine.hot.bytes_used > of_others
            await node.produce(other, make_batch())
            await until(lambda: node.engine.hot.bytes_used == 2 * of_others)
            assert node.live_records() == 2
            assert len(node.engine.hot) < 100

    asyncio.run(run())


def test_memory_that_is_short_while_a_deleted_topics_appends_are_queued(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path, hot_bytes=1) as node:
            other = await node.partition("other")
            partition = await node.partition("t")
            await asyncio.sleep(0)
            for _ in range(5):
                node.append(partition)
            # The change is told before the WAL forms its group.
            (topic,) = [topic for topic in node.controller.image.topics if topic.name == "t"]
            node.engine._delete_topic(topic)
            await node.produce(other, make_batch(), make_batch())
            assert offsets_of(await node.read_all(other)) == [0, 1]
            assert node.live_records() == 2

    asyncio.run(run())


def test_an_upload_during_which_the_topic_goes_does_no_harm(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition("t")
            other = await node.partition("other")
            await node.produce(partition, *[make_batch(value=bytes(500)) for _ in range(300)])
            await node.produce(other, make_batch())
            uploading = asyncio.ensure_future(node.uploader.upload_once())
            await asyncio.sleep(0)
            await node.controller.delete_topics(["t"])
            await uploading
            await node.uploader.flush()
            assert other.tier_end_offset == 1
            assert node.live_records() == 0
            assert node.engine.unuploaded_bytes == 0
            node.forget_hot()
            assert node.engine.hot.bytes_used == 0
            assert offsets_of(await node.read_all(other)) == [0]

    asyncio.run(run())


def test_topics_that_come_and_go_leave_no_entries_in_memory(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            kept = await node.partition("kept")
            await node.produce(kept, make_batch())
            for _ in range(40):
                partition = await node.partition("t")
                await node.produce(partition, *[make_batch() for _ in range(20)])
                await node.controller.delete_topics(["t"])
            assert len(node.engine.hot) < 100
            assert offsets_of(await node.read_all(kept)) == [0]

    asyncio.run(run())


def test_a_topic_that_comes_again_is_another_one(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            old = await node.partition("t")
            await node.produce(old, make_batch(value=b"old"), make_batch(value=b"old"))
            await node.uploader.flush()
            await node.controller.delete_topics(["t"])
            new = await node.partition("t")
            assert new is not old
            assert await node.produce(new, make_batch(value=b"new")) == [0]
            (body,) = values_of(await node.read_all(new)).values()
            assert b"new" in body
            await node.restart()
            assert len(await node.read_all(node.engine.partition("t", 0))) == 1

    asyncio.run(run())


def test_who_was_held_back_goes_on_when_the_topic_that_filled_the_wal_is_deleted(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path, capacity_bytes=512 << 10) as node:
            partition = await node.partition("t")
            told: list[bool] = []
            node.engine.on_room = lambda: told.append(True)
            while not node.engine.must_hold_back:
                await node.produce(partition, make_batch(value=bytes(8000)))
            await node.controller.delete_topics(["t"])
            assert told == [True]
            assert not node.engine.must_hold_back

    asyncio.run(run())


def test_partitions_that_are_added_are_served(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            await node.topic("t", 1)
            with pytest.raises(UnknownTopicOrPartition):
                node.engine.partition("t", 2)
            await node.controller.create_partitions([NewPartitions("t", 3)])
            partition = node.engine.partition("t", 2)
            assert partition.state.leader_epoch == node.leader_epoch
            assert await node.produce(partition, make_batch()) == [0]

    asyncio.run(run())


def test_changed_settings_are_in_force_at_once(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition()
            await node.controller.alter_topic_configs("t", {"message.timestamp.type": "LogAppendTime"})
            assert node.engine.append(partition, memoryview(make_batch([3])), None, 0) == (0, NOW_MS)
            await node.durable(partition)

    asyncio.run(run())


def test_retention_moves_the_log_start_and_deletes_the_objects(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition(retention_ms=str(DAY_MS))
            for step in range(4):
                await node.produce(partition, make_batch([NOW_MS + step * 600_000]))
                await node.uploader.flush()
            assert len(await node.store.list_keys("data/")) == 4
            node.clock.ms = NOW_MS + DAY_MS + 600_001
            await node.retention.check()
            assert partition.state.log_start_offset == 2
            with pytest.raises(OffsetOutOfRange):
                node.engine.read(partition, 1, 1, True)
            with pytest.raises(OffsetOutOfRange):
                await node.engine.read_cold(partition, 1, 1)
            assert offsets_of(await node.read_all(partition)) == [2, 3]
            await node.retention.sweep()
            assert len(await node.store.list_keys("data/")) == 4
            node.clock.ms += GRACE_MS
            await node.retention.sweep()
            assert len(await node.store.list_keys("data/")) == 2
            assert node.retention.objects_deleted == 2
            await node.restart()
            partition = node.engine.partition("t", 0)
            assert partition.state.log_start_offset == 2
            assert offsets_of(await node.read_all(partition)) == [2, 3]

    asyncio.run(run())


def test_retention_by_size_counts_what_is_not_uploaded(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition(retention_bytes="4000")
            for _ in range(3):
                await node.produce(partition, make_batch(value=bytes(1900)))
                await node.uploader.flush()
            await node.retention.check()
            assert partition.state.log_start_offset == 0, "what is left would be less than retention.bytes"
            await node.produce(partition, make_batch(value=bytes(1900)))
            await node.retention.check()
            assert partition.state.log_start_offset == 1

    asyncio.run(run())


def test_offsets_never_restart_after_everything_was_deleted(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition(retention_ms="1000")
            await node.produce(partition, *[make_batch() for _ in range(5)])
            await node.uploader.flush()
            node.clock.ms += 2000
            await node.retention.check()
            assert partition.state.log_start_offset == partition.state.log_end_offset == 5
            assert node.engine.read(partition, 5, 1, True) == ([], 0)
            for _ in range(2):
                node.clock.ms += GRACE_MS
                await node.retention.sweep()
            assert await node.store.list_keys("data/") == []
            epoch = node.leader_epoch
            for _ in range(2):
                await node.restart()
                partition = node.engine.partition("t", 0)
                state = partition.state
                assert (state.log_start_offset, state.high_watermark, state.log_end_offset) == (5, 5, 5)
                # Who read to the end in the old epoch has not diverged.
                assert partition.epochs.end_offset_for(epoch, state.leader_epoch, 5) == (epoch, 5)
            assert await node.produce(partition, make_batch([node.clock.ms])) == [5]
            await node.uploader.flush()
            node.forget_hot()
            assert offsets_of(await node.read_all(partition)) == [5]
            await node.restart()
            assert offsets_of(await node.read_all(node.engine.partition("t", 0))) == [5]

    asyncio.run(run())


def test_a_deleted_topics_objects_are_swept(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition()
            await node.produce(partition, make_batch())
            await node.uploader.flush()
            await node.controller.delete_topics(["t"])
            for _ in range(2):
                await node.retention.sweep()
                node.clock.ms += GRACE_MS
            await node.retention.sweep()
            assert await node.store.list_keys("") == []

    asyncio.run(run())


def test_retention_and_sweep_run_by_themselves(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition(retention_ms="1000")
            await node.produce(partition, make_batch())
            await node.uploader.flush()
            running = asyncio.ensure_future(node.retention.run())
            node.clock.ms += 5000
            await until(lambda: partition.state.log_start_offset == 1)
            node.clock.ms += 5000
            await until(lambda: node.retention.objects_deleted == 1)
            running.cancel()

    asyncio.run(run())
