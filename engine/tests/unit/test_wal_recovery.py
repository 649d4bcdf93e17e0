"""Recovery's rules, one by one, on a WAL that the real writer wrote to the simulated disk."""

import struct
from random import Random

import pytest
from crc32c import crc32c

from tailrace_core.batch import HEADER
from tailrace_core.errors import FormatTooNew, StorageUnavailable
from tailrace_core.ids import TopicPartition
from tailrace_engine.log.entry import BatchEntry
from tailrace_engine.sim.disk import SimDisk
from tailrace_engine.sim.step_loop import StepLoop
from tailrace_engine.wal.format import (
    BLOCK_BYTES,
    GROUP_HEADER_BYTES,
    PARTITION_DELETED,
    TRUNCATE,
    pack_segment_header,
    read_segment_header,
)
from tailrace_engine.wal.recovery import Recovery, WalRecord, recover
from tailrace_engine.wal.writer import Wal, WalOptions

SEGMENT = 64 << 10


class Owner:
    def __init__(self, number: int) -> None:
        self.topic_id = bytes([number]) * 16
        self.partition = number
        self.next_offset = 0

    @property
    def key(self) -> TopicPartition:
        return TopicPartition(self.topic_id, self.partition)


def make_batch(base_offset: int, size: int, random: Random) -> bytes:
    header = HEADER.pack(base_offset, size - 12, 1, 2, 0, 0, 0, 0, 0, -1, -1, -1, 1)
    batch = bytearray(header + random.randbytes(size - 61))
    struct.pack_into(">I", batch, 17, crc32c(memoryview(batch)[21:]))
    return bytes(batch)


class Life:
    """A WAL on a simulated disk through its starts and ends."""

    def __init__(self, disk: SimDisk | None = None, loop: StepLoop | None = None) -> None:
        self.loop = loop or StepLoop()
        self.random = Random(7)
        self.disk = disk or SimDisk(self.loop, self.random)
        self.acknowledged: list[BatchEntry] = []
        self.failed: list[BatchEntry] = []
        self.start()

    def start(self) -> None:
        self.recovered: list[WalRecord] = []
        self.recovery = recover(self.disk.sources(), self.recovered.extend)
        options = WalOptions("auto", "always", segment_bytes=SEGMENT, capacity_bytes=16 * SEGMENT)
        self.wal = Wal.open(
            self.disk, options, self.loop, self.loop, self.recovery, self.acknowledged.extend, self.on_failed, 99
        )
        self.loop.run_until_idle()

    def on_failed(self, entries: list[BatchEntry], error: StorageUnavailable) -> None:
        self.failed.extend(entries)

    def append(self, owner: Owner, size: int = 300) -> BatchEntry:
        base = owner.next_offset
        owner.next_offset += 1
        entry = BatchEntry(owner, 1, base, base + 1, 0, make_batch(base, size, self.random))
        self.wal.append(entry)
        return entry

    def group(self, *owners: Owner, size: int = 300) -> list[BatchEntry]:
        """One group, written and acknowledged before the claim timer rings."""
        entries = [self.append(owner, size) for owner in owners]
        self.loop.run_for(0.01)
        assert self.acknowledged[-1] is entries[-1]
        return entries

    def restart(self) -> None:
        """kill -9 and start again; what was recovered is appended to."""
        self.loop = StepLoop()
        self.disk = self.disk.kill(self.loop)
        self.start()

    def read(self) -> tuple[Recovery, list[WalRecord]]:
        records: list[WalRecord] = []
        return recover(self.disk.sources(), records.extend), records


def offsets(records: list[WalRecord], owner: Owner) -> list[int]:
    return [record[4] for record in records if record[1] == owner.topic_id]


def flip(disk: SimDisk, segment: int, position: int) -> None:
    disk.rot(segment, position, bytes([disk.files[segment][position] ^ 0x40]))


def group_position(entry: BatchEntry) -> int:
    return entry.wal_position & -BLOCK_BYTES


@pytest.fixture
def life() -> Life:
    return Life()


A, B, C = 1, 2, 3


def test_an_empty_folder_is_an_empty_wal() -> None:
    recovery = recover([], lambda records: None)
    assert recovery.next_sequence == 1
    assert not recovery.damage
    assert recovery.torn is None


