"""The tier's reader over the simulated store: what it serves, how many GETs it sends, what it does with bad bytes."""

import asyncio
import gc
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import pytest

from tailrace_core.batch import HEADER, HEADER_BYTES, LOG_OVERHEAD_BYTES, batch_spans
from tailrace_core.errors import DataCorrupt, MissingObject, StorageUnavailable
from tailrace_core.extents import Extent
from tailrace_core.ids import TopicPartition
from tailrace_engine.sim.objects import SimObjectFaults, SimObjectStore
from tailrace_engine.tier.layout import ObjectHeader
from tailrace_engine.tier.reader import MIB, TierRead, TierReader, TierReaderOptions
from tailrace_engine.tier.writer import RawBatch, SectionWriter, build_object

KIB = 1024
TOPIC = bytes(range(16))


class StepClock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def now_ms(self) -> int:
        return 0

    def monotonic(self) -> float:
        return self.now


@dataclass
class RecordingStore(SimObjectStore):
    """Notes the ranges asked for."""

    ranges: list[tuple[str, int, int]] = field(default_factory=list)
    in_flight: int = 0
    in_flight_max: int = 0

    def __post_init__(self) -> None:
        super().__init__(random.Random(1))

    async def get_range(self, key: str, position: int, length: int) -> bytes:
        self.ranges.append((key, position, length))
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self.in_flight)
        try:
            await asyncio.sleep(0)
            return await super().get_range(key, position, length)
        finally:
            self.in_flight -= 1


def batches(count: int, size: int, base_offset: int = 0, gap: int = 0) -> list[RawBatch]:
    """Each of two records and `size` bytes; the n-th has the timestamp 1000 + n."""
    made = []
    for n in range(count):
        data = bytearray(random.Random(n).randbytes(size))
        HEADER.pack_into(data, 0, base_offset, size - LOG_OVERHEAD_BYTES, 1, 2, 0, 0, 1, 0, 1000 + n, -1, -1, -1, 2)
        made.append(RawBatch(bytes(data), base_offset, base_offset + 2, 1000 + n))
        base_offset += 2 + gap
    return made


def stored(store: SimObjectStore, key: str, *partitions: list[RawBatch], snapshot: bytes = b"snap") -> list[Extent]:
    sections = []
    for number, content in enumerate(partitions):
        section = SectionWriter(TOPIC, number, 4, [(4, content[0].base_offset)], snapshot + b"%d" % number)
        section.add(content)
        sections.append(section)
    built = build_object(ObjectHeader(bytes(16), 1, 1, 1), sections)
    store.objects[key] = b"".join(built.parts)
    return list(built.extents)


def raw(content: list[RawBatch]) -> bytes:
    return b"".join(batch.data for batch in content)


def joined(read: TierRead) -> bytes:
    assert read.size == sum(map(len, read.parts))
    return b"".join(read.parts)


async def all_of(reader: TierReader, key: str, extent: Extent, offset: int, max_bytes: int) -> bytes:
    pieces = []
    while offset < extent.end_offset:
        read = await reader.read(key, extent, offset, max_bytes)
        pieces.append(joined(read))
        assert read.end_offset > offset
        offset = read.end_offset
    return b"".join(pieces)


def options(**changed: int) -> TierReaderOptions:
    """Without the bandwidth cap: the tests' clock stands still."""
    return replace(TierReaderOptions(bytes_per_second_max=0), **changed)


def run(case: Callable[[RecordingStore, StepClock], Awaitable[None]]) -> None:
    asyncio.run(case(RecordingStore(), StepClock()))  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [HEADER_BYTES, 1000, 100_000, 3 * MIB])
