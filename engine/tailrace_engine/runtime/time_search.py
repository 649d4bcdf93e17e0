"""ListOffsets by time: which record is the first at or after a time, and which is the newest.

The places of a partition are searched in offset order by what they know without reading data: the extents' largest
timestamps, then the indexes in the objects; the WAL index; the batches in memory. The first batch whose header claims a
late enough timestamp is read and walked from the log start on. A header is its producer's claim: where no record keeps
it, the search goes on behind that batch.

An index tells the first batch of its extent. Where the search begins behind that one, because the log start or a
claim that was not kept lies there, the batches that follow are read for their headers.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from tailrace_core.batch import HEADER_BYTES, LOG_APPEND_TIME_BIT, Buffer, batch_spans, read_header
from tailrace_core.errors import OffsetOutOfRange
from tailrace_core.membership import Membership
from tailrace_engine.api import OffsetFound
from tailrace_engine.log.records import inflate, timestamps
from tailrace_engine.runtime.partition import Partition
from tailrace_engine.tier.reader import TierReader

ReadBatches: TypeAlias = Callable[[Partition, int, int], Awaitable[tuple[list[Buffer], int]]]
"""StorageEngine.read_cold."""

_PLACES_A_STEP: Final = 500
"""Records, batches or extents that are looked at before the loop gets its turn."""
_READ_BYTES: Final = 1 << 20
"""Read at once where headers are looked for."""


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
        return await self._search(partition, 0, partition.state.high_watermark, timestamp_ms, newest=False)

    async def newest(self, partition: Partition) -> OffsetFound | None:
        """The first of the records with the largest timestamp; None in an empty partition."""
        places = await self._claims(partition)
        if places[0][0] < 0:
            return None
        newest = await self.first_at_or_after(partition, places[0][0])
        if newest is not None:
            return newest
        # The largest claim was not kept. Place by place, the one with the largest claim first, as long as one of them
        # may hold a newer record than was found.
        for claimed_ms, start_offset, end_offset in places:
            least_ms = 0 if newest is None else newest.timestamp_ms
            if claimed_ms < least_ms:
                break
            found = await self._search(partition, start_offset, end_offset, least_ms, newest=True)
            if found is not None and (newest is None or _is_newer(found, newest)):
                newest = found
        return newest

    async def _search(
        self, partition: Partition, offset: int, end_offset: int, timestamp_ms: int, newest: bool
    ) -> OffsetFound | None:
        """The first record from offset and from the log start on, in batches that begin below end_offset, with a
        timestamp >= timestamp_ms; or else the newest of them.
        """
        found: OffsetFound | None = None
        while (offset := max(offset, partition.state.log_start_offset)) < end_offset:
            if partition.damage is not None:
                raise partition.damage.with_traceback(None)  # deleted meanwhile: what is looked for comes no more
            try:
                batches, offset = await self._some_batches(partition, offset, timestamp_ms, newest)
            except OffsetOutOfRange:
                if partition.state.log_start_offset <= offset:
                    raise
                continue  # the log start has moved meanwhile
            if newest:
                batches.sort(key=lambda batch: -read_header(batch).max_timestamp_ms)
            for batch in batches:
                header = read_header(batch)
                if header.base_offset >= end_offset or header.max_timestamp_ms < timestamp_ms:
                    continue
                record = await self._record(partition, batch, timestamp_ms, newest)
                if record is None:
                    continue
                if not newest:
                    return record
                if found is None or _is_newer(record, found):
                    found = record
                    timestamp_ms = record.timestamp_ms
        return found

    async def _claims(self, partition: Partition) -> list[tuple[int, int, int]]:
        """(largest timestamp that headers claim, start offset, end offset) of each extent, and of what is not in the
        tier; the largest first.
        """
        places = []
        offset = partition.state.log_start_offset
        while offset < partition.tier_end_offset:
            extents = self._membership.extents(partition.topic_id, partition.partition)
            first = extents.index_at(offset)
            some = [extents[place].extent for place in range(first, min(first + _PLACES_A_STEP, len(extents)))]
            if not some:
                break
            places += [(extent.max_timestamp_ms, extent.base_offset, extent.end_offset) for extent in some]
            offset = some[-1].end_offset
            await asyncio.sleep(0)
        local_ms, high_watermark = await self.newest_local(partition)
        places.append((local_ms, offset, high_watermark))
        return sorted(places, key=lambda place: (-place[0], place[1]))

    async def newest_local(self, partition: Partition) -> tuple[int, int]:
        """The largest claim of what is not in the tier, -1 where there is none, and the end of what was looked at."""
        newest_ms = -1
        high_watermark = partition.state.high_watermark
        offset = partition.tier_end_offset
        while offset < high_watermark:
            some_ms, offset = _local_claims(partition, offset, high_watermark)
            newest_ms = max(newest_ms, some_ms)
            await asyncio.sleep(0)
        return newest_ms, high_watermark

    async def _some_batches(
        self, partition: Partition, offset: int, timestamp_ms: int, several: bool
    ) -> tuple[list[memoryview], int]:
        """The next batches with such a claim, none it may be, and the offset up to which there are no others."""
        if offset >= partition.tier_end_offset:
            found, offset = _local_batch(partition, offset, timestamp_ms)
            if not found:
                await asyncio.sleep(0)
                return [], offset
            buffers, _ = await self._read(partition, offset, _READ_BYTES if several else 1)
            return _claiming(buffers, offset, timestamp_ms)
        extents = self._membership.extents(partition.topic_id, partition.partition)
        first = extents.index_at(offset)
        for place in range(first, min(first + _PLACES_A_STEP, len(extents))):
            placed = extents[place]
            extent = placed.extent
            if extent.max_timestamp_ms >= timestamp_ms:
                break
            offset = extent.end_offset
        else:
            await asyncio.sleep(0)
            return [], offset if first < len(extents) else partition.tier_end_offset
        indexed = await self._tier.offset_for_timestamp(placed.object.key, extent, timestamp_ms)
        if indexed is None:
            return [], extent.end_offset
        end_offset = read_header(indexed[1]).end_offset
        if end_offset > offset and not several:
            return [indexed[1]], end_offset
        buffers, _ = await self._read(partition, offset, _READ_BYTES)
        return _claiming(buffers, offset, timestamp_ms)

    async def _record(self, partition: Partition, batch: Buffer, timestamp_ms: int, newest: bool) -> OffsetFound | None:
        """The batch's first record from the log start on with a timestamp >= timestamp_ms, or the newest of them.

        In steps, as a small batch may hold millions.
        """
        header = read_header(batch)
        found: OffsetFound | None = None
        async with self._one_at_a_time:
            inflated = None
            if header.codec and not header.attributes & LOG_APPEND_TIME_BIT:
                loop = asyncio.get_running_loop()
                body = memoryview(batch)[HEADER_BYTES:]
                inflated = await loop.run_in_executor(None, inflate, header.codec, body)
            for step, (offset, record_timestamp_ms) in enumerate(timestamps(batch, inflated)):
                if record_timestamp_ms >= timestamp_ms and offset >= partition.state.log_start_offset:
                    found = OffsetFound(offset, record_timestamp_ms, header.leader_epoch)
                    if not newest:
                        break
                    timestamp_ms = record_timestamp_ms + 1
                if step % _PLACES_A_STEP == 0:
                    await asyncio.sleep(0)
        return found


def _is_newer(found: OffsetFound, than: OffsetFound) -> bool:
    """Of records with the same time the first one counts."""
    return (found.timestamp_ms, -found.offset) > (than.timestamp_ms, -than.offset)


def _claiming(buffers: list[Buffer], offset: int, timestamp_ms: int) -> tuple[list[memoryview], int]:
    """The batches in buffers that end beyond offset and claim a timestamp >= timestamp_ms, and where the last ends."""
    claiming = []
    end_offset = offset
    for buffer in buffers:
        view = memoryview(buffer)
        for start, size, _ in batch_spans(view):
            header = read_header(view, start)
            end_offset = header.end_offset
            if end_offset > offset and header.max_timestamp_ms >= timestamp_ms:
                claiming.append(view[start : start + size])
    assert end_offset > offset, "a read gives at least the batch that contains its offset"
    return claiming, end_offset


def _local_batch(partition: Partition, offset: int, timestamp_ms: int) -> tuple[bool, int]:
    """Whether there is, outside of the tier and from offset on, a batch whose claim is >= timestamp_ms, and where.

    Only a step is looked at: without one the offset is that from which to go on.
    """
    index = partition.wal_index
    if index is not None and offset < index.end_offset:
        place = index.find(offset)
        end = min(place + _PLACES_A_STEP, len(index))
        found = index.find_timestamp(timestamp_ms, place, end)
        if found < end:
            return True, max(offset, index.span(found).base_offset)
        return False, index.batch_end_offset(end - 1)
    for entry in partition.hot_entries_from(offset, _PLACES_A_STEP):
        if entry.end_offset > partition.state.high_watermark:
            break
        if entry.max_timestamp_ms >= timestamp_ms:
            return True, max(offset, entry.base_offset)
        offset = entry.end_offset
    return False, offset


def _local_claims(partition: Partition, offset: int, high_watermark: int) -> tuple[int, int]:
    """The largest claim of some batches outside of the tier from offset on, and the offset from which to go on."""
    index = partition.wal_index
    if index is not None and offset < index.end_offset:
        place = index.find(offset)
        end = min(place + _PLACES_A_STEP, len(index))
        return index.newest_timestamp(place, end), index.batch_end_offset(end - 1)
    entries = partition.hot_entries_from(offset, _PLACES_A_STEP)
    durable = [entry for entry in entries if entry.end_offset <= high_watermark]
    if not durable:
        return -1, high_watermark
    return max(entry.max_timestamp_ms for entry in durable), durable[-1].end_offset