def test_what_was_acknowledged_is_recovered_with_its_place(life: Life) -> None:
    a, b = Owner(A), Owner(B)
    entries = life.group(a, b) + life.group(a)
    recovery, records = life.read()
    assert [(r[1], r[2], r[3], r[4], r[5], r[6], r[7]) for r in records] == [
        (e.owner.topic_id, e.owner.partition, 1, e.base_offset, e.wal_segment, e.wal_position, e.size) for e in entries
    ]
    for record, entry in zip(records, entries, strict=True):
        assert life.disk.read(record[5], record[6], record[7]) == entry.data
        assert record[8] == HEADER.unpack_from(entry.data or b"")
    assert recovery.torn is None
    assert [segment.live for segment in recovery.segments] == [3]


def test_records_of_many_segments_come_in_the_order_written(life: Life) -> None:
    a = Owner(A)
    for _ in range(40):
        life.group(a, a, size=5000)
    recovery, records = life.read()
    assert offsets(records, a) == list(range(80))
    assert len(recovery.segments) > 5
    assert recovery.records == 80


def test_control_records_come_in_order_with_batches(life: Life) -> None:
    a = Owner(A)
    told: list[int] = []
    life.append(a)
    life.wal.append_control(TRUNCATE, a.topic_id, a.partition, 5, 17, told.append)
    life.append(a)
    life.loop.run_for(0.01)
    _, records = life.read()
    assert [(r[0], r[3], r[4]) for r in records] == [(1, 1, 0), (TRUNCATE, 5, 17), (1, 1, 1)]
    assert told == [records[0][5]]


def test_a_bad_last_group_is_a_torn_tail(life: Life) -> None:
    a = Owner(A)
    life.group(a)
    life.group(a)
    last = life.group(a)[0]
    flip(life.disk, last.wal_segment, last.wal_position + 200)
    recovery, records = life.read()
    assert offsets(records, a) == [0, 1]
    assert recovery.torn is not None
    assert (recovery.torn.segment, recovery.torn.position) == (last.wal_segment, group_position(last))
    assert not recovery.damage


def test_a_torn_tail_that_was_cut_never_comes_back(life: Life) -> None:
    a = Owner(A)
    life.group(a)
    life.group(a)
    last = life.group(a)[0]
    flip(life.disk, last.wal_segment, last.wal_position + 200)
    life.restart()
    assert offsets(life.recovered, a) == [0, 1]
    assert life.recovery.torn is not None
    a.next_offset = 2
    replacement = life.group(a, size=400)[0]
    life.restart()
    flip(life.disk, last.wal_segment, last.wal_position + 200)
    recovery, records = life.read()
    assert offsets(records, a) == [0, 1, 2]
    assert records[2][7] == replacement.size
    assert recovery.torn is None
    assert not recovery.damage


def test_after_an_idle_second_a_bad_last_group_is_damage(life: Life) -> None:
    a = Owner(A)
    last = life.group(a)[0]
    life.loop.run_until_idle()
    flip(life.disk, last.wal_segment, last.wal_position + 200)
    recovery, records = life.read()
    assert not records
    assert recovery.torn is None
    assert recovery.damaged() == [a.key]


def test_a_damaged_batch_in_the_durable_part_costs_only_itself(life: Life) -> None:
    a, b, c = Owner(A), Owner(B), Owner(C)
    life.group(a, b, c)
    entries = life.group(a, b, c)
    life.group(a, b, c)
    flip(life.disk, entries[1].wal_segment, entries[1].wal_position + 250)
    recovery, records = life.read()
    assert offsets(records, a) == [0, 1, 2]
    assert offsets(records, b) == [0, 2]
    assert offsets(records, c) == [0, 1, 2]
    assert recovery.damaged() == [b.key]
    assert not recovery.unreadable
    assert recovery.suspects([a.key, b.key, c.key]) == []
    assert recovery.damage[0].position == group_position(entries[0])


