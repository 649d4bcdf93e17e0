"""Reads of what is not in memory: from the WAL, where un-uploaded batches were let go, and from the tier.

All of it is the cold class, off the tail's path, awaited by tasks of those who lag. How many reads of the WAL run at
once is bounded here, GETs are in tier/gets.py.
"""

import asyncio
from typing import Final

from tailrace_core.batch import Buffer, is_intact, read_header
from tailrace_core.errors import DataCorrupt
from tailrace_core.membership import Membership
from tailrace_engine.log.wal_index import WalSpan
from tailrace_engine.runtime.partition import Partition
from tailrace_engine.tier.reader import TierReader
from tailrace_engine.wal.writer import Wal

_WAL_READS_MAX: Final = 4
_EXTENTS_AHEAD: Final = 4
"""Read-ahead goes on into so many following extents."""


class ColdReads:
    """One per engine."""

    def __init__(self, wal: Wal, tier: TierReader, membership: Membership) -> None:
        self._wal = wal
        self._tier = tier
        self._membership = membership
        self._wal_reads = asyncio.Semaphore(_WAL_READS_MAX)
        self.wal_bytes_read = 0
        """For readers and for uploads."""
        self.wal_bytes_served = 0
        """For readers alone."""
        self.corrupt_batches = 0

    def next_offset(self, partition: Partition, offset: int) -> int:
        """Where a read of offset begins: there, or after the offsets around it that were given up."""
        if offset >= partition.tier_end_offset:
            return offset
        extents = self._membership.extents(partition.topic_id, partition.partition)
        place = extents.index_at(offset)
        if place >= len(extents):
            return partition.tier_end_offset
        return max(offset, extents[place].extent.base_offset)

    async def read(self, partition: Partition, offset: int, max_bytes: int) -> tuple[list[Buffer], int] | None:
        """Whole batches from the one that contains offset on, at least one; None where memory or nothing has it now.

        Raises DataCorrupt and StorageUnavailable.
        """
        index = partition.wal_index
        if index is not None and offset >= index.base_offset():
            async with self._wal_reads:
                # Only now: a segment that was released while this read waited for its turn may hold other batches.
                index = partition.wal_index
                spans = index.spans(offset, max_bytes) if index is not None and offset >= index.base_offset() else []
                if not spans:
                    return None
                batches = await self._read_wal(partition, spans)
            size = sum(map(len, batches))
            self.wal_bytes_served += size
            return list(batches), size
        extents = self._membership.extents(partition.topic_id, partition.partition)
        place = extents.index_at(offset)
        if place >= len(extents):
            return None
        placed = extents[place]
        following = [
            (extents[later].object.key, extents[later].extent)
            for later in range(place + 1, min(place + 1 + _EXTENTS_AHEAD, len(extents)))
        ]
        found = await self._tier.read(placed.object.key, placed.extent, offset, max_bytes, following)
        return found.parts, found.size

    async def read_wal(self, partition: Partition, spans: list[WalSpan]) -> list[bytes] | None:
        """The batches that lie there in the WAL, for an upload; None where the log start has passed some meanwhile.

        Raises DataCorrupt and StorageUnavailable.
        """
        async with self._wal_reads:
            index = partition.wal_index
            if index is None or spans[0].base_offset < index.base_offset():
                return None
            return await self._read_wal(partition, spans)

    async def _read_wal(self, partition: Partition, spans: list[WalSpan]) -> list[bytes]:
        batches = await self._wal.read_many([(span.segment, span.position, span.size) for span in spans])
        for batch, span in zip(batches, spans, strict=True):
            if not is_intact(batch) or read_header(batch).base_offset != span.base_offset:
                self.corrupt_batches += 1
                raise DataCorrupt(
                    f"{partition.name}: the batch at byte {span.position} of WAL segment {span.segment} is corrupt"
                )
            self.wal_bytes_read += len(batch)
        return batches
