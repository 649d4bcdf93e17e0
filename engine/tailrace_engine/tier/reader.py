"""Reads the tier: whole batches of an extent from an offset on, through block cache and read-ahead.

A *section* is an extent with its index loaded. Its batches are cut into *blocks* of about 1 MiB, always at index
entries, so a block holds whole batches, is checked by one CRC call when it arrives, and is served without being copied:
what read returns are views of the bytes that the store gave. One GET brings several neighbouring blocks when reading
ahead. Sections up to a block's size are fetched as a whole, index and all.

A block is in one of two places. `_pending`: asked for, or read ahead and not yet served to anyone; bounded by the GETs
in flight and by the read-ahead budget of all streams together. `_cache`: everything that was served, and what nobody
reads ahead for any more. Everything in either was checked. Bad bytes are fetched once more by Gets; where that does not
help, the block knows its bad spans (64 KiB) and what lies before and after them is still served.

All state changes on the loop's thread in synchronous methods; the only waits are for GETs, which many may share.
"""

import logging
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from tailrace_core.batch import Buffer
from tailrace_core.errors import DataCorrupt
from tailrace_core.extents import Extent
from tailrace_core.ids import TopicPartition
from tailrace_core.ports import Clock, ObjectStore
from tailrace_engine.cache.buffers import BufferPool
from tailrace_engine.cache.cold import ColdCache
from tailrace_engine.tier import layout
from tailrace_engine.tier.gets import Get, Gets
from tailrace_engine.tier.layout import Footer, SectionIndex
from tailrace_engine.tier.read_ahead import Stream, Streams, window_bytes

KIB: Final = 1024
MIB: Final = 1024 * KIB
_BLOCK_OVERHEAD_BYTES: Final = 1024
"""What a block takes besides its bytes; small extents have small blocks, and there may be very many."""
_FOOTER_GUESS_BYTES: Final = 256 * KIB
"""Footer and snapshots of most objects: one GET without knowing where they begin."""

_log = logging.getLogger(__name__)

BlockKey: TypeAlias = tuple[str, int]
"""Object key, and where the block begins in the object."""


@dataclass(frozen=True, slots=True)
class TierReaderOptions:
    """Bounds of memory and load, for all readers of one broker together."""

    cache_bytes: int = 64 * MIB
    index_cache_bytes: int = 8 * MIB
    block_bytes: int = MIB
    get_bytes: int = 2 * MIB
    """A GET brings the neighbouring blocks that begin within so many bytes."""
    gets_in_flight_max: int = 16
    bytes_per_second_max: int = 400_000_000
    """0: no cap."""
    read_ahead_bytes_min: int = 512 * KIB
    read_ahead_bytes_max: int = 32 * MIB
    """Of one reader."""
    read_ahead_budget_bytes: int = 64 * MIB
    """Of all readers: fetched, or being fetched, and not yet served."""


class TierRead(NamedTuple):
    """Whole batches in offset order."""

    parts: list[Buffer]
    """Views of the cache's bytes. What holds one keeps the bytes of its whole GET in memory."""
    size: int
    """Bytes of all parts."""
    end_offset: int
    """Exclusive: where the next read goes on; the extent's end offset when it is used up."""


class _Section:
    __slots__ = ("blocks", "extent", "index", "key")

    def __init__(self, key: str, extent: Extent, index: SectionIndex, block_bytes: int) -> None:
        self.key = key
        self.extent = extent
        self.index = index
        self.blocks = [0]
        """The index entries where blocks begin, and at the end the number of entries."""
        while self.blocks[-1] < len(index.positions):
            self.blocks.append(index.block_end(self.blocks[-1], block_bytes))

    def block_of_entry(self, entry: int) -> int:
        return bisect_right(self.blocks, entry) - 1

    def block_start(self, block: int) -> int:
        """Bytes from the section's first batch."""
        return self.index.start_of(self.blocks[block])


