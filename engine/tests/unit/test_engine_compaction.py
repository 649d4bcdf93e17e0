"""Compaction of internal topics over real parts: reads, restarts, failures at each step (runtime/compaction.py)."""

import asyncio
import logging
import os

import pytest
from engine_support import GRACE_MS, NOW_MS, Node, make_batch, until

from tailrace_core.batch import batch_spans, read_header
from tailrace_core.errors import DataCorrupt, MissingObject, StorageUnavailable
from tailrace_engine.log.batch_builder import BatchBuilder, bytes_max
from tailrace_engine.log.records import keys_and_values
from tailrace_engine.runtime.compaction import Compaction, CompactionOptions
from tailrace_engine.runtime.workers import InlineWorkers, ProcessWorkers, WorkerDied
from tailrace_engine.tier.compactor import CompactionJob, compact_run

OFFSETS = "__consumer_offsets"
PAD = b"." * 3000
DUE_BYTES = 100_000


def keyed(*records, timestamp_ms=NOW_MS):
    """A batch as coordinators write it."""
    builder = BatchBuilder()
    builder.add(records, bytes_max(records))
    return builder.finish(timestamp_ms)


def compaction(node, workers=None, **options):
    return Compaction(
        node.engine,
        node.store,
        node.controller,
        node.uploader.registrar,
        workers or InlineWorkers(),
        CompactionOptions(**{"dirty_bytes": DUE_BYTES, **options}),
        node.clock,
    )


def run(tmp_path, test, **options):
    async def started():
        async with Node(tmp_path, **options) as node:
            partition = await node.partition(OFFSETS, cleanup_policy="compact")
            await test(node, partition)

    asyncio.run(started())


async def upload(node, partition, *batches):
    await node.produce(partition, *batches)
    await node.uploader.flush()


async def uploaded_rounds(node, partition, rounds=8, keys=10):
    """In each round, one upload of `keys` commits; the last value of each key is the last round's."""
    for number in range(rounds):
        await upload(node, partition, *[keyed((b"k%d" % key, b"%d" % number + PAD)) for key in range(keys)])


def extents(node, partition):
    return list(node.controller.extents(partition.topic_id, partition.partition))


async def replayed(node, partition):
    """What a coordinator that loads would have: {key: (offset, first byte of the value)}, without deleted ones."""
    found = {}
    for buffer in await node.read_all(partition):
        for start, size, _ in batch_spans(buffer):
            batch = memoryview(buffer)[start : start + size]
            header = read_header(batch)
            for key, value in keys_and_values(batch, header):
                if value is None:
                    found.pop(key, None)
                else:
                    found[key] = value.rstrip(b".")
    return found


async def keys_left(node, partition):
    """Of values and tombstones."""
    batches = [
        bytes(memoryview(buffer)[start : start + size])
        for buffer in await node.read_all(partition)
        for start, size, _ in batch_spans(buffer)
    ]
    return {key for batch in batches for key, _ in keys_and_values(batch, read_header(batch))}


async def read_offset(node, partition, offset):
    """The first batch of a read at offset."""
    buffers, _ = await node.engine.read_cold(partition, offset, 1)
    return read_header(buffers[0])


def test_what_a_coordinator_replays_is_the_last_value_of_each_key(tmp_path):
    async def test(node, partition):
        await uploaded_rounds(node, partition)
        job = compaction(node)
        await job.compact_due()
        (placed,) = extents(node, partition)
        assert (placed.extent.base_offset, placed.extent.end_offset, placed.generation) == (0, 80, 1)
        assert (job.runs, job.failures) == (1, 0)
        assert job.bytes_read > 7 * job.bytes_written > 70 * len(PAD)
        await node.restart()
        partition = node.engine.partition(OFFSETS, 0)
        assert await replayed(node, partition) == {b"k%d" % key: b"7" for key in range(10)}
        assert partition.state.log_end_offset == 80
        await upload(node, partition, keyed((b"k0", b"8")))
        assert (await replayed(node, partition))[b"k0"] == b"8"

    run(tmp_path, test)


