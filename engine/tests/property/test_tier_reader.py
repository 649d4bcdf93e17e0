"""Random reads of a spoilt object over a store with faults: what is served is right, and what is not says why."""

import asyncio
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from tailrace_core.batch import HEADER, HEADER_BYTES, LOG_OVERHEAD_BYTES
from tailrace_core.errors import DataCorrupt, StorageUnavailable
from tailrace_engine.sim.objects import SimObjectFaults, SimObjectStore
from tailrace_engine.tier.layout import ObjectHeader
from tailrace_engine.tier.reader import TierReader, TierReaderOptions
from tailrace_engine.tier.writer import RawBatch, SectionWriter, build_object

KIB = 1024
OPTIONS = TierReaderOptions(
    cache_bytes=600 * KIB,
    index_cache_bytes=4 * KIB,
    block_bytes=128 * KIB,
    get_bytes=256 * KIB,
    gets_in_flight_max=2,
    bytes_per_second_max=0,
    read_ahead_bytes_min=64 * KIB,
    read_ahead_bytes_max=512 * KIB,
    read_ahead_budget_bytes=700 * KIB,
)


class FrozenClock:
    """Time stands still."""

    def now_ms(self) -> int:
        return 0

    def monotonic(self) -> float:
        return 0.0


def partition_of(seed: random.Random) -> list[RawBatch]:
    content = []
    offset = seed.randrange(1000)
    for _ in range(seed.randrange(1, 120)):
        offset += seed.choice([0, 0, 0, 3])
        size = HEADER_BYTES + seed.choice([10, 1000, 20_000, 90_000])
        data = bytearray(seed.randbytes(size))
        HEADER.pack_into(data, 0, offset, size - LOG_OVERHEAD_BYTES, 1, 2, 0, 0, 4, 0, offset, -1, -1, -1, 5)
        content.append(RawBatch(bytes(data), offset, offset + 5, offset))
        offset += 5
    return content


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.05]), st.integers(0, 3))
def test_what_is_served_is_what_was_stored(number: int, failure: float, spoilt: int) -> None:
    seed = random.Random(number)

    async def main() -> None:
        store = SimObjectStore(seed, SimObjectFaults(failure=failure))
        partitions = [partition_of(seed) for _ in range(3)]
        sections = []
        for n, content in enumerate(partitions):
            sections.append(SectionWriter(bytes(16), n, 1, [], b""))
            sections[-1].add(content)
        built = build_object(ObjectHeader(bytes(16), 1, 1, 1), sections)
        store.objects["o"] = b"".join(built.parts)
        for _ in range(spoilt):
            store.flip_bit("o", seed.randrange(built.size))
        reader = TierReader(store, FrozenClock(), OPTIONS)
        errors = 0

        async def consume(n: int) -> None:
            nonlocal errors
            extent, content = built.extents[n], partitions[n]
            offset = seed.randrange(extent.base_offset, extent.end_offset)
            for _ in range(60):
                first = next(i for i, batch in enumerate(content) if batch.end_offset > offset)
                max_bytes = seed.choice([0, 5_000, 200_000, 1_000_000])
                try:
                    read = await reader.read("o", extent, offset, max_bytes)
                except (DataCorrupt, StorageUnavailable):
                    errors += 1
                    end_offset = extent.end_offset
                else:
                    end_offset = read.end_offset
                    end = next((i for i, batch in enumerate(content) if batch.base_offset >= end_offset), len(content))
                    data = b"".join(read.parts)
                    assert data == b"".join(batch.data for batch in content[first:end])
                    assert len(data) == read.size
                    assert read.size <= max_bytes or end == first + 1
                assert reader.read_ahead_bytes <= OPTIONS.read_ahead_budget_bytes
                assert reader.cache_bytes_used <= OPTIONS.cache_bytes
                offset = end_offset
                if end_offset == extent.end_offset or seed.random() < 0.1:
                    offset = seed.randrange(extent.base_offset, extent.end_offset)

        await asyncio.gather(*(consume(n) for n in [0, 1, 2, 0, 1]))
        if not failure and not spoilt:
            assert errors == 0
        await reader.close()

    asyncio.run(main())