class _Block:
    __slots__ = ("bad_entries", "data", "end_entry", "first_entry", "get", "key", "size", "start", "stream")

    data: memoryview
    """Once the GET is done."""
    get: Get

    def __init__(self, section: _Section, number: int, stream: "Stream[_Block] | None") -> None:
        self.first_entry = section.blocks[number]
        self.end_entry = section.blocks[number + 1]
        self.start = section.block_start(number)
        """Bytes from the section's first batch."""
        self.size = section.block_start(number + 1) - self.start
        self.key: BlockKey = (section.key, section.extent.position + self.start)
        self.stream = stream
        """Which it was read ahead for and has not yet been served to."""
        self.bad_entries: tuple[int, ...] = ()
        """Spans that did not match their CRC, twice."""


class _Load:
    """A section that is being fetched."""

    __slots__ = ("get", "section")

    get: Get
    section: _Section


class TierReader:
    """One per broker. The counters are for metrics: plain integers that only rise."""

    def __init__(self, store: ObjectStore, clock: Clock, options: TierReaderOptions | None = None) -> None:
        self.options = options = options or TierReaderOptions()
        self._buffers = BufferPool(options.cache_bytes + options.read_ahead_budget_bytes)
        self.gets = Gets(store, clock, self._buffers, options.gets_in_flight_max, options.bytes_per_second_max)
        self._clock = clock
        self._sections: ColdCache[BlockKey, _Section] = ColdCache(options.index_cache_bytes)
        self._loads: dict[BlockKey, _Load] = {}
        self._cache: ColdCache[BlockKey, _Block] = ColdCache(options.cache_bytes)
        self._pending: dict[BlockKey, _Block] = {}
        self._streams: Streams[_Block] = Streams(self._on_stream_dropped)
        self.read_ahead_bytes = 0
        """Now held or under way for read-ahead; not a counter."""
        self.reads = 0
        self.bytes_served = 0
        self.block_hits = 0
        """Blocks that were there when they were wanted."""
        self.block_misses = 0
        self.corrupt_spans = 0
        """64 KiB spans that two GETs brought with a wrong CRC."""

    @property
    def buffer_bytes_held(self) -> int:
        """Of all that was read and of what is kept to read into; at most cache and read-ahead budget together."""
        return self._buffers.bytes_held

    @property
    def cache_bytes_used(self) -> int:
        """Of the block cache."""
        return self._cache.bytes_used

    async def read(
        self,
        object_key: str,
        extent: Extent,
        offset: int,
        max_bytes: int,
        following: Sequence[tuple[str, Extent]] = (),
    ) -> TierRead:
        """Whole batches from the one that contains offset on; offset is in [base_offset, end_offset) of the extent.

        max_bytes is a soft limit: at least one batch, and fewer bytes where the next block has not come yet.
        `following` are the partition's next extents: read-ahead goes on into them. Raises DataCorrupt, MissingObject,
        StorageUnavailable and FormatTooNew.
        """
        assert extent.base_offset <= offset < extent.end_offset, f"{offset=} outside of {extent}"
        self.reads += 1
        stream = self._streams.take((extent.topic_id, extent.partition, offset))
        try:
            section, found, position = await self._read(stream, object_key, extent, offset, max_bytes)
        except BaseException:
            self._streams.drop(stream)
            raise
        self.bytes_served += found.size
        stream.consumed_bytes += found.size
        self._read_ahead(stream, section, position, following)
        self._streams.park((extent.topic_id, extent.partition, found.end_offset), stream, self._clock.monotonic())
        return found

    async def offset_for_timestamp(
        self, object_key: str, extent: Extent, timestamp_ms: int
    ) -> tuple[int, memoryview] | None:
        """Base offset and bytes of the first batch whose largest timestamp is at least timestamp_ms.

        None where the extent has none: its max_timestamp_ms tells that before.
        """
        section = await self._section(object_key, extent)
        index = section.index
        entry = index.entry_of_timestamp(timestamp_ms)
        if entry is None:
            return None
        block = await self._block(section, section.block_of_entry(entry), 0)
        if entry in block.bad_entries:
            raise _corrupt(section, entry)
        span = block.data[index.start_of(entry) - block.start : index.start_of(entry + 1) - block.start]
        position = layout.position_of_timestamp(span, timestamp_ms)
        return layout.base_offset_at(span, position), span[position : layout.end_position_at(span, position)]

    async def leader_epochs(self, object_key: str, extent: Extent) -> list[tuple[int, int]]:
        """(leader epoch, start offset) of the extent's batches, rising."""
        section = await self._section(object_key, extent)
        return list(section.index.leader_epochs)

    async def producer_snapshots(self, object_key: str, object_size: int) -> dict[TopicPartition, bytes]:
        """The encoded producer snapshots of all partitions in the object: one GET while they are small."""
        footer, start, tail = await self._footer(object_key, object_size)
        if footer.snapshots_position < start:
            start = footer.snapshots_position
            tail = await self._fetch(object_key, start, footer.snapshots_length)
        place = footer.snapshots_position - start
        return layout.parse_snapshots(object_key, tail[place : place + footer.snapshots_length])

    async def footer(self, object_key: str, object_size: int) -> Footer:
        """What the object says of itself."""
        return (await self._footer(object_key, object_size))[0]

    async def close(self) -> None:
        """End all GETs; who waits for one gets StorageUnavailable."""
        await self.gets.close()

    async def _read(
        self, stream: Stream[_Block], object_key: str, extent: Extent, offset: int, max_bytes: int
    ) -> tuple[_Section, TierRead, int]:
        section = stream.section
        if isinstance(section, _Section) and section.key == object_key and section.extent == extent:
            position = stream.position
        else:
            section = await self._section(object_key, extent)
            position = section.index.start_of(section.index.entry_of_offset(offset))
        index = section.index
        last_block = len(section.blocks) - 2
        number = section.block_of_entry(index.entry_of_position(position))
        while True:
            block = await self._block(section, number, max_bytes)
            end = _intact_end(section, block, position)
            start = layout.position_of_offset(block.data[:end], position - block.start, offset)
            if start < end:
                break
            # The offset was compacted away: the batch after it is the next block's first.
            if end < block.size or number == last_block:
                raise _corrupt(section, index.entry_of_position(block.start + end))
            number += 1
            position = section.block_start(number)
        parts: list[Buffer] = []
        size = 0
        while True:
            cut = end
            if end - start > max_bytes - size:
                limit = start + max_bytes - size
                entry = index.entry_of_position(block.start + limit)
                cut = layout.cut_of_batches(block.data, max(start, index.start_of(entry) - block.start), limit)
                if cut == start and not parts:
                    cut = layout.end_position_at(block.data, start)
            if cut > start:
                parts.append(block.data[start:cut])
                size += cut - start
            position = block.start + cut
            if cut < block.size or size >= max_bytes or number == last_block:
                break
            next_block = self._block_now(section, number + 1)
            if next_block is None or next_block.first_entry in next_block.bad_entries:
                break
            block, number, start = next_block, number + 1, 0
            end = _intact_end(section, block, block.start)
        if cut < block.size:
            end_offset = layout.base_offset_at(block.data, cut)
        else:
            end_offset = index.base_offset_of(block.end_entry)
        return section, TierRead(parts, size, end_offset), position

    async def _section(self, object_key: str, extent: Extent) -> _Section:
        section = self._sections.get((object_key, extent.position))
        if section is not None and section.extent == extent:
            return section
        load = self._load(object_key, extent, True)
        await load.get.wait()
        if load.section.extent != extent:
            # Two catalog states asked at once: this one's extent is judged against the section by itself.
            return await self._section(object_key, extent)
        return load.section

    def _load(self, object_key: str, extent: Extent, urgent: bool) -> _Load:
        key = (object_key, extent.position)
        load = self._loads.get(key)
        if load is not None:
            if urgent:
                self.gets.hurry(load.get)
            return load
        is_whole = extent.section_length <= self.options.block_bytes
        skipped = 0 if is_whole else extent.length
        load = _Load()

        def accept(data: memoryview, is_last_try: bool) -> None:
            index = layout.parse_section_tail(object_key, extent, data[extent.length - skipped :])
            section = _Section(object_key, extent, index, self.options.block_bytes)
            if is_whole:
                block = _Block(section, 0, None)
                block.get = load.get
                self._take_block(section, block, data[: extent.length], is_last_try)
                self._keep(block, is_alone=True)
            load.section = section
            self._sections.put(key, section, index.size_bytes)
            del self._loads[key]

        def failed() -> None:
            del self._loads[key]

        self._loads[key] = load
        load.get = self.gets.ask(
            object_key,
            extent.position + skipped,
            extent.section_length - skipped,
            urgent,
            accept,
            failed,
        )
        return load

    async def _block(self, section: _Section, number: int, max_bytes: int) -> _Block:
        """The block, checked; where it has to be fetched, then with those after it that max_bytes reaches."""
        block = self._block_now(section, number)
        if block is not None:
            self.block_hits += 1
            return block
        self.block_misses += 1
        block = self._pending.get((section.key, section.extent.position + section.block_start(number)))
        if block is None:
            end = number + 1
            reach = section.block_start(number) + min(max_bytes, self.options.get_bytes)
            while (
                end < len(section.blocks) - 1 and section.block_start(end) < reach and not self._is_known(section, end)
            ):
                end += 1
            block = self._ask(section, number, end, None)
        else:
            self.gets.hurry(block.get)
        await block.get.wait()
        if block.stream is not None:
            self._serve_ahead(block)
        return block

    def _block_now(self, section: _Section, number: int) -> _Block | None:
        """The block if it is there."""
        key = (section.key, section.extent.position + section.block_start(number))
        block = self._pending.get(key)
        if block is None:
            return self._cache.get(key)
        if not block.get.done.is_set():
            return None
        self._serve_ahead(block)
        return block

    def _is_known(self, section: _Section, number: int) -> bool:
        key = (section.key, section.extent.position + section.block_start(number))
        return key in self._pending or key in self._cache

    def _ask(self, section: _Section, first: int, end: int, stream: Stream[_Block] | None) -> _Block:
        """GET the blocks first to end (exclusive), for a stream's future or, without one, for somebody who waits."""
        blocks = [_Block(section, number, stream) for number in range(first, end)]
        start = blocks[0].start

        def accept(data: memoryview, is_last_try: bool) -> None:
            for block in blocks:
                position = block.start - start
                self._take_block(section, block, data[position : position + block.size], is_last_try)
            for block in blocks:
                if block.stream is None:
                    del self._pending[block.key]
                    self._keep(block, is_alone=len(blocks) == 1)

        def failed() -> None:
            for block in blocks:
                self._release(block)
                del self._pending[block.key]

        length = section.block_start(end) - start
        get = self.gets.ask(section.key, section.extent.position + start, length, stream is None, accept, failed)
        for block in blocks:
            block.get = get
            self._pending[block.key] = block
            if stream is not None:
                stream.held[block.key] = block
                self.read_ahead_bytes += block.size
        return blocks[0]

    def _take_block(self, section: _Section, block: _Block, data: memoryview, is_last_try: bool) -> None:
        index = section.index
        block.data = data
        if index.is_intact(data, block.first_entry, block.end_entry):
            return
        bad = []
        for entry in range(block.first_entry, block.end_entry):
            span = data[index.start_of(entry) - block.start : index.start_of(entry + 1) - block.start]
            if not index.is_intact(span, entry, entry + 1):
                bad.append(entry)
        if not is_last_try:
            raise _corrupt(section, bad[0])
        self.corrupt_spans += len(bad)
        for entry in bad:
            _log.error("%s", _corrupt(section, entry))
        block.bad_entries = tuple(bad)

    def _keep(self, block: _Block, is_alone: bool) -> None:
        if not is_alone and self._cache.keeps(block.key):
            # It will outlive its neighbours, whose bytes it should not keep in memory.
            block.data = memoryview(bytes(block.data))
        self._cache.put(block.key, block, block.size + _BLOCK_OVERHEAD_BYTES)

    def _serve_ahead(self, block: _Block) -> None:
        """A block that was read ahead is wanted: it moves to the cache."""
        self._release(block)
        if self._pending.pop(block.key, None) is not None:
            self._keep(block, is_alone=False)

    def _release(self, block: _Block) -> None:
        if block.stream is not None:
            del block.stream.held[block.key]
            block.stream = None
            self.read_ahead_bytes -= block.size

    def _on_stream_dropped(self, stream: Stream[_Block]) -> None:
        for block in list(stream.held.values()):
            if block.get.done.is_set():
                self._serve_ahead(block)
            else:
                self._release(block)

    def _read_ahead(
        self, stream: Stream[_Block], section: _Section, position: int, following: Sequence[tuple[str, Extent]]
    ) -> None:
        """Fetch what the stream will want, given that it has read up to position in the section."""
        if stream.section is not section:
            before = stream.section
            stream.planned_to -= before.extent.length if isinstance(before, _Section) else 0
            stream.section = section
        stream.position = position
        if not stream.is_sequential:
            stream.planned_to = position
            return
        options = self.options
        window = window_bytes(
            stream.consumed_bytes,
            options.read_ahead_bytes_min,
            options.read_ahead_bytes_max,
            options.read_ahead_budget_bytes,
            self._streams.sequential_count,
        )
        # Asked for in large pieces: once half of the window is used up.
        if stream.planned_to - position > window // 2:
            return
        target = position + window
        first = len(section.blocks) - 1
        if position < section.extent.length:
            first = section.block_of_entry(section.index.entry_of_position(position))
        stop = self._ask_ahead(stream, section, first, target)
        stream.planned_to = section.block_start(stop)
        begin = 0
        """Of the section at hand, measured as position is."""
        for object_key, extent in following:
            begin += section.extent.length
            if stream.planned_to < begin or begin >= target:
                return
            known = self._sections.get((object_key, extent.position))
            if known is None or known.extent != extent:
                # Its blocks are planned by a later read, when the index is there.
                self._load(object_key, extent, False)
                return
            section = known
            stop = self._ask_ahead(stream, section, 0, target - begin)
            stream.planned_to = begin + section.block_start(stop)

    def _ask_ahead(self, stream: Stream[_Block], section: _Section, first: int, target: int) -> int:
        """Ask for the blocks from first on that begin below target and are not known; the block where it stopped."""
        options = self.options
        count = len(section.blocks) - 1
        number = first
        while number < count and section.block_start(number) < target:
            if self._is_known(section, number):
                number += 1
                continue
            start = section.block_start(number)
            end = number + 1
            while (
                end < count
                and section.block_start(end) < target
                and section.block_start(end) - start < options.get_bytes
                and not self._is_known(section, end)
            ):
                end += 1
            if self.read_ahead_bytes + section.block_start(end) - start > options.read_ahead_budget_bytes:
                break
            self._ask(section, number, end, stream)
            number = end
        return number

    async def _fetch(self, object_key: str, position: int, length: int) -> memoryview:
        taken: list[memoryview] = []
        await self.gets.ask(object_key, position, length, True, lambda data, _: taken.append(data)).wait()
        return taken[0]

    async def _footer(self, object_key: str, object_size: int) -> tuple[Footer, int, memoryview]:
        """The footer, and the object's last bytes that were read for it with where they begin."""
        start = max(object_size - _FOOTER_GUESS_BYTES, 0)
        tail = await self._fetch(object_key, start, object_size - start)
        position = layout.parse_trailer(object_key, object_size, tail)
        if position < start:
            start = position
            tail = await self._fetch(object_key, start, object_size - start)
        return layout.parse_footer(object_key, object_size, tail), start, tail


def _intact_end(section: _Section, block: _Block, position: int) -> int:
    """Where the good bytes from position on end, in the block. Raises DataCorrupt where they do not begin."""
    if not block.bad_entries:
        return block.size
    index = section.index
    entry = index.entry_of_position(position)
    if entry in block.bad_entries:
        raise _corrupt(section, entry)
    return next((index.start_of(bad) - block.start for bad in block.bad_entries if bad > entry), block.size)


def _corrupt(section: _Section, entry: int) -> DataCorrupt:
    index, extent = section.index, section.extent
    start, end = index.start_of(entry), index.start_of(entry + 1)
    return DataCorrupt(
        f"object {section.key}: bytes {extent.position + start} to {extent.position + end}, "
        f"{layout.place_text(extent.topic_id, extent.partition)} "
        f"offsets [{index.base_offset_of(entry)}, {index.base_offset_of(entry + 1)}), do not match their CRC-32C"
    )