def test_every_offset_has_a_batch_that_reaches_it(tmp_path):
    async def test(node, partition):
        await uploaded_rounds(node, partition)
        await compaction(node).compact_due()
        await upload(node, partition, *[keyed((b"k%d" % key, b"9" + PAD)) for key in range(10)])
        await upload(node, partition, *[keyed((b"x%d" % number, b"x" + PAD)) for number in range(40)])
        await compaction(node, memory_bytes=4 * 64_000).compact_due()
        assert [(one.extent.base_offset, one.extent.end_offset) for one in extents(node, partition)] == [
            (0, 90),
            (90, 130),
        ]
        await node.restart()
        partition = node.engine.partition(OFFSETS, 0)
        for offset in range(130):
            assert (await read_offset(node, partition, offset)).end_offset > offset
        assert (await read_offset(node, partition, 3)).base_offset == 80

    run(tmp_path, test)


def test_an_extent_that_lost_all_its_records_is_read_past(tmp_path):
    async def test(node, partition):
        await upload(node, partition, *[keyed((b"k%d" % key, b"1" + PAD)) for key in range(30)])
        await upload(node, partition, *[keyed((b"k%d" % key, b"2" + PAD)) for key in range(30)])
        await compaction(node, memory_bytes=40_000).compact_due()
        first, second = extents(node, partition)
        assert (first.extent.base_offset, first.extent.end_offset, first.extent.length) == (0, 30, 61)
        assert first.extent.max_timestamp_ms == -1
        assert (second.extent.base_offset, second.extent.end_offset) == (30, 60)
        await node.restart()
        partition = node.engine.partition(OFFSETS, 0)
        header = await read_offset(node, partition, 0)
        assert (header.base_offset, header.end_offset, header.record_count) == (29, 30, 0)
        assert await replayed(node, partition) == {b"k%d" % key: b"2" for key in range(30)}
        found = await node.engine.find_timestamp(partition, NOW_MS)
        assert (found.offset, found.timestamp_ms) == (30, NOW_MS)

    run(tmp_path, test)


def test_times_are_found_in_what_is_left(tmp_path):
    async def test(node, partition):
        for number in range(8):
            await upload(
                node,
                partition,
                *[keyed((b"k%d" % key, PAD), timestamp_ms=NOW_MS + 100 * number + key) for key in range(10)],
            )
        await compaction(node).compact_due()
        await node.restart()
        partition = node.engine.partition(OFFSETS, 0)
        for timestamp_ms, offset in ((0, 70), (NOW_MS + 300, 70), (NOW_MS + 705, 75)):
            assert (await node.engine.find_timestamp(partition, timestamp_ms)).offset == offset
        assert await node.engine.find_timestamp(partition, NOW_MS + 710) is None
        newest = await node.engine.find_max_timestamp(partition)
        assert (newest.offset, newest.timestamp_ms) == (79, NOW_MS + 709)

    run(tmp_path, test)


def test_producers_and_leader_epochs_outlive_the_objects_that_kept_them(tmp_path):
    async def test(node, partition):
        await uploaded_rounds(node, partition, rounds=4)
        await node.restart()
        partition = node.engine.partition(OFFSETS, 0)
        await uploaded_rounds(node, partition, rounds=4)
        await upload(node, partition, make_batch(producer=(9, 0, 0)))
        epochs = partition.epochs.entries
        assert len(epochs) == 2
        await compaction(node).compact_due()
        await sweep(node)
        (placed,) = extents(node, partition)
        assert await node.tier.leader_epochs(placed.object.key, placed.extent) == epochs
        await node.restart()
        partition = node.engine.partition(OFFSETS, 0)
        assert partition.epochs.entries == epochs
        assert node.append(partition, make_batch(producer=(9, 0, 0))) == 80
        assert node.engine.duplicate_batches == 1

    run(tmp_path, test)


async def sweep(node):
    """Everything that nothing refers to goes from the store."""
    node.clock.ms += 700_000
    await node.retention.sweep()
    node.clock.ms += GRACE_MS
    await node.retention.sweep()