@pytest.mark.parametrize("max_bytes", [0, 70_000, 5 * MIB])
def test_all_batches_come_back_whole_and_in_order(size: int, max_bytes: int) -> None:
    async def case(store: RecordingStore, clock: StepClock) -> None:
        content = batches(min(4000, 6 * MIB // size), size, base_offset=500)
        (extent,) = stored(store, "o", content)
        reader = TierReader(store, clock, options())
        assert await all_of(reader, "o", extent, 500, max_bytes) == raw(content)
        assert reader.bytes_served == extent.length
        await reader.close()

    run(case)


def test_the_first_batch_is_the_one_that_contains_the_offset() -> None:
    async def case(store: RecordingStore, clock: StepClock) -> None:
        content = batches(3000, 1000)
        (extent,) = stored(store, "o", content)
        reader = TierReader(store, clock, options())
        for offset in (0, 1, 2, 127, 128, 129, 3001, 5998, 5999):
            read = await reader.read("o", extent, offset, 1)
            assert joined(read) == content[offset // 2].data
            assert read.end_offset == offset // 2 * 2 + 2
        await reader.close()

    run(case)


def test_max_bytes_is_kept_but_for_the_first_batch() -> None:
    async def case(store: RecordingStore, clock: StepClock) -> None:
        content = batches(500, 1000)
        (extent,) = stored(store, "o", content)
        reader = TierReader(store, clock, options())
        for max_bytes, expected in ((0, 1), (999, 1), (1000, 1), (1999, 1), (2000, 2), (100_999, 100), (10**9, 500)):
            read = await reader.read("o", extent, 0, max_bytes)
            assert joined(read) == raw(content[:expected])
            assert read.end_offset == expected * 2
        await reader.close()

    run(case)


def test_an_offset_that_compaction_took_away_gives_the_batch_after_it() -> None:
    async def case(store: RecordingStore, clock: StepClock) -> None:
        content = batches(3000, 1000, gap=3)
        (extent,) = stored(store, "o", content)
        reader = TierReader(store, clock, options())
        for offset in range(2, extent.end_offset - 5, 97):
            n = offset // 5 + (offset % 5 >= 2)
            assert joined(await reader.read("o", extent, offset, 1)) == content[n].data
        assert await all_of(reader, "o", extent, 3, 50_000) == raw(content[1:])
        await reader.close()

    run(case)


def test_a_small_extent_costs_one_get_and_then_none() -> None:
    async def case(store: RecordingStore, clock: StepClock) -> None:
        content = batches(100, 1000)
        first, second = stored(store, "o", content, content)
        reader = TierReader(store, clock, options())
        assert await all_of(reader, "o", second, 0, 10_000) == raw(content)
        assert store.ranges == [("o", second.position, second.section_length)]
        await reader.read("o", first, 0, 10_000)
        assert len(store.ranges) == 2
        await reader.close()

    run(case)


def test_concurrent_misses_of_a_block_share_one_get() -> None:
    async def case(store: RecordingStore, clock: StepClock) -> None:
        content = batches(3000, 1000)
        (extent,) = stored(store, "o", content)
        reader = TierReader(store, clock, options())
        reads = await asyncio.gather(*(reader.read("o", extent, 2 * n, 1000) for n in range(50)))
        assert [joined(read) for read in reads] == [batch.data for batch in content[:50]]
        assert len(store.ranges) == 2
        await reader.close()

    run(case)


def test_a_reader_that_goes_away_does_not_take_the_get_from_others() -> None:
    async def case(store: RecordingStore, clock: StepClock) -> None:
        content = batches(3000, 1000)
        (extent,) = stored(store, "o", content)
        reader = TierReader(store, clock, options())
        first = asyncio.ensure_future(reader.read("o", extent, 0, 1000))
        second = asyncio.ensure_future(reader.read("o", extent, 0, 1000))
        await asyncio.sleep(0)
        first.cancel()
        assert joined(await second) == content[0].data
        await reader.close()

    run(case)


def test_sequential_reads_are_fetched_ahead_and_single_reads_are_not() -> None:
    async def case(store: RecordingStore, clock: StepClock) -> None:
        content = batches(160, 100_000)
        (extent,) = stored(store, "o", content)
        reader = TierReader(store, clock, options())
        for offset in (0, 100, 200):
            await reader.read("o", extent, offset, 1000)
        await settled(reader)
        assert len(store.ranges) == 1 + 3
        assert reader.read_ahead_bytes == 0
        offset = 0
        while offset < extent.end_offset:
            offset = (await reader.read("o", extent, offset, MIB)).end_offset
            await settled(reader)
        assert reader.block_misses <= 5
        assert reader.read_ahead_bytes == 0
        fetched = sum(length for _, _, length in store.ranges)
        assert fetched == extent.section_length
        await reader.close()

    run(case)


async def settled(reader: TierReader) -> None:
    """Until no GET is queued or in flight."""
    while reader.gets.in_flight:
        await asyncio.sleep(0)


def test_read_ahead_goes_on_into_the_following_extents() -> None:
    async def case(store: RecordingStore, clock: StepClock) -> None:
        places = []
        for n in range(4):
            (extent,) = stored(store, f"o{n}", batches(40, 100_000, base_offset=80 * n))
            places.append((f"o{n}", extent))
        reader = TierReader(store, clock, options())
        served = []
        for n, (key, extent) in enumerate(places):
            offset = extent.base_offset
            while offset < extent.end_offset:
                misses = reader.block_misses
                read = await reader.read(key, extent, offset, 300_000, places[n + 1 :])
                served.append(joined(read))
                offset = read.end_offset
                await settled(reader)
                assert n < 1 or reader.block_misses == misses
        assert b"".join(served) == b"".join(raw(batches(40, 100_000, base_offset=80 * n)) for n in range(4))
        await reader.close()

    run(case)


def test_read_ahead_of_all_readers_keeps_one_budget() -> None:
    async def case(store: RecordingStore, clock: StepClock) -> None:
        content = batches(300, 100_000)
        (extent,) = stored(store, "o", content)
        reader = TierReader(store, clock, options(read_ahead_budget_bytes=6 * MIB, cache_bytes=2 * MIB))
        offsets = [0, 120, 240, 360, 480]
        for _ in range(15):
            for n, offset in enumerate(offsets):
                if offset < extent.end_offset:
                    read = await reader.read("o", extent, offset, 500_000)
                    start = offset // 2 * 100_000
                    assert joined(read) == raw(content)[start : start + read.size]
                    offsets[n] = read.end_offset
                    assert reader.read_ahead_bytes <= 6 * MIB
                    assert reader.cache_bytes_used <= 2 * MIB
        await reader.close()

    run(case)


def test_a_seek_gives_its_read_ahead_back_once_it_was_idle() -> None:
    async def case(store: RecordingStore, clock: StepClock) -> None:
        content = batches(160, 100_000)
        (extent,) = stored(store, "o", content)
        reader = TierReader(store, clock, options())
        offset = 0
        for _ in range(4):
            offset = (await reader.read("o", extent, offset, MIB)).end_offset
        await settled(reader)
        assert reader.read_ahead_bytes > 0
        clock.now += 60
        await reader.read("o", extent, 300, 1000)
        assert reader.read_ahead_bytes == 0
        gets = len(store.ranges)
        await reader.read("o", extent, offset, 1000)
        assert len(store.ranges) == gets, "what was fetched ahead is still in the cache"
        await reader.close()

    run(case)


def test_gets_in_flight_are_bounded() -> None:
    async def case(store: RecordingStore, clock: StepClock) -> None:
        content = batches(40, MIB)
        (extent,) = stored(store, "o", content)
        reader = TierReader(store, clock, options(gets_in_flight_max=3))
        await asyncio.gather(*(reader.read("o", extent, 2 * n, 1) for n in range(40)))
        assert store.in_flight_max == 3
        await reader.close()

    run(case)


def test_the_bandwidth_cap_holds_gets_back() -> None:
    class LoopClock(StepClock):
        def monotonic(self) -> float:
            return asyncio.get_running_loop().time()

    async def case() -> None:
        store, clock = RecordingStore(), LoopClock()
        content = batches(20, MIB)
        (extent,) = stored(store, "o", content)
        reader = TierReader(store, clock, TierReaderOptions(bytes_per_second_max=100 * MIB))
        begin = clock.monotonic()
        await asyncio.gather(*(reader.read("o", extent, 2 * n, 1) for n in range(20)))
        # The first burst is 20 ms' worth, and the last GET is paid for after it was sent.
        assert clock.monotonic() - begin >= 20 / 100 - 0.02 - 0.02
        await reader.close()

    asyncio.run(case())


def test_bytes_spoilt_on_the_way_are_fetched_once_more() -> None:
    class NoisyStore(RecordingStore):
        async def get_range(self, key: str, position: int, length: int) -> bytes:
            data = await super().get_range(key, position, length)
            if self.ranges.count((key, position, length)) == 1:
                data = data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]
            return data

    async def case() -> None:
        store = NoisyStore()
        content = batches(3000, 1000)
        (extent,) = stored(store, "o", content)
        reader = TierReader(store, StepClock(), options())
        assert await all_of(reader, "o", extent, 0, 100_000) == raw(content)
        assert reader.gets.corrupt_ranges > 0
        assert reader.corrupt_spans == 0
        await reader.close()

    asyncio.run(case())


def test_a_spoilt_span_is_never_served_and_named_and_the_rest_is_served() -> None:
    async def case(store: RecordingStore, clock: StepClock) -> None:
        content = batches(3000, 1000)
        (extent,) = stored(store, "o", content)
        store.flip_bit("o", extent.position + 700 * 1000 + 500)
        reader = TierReader(store, clock, options())
        pieces = []
        offset = 0
        refused = ""
        while not refused:
            try:
                read = await reader.read("o", extent, offset, 100_000)
            except DataCorrupt as error:
                refused = str(error)
            else:
                pieces.append(joined(read))
                offset = read.end_offset
        good = b"".join(pieces)
        assert good == raw(content)[: len(good)]
        assert 600_000 < len(good) <= 700_000
        assert refused.startswith("object o: bytes ")
        assert f"AAECAwQFBgcICQoLDA0ODw-0 offsets [{offset}, " in refused
        with pytest.raises(DataCorrupt):
            await reader.read("o", extent, 1400, 1)
        with pytest.raises(DataCorrupt):
            await reader.offset_for_timestamp("o", extent, 1700)
        assert joined(await reader.read("o", extent, 1600, 1)) == content[800].data
        assert await all_of(reader, "o", extent, 1600, 100_000) == raw(content[800:])
        assert reader.corrupt_spans == 1
        await reader.close()

    run(case)


@pytest.mark.parametrize("size", [100, 3000])
def test_a_spoilt_section_index_is_corrupt(size: int) -> None:
    async def case(store: RecordingStore, clock: StepClock) -> None:
        (extent,) = stored(store, "o", batches(size, 1000))
        store.flip_bit("o", extent.position + extent.length + 90)
        reader = TierReader(store, clock, options())
        for _ in range(2):
            with pytest.raises(DataCorrupt, match="object o: the section index"):
                await reader.read("o", extent, 0, 1)
        await reader.close()

    run(case)


def test_an_object_cut_short_is_corrupt() -> None:
    async def case(store: RecordingStore, clock: StepClock) -> None:
        (extent,) = stored(store, "o", batches(100, 1000))
        store.objects["o"] = store.objects["o"][:50_000]
        reader = TierReader(store, clock, options())
        with pytest.raises(DataCorrupt, match="object o ends at byte 50000"):
            await reader.read("o", extent, 0, 1)
        await reader.close()

    run(case)


def test_an_extent_of_another_object_is_corrupt() -> None:
    async def case(store: RecordingStore, clock: StepClock) -> None:
        (extent,) = stored(store, "o", batches(100, 1000))
        stored(store, "o", batches(100, 1000, base_offset=10))
        reader = TierReader(store, clock, options())
        with pytest.raises(DataCorrupt, match=r"is that of .*-0 offsets \[10, 210\)"):
            await reader.read("o", extent, 0, 1)
        await reader.close()

    run(case)


def test_a_store_that_fails_says_so_and_the_next_read_tries_again() -> None:
    async def case(store: RecordingStore, clock: StepClock) -> None:
        content = batches(3000, 1000)
        (extent,) = stored(store, "o", content)
        reader = TierReader(store, clock, options())
        with pytest.raises(MissingObject):
            await reader.read("absent", extent, 0, 1)
        await reader.read("o", extent, 0, 1)
        store.faults = SimObjectFaults(down=True)
        with pytest.raises(StorageUnavailable):
            await reader.read("o", extent, 4000, 1)
        store.faults = SimObjectFaults()
        assert joined(await reader.read("o", extent, 4000, 1)) == content[2000].data
        await reader.close()

    run(case)


def test_failed_read_ahead_gives_its_budget_back_and_is_not_an_error() -> None:
    async def case(store: RecordingStore, clock: StepClock) -> None:
        content = batches(160, 100_000)
        (extent,) = stored(store, "o", content)
        reader = TierReader(store, clock, options())
        offset = (await reader.read("o", extent, 0, MIB)).end_offset
        offset = (await reader.read("o", extent, offset, 1)).end_offset
        await settled(reader)
        store.faults = SimObjectFaults(down=True)
        assert reader.read_ahead_bytes > 0
        while reader.gets.failures == 0:
            offset = (await reader.read("o", extent, offset, 1)).end_offset
            await settled(reader)
        offset = (await reader.read("o", extent, offset, 1)).end_offset
        assert reader.gets.failures > 0
        store.faults = SimObjectFaults()
        assert await all_of(reader, "o", extent, offset, MIB) == raw(content[offset // 2 :])
        assert reader.read_ahead_bytes == 0
        await reader.close()

    run(case)


def test_the_first_batch_at_or_after_a_timestamp_is_found() -> None:
    async def case(store: RecordingStore, clock: StepClock) -> None:
        content = batches(3000, 1000)
        late = content[1500]
        content[1500] = RawBatch(with_timestamp(late.data, 9999), late.base_offset, late.end_offset, 9999)
        (extent,) = stored(store, "o", content)
        reader = TierReader(store, clock, options())
        for timestamp, n in ((0, 0), (1000, 0), (1001, 1), (2000, 1000), (2499, 1499), (2500, 1500), (5000, 1500)):
            found = await reader.offset_for_timestamp("o", extent, timestamp)
            assert found is not None
            assert found == (2 * n, content[n].data)
        assert extent.max_timestamp_ms == 9999
        assert await reader.offset_for_timestamp("o", extent, 10_000) is None
        await reader.close()

    run(case)


def with_timestamp(data: bytes | bytearray | memoryview, max_timestamp_ms: int) -> bytes:
    changed = bytearray(data)
    changed[35:43] = max_timestamp_ms.to_bytes(8, "big")
    return bytes(changed)


@pytest.mark.parametrize("snapshot_bytes", [10, 300_000])
def test_producer_snapshots_and_leader_epochs_are_read(snapshot_bytes: int) -> None:
    async def case(store: RecordingStore, clock: StepClock) -> None:
        snapshot = bytes(snapshot_bytes)
        extents = stored(store, "o", *[batches(1000, 1000)] * 3, snapshot=snapshot)
        reader = TierReader(store, clock, options())
        found = await reader.producer_snapshots("o", len(store.objects["o"]))
        assert found == {TopicPartition(TOPIC, n): snapshot + b"%d" % n for n in range(3)}
        assert len(store.ranges) == (1 if snapshot_bytes == 10 else 2)
        assert await reader.leader_epochs("o", extents[1]) == [(4, 0)]
        assert (await reader.footer("o", len(store.objects["o"]))).extents == tuple(extents)
        await reader.close()

    run(case)


def test_a_block_that_is_kept_does_not_hold_its_neighbours_bytes() -> None:
    async def case(store: RecordingStore, clock: StepClock) -> None:
        content = batches(80, 100_000)
        (extent,) = stored(store, "o", content)
        small = options(cache_bytes=4 * MIB, block_bytes=256 * KIB, get_bytes=512 * KIB)
        reader = TierReader(store, clock, small)
        offset = 0
        while offset < 98:
            offset = (await reader.read("o", extent, offset, 512 * KIB)).end_offset
        gets = len(store.ranges)
        await reader.read("o", extent, 0, 512 * KIB)
        assert len(store.ranges) == gets + 1
        read = await reader.read("o", extent, 0, 512 * KIB)
        assert len(store.ranges) == gets + 1
        assert len(read.parts) == 2
        for part in read.parts:
            assert isinstance(part, memoryview)
            assert isinstance(part.obj, bytes)
            assert len(part.obj) == 300_000
        await reader.close()

    run(case)


def test_what_left_the_cache_is_freed_at_once_and_its_buffers_are_used_again() -> None:
    async def case(store: RecordingStore, clock: StepClock) -> None:
        content = batches(300, 100_000)
        (extent,) = stored(store, "o", content)
        reader = TierReader(store, clock, options(cache_bytes=4 * MIB, read_ahead_budget_bytes=4 * MIB))
        used = set()
        offset = 0
        while offset < extent.end_offset:
            read = await reader.read("o", extent, offset, MIB)
            for part in read.parts:
                assert isinstance(part, memoryview)
                used.add(id(part.obj))
            offset = read.end_offset
            assert reader.buffer_bytes_held <= 8 * MIB
        assert len(used) * 2 * MIB <= 12 * MIB
        await reader.close()

    gc.disable()
    try:
        run(case)
    finally:
        gc.enable()


def test_close_ends_who_waits() -> None:
    async def case(store: RecordingStore, clock: StepClock) -> None:
        (extent,) = stored(store, "o", batches(40, 100_000))
        reader = TierReader(store, clock, options(gets_in_flight_max=1))
        await reader.read("o", extent, 0, 1)
        store.faults = SimObjectFaults(delay_seconds_max=1e9)
        waiting = [asyncio.ensure_future(reader.read("o", extent, offset, 1)) for offset in (30, 60)]
        await asyncio.sleep(0)
        await reader.close()
        for task in waiting:
            with pytest.raises(StorageUnavailable, match="closed"):
                await task

    run(case)


def test_batches_in_a_read_are_whole() -> None:
    async def case(store: RecordingStore, clock: StepClock) -> None:
        content = batches(3000, 1234)
        (extent,) = stored(store, "o", content)
        reader = TierReader(store, clock, options())
        offset = 0
        while offset < extent.end_offset:
            read = await reader.read("o", extent, offset, 333_333)
            for part in read.parts:
                assert sum(size for _, size, _ in batch_spans(part)) == len(part)
            offset = read.end_offset
        await reader.close()

    run(case)
