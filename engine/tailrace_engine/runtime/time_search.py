"""ListOffsets by time: which record is the first at or after a time, and which is the newest.

The places of a partition are searched in offset order by what they know without reading data: the extents' largest
timestamps, then the indexes in the objects; the WAL index; the batches in memory. One batch is then read and walked.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from tailrace_core.batch import HEADER_BYTES, LOG_APPEND_TIME_BIT, Buffer, batch_spans, read_header
from tailrace_core.membership import Membership
from tailrace_engine.api import OffsetFound
from tailrace_engine.log.records import inflate, timestamps
from tailrace_engine.runtime.partition import Partition
from tailrace_engine.tier.reader import TierReader

ReadBatches: TypeAlias = Callable[[Partition, int, int], Awaitable[tuple[list[Buffer], int]]]
"""StorageEngine.read_cold."""

_RECORDS_A_STEP: Final = 500
"""Walked before the loop gets its turn."""


class TimeSearch:
    """One per engine."""

    def __init__(self, membership: Membership, tier: TierReader, read: ReadBatches) -> None:
        self._membership = membership
        self._tier = tier
        self._read = read
        self._one_at_a_time = asyncio.Semaphore(1)
        """An inflated batch is large, and in no other budget."""

    async def first_at_or_after(self, partition: Partition, timestamp_ms: int) -> OffsetFound | None:
        """The first record below the high watermark with a timestamp >= timestamp_ms."""
        extents = self._membership.extents(partition.topic_id, partition.partition)
        for place in range(extents.index_at(partition.state.log_start_offset), len(extents)):
            placed = extents[place]
            if placed.extent.max_timestamp_ms >= timestamp_ms:
                found = await self._tier.offset_for_timestamp(placed.object.key, placed.extent, timestamp_ms)
                assert found is not None, "the extent's largest timestamp is one of its batches'"
                return await self._first_record(found[1], timestamp_ms)
        base_offset = _local_batch(partition, timestamp_ms)
        if base_offset is None:
            return None
        return await self._first_record(await self._read_batch(partition, base_offset), timestamp_ms)

    async def newest(self, partition: Partition) -> OffsetFound | None:
        """The first of the records with the largest timestamp; None in an empty partition."""
        extents = self._membership.extents(partition.topic_id, partition.partition)
        newest = max((extents[place].extent.max_timestamp_ms for place in range(len(extents))), default=-1)
        index = partition.wal_index
        if index is not None:
            newest = max(newest, index.newest_timestamp())
        high_watermark = partition.state.high_watermark
        for entry in partition.hot_above_tier():
            if entry.end_offset <= high_watermark:
                newest = max(newest, entry.max_timestamp_ms)
        return await self.first_at_or_after(partition, newest) if newest >= 0 else None

    async def _first_record(self, batch: Buffer, timestamp_ms: int) -> OffsetFound | None:
        """The batch's first record with a timestamp >= timestamp_ms; in steps, as a small batch may hold millions."""
        header = read_header(batch)
        async with self._one_at_a_time:
            inflated = None
            if header.codec and not header.attributes & LOG_APPEND_TIME_BIT:
                loop = asyncio.get_running_loop()
                body = memoryview(batch)[HEADER_BYTES:]
                inflated = await loop.run_in_executor(None, inflate, header.codec, body)
            for step, (offset, record_timestamp_ms) in enumerate(timestamps(batch, inflated)):
                if record_timestamp_ms >= timestamp_ms:
                    return OffsetFound(offset, record_timestamp_ms, header.leader_epoch)
                if step % _RECORDS_A_STEP == 0:
                    await asyncio.sleep(0)
        return None

    async def _read_batch(self, partition: Partition, base_offset: int) -> Buffer:
        """The batch at base_offset, wherever it is now."""
        buffers, _ = await self._read(partition, base_offset, 1)
        first = memoryview(buffers[0])
        start, size, _ = batch_spans(first)[0]
        return first[start : start + size]


def _local_batch(partition: Partition, timestamp_ms: int) -> int | None:
    """Base offset of the first batch outside of the tier whose largest timestamp is >= timestamp_ms."""
    index = partition.wal_index
    if index is not None:
        place = index.find_timestamp(timestamp_ms)
        if place < len(index):
            return index.span(place).base_offset
    high_watermark = partition.state.high_watermark
    for entry in partition.hot_above_tier():
        if entry.end_offset > high_watermark:
            return None
        if entry.max_timestamp_ms >= timestamp_ms:
            return entry.base_offset
    return None
