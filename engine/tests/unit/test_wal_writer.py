"""The writer's promises towards its owner, on the simulated disk and virtual time."""

import errno
import struct
from random import Random

import pytest
from crc32c import crc32c

from tailrace_core.batch import HEADER
from tailrace_core.errors import InvalidSettings, RecordListTooLarge, StorageUnavailable
from tailrace_engine.log.entry import BatchEntry
from tailrace_engine.sim.disk import SimDisk
from tailrace_engine.sim.step_loop import StepLoop
from tailrace_engine.wal.format import TRUNCATE
from tailrace_engine.wal.reading import read_spans
from tailrace_engine.wal.recovery import WalRecord, recover
from tailrace_engine.wal.writer import Wal, WalOptions

SEGMENT = 1 << 20


class Owner:
    topic_id = b"topic id 16 byte"
    partition = 0


OWNER = Owner()


def make_batch(base_offset: int, size: int) -> bytes:
    header = HEADER.pack(base_offset, size - 12, 1, 2, 0, 0, 0, 0, 0, -1, -1, -1, 1)
    batch = bytearray(header + bytes([base_offset % 256]) * (size - 61))
    struct.pack_into(">I", batch, 17, crc32c(memoryview(batch)[21:]))
    return bytes(batch)


class Bench:
    """A Wal with everything that it tells written down."""

    def __init__(self, sync: str = "always", capacity: int = 16 * SEGMENT, disk_bytes: int | None = None) -> None:
        self.loop = StepLoop()
        self.disk = SimDisk(self.loop, Random(3), sync == "interval", disk_bytes)
        self.durable: list[list[BatchEntry]] = []
        self.failed: list[tuple[list[BatchEntry], StorageUnavailable]] = []
        self.entries: list[BatchEntry] = []
        options = WalOptions("auto", sync, segment_bytes=SEGMENT, capacity_bytes=capacity)
        recovery = recover(self.disk.sources(), lambda records: None)
        self.wal = Wal.open(
            self.disk,
            options,
            self.loop,
            self.loop,
            recovery,
            self.durable.append,
            lambda entries, error: self.failed.append((entries, error)),
        )
        self.loop.run_for(0.1)

    def append(self, size: int = 500) -> BatchEntry:
        base = len(self.entries)
        entry = BatchEntry(OWNER, 1, base, base + 1, 0, make_batch(base, size))
        self.entries.append(entry)
        self.wal.append(entry)
        return entry

    @property
    def acknowledged(self) -> list[BatchEntry]:
        return [entry for group in self.durable for entry in group]

    def recovered(self, disk: SimDisk) -> list[WalRecord]:
        records: list[WalRecord] = []
        recovery = recover(disk.sources(), records.extend)
        assert not recovery.damage
        return records


def test_what_arrives_together_is_one_group_and_one_callback() -> None:
    bench = Bench()
    for _ in range(64):
        bench.append()
    bench.loop.run_for(0.01)
    assert bench.durable == [bench.entries]
    assert bench.wal.groups == 1
    assert bench.wal.syncs == 1


def test_what_arrives_during_a_write_waits_for_the_next_group() -> None:
    bench = Bench()
    bench.append()
    bench.loop.run_for(0.01)
    bench.append()
    bench.loop.run_for(0.0)
    bench.append()
    bench.append()
    bench.loop.run_for(0.01)
    assert [len(group) for group in bench.durable] == [1, 1, 2]


def test_nothing_is_acknowledged_before_it_is_on_the_medium() -> None:
    bench = Bench()
    for _ in range(200):
        bench.append(3000)
        if len(bench.entries) % 3 == 0:
            bench.loop.step()
        known = len(bench.acknowledged)
        if len(bench.entries) % 50 == 0:
            cut = SimDisk(bench.loop, Random(1))
            cut.files = {number: bytearray(content) for number, content in bench.disk._durable.items()}
            assert len(bench.recovered(cut)) >= known


def test_groups_are_acknowledged_in_order_whatever_the_disk_does() -> None:
    bench = Bench()
    for _ in range(3000):
        bench.append(4000)
    bench.loop.run_for(2.0)
    assert bench.acknowledged == bench.entries
    assert bench.wal.ring.active is not None
    assert bench.wal.ring.active.number > 3