def test_a_damaged_record_header_makes_suspects_of_those_without_a_later_record(life: Life) -> None:
    a, b, c = Owner(A), Owner(B), Owner(C)
    life.group(a, b, c)
    entries = life.group(a, b, c)
    life.group(a)
    life.group(a)
    flip(life.disk, entries[1].wal_segment, entries[1].wal_position - 10)
    recovery, records = life.read()
    assert offsets(records, b) == [0]
    assert offsets(records, c) == [0, 1]
    assert recovery.unreadable
    assert recovery.suspects([a.key, b.key, c.key]) == [b.key, c.key]


def test_an_unreadable_group_header_reports_its_position_and_suspects(life: Life) -> None:
    a, b = Owner(A), Owner(B)
    life.group(a)
    lost = life.group(b)[0]
    life.group(a)
    life.group(a)
    flip(life.disk, lost.wal_segment, group_position(lost) + 20)
    recovery, records = life.read()
    assert offsets(records, a) == [0, 1, 2]
    assert offsets(records, b) == []
    assert [(d.segment, d.position, d.end_sequence - d.first_sequence) for d in recovery.damage] == [
        (lost.wal_segment, group_position(lost), 1)
    ]
    assert recovery.suspects([a.key, b.key]) == [b.key]


def test_the_deletion_of_a_partition_clears_it_of_suspicion(life: Life) -> None:
    a, b = Owner(A), Owner(B)
    life.group(a)
    lost = life.group(a)[0]
    life.wal.append_control(PARTITION_DELETED, b.topic_id, b.partition, 1, 0, lambda segment: None)
    life.group(a)
    life.group(a)
    flip(life.disk, lost.wal_segment, group_position(lost))
    recovery, _ = life.read()
    assert recovery.suspects([a.key, b.key]) == []


def test_a_length_that_lies_does_not_hide_the_records_behind_it(life: Life) -> None:
    a, b = Owner(A), Owner(B)
    entries = life.group(a, b, a, b)
    life.group(a)
    life.group(a)
    flip(life.disk, entries[1].wal_segment, entries[1].wal_position - 44 + 11)
    recovery, records = life.read()
    assert 0 in offsets(records, a)
    assert recovery.unreadable


def test_a_lost_segment_file_is_damage(life: Life) -> None:
    a, b = Owner(A), Owner(B)
    life.group(b)
    while life.acknowledged[-1].wal_segment < 3:
        life.group(a, a, size=5000)
    del life.disk.files[1]
    recovery, records = life.read()
    assert [damage.segment for damage in recovery.damage] == [1]
    assert recovery.suspects([a.key, b.key]) == [b.key]
    assert {record[5] for record in records} == {0, 2, 3}


@pytest.mark.parametrize("segment", [0, 1, 3])
def test_a_bad_segment_header_loses_nothing(life: Life, segment: int) -> None:
    a = Owner(A)
    while life.acknowledged[-1:] == [] or life.acknowledged[-1].wal_segment < 3:
        life.group(a, a, size=5000)
    flip(life.disk, segment, 30)
    recovery, records = life.read()
    assert offsets(records, a) == list(range(a.next_offset))
    assert not recovery.damage
    assert recovery.torn is None


def test_stale_groups_of_a_recycled_segment_are_not_taken_for_new(life: Life) -> None:
    a, b = Owner(A), Owner(B)
    while life.wal.ring.active is None or life.wal.ring.active.number < 2:
        life.group(a, a, size=5000)
    dead = life.acknowledged[:]
    for entry in dead:
        if entry.wal_segment < 2:
            life.wal.mark_dead(entry.wal_segment)
    while life.acknowledged[-1].wal_segment != 0:
        life.group(b, b, size=5000)
    life.group(b)
    recovery, records = life.read()
    assert offsets(records, b) == list(range(b.next_offset))
    assert {record[4] for record in records if record[1] == a.topic_id} == {
        entry.base_offset for entry in dead if entry.wal_segment == 2
    }
    assert not recovery.damage
    assert recovery.torn is None


def test_released_segments_in_the_middle_are_not_a_loss(life: Life) -> None:
    a, b = Owner(A), Owner(B)
    life.group(b)
    while life.acknowledged[-1].wal_segment < 3:
        life.group(a, a, size=5000)
    for entry in life.acknowledged:
        if entry.wal_segment in (1, 2):
            life.wal.mark_dead(entry.wal_segment)
    while life.acknowledged[-1].wal_segment in (0, 3):
        life.group(a, a, size=5000)
    recovery, records = life.read()
    assert not recovery.damage
    assert offsets(records, b) == [0]
    assert sorted(recovery.free + [segment.number for segment in recovery.segments]) == sorted(life.disk.files)