async def stored_keys(node):
    return await node.store.list_keys("data/")


def test_what_was_replaced_is_deleted_and_what_others_need_is_not(tmp_path):
    async def test(node, partition):
        other = await node.partition("t")
        await node.produce(other, make_batch())
        await uploaded_rounds(node, partition)
        assert len(await stored_keys(node)) == 8
        await compaction(node).compact_due()
        await sweep(node)
        (placed,) = extents(node, partition)
        assert await stored_keys(node) == sorted([extents(node, other)[0].object.key, placed.object.key])

    run(tmp_path, test)


class Interrupted(InlineWorkers):
    """The broker dies when the worker has put its object."""

    async def run(self, function, *args):
        await super().run(function, *args)
        raise asyncio.CancelledError


def test_a_broker_killed_between_put_and_commit_leaves_nothing_for_ever(tmp_path):
    async def test(node, partition):
        await uploaded_rounds(node, partition)
        before = extents(node, partition)
        with pytest.raises(asyncio.CancelledError):
            await compaction(node, Interrupted()).compact_due()
        assert len(await stored_keys(node)) == 9
        await node.restart()
        partition = node.engine.partition(OFFSETS, 0)
        assert extents(node, partition) == before
        await sweep(node)
        assert await stored_keys(node) == sorted(placed.object.key for placed in before)
        await compaction(node).compact_due()
        assert len(extents(node, partition)) == 1
        assert await replayed(node, partition) == {b"k%d" % key: b"7" for key in range(10)}

    run(tmp_path, test)


@pytest.mark.parametrize("log_start_offset", [79, 80, 90])
def test_a_log_start_that_reaches_a_compacted_part_as_soon_as_it_is_there_is_no_failure(
    tmp_path, monkeypatch, log_start_offset
):
    async def test(node, partition):
        await uploaded_rounds(node, partition)
        replace_extents = node.controller.replace_extents

        async def replace_and_trim(*arguments):
            result = await replace_extents(*arguments)
            if log_start_offset > 80:
                await upload(node, partition, *[keyed((b"x%d" % number, b"x")) for number in range(20)])
            await node.controller.trim(partition.topic_id, partition.partition, log_start_offset)
            return result

        monkeypatch.setattr(node.controller, "replace_extents", replace_and_trim)
        job = compaction(node)
        await job.compact_due()
        assert (job.runs, job.failures) == (1, 0)
        ends = [placed.extent.end_offset for placed in extents(node, partition)]
        assert ends == {79: [80], 80: [], 90: [100]}[log_start_offset]

    run(tmp_path, test)


def test_a_catalog_that_does_not_answer_is_asked_until_it_does(tmp_path):
    async def test(node, partition):
        await uploaded_rounds(node, partition)

        class FailsFrom(InlineWorkers):
            async def run(self, function, *args):
                done = await super().run(function, *args)
                node.metadata_store.failure = StorageUnavailable("full")
                return done

        compacting = asyncio.ensure_future(compaction(node, FailsFrom()).compact_due())
        await until(lambda: node.metadata_store.failure is not None)
        await asyncio.sleep(0.05)
        assert len(extents(node, partition)) == 8
        node.metadata_store.failure = None
        await compacting
        assert len(extents(node, partition)) == 1

    run(tmp_path, test)


def test_what_changed_meanwhile_is_compacted_from_what_there_is_then(tmp_path):
    async def test(node, partition):
        await uploaded_rounds(node, partition)

        class Trims(InlineWorkers):
            async def run(self, function, *args):
                done = await super().run(function, *args)
                await node.controller.trim(partition.topic_id, 0, 15)
                return done

        job = compaction(node, Trims())
        await job.compact_due()
        assert (job.runs, job.failures, len(extents(node, partition))) == (0, 0, 7)
        await compaction(node).compact_due()
        (placed,) = extents(node, partition)
        assert (placed.extent.base_offset, placed.extent.end_offset) == (10, 80)
        assert await replayed(node, partition) == {b"k%d" % key: b"7" for key in range(10)}

    run(tmp_path, test)


