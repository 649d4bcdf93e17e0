"""Reads the state of shards from their partitions: in slices, beside the loop's other work.

Only the last record of a key counts, and a tombstone last means that the key is not there: the rule of compaction,
which the log may have been through or not, so a shard must come to the same state either way. What a key had before is
never decoded. The kept records reach the shard in the order of their offsets.

At a start, what was not uploaded lies in the WAL, batches of all shards and of users' partitions in turns. Shard by
shard, that part of the WAL would be read as many times as there are shards. So `walk_wal` goes through it once, for all
of them, before `replay_log` puts each shard's state together.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from crc32c import crc32c

from tailrace_core.batch import CONTROL_BIT, CRC_START, BatchHeader, batch_spans, read_header
from tailrace_core.errors import CoordinatorLoadInProgress, DataCorrupt, StorageUnavailable, TailraceError
from tailrace_core.schema.errors import DecodeError
from tailrace_engine.coordinator.decision import Record, Shard
from tailrace_engine.log.records import keys_and_values
from tailrace_engine.log.wal_index import WalIndex
from tailrace_engine.runtime.engine import Engine
from tailrace_engine.runtime.partition import Partition

_READ_BYTES: Final = 256 << 10
"""One read of a partition: some thousand small batches, whose places are found at once."""
_WALK_BYTES_MAX: Final = 1 << 20
_WALK_BYTES_MIN: Final = 64 << 10
"""One read of the walk through the WAL: less where little of what it gives is of use."""
_SCANNED_AT_ONCE: Final = 250
"""Records and batches that are looked through before the loop gets its turn: half a millisecond, since several loads
may have theirs in one pass ..."""
_REPLAYED_AT_ONCE: Final = 50
"""... as for records that a shard takes, which decodes them."""


class Loading:
    """Stands at a partition until its shard is read."""

    __slots__ = ("index", "missed", "unavailable", "walked")

    def __init__(self, index: int) -> None:
        self.index = index
        self.missed: list[Any] = []
        """What all shards were told meanwhile."""
        self.unavailable: TailraceError | None = None
        """Why it could not be read; it will be tried again."""
        self.walked: Walked | None = None

    def ask(self, request: Any, on_answer: Callable[[Any], object]) -> None:
        on_answer(self.unavailable or CoordinatorLoadInProgress("the coordinator reads its state"))

    def tell(self, request: Any) -> None:
        self.missed.append(request)


class Pace:
    """How much was looked through since the loop had its turn."""

    __slots__ = ("looked",)

    def __init__(self) -> None:
        self.looked = 0


class Latest:
    """The last value of each key, in the order of those; None is a tombstone."""

    __slots__ = ("_pace", "values")

    def __init__(self, pace: Pace) -> None:
        self.values: dict[bytes, bytes | None] = {}
        self._pace = pace

    async def take(self, batch: bytes, header: BatchHeader) -> None:
        """The next batch, which is intact. Now and then the loop gets its turn."""
        pace = self._pace
        looked = pace.looked + 1
        if not header.attributes & CONTROL_BIT:
            values = self.values
            for key, value in keys_and_values(batch, header):
                if key is not None:
                    # Taken out first, so that the order is that of the last occurrence.
                    values.pop(key, None)
                    values[key] = value
                looked += 1
                if looked >= _SCANNED_AT_ONCE:
                    looked = 0
                    await asyncio.sleep(0)
        pace.looked = looked


class Walked(NamedTuple):
    """What the WAL had of a partition."""

    start_offset: int
    end_offset: int
    latest: Latest


async def replay_log(
    engine: Engine, partition: Partition, shard: Shard, walked: Walked | None, on_records: Callable[[int], None]
) -> None:
    """Bring a new shard to the state of the partition's log end; nothing is awaited after that was reached.

    on_records is told how many more records were read. Raises StorageUnavailable while the end of the log is not
    durable, DecodeError with the key of a record that the shard cannot read, and what reads raise.
    """
    state = partition.state
    offset = state.log_start_offset
    is_empty = True
    while offset < state.log_end_offset:
        latest = Latest(Pace())
        while offset < state.log_end_offset:
            if walked is not None and offset == walked.start_offset:
                for key, value in walked.latest.values.items():
                    latest.values.pop(key, None)
                    latest.values[key] = value
                offset = walked.end_offset
                continue
            if offset >= state.high_watermark:
                raise StorageUnavailable(f"{partition.name} is not durable up to its end")
            buffers, _ = await engine.read_cold(partition, offset, _READ_BYTES)
            records = 0
            for buffer in buffers:
                for position, size, _ in batch_spans(buffer):
                    header = read_header(buffer, position)
                    await latest.take(bytes(buffer[position : position + size]), header)
                    offset = header.end_offset
                    records += header.record_count
            on_records(records)
        taken = 0
        for key, value in latest.values.items():
            if value is not None or not is_empty:
                try:
                    shard.replay(Record(key, value))
                except DecodeError as error:
                    raise DecodeError(f"the last record with the key {key!r}: {error}") from error
                taken += 1
                if taken % _REPLAYED_AT_ONCE == 0:
                    await asyncio.sleep(0)
        is_empty = False


class _Cursor:
    """How far the walk has come in one partition."""

    __slots__ = ("_batches", "_end_offset", "_start_offset", "latest", "partition", "place")

    def __init__(self, partition: Partition, index: WalIndex, pace: Pace) -> None:
        self.partition = partition
        self.latest = Latest(pace)
        self._start_offset = index.base_offset()
        self._end_offset = index.end_offset
        self._batches = index.batches()
        self.place = next(self._batches, None)
        """Segment, position, size and base offset of the next batch."""

    def advance(self) -> None:
        self.place = next(self._batches, None)

    def walked(self) -> Walked:
        return Walked(self._start_offset, self._end_offset, self.latest)


async def walk_wal(
    engine: Engine, partitions: Iterable[Partition], on_records: Callable[[int], None]
) -> dict[Partition, Walked]:
    """The batches of these partitions that only the WAL has, in the order of the WAL.

    Raises StorageUnavailable and DataCorrupt; then replay_log will find out what can be read.
    """
    wal = engine.wal
    pace = Pace()
    cursors: list[_Cursor] = []
    ends: dict[int, int] = {}
    for partition in partitions:
        if partition.wal_index is not None and partition.damage is None:
            cursors.append(_Cursor(partition, partition.wal_index, pace))
            for segment, end in partition.wal_index.segment_ends().items():
                ends[segment] = max(end, ends.get(segment, 0))
    order = {segment: place for place, segment in enumerate(wal.ring.used)}
    read_bytes = _WALK_BYTES_MAX
    unpin = wal.pin(ends)
    try:
        while True:
            ahead = [(order[place[0]], place) for each in cursors if (place := each.place) is not None]
            if not ahead:
                break
            _, (segment, begin, size, _) = min(ahead)
            data = await wal.read(segment, begin, min(max(read_bytes, size), ends[segment] - begin))
            used = 0
            for cursor in cursors:
                used += await _walk_partition(cursor, data, segment, begin, on_records)
            read_bytes = min(max(2 * used, _WALK_BYTES_MIN), _WALK_BYTES_MAX)
    finally:
        unpin()
        engine.maybe_hold_back()  # what was read may have been all that was in the way of producers
    return {cursor.partition: cursor.walked() for cursor in cursors}


async def _walk_partition(
    cursor: _Cursor, data: bytes, segment: int, begin: int, on_records: Callable[[int], None]
) -> int:
    """Take the batches that lie in data, which begins at a position of a segment; gives their bytes."""
    used = records = 0
    while (place := cursor.place) is not None and place[0] == segment:
        _, position, size, base_offset = place
        at = position - begin
        if at + size > len(data):
            break
        batch = data[at : at + size]
        header = read_header(batch)
        if (
            header.base_offset != base_offset
            or header.size != size
            or header.crc != crc32c(memoryview(batch)[CRC_START:])
        ):
            raise DataCorrupt(f"{cursor.partition.name}: the batch at byte {position} of WAL segment {segment}")
        await cursor.latest.take(batch, header)
        used += size
        records += header.record_count
        cursor.advance()
    if records:
        on_records(records)
    return used