def test_a_control_record_outlives_the_older_batches_it_speaks_about(life: Life) -> None:
    a, b = Owner(A), Owner(B)
    first = life.group(b)[0]
    while life.acknowledged[-1].wal_segment < 1:
        life.group(a, a, size=5000)
    told: list[int] = []
    life.wal.append_control(TRUNCATE, a.topic_id, a.partition, 1, 0, told.append)
    life.loop.run_for(0.01)
    assert told == [1]
    for entry in life.acknowledged:
        if entry is not first:
            life.wal.mark_dead(entry.wal_segment)
    life.wal.mark_dead(told[0])
    while life.acknowledged[-1].wal_segment < 3:
        life.group(b, b, size=5000)
    _, records = life.read()
    assert TRUNCATE in [record[0] for record in records]


def test_every_start_begins_a_fresh_segment_and_generation(life: Life) -> None:
    a = Owner(A)
    first = life.group(a)[0]
    life.restart()
    second = life.group(a)[0]
    life.restart()
    assert first.wal_segment != second.wal_segment
    generations = [segment.generation for segment in life.recovery.segments]
    assert generations == sorted(set(generations))
    assert len(generations) == 2


def test_sequences_and_generations_go_on_after_an_empty_start(life: Life) -> None:
    a = Owner(A)
    for _ in range(5):
        life.group(a)
        life.restart()
        life.restart()
    assert offsets(life.recovered, a) == list(range(5))
    assert life.recovery.last_generation == 5


def test_an_unreadable_block_reads_as_damage_not_as_the_end(life: Life) -> None:
    a = Owner(A)
    entries = [life.group(a)[0] for _ in range(6)]
    start = group_position(entries[2])
    life.disk.rot(0, start, bytes(2 * BLOCK_BYTES))
    recovery, records = life.read()
    assert offsets(records, a) == [0, 1, 4, 5]
    assert recovery.damage[0].first_sequence + 2 == recovery.damage[0].end_sequence


def test_bytes_in_a_batch_that_look_like_a_group_are_not_one(life: Life) -> None:
    """Only a writer that knows this start's salt makes groups: here a batch carries a copy of one with another salt."""
    a = Owner(A)
    entry = life.group(a)[0]
    start = group_position(entry)
    copy = bytearray(life.disk.files[0][start : start + BLOCK_BYTES])
    struct.pack_into(">I", copy, 8, 98)
    struct.pack_into(">QQ", copy, 20, 3, 2)
    struct.pack_into(">I", copy, GROUP_HEADER_BYTES - 4, crc32c(bytes(copy[: GROUP_HEADER_BYTES - 4])))
    big = life.group(a, size=20_000)[0]
    inside = (big.wal_position + 2 * BLOCK_BYTES) & -BLOCK_BYTES
    life.disk.rot(0, inside, bytes(copy))
    flip(life.disk, 0, group_position(big))
    life.group(a)
    life.group(a)
    recovery, records = life.read()
    assert offsets(records, a) == [0, 2, 3]
    assert len(recovery.damage) == 1


def test_a_segment_of_a_later_format_is_refused(life: Life) -> None:
    life.group(Owner(A))
    content = life.disk.files[0]
    header = read_segment_header(content)
    assert header is not None
    packed = bytearray(pack_segment_header(header))
    struct.pack_into(">H", packed, 4, 2)
    end = len(packed.rstrip(b"\0")) - 4
    struct.pack_into(">I", packed, end, crc32c(bytes(packed[:end])))
    life.disk.rot(0, 0, bytes(packed))
    with pytest.raises(FormatTooNew):
        life.read()


def test_progress_counts_up_to_the_whole() -> None:
    life = Life()
    a = Owner(A)
    for _ in range(40):
        life.group(a, a, size=5000)
    told: list[tuple[int, int]] = []
    recover(life.disk.sources(), lambda records: None, lambda done, total: told.append((done, total)))
    assert told
    assert all(0 < done <= total for done, total in told)
    assert told[-1][0] >= told[-1][1] * 0.9