def test_a_batch_larger_than_a_group_buffer_is_written_alone() -> None:
    loop = StepLoop()
    disk = SimDisk(loop, Random(3))
    durable: list[list[BatchEntry]] = []
    options = WalOptions(segment_bytes=16 << 20, capacity_bytes=64 << 20)
    wal = Wal.open(disk, options, loop, loop, recover([], print), durable.append, lambda entries, error: None)
    sizes = [100, 9 << 20, 100, 5 << 20]
    entries = [BatchEntry(OWNER, 1, i, i + 1, 0, make_batch(i, size)) for i, size in enumerate(sizes)]
    for entry in entries:
        wal.append(entry)
    loop.run_for(1.0)
    assert [entry for group in durable for entry in group] == entries
    spans = [(entry.wal_segment, entry.wal_position, entry.size) for entry in entries]
    assert read_spans(disk, spans) == [entry.data for entry in entries]


def test_a_batch_larger_than_a_segment_is_refused() -> None:
    bench = Bench()
    with pytest.raises(RecordListTooLarge):
        bench.append(SEGMENT)


@pytest.mark.parametrize("fault", ["error", "short", "full"])
def test_a_failed_write_fences_and_reports_all_that_is_not_acknowledged(fault: str) -> None:
    bench = Bench()
    bench.append()
    bench.loop.run_for(0.01)
    if fault == "short":
        bench.disk.short_writes = True
    else:
        bench.disk.write_failure = OSError(errno.EIO if fault == "error" else errno.ENOSPC, fault)
    bench.append()
    bench.loop.run_for(0.0)
    bench.append()
    bench.loop.run_for(0.01)
    assert bench.acknowledged == bench.entries[:1]
    assert [entries for entries, _ in bench.failed] == [bench.entries[1:]]
    assert bench.wal.fenced is not None
    with pytest.raises(StorageUnavailable):
        bench.append()
    bench.disk.write_failure = None
    bench.disk.short_writes = False
    bench.loop.run_until_idle()
    assert len(bench.failed) == 1


def test_reads_go_on_after_a_fence() -> None:
    bench = Bench()
    entry = bench.append()
    bench.loop.run_for(0.01)
    bench.disk.write_failure = OSError(errno.EIO, "gone")
    bench.append()
    bench.loop.run_until_idle()
    assert read_spans(bench.disk, [(entry.wal_segment, entry.wal_position, entry.size)]) == [entry.data]


def test_no_space_for_the_next_segment_fences_when_it_is_needed() -> None:
    bench = Bench(disk_bytes=2 * SEGMENT)
    while not bench.failed:
        bench.append(4000)
        bench.loop.run_for(0.01)
    assert bench.wal.fenced is not None
    assert "full" in str(bench.wal.fenced)
    assert [entry for entries, _ in bench.failed for entry in entries] == bench.entries[len(bench.acknowledged) :]
    assert len(bench.recovered(bench.disk.kill(bench.loop))) == len(bench.acknowledged)


def test_a_full_wal_holds_back_and_goes_on_when_a_segment_is_released() -> None:
    bench = Bench(capacity=4 * SEGMENT)
    while not bench.wal.is_full():
        bench.append(4000)
        bench.loop.run_for(0.01)
    assert not bench.wal.is_full(internal=True)
    for _ in range(400):
        bench.append(4000)
    bench.loop.run_for(1.0)
    waiting = len(bench.entries) - len(bench.acknowledged)
    assert waiting > 0
    assert bench.wal.fenced is None
    assert bench.wal.queued_bytes == waiting * 4000
    for entry in bench.acknowledged:
        if entry.wal_segment < 2:
            bench.wal.mark_dead(entry.wal_segment)
    bench.loop.run_for(1.0)
    assert bench.acknowledged == bench.entries
    assert len(bench.disk.files) == 4


def test_a_released_segment_is_used_again_under_a_new_generation() -> None:
    bench = Bench(capacity=3 * SEGMENT)
    generations: dict[int, int] = {}
    for _ in range(3000):
        entry = bench.append(4000)
        bench.loop.run_for(0.01)
        segment = bench.wal.ring.used[entry.wal_segment]
        generations[segment.generation] = segment.number
        bench.wal.mark_dead(entry.wal_segment)
    assert len(generations) > 10
    assert set(generations.values()) == {0, 1}
    assert bench.wal.bytes_used <= 2 * SEGMENT


def test_control_records_tell_their_segment_after_the_batches_of_their_group() -> None:
    bench = Bench()
    told: list[tuple[int, int]] = []
    bench.append()
    bench.wal.append_control(
        TRUNCATE, OWNER.topic_id, 0, 1, 7, lambda segment: told.append((segment, len(bench.durable)))
    )
    bench.loop.run_for(0.01)
    assert told == [(0, 1)]
    bench.wal.mark_dead(0, 2)


