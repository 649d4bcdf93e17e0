"""What the tier costs on one core: building an object, putting it, reading it back in sequence.

For: CPU-seconds a GiB of the reader, the writer and the local store, with the page cache warm. Not for: disks, object
stores across a network, or sockets. BENCH=full prints figures; otherwise one small pass checks that it works.
"""

import os
import random
import resource
import time
from pathlib import Path

import uvloop

from tailrace_core.batch import HEADER, LOG_OVERHEAD_BYTES
from tailrace_engine.objects import LocalStore
from tailrace_engine.tier.layout import ObjectHeader
from tailrace_engine.tier.reader import MIB, TierReader, TierReaderOptions
from tailrace_engine.tier.writer import RawBatch, SectionWriter, build_object

FULL = os.environ.get("BENCH") == "full"
OBJECT_BYTES = (64 if FULL else 3) * MIB
OBJECTS = 6 if FULL else 2


class MonotonicClock:
    """core.ports.Clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()


class Timed:
    """Wall and CPU time of a block, all threads, printed for a number of bytes."""

    def __init__(self, what: str, size: int) -> None:
        self.what, self.size = what, size

    def __enter__(self) -> None:
        self.cpu, self.wall = time.process_time(), time.perf_counter()

    def __exit__(self, *_: object) -> None:
        wall, cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
        if FULL:
            gib = self.size / 2**30
            print(f"{self.what:55} {self.size / wall / 1e6:8.0f} MB/s {cpu / gib:6.3f} CPU-s/GiB")


def make_batches(size: int, base_offset: int) -> list[RawBatch]:
    made = []
    for n in range(OBJECT_BYTES // size):
        data = bytearray(random.Random(n).randbytes(size))
        HEADER.pack_into(data, 0, base_offset, size - LOG_OVERHEAD_BYTES, 1, 2, 0, 0, 0, 0, 1000 + n, -1, -1, -1, 1)
        made.append(RawBatch(bytes(data), base_offset, base_offset + 1, 1000 + n))
        base_offset += 1
    return made


async def measure(folder: Path, batch_bytes: int) -> None:
    store = LocalStore(folder / f"{batch_bytes}")
    places = []
    batches = make_batches(batch_bytes, 0)
    for n in range(OBJECTS):
        with Timed(f"build, batches of {batch_bytes}", OBJECT_BYTES):
            section = SectionWriter(bytes([n]) * 16, 0, 1, [(1, 0)], b"")
            section.add(batches)
            built = build_object(ObjectHeader(bytes(16), 1, 1, n), [section])
        with Timed(f"put with syncs, batches of {batch_bytes}", built.size):
            await store.put(f"o{n}", built.parts)
        places.append((f"o{n}", built.extents[0]))
    for max_bytes in (64 * 1024, MIB, 8 * MIB):
        reader = TierReader(store, MonotonicClock(), TierReaderOptions(bytes_per_second_max=0))
        served = 0
        with Timed(f"read {max_bytes // 1024} KiB, batches of {batch_bytes}", OBJECT_BYTES * OBJECTS):
            for key, extent in places:
                offset = extent.base_offset
                while offset < extent.end_offset:
                    read = await reader.read(key, extent, offset, max_bytes)
                    offset, served = read.end_offset, served + read.size
        if FULL:
            print(f"{'':20} {reader.reads} reads, {reader.gets.gets} GETs, {reader.block_misses} misses")
        assert served == sum(extent.length for _, extent in places) == reader.bytes_served
        await reader.close()
    await store.close()


def test_bench_tier(tmp_path: Path) -> None:
    for batch_bytes in (1024, 16 * 1024, MIB):
        uvloop.run(measure(tmp_path, batch_bytes))
    if FULL:
        print(f"resident at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB")