def test_a_deleted_topic_meanwhile_is_let_go(tmp_path):
    async def test(node, partition):
        await uploaded_rounds(node, partition)

        class Deletes(InlineWorkers):
            async def run(self, function, *args):
                done = await super().run(function, *args)
                await node.controller.delete_topics([OFFSETS])
                return done

        await compaction(node, Deletes()).compact_due()
        await sweep(node)
        assert await stored_keys(node) == []

    run(tmp_path, test)


def test_what_is_appended_meanwhile_stays(tmp_path):
    async def test(node, partition):
        await uploaded_rounds(node, partition)

        class Appends(InlineWorkers):
            async def run(self, function, *args):
                await upload(node, partition, keyed((b"k3", b"new")))
                return await super().run(function, *args)

        await compaction(node, Appends()).compact_due()
        assert [placed.generation for placed in extents(node, partition)] == [1, 0]
        assert (await replayed(node, partition))[b"k3"] == b"new"

    run(tmp_path, test)


def test_tombstones_go_an_hour_after_the_pass_that_saw_them(tmp_path):
    async def test(node, partition):
        await uploaded_rounds(node, partition)
        await upload(node, partition, *[keyed((b"k%d" % key, None)) for key in range(9)])
        await compaction(node).compact_due()
        await node.restart()
        partition = node.engine.partition(OFFSETS, 0)
        assert await replayed(node, partition) == {b"k9": b"7"}
        assert len(await keys_left(node, partition)) == 10
        node.clock.ms += 3_600_000
        await upload(node, partition, *[keyed((b"n", PAD)) for _ in range(40)])
        await compaction(node).compact_due()
        await node.restart()
        partition = node.engine.partition(OFFSETS, 0)
        assert await keys_left(node, partition) == {b"k9", b"n"}
        assert await replayed(node, node.engine.partition(OFFSETS, 0)) == {b"k9": b"7", b"n": b""}

    run(tmp_path, test)


def test_passes_are_bounded_by_what_is_new(tmp_path):
    async def test(node, partition):
        job = compaction(node)
        for number in range(60):
            await upload(node, partition, *[keyed((b"k%d" % key, b"%d" % number + PAD)) for key in range(10)])
            await job.compact_due()
        uploaded = 60 * 10 * len(PAD)
        assert job.bytes_written < 2 * uploaded
        assert job.bytes_read < 3 * uploaded
        assert sum(placed.extent.length for placed in extents(node, partition)) < DUE_BYTES + 4 * 10 * len(PAD)

    run(tmp_path, test, capacity_bytes=48 << 20)


def test_many_small_uploads_are_merged(tmp_path):
    async def test(node, partition):
        for number in range(64):
            await upload(node, partition, keyed((b"k%d" % (number % 3), b"v%d" % number)))
        await compaction(node).compact_due()
        assert len(extents(node, partition)) == 1
        assert await replayed(node, partition) == {b"k0": b"v63", b"k1": b"v61", b"k2": b"v62"}

    run(tmp_path, test)


def test_users_topics_keep_everything(tmp_path):
    async def test(node, partition):
        users = await node.partition("users", cleanup_policy="compact")
        await uploaded_rounds(node, users)
        await compaction(node).compact_due()
        assert len(extents(node, users)) == 8

    run(tmp_path, test)


class Failing(InlineWorkers):
    error: Exception | None = None

    async def run(self, function, *args):
        if self.error is not None:
            raise self.error
        return await super().run(function, *args)


@pytest.mark.parametrize("error", [WorkerDied("gone"), StorageUnavailable("away"), DataCorrupt("bad")])
def test_a_failure_is_told_and_tried_again_later(tmp_path, monkeypatch, caplog, error):
    monkeypatch.setattr("tailrace_engine.runtime.compaction._PAUSE_SECONDS", 0.05)

    async def test(node, partition):
        await uploaded_rounds(node, partition)
        workers = Failing()
        workers.error = error
        job = compaction(node, workers, check_interval_ms=10)
        running = asyncio.ensure_future(job.run())
        await until(lambda: job.failures >= 2)
        assert f"compaction of {OFFSETS}-0 failed" in caplog.text
        workers.error = None
        await until(lambda: len(extents(node, partition)) == 1)
        running.cancel()
        assert await replayed(node, partition) == {b"k%d" % key: b"7" for key in range(10)}

    with caplog.at_level(logging.WARNING):
        run(tmp_path, test)


