"""The WAL under any cut and any damage: what was written or a named loss, never rubbish, and no silent loss."""

import struct
from dataclasses import dataclass, field
from random import Random

from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st

from tailrace_core.batch import HEADER
from tailrace_core.errors import StorageUnavailable
from tailrace_core.ids import TopicPartition
from tailrace_engine.log.entry import BatchEntry
from tailrace_engine.sim.disk import SimDisk
from tailrace_engine.sim.step_loop import StepLoop
from tailrace_engine.wal.format import (
    BATCH,
    BLOCK_BYTES,
    GROUP_HEADER,
    GROUP_HEADER_BYTES,
    GROUP_MAGIC,
    SEGMENT_HEADER_BYTES,
    TRUNCATE,
    align_up,
)
from tailrace_engine.wal.recovery import Recovery, WalRecord, recover
from tailrace_engine.wal.writer import Wal, WalOptions

SEGMENT = 64 << 10
PARTITIONS = 4


@dataclass
class Owner:
    topic_id: bytes
    partition: int
    next_offset: int = 0

    @property
    def key(self) -> TopicPartition:
        return TopicPartition(self.topic_id, self.partition)


@dataclass
class World:
    """A WAL through several lives, and all that was ever written to it."""

    seed: int
    immediate: bool = False
    loop: StepLoop = field(default_factory=StepLoop)
    acknowledged: list[BatchEntry] = field(default_factory=list)
    written: dict[tuple[bytes, int, int], list[bytes]] = field(default_factory=dict)
    dead: dict[BatchEntry, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self.owners = [Owner(bytes([i]) * 16, i) for i in range(PARTITIONS)]
        self.disk = SimDisk(self.loop, self.random, self.immediate)
        self.start()

    def die(self, power: bool) -> None:
        """End this life, and all that its loop was still to do; then start again."""
        self.loop = StepLoop()
        self.disk = self.disk.power_cut(self.loop) if power else self.disk.kill(self.loop)
        self.start()

    def start(self) -> None:
        self.records: list[WalRecord] = []
        self.recovery = recover(self.disk.sources(), self.records.extend)
        options = WalOptions("auto", "always", segment_bytes=SEGMENT, capacity_bytes=32 * SEGMENT)
        salt = self.random.getrandbits(32)
        self.wal = Wal.open(
            self.disk, options, self.loop, self.loop, self.recovery, self.acknowledged.extend, self._on_failed, salt
        )

    def _on_failed(self, entries: list[BatchEntry], error: StorageUnavailable) -> None:
        raise AssertionError(error)

    def append(self) -> None:
        owner = self.random.choice(self.owners)
        base = owner.next_offset
        owner.next_offset += 1
        size = self.random.choice([61, 100, 1000, 4096, 9000, 30_000])
        header = HEADER.pack(base, size - 12, 1, 2, 0, 0, 0, 0, 0, -1, -1, -1, 1)
        batch = bytearray(header + self.random.randbytes(size - 61))
        struct.pack_into(">I", batch, 17, crc32c(memoryview(batch)[21:]))
        entry = BatchEntry(owner, 1, base, base + 1, 0, bytes(batch))
        self.written.setdefault((owner.topic_id, owner.partition, base), []).append(entry.data or b"")
        self.wal.append(entry)

    def live(self, appends: int) -> None:
        for _ in range(appends):
            chance = self.random.random()
            self.append()
            if chance < 0.05:
                owner = self.random.choice(self.owners)
                self.wal.append_control(TRUNCATE, owner.topic_id, owner.partition, 1, 1 << 40, lambda segment: None)
            if chance < 0.5:
                self.loop.run_for(self.random.choice([0.0, 0.0001, 0.001]))
            if chance > 0.9:
                self.release()

    def release(self) -> None:
        """The oldest acknowledged batches are uploaded."""
        alive = [entry for entry in self.acknowledged if entry not in self.dead]
        for entry in alive[: len(alive) // 2]:
            self.dead[entry] = None
            self.wal.mark_dead(entry.wal_segment)

    def check_is_what_was_written(self, records: list[WalRecord]) -> None:
        for kind, topic_id, partition, _, base_offset, segment, position, length, header in records:
            if kind != BATCH:
                assert base_offset == 1 << 40
                continue
            data = self.disk.read(segment, position, length)
            assert data in self.written[topic_id, partition, base_offset]
            assert header == HEADER.unpack_from(data)

    def needed(self) -> list[BatchEntry]:
        return [entry for entry in self.acknowledged if entry not in self.dead]


def found(records: list[WalRecord]) -> dict[tuple[bytes, int, int], None]:
    return {(record[1], record[2], record[4]): None for record in records if record[0] == BATCH}


def key(entry: BatchEntry) -> tuple[bytes, int, int]:
    return entry.owner.topic_id, entry.owner.partition, entry.base_offset


@given(st.integers(0, 2**32), st.lists(st.tuples(st.integers(0, 60), st.booleans()), min_size=1, max_size=4))
def test_every_power_cut_keeps_what_was_acknowledged(seed: int, lives: list[tuple[int, bool]]) -> None:
    world = World(seed)
    for appends, power in lives:
        world.live(appends)
        marked = len(world.acknowledged)
        world.die(power)
        assert world.recovery.damage == []
        world.check_is_what_was_written(world.records)
        have = found(world.records)
        assert all(key(entry) in have for entry in world.needed())
        order = [(record[5], record[6]) for record in world.records if record[0] == BATCH]
        assert len(set(order)) == len(order)
        # The next life goes on where this one's log ends; places may be those of batches that were never acknowledged.
        for owner in world.owners:
            ends = [offset + 1 for topic, _, offset in have if topic == owner.topic_id]
            durable = [entry.end_offset for entry in world.acknowledged[:marked] if entry.owner is owner]
            owner.next_offset = max([0, *ends, *durable])


@given(st.integers(0, 2**32), st.integers(0, 80), st.integers(0, 80))
def test_a_kill_under_interval_keeps_what_was_acknowledged(seed: int, first: int, second: int) -> None:
    world = World(seed, immediate=True)
    for appends in (first, second):
        world.live(appends)
        world.die(power=False)
        assert world.recovery.damage == []
        world.check_is_what_was_written(world.records)
        have = found(world.records)
        assert all(key(entry) in have for entry in world.needed())


def groups_of(disk: SimDisk, live: dict[int, int]) -> list[tuple[int, int, int, int, int]]:
    """segment, position, length, sequence and claim of each group of the generations in use."""
    groups = []
    for number, generation in live.items():
        content = disk.files[number]
        position = SEGMENT_HEADER_BYTES
        while content[position : position + 4] == GROUP_MAGIC:
            fields = GROUP_HEADER.unpack_from(content, position)
            if fields[4] != generation:
                break
            length = align_up(GROUP_HEADER_BYTES + fields[7])
            groups.append((number, position, length, fields[5], fields[6]))
            position += length
    return groups


damages = st.one_of(
    st.tuples(st.just("flip"), st.integers(0, 2**32), st.integers(0, 7)),
    st.tuples(st.just("zero"), st.integers(0, 2**32), st.integers(1, 3 * BLOCK_BYTES)),
    st.tuples(st.just("noise"), st.integers(0, 2**32), st.integers(1, 2 * BLOCK_BYTES)),
    st.tuples(st.just("truncate"), st.integers(0, 2**32), st.just(0)),
    st.tuples(st.just("delete"), st.integers(0, 2**32), st.just(0)),
)


@given(st.integers(0, 2**32), st.integers(1, 80), st.booleans(), damages)
def test_any_damage_is_a_named_loss_or_none(
    seed: int, appends: int, restart: bool, damage: tuple[str, int, int]
) -> None:
    world = World(seed)
    world.live(appends)
    if restart:
        world.die(power=False)
        for owner in world.owners:
            owner.next_offset += 1000
        world.live(appends // 2)
    world.loop.run_until_idle()
    live = {segment.number: segment.generation for segment in world.wal.ring.used.values()}
    groups = groups_of(world.disk, live)
    sequence_at = {(number, position): sequence for number, position, _, sequence, _ in groups}
    starts = sorted(sequence_at)

    number, first, end = hurt(world, damage)

    records: list[WalRecord] = []
    recovery: Recovery = recover(world.disk.sources(), records.extend)
    world.check_is_what_was_written(records)
    have = found(records)
    claimed = max(
        (
            claim
            for segment, position, _, _, claim in groups
            if segment != number or not (first < position + GROUP_HEADER_BYTES and position < end)
        ),
        default=0,
    )
    seen: dict[TopicPartition, int] = {}
    for record in records:
        if record[0] == BATCH:
            seen[TopicPartition(record[1], record[2])] = record[4]
    named = recovery.damaged()
    for entry in world.needed():
        if key(entry) in have:
            continue
        start = max(s for s in starts if s <= (entry.wal_segment, entry.wal_position))
        if sequence_at[start] > claimed:
            continue
        place = TopicPartition(entry.owner.topic_id, entry.owner.partition)
        gap_shows = seen.get(place, -1) > entry.base_offset
        assert place in named or recovery.suspects([place]) or gap_shows, f"{entry} is lost and nobody says so"


def hurt(world: World, damage: tuple[str, int, int]) -> tuple[int, int, int]:
    """Damage one used file; gives it and the span that is not as it was."""
    kind, where, amount = damage
    used = [segment.number for segment in world.wal.ring.used.values()] or sorted(world.disk.files)
    number = used[where % len(used)]
    content = world.disk.files[number]
    active = world.wal.ring.active
    size = world.wal.ring.position if active is not None and number == active.number else len(content)
    position = where // 7 % max(size, 1)
    if kind == "flip":
        world.disk.rot(number, position, bytes([content[position] ^ (1 << amount)]))
        return number, position, position + 1
    if kind == "truncate":
        del content[position:]
        return number, position, SEGMENT
    if kind == "delete":
        del world.disk.files[number]
        return number, 0, SEGMENT
    length = min(amount, len(content) - position)
    data = bytes(length) if kind == "zero" else Random(where).randbytes(length)
    world.disk.rot(number, position, data)
    return number, position, position + length
