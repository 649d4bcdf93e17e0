"""Append, acknowledge, read: the engine over a real WAL, from every place that a batch can be in."""

import asyncio
import errno
from pathlib import Path

import pytest
from engine_support import NOW_MS, Acks, Node, make_batch, offsets_of, until, values_of

from tailrace_core.batch import is_intact, read_header
from tailrace_core.errors import (
    CorruptBatch,
    InvalidTimestamp,
    InvalidTransactionState,
    MessageTooLarge,
    OffsetOutOfRange,
    OutOfOrderSequence,
    RecordListTooLarge,
    StorageUnavailable,
    UnknownTopicId,
    UnknownTopicOrPartition,
)
from tailrace_engine.cache.hot import BATCH_OVERHEAD_BYTES


def test_what_is_appended_becomes_durable_and_is_read_as_it_was_sent(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition()
            batches = [make_batch([NOW_MS + at, NOW_MS], b"%d" % at) for at in range(20)]
            sent = [bytes(batch[21:]) for batch in batches]
            assert await node.produce(partition, *batches) == list(range(0, 40, 2))
            buffers = await node.read_all(partition)
            assert list(values_of(buffers).values()) == sent
            assert all(is_intact(buffer) for buffer in buffers)
            assert {read_header(buffer).leader_epoch for buffer in buffers} == {node.leader_epoch}

    asyncio.run(run())


def test_nothing_is_readable_before_it_is_durable(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition()
            node.append(partition)
            assert node.engine.read(partition, 0, 1 << 20, True) == ([], 0)
            assert node.engine.read(partition, 1, 1 << 20, True) == ([], 0)
            with pytest.raises(OffsetOutOfRange):
                node.engine.read(partition, 2, 1 << 20, True)
            await node.durable(partition)
            found = node.engine.read(partition, 0, 1 << 20, True)
            assert found is not None
            assert offsets_of(found[0]) == [0]

    asyncio.run(run())


def test_waiters_are_told_once_each_and_in_order(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition()
            told: list[object] = []
            waiters = [Acks(at, told) for at in range(300)]
            for waiter in waiters:
                node.append(partition, make_batch(value=b"x" * 2000), waiter)
                if waiter.name in (7, 100):
                    await asyncio.sleep(0)
            assert told == list(range(len(told)))
            await node.durable(partition)
            assert told == list(range(300))
            assert {waiter.durable for waiter in waiters} == {1}
            assert len(partition.pending) == 0

    asyncio.run(run())


def test_a_duplicate_waits_for_its_original_and_has_its_offset(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition()
            told: list[object] = []
            first, again, late = (Acks(name, told) for name in ("first", "again", "late"))
            assert node.append(partition, make_batch([NOW_MS] * 3, producer=(9, 0, 0)), first) == 0
            assert node.append(partition, make_batch([NOW_MS] * 2, producer=(9, 0, 3)), Acks("next", told)) == 3
            assert node.append(partition, make_batch([NOW_MS] * 3, producer=(9, 0, 0)), again) == 0
            assert told == []
            await node.durable(partition)
            assert told == ["first", "again", "next"]
            assert node.append(partition, make_batch([NOW_MS] * 3, producer=(9, 0, 0)), late) == 0
            assert late.durable == 1
            assert node.engine.duplicate_batches == 2
            assert partition.state.log_end_offset == 5
            with pytest.raises(OutOfOrderSequence):
                node.append(partition, make_batch(producer=(9, 0, 9)))
            assert partition.state.log_end_offset == 5

    asyncio.run(run())


def test_what_breaks_a_rule_of_the_topic_is_refused_and_takes_no_offset(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition(
                max_message_bytes="5000", segment_bytes="1048576", message_timestamp_before_max_ms="1000"
            )
            refused = {
                MessageTooLarge: make_batch(value=bytes(5000)),
                InvalidTransactionState: make_batch(producer=(1, 0, 0), attributes=0x10),
                CorruptBatch: make_batch()[:-1],
            }
            for error, batch in refused.items():
                with pytest.raises(error):
                    node.append(partition, batch)
            for timestamp in (NOW_MS + 3_600_001, NOW_MS - 1001):
                with pytest.raises(InvalidTimestamp):
                    node.append(partition, make_batch([timestamp]))
            for timestamp in (NOW_MS + 3_600_000, NOW_MS - 1000, -1):
                await node.produce(partition, make_batch([timestamp]))
            assert offsets_of(await node.read_all(partition)) == [0, 1, 2]

    asyncio.run(run())


def test_a_batch_that_no_wal_segment_holds_is_refused_and_takes_no_offset(tmp_path: Path) -> None:
    async def run() -> None:
        node = Node(tmp_path, segment_bytes=64 << 10)
        async with node:
            partition = await node.partition()
            with pytest.raises(RecordListTooLarge):
                node.append(partition, make_batch(value=bytes(70_000), producer=(1, 0, 0)))
            assert await node.produce(partition, make_batch(producer=(1, 0, 0))) == [0]
            await node.restart()
            partition = node.engine.partition("t", 0)
            assert offsets_of(await node.read_all(partition)) == [0]

    asyncio.run(run())


def test_a_batch_that_comes_while_the_wal_closes_is_refused_and_takes_no_offset(tmp_path: Path) -> None:
    async def run() -> None:
        node = await Node(tmp_path).start()
        partition = await node.partition()
        node.append(partition)
        closing = asyncio.ensure_future(node.wal.close())
        await asyncio.sleep(0)
        with pytest.raises(StorageUnavailable):
            node.append(partition)
        assert partition.state.log_end_offset == 1
        assert await closing
        await node.stop()

    asyncio.run(run())


def test_log_append_time_is_written_and_reported_and_the_crc_holds(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition(message_timestamp_type="LogAppendTime")
            batch = make_batch([5, 6], producer=(4, 0, 0), compression="gzip")
            appended = node.engine.append(partition, memoryview(bytearray(batch)), None, 0)
            assert appended == (0, NOW_MS)
            node.clock.ms += 77
            assert node.engine.append(partition, memoryview(bytearray(batch)), None, 0) == (0, NOW_MS)
            await node.durable(partition)
            (found,) = await node.read_all(partition)
            header = read_header(found)
            assert is_intact(found)
            assert header.attributes == 0x08 | 1
            assert header.max_timestamp_ms == NOW_MS

    asyncio.run(run())


def test_names_ids_and_partitions_that_are_not_there(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            topic = await node.topic("t", 2)
            engine = node.engine
            assert engine.partition("t", 1) is engine.partition_by_id(topic.topic_id, 1)
            for index in (-1, 2):
                with pytest.raises(UnknownTopicOrPartition):
                    engine.partition("t", index)
                with pytest.raises(UnknownTopicOrPartition):
                    engine.partition_by_id(topic.topic_id, index)
            with pytest.raises(UnknownTopicOrPartition):
                engine.partition("u", 0)
            with pytest.raises(UnknownTopicId):
                engine.partition_by_id(bytes(15) + b"x", 0)

    asyncio.run(run())


def test_what_left_memory_is_read_back_from_the_wal(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path, hot_bytes=10_000) as node:
            partition = await node.partition()
            sent = [make_batch(value=bytes([at]) * 1000) for at in range(200)]
            expected = {at: bytes(batch[21:]) for at, batch in enumerate(sent)}
            await node.produce(partition, *sent)
            assert node.engine.hot.bytes_used <= 10_000
            assert node.engine.read(partition, 0, 1, True) is None
            assert node.engine.read(partition, 199, 1, True) is not None
            for max_bytes in (1, 3_000, 1 << 20):
                assert values_of(await node.read_all(partition, max_bytes=max_bytes)) == expected
            assert node.engine.cold.wal_bytes_read > 0
            assert offsets_of(await node.read_all(partition, 57))[0] == 57

    asyncio.run(run())


def test_readers_are_told_of_visible_bytes_and_of_the_end(tmp_path: Path) -> None:
    class Reader:
        seen = 0
        gone = False

        def on_visible(self, size: int) -> None:
            self.seen += size

        def on_partition_gone(self) -> None:
            self.gone = True

    async def run() -> None:
        async with Node(tmp_path) as node:
            partition = await node.partition()
            reader = Reader()
            partition.visibility_waiters[reader] = None
            batches = [make_batch(value=bytes(100)) for _ in range(9)]
            await node.produce(partition, *batches)
            assert reader.seen == sum(map(len, batches))
            await node.controller.delete_topics(["t"])
            assert reader.gone

    asyncio.run(run())


# The WAL's failure.


def test_a_fenced_wal_fails_what_waits_and_reads_go_on(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path, sim_seed=1) as node:
            partition = await node.partition()
            await node.produce(partition, make_batch(), make_batch(producer=(3, 0, 0)))
            assert node.disk is not None
            node.disk.write_failure = OSError(errno.EIO, "broken")
            acks = [Acks(at) for at in range(3)]
            node.append(partition, make_batch(producer=(3, 0, 1)), acks[0])
            node.append(partition, make_batch(producer=(3, 0, 1)), acks[1])
            node.append(partition, make_batch(producer=(3, 0, 2)), acks[2])
            await until(lambda: node.wal.fenced is not None)
            assert [(each.durable, len(each.failures)) for each in acks] == [(0, 1)] * 3
            assert all(isinstance(each.failures[0][1], StorageUnavailable) for each in acks)
            with pytest.raises(StorageUnavailable):
                node.append(partition, make_batch(producer=(3, 0, 2)), Acks())
            assert not node.engine.must_hold_back
            assert offsets_of(await node.read_all(partition)) == [0, 1]
            node.forget_hot()
            assert offsets_of(await node.read_all(partition)) == [0, 1]
            await node.uploader.flush()
            assert node.controller.extents(partition.topic_id, 0).committed_end == 2
            assert offsets_of(await node.read_all(partition)) == [0, 1]

    asyncio.run(run())


def test_an_error_that_is_raised_again_and_again_does_not_grow(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path, sim_seed=1) as node:
            partition = await node.partition()
            assert node.disk is not None
            node.disk.write_failure = OSError(errno.EIO, "broken")
            node.append(partition)
            await until(lambda: node.wal.fenced is not None)
            for attempt in (lambda: node.append(partition), lambda: node.engine.partition("t", 0)):
                depths = set()
                for _ in range(5):
                    try:
                        attempt()
                    except (StorageUnavailable, UnknownTopicOrPartition) as error:
                        depth, trace = 0, error.__traceback__
                        while trace is not None:
                            depth, trace = depth + 1, trace.tb_next
                        depths.add(depth)
                assert len(depths) == 1
                partition.damage = UnknownTopicOrPartition("offline")

    asyncio.run(run())


def test_who_was_held_back_is_told_when_the_wal_is_fenced(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path, sim_seed=1, capacity_bytes=256 << 10) as node:
            partition = await node.partition()
            told: list[bool] = []
            node.engine.on_room = lambda: told.append(True)
            assert node.disk is not None
            while not node.engine.must_hold_back:
                await node.produce(partition, make_batch(value=bytes(8000)))
            node.disk.write_failure = OSError(errno.EIO, "broken")
            node.append(partition)
            await until(lambda: node.wal.fenced is not None)
            assert told == [True]

    asyncio.run(run())


# Back-pressure.


def test_a_full_wal_holds_back_until_an_upload_released_it(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path, capacity_bytes=512 << 10) as node:
            partition = await node.partition()
            told: list[bool] = []
            due: list[bool] = []
            node.engine.on_room = lambda: told.append(True)
            node.engine.on_upload_due = lambda: due.append(True)
            while not node.engine.must_hold_back:
                await node.produce(partition, make_batch(value=bytes(8000)))
            assert due, "what holds producers back is a reason to upload"
            assert not told
            count = partition.state.log_end_offset
            await node.uploader.flush()
            assert told == [True]
            assert not node.engine.must_hold_back
            for _ in range(count):
                await node.produce(partition, make_batch(value=bytes(8000)))
                if node.engine.must_hold_back:
                    await node.uploader.flush()
            assert offsets_of(await node.read_all(partition)) == list(range(2 * count))

    asyncio.run(run())


def test_the_index_of_evicted_batches_counts_and_holds_back(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path, hot_bytes=2_000) as node:
            partition = await node.partition()
            await node.produce(partition, *[make_batch() for _ in range(500)])
            assert partition.wal_index is not None
            assert node.engine.hot.bytes_used == 28 * len(partition.wal_index) + sum(
                entry.size + BATCH_OVERHEAD_BYTES for entry in partition.hot_entries[partition.hot_head :]
            )
            await node.uploader.flush()
            assert partition.wal_index is None
            assert node.engine.hot.bytes_used == sum(
                entry.size + BATCH_OVERHEAD_BYTES for entry in partition.hot_entries[partition.hot_head :]
            )

    asyncio.run(run())