def test_a_damaged_object_is_not_compacted_away(tmp_path):
    async def test(node, partition):
        await uploaded_rounds(node, partition)
        placed = extents(node, partition)[3]
        path = tmp_path / "objects" / placed.object.key
        damaged = bytearray(path.read_bytes())
        damaged[placed.extent.position + 100] ^= 1
        path.write_bytes(damaged)
        job = compaction(node)
        await job.compact_due()
        assert (job.failures, len(extents(node, partition))) == (1, 8)

    run(tmp_path, test)


def test_an_upload_of_internal_data_begins_a_pass(tmp_path):
    async def test(node, partition):
        job = compaction(node, check_interval_ms=10_000_000)
        running = asyncio.ensure_future(job.run())
        await asyncio.sleep(0)
        await uploaded_rounds(node, partition)
        await until(lambda: job.runs)
        running.cancel()

    run(tmp_path, test)


def test_internal_data_is_uploaded_early_and_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("tailrace_engine.tier.uploader._INTERNAL_BYTES", 20_000)
    monkeypatch.setattr("tailrace_engine.tier.uploader._CHECK_SECONDS", 0.01)

    async def test(node, partition):
        users = await node.partition("users")
        await node.produce(users, make_batch())
        running = asyncio.ensure_future(node.uploader.run())
        await node.produce(partition, *[keyed((b"k", PAD)) for _ in range(5)])
        await asyncio.sleep(0.05)
        assert node.uploader.objects == 0
        await node.produce(partition, *[keyed((b"k", PAD)) for _ in range(5)])
        await until(lambda: extents(node, partition))
        assert extents(node, partition)[0].extent.end_offset == 10
        assert extents(node, users) == []
        running.cancel()

    run(tmp_path, test)


# --- with a worker process


def test_a_worker_process_compacts_what_lies_in_a_local_folder(tmp_path):
    async def test(node, partition):
        workers = ProcessWorkers()
        await uploaded_rounds(node, partition)
        job = compaction(node, workers)
        await job.compact_due()
        assert (job.runs, job.failures) == (1, 0)
        assert len(extents(node, partition)) == 1
        if os.path.exists("/proc/self/statm"):
            assert workers.memory_bytes > 1 << 20
        await node.restart()
        assert await replayed(node, node.engine.partition(OFFSETS, 0)) == {b"k%d" % key: b"7" for key in range(10)}
        await workers.close()
        assert workers.memory_bytes == 0

    run(tmp_path, test)


def test_a_worker_that_is_killed_loses_nothing(tmp_path, caplog):
    async def test(node, partition):
        workers = ProcessWorkers()
        await uploaded_rounds(node, partition)
        job = compaction(node, workers)

        async def kill():
            await until(lambda: workers.pid is not None)
            os.kill(workers.pid, 9)

        await asyncio.gather(job.compact_due(), kill())
        assert job.failures == 1
        assert len(extents(node, partition)) == 8
        await compaction(node, workers).compact_due()
        assert len(extents(node, partition)) == 1
        assert workers.started == 2
        await sweep(node)
        assert len(await stored_keys(node)) == 1
        await workers.close()

    run(tmp_path, test)


def test_errors_of_the_store_come_back_from_the_worker(tmp_path):
    async def test(node, partition):
        workers = ProcessWorkers()
        await uploaded_rounds(node, partition)
        (tmp_path / "objects" / extents(node, partition)[0].object.key).unlink()
        placed = extents(node, partition)
        new = await node.uploader.registrar.new_object()
        asked = CompactionJob(new, 0, tuple(placed), (), None, 1 << 20)
        with pytest.raises(MissingObject, match=placed[0].object.key):
            await workers.run(compact_run, node.store.url, asked)
        await workers.close()

    run(tmp_path, test)