def test_the_last_groups_are_claimed_durable_after_an_idle_second() -> None:
    bench = Bench()
    bench.append()
    bench.loop.run_for(0.5)
    assert bench.wal.groups == 1
    bench.loop.run_for(5.0)
    assert bench.wal.groups == 2


def test_interval_acknowledges_on_the_loop_and_syncs_in_time() -> None:
    bench = Bench("interval")
    bench.append()
    bench.loop.run_for(0.001)
    bench.append()
    bench.loop.step()
    assert bench.acknowledged == bench.entries
    assert bench.wal.durable_sequence == 0
    bench.loop.run_for(0.06)
    assert bench.wal.durable_sequence == 2
    assert bench.wal.syncs >= 1


def test_interval_survives_a_kill_with_all_that_was_acknowledged() -> None:
    bench = Bench("interval")
    bench.append()
    bench.loop.run_for(0.01)
    for size in [500, 100_000, 500, 70_000, 500] * 20:
        bench.append(size)
        bench.loop.step()
    known = len(bench.acknowledged)
    assert known
    assert len(bench.recovered(bench.disk.kill(bench.loop))) >= known


def test_interval_keeps_what_was_synced_before_a_power_cut() -> None:
    bench = Bench("interval")
    synced = 0
    for _ in range(200):
        bench.append(2000)
        bench.loop.run_for(0.001)
        synced = bench.wal.durable_sequence
    assert 0 < synced < 200
    records = bench.recovered(bench.disk.power_cut(bench.loop))
    assert len(records) >= synced
    assert [record[4] for record in records] == list(range(len(records)))


@pytest.mark.parametrize("seed", range(10))
def test_interval_goes_on_where_a_sync_begins_while_the_header_of_a_segment_is_written(seed: int) -> None:
    bench = Bench("interval", 64 * SEGMENT)
    random = bench.disk._random = Random(seed)
    bench.disk.delay_seconds = (0.0005, 0.02)
    for _ in range(100):
        for _ in range(random.randint(1, 4)):
            bench.append(random.choice([3_000, 100_000]))
        bench.loop.run_for(random.uniform(0, 0.02))
    bench.loop.run_for(1.0)
    assert bench.acknowledged == bench.entries


def test_a_failed_sync_fences() -> None:
    bench = Bench("interval")
    bench.disk.sync_failure = OSError(errno.EIO, "sync")
    bench.append()
    bench.loop.run_for(0.2)
    assert bench.wal.fenced is not None
    with pytest.raises(StorageUnavailable):
        bench.append()


def test_spans_that_lie_close_are_read_together() -> None:
    bench = Bench()
    for _ in range(100):
        bench.append(1000)
        bench.loop.run_for(0.01)
    reads: list[tuple[int, int, int]] = []

    class Counting:
        def read(self, number: int, position: int, length: int) -> bytes:
            reads.append((number, position, length))
            return bench.disk.read(number, position, length)

    order = bench.entries[::-1]
    got = read_spans(Counting(), [(e.wal_segment, e.wal_position, e.size) for e in order])  # type: ignore[arg-type]
    assert got == [entry.data for entry in order]
    assert len(reads) == 1


def test_settings_that_cannot_work_are_refused() -> None:
    for options in (
        WalOptions(segment_bytes=1000),
        WalOptions(segment_bytes=64 << 20, capacity_bytes=64 << 20),
        WalOptions(segment_bytes=64 << 10, capacity_bytes=1 << 40),
    ):
        with pytest.raises(InvalidSettings):
            options.check()


@pytest.mark.parametrize("sync", ["always", "interval"])
def test_a_power_cut_while_a_segment_is_used_again_is_no_damage(sync: str) -> None:
    for seed in range(60):
        random = Random(seed)
        bench = Bench(sync, 3 * SEGMENT)
        bench.disk._random = random
        dead = left = 0
        while bench.wal.ring._next_generation < 6 or left > 0:
            if bench.wal.ring._next_generation < 6:
                left = random.randint(1, 12)
            left -= 1
            if not bench.wal.is_full():
                bench.append(random.choice([3_000, 60_000]))
            bench.loop.step()
            for entry in bench.acknowledged[dead:-20]:
                bench.wal.mark_dead(entry.wal_segment)
                dead += 1
        bench.recovered(bench.disk.power_cut(StepLoop()))
