"""A/B of the WAL's backends: what a commit costs on each, beside the bare device.

For: choosing a backend and a sync mode on a machine, and seeing a regression of the writer. Not for: end-to-end figures
(no network, no partitions, nothing uploaded). Backends take turns in rounds, so that a disturbed second hits all alike;
the median round is shown.

    PYTHONPATH=engine:controller:gateway python engine/bench/bench_wal.py [--directory DIR] [--rounds N] [--quick]
"""

import argparse
import asyncio
import mmap
import os
import platform
import shutil
import statistics
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

import uvloop
from crc32c import crc32c

from tailrace_core.batch import HEADER
from tailrace_core.errors import InvalidSettings, StorageUnavailable
from tailrace_engine.disk.probe import open_disk
from tailrace_engine.log.entry import BatchEntry
from tailrace_engine.wal.recovery import recover
from tailrace_engine.wal.writer import Wal, WalOptions

BACKENDS = (("uring", "always"), ("threads", "always"), ("buffered", "always"), ("buffered", "interval"))


class Clock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()


class Owner:
    topic_id = b"0123456789abcdef"
    partition = 0


OWNER = Owner()


@dataclass
class Size:
    singles: int
    groups: int
    bulk_batches: int


@dataclass
class Round:
    """One backend, once."""

    single_p50_us: float
    single_p99_us: float
    grouped_per_second: float
    grouped_cpu_us: float
    bulk_mb_per_second: float
    bulk_cpu_s_per_gib: float


def make_batch(size: int) -> bytes:
    batch = bytearray(HEADER.pack(0, size - 12, 1, 2, 0, 0, 0, 0, 0, -1, -1, -1, 1) + Random(1).randbytes(size - 61))
    struct.pack_into(">I", batch, 17, crc32c(memoryview(batch)[21:]))
    return bytes(batch)


class Driver:
    """Appends and waits."""

    def __init__(self, directory: Path, backend: str, sync: str) -> None:
        loop = asyncio.get_running_loop()
        disk = open_disk(directory, backend, sync, loop)
        options = WalOptions(backend, sync, capacity_bytes=4 << 30)
        recovery = recover(disk.sources(), lambda records: None)
        self.acknowledged = 0
        self.appended = 0
        self._wanted = 0
        self._waiter: asyncio.Future[None] | None = None
        self.wal = Wal.open(disk, options, loop, Clock(), recovery, self._on_durable, self._on_failed)

    def _on_durable(self, entries: list[BatchEntry]) -> None:
        self.acknowledged += len(entries)
        for entry in entries:
            self.wal.mark_dead(entry.wal_segment)
        if self._waiter is not None and self.acknowledged >= self._wanted and not self._waiter.done():
            self._waiter.set_result(None)

    def _on_failed(self, entries: list[BatchEntry], error: StorageUnavailable) -> None:
        raise error

    def append(self, batch: bytes) -> None:
        self.wal.append(BatchEntry(OWNER, 1, self.appended, self.appended + 1, 0, batch))
        self.appended += 1

    async def acknowledged_to(self, count: int) -> None:
        if self.acknowledged < count:
            self._wanted = count
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter


async def measure(directory: Path, backend: str, sync: str, size: Size) -> Round:
    driver = Driver(directory, backend, sync)
    small, large = make_batch(1024), make_batch(64 << 10)
    for _ in range(100):
        driver.append(small)
        await driver.acknowledged_to(driver.appended)
    while not driver.wal.spare_ready:  # what a single commit costs, not what it costs beside the making of a file
        await asyncio.sleep(0.01)

    seconds = []
    for _ in range(size.singles):
        started = time.perf_counter()
        driver.append(small)
        await driver.acknowledged_to(driver.appended)
        seconds.append(time.perf_counter() - started)
    seconds.sort()

    started, cpu = time.perf_counter(), time.thread_time()
    for _ in range(size.groups):
        for _ in range(64):
            driver.append(small)
        await driver.acknowledged_to(driver.appended)
    grouped_seconds, grouped_cpu = time.perf_counter() - started, time.thread_time() - cpu

    started, cpu = time.perf_counter(), time.process_time()
    for _ in range(size.bulk_batches):
        driver.append(large)
        if driver.appended - driver.acknowledged > 256:
            await driver.acknowledged_to(driver.appended - 128)
    await driver.acknowledged_to(driver.appended)
    bulk_seconds, bulk_cpu = time.perf_counter() - started, time.process_time() - cpu
    await driver.wal.close()
    bulk_bytes = size.bulk_batches * len(large)
    return Round(
        seconds[len(seconds) // 2] * 1e6,
        seconds[len(seconds) * 99 // 100] * 1e6,
        size.groups * 64 / grouped_seconds,
        grouped_cpu / (size.groups * 64) * 1e6,
        bulk_bytes / bulk_seconds / 1e6,
        bulk_cpu / (bulk_bytes / 2**30),
    )


def measure_device(directory: Path, writes: int) -> tuple[float, float]:
    """p50 and p99 in us of one 4 KiB O_DIRECT and O_DSYNC write after another into written blocks, without a loop."""
    path = directory / "device"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_DIRECT | os.O_DSYNC)
    try:
        with mmap.mmap(-1, 4 << 20) as memory, memoryview(memory) as view:
            os.pwritev(fd, [view], 0)
            seconds = []
            for index in range(writes):
                started = time.perf_counter()
                os.pwritev(fd, [view[:4096]], index % 1024 * 4096)
                seconds.append(time.perf_counter() - started)
    finally:
        os.close(fd)
        path.unlink()
    seconds.sort()
    return seconds[writes // 2] * 1e6, seconds[writes * 99 // 100] * 1e6


def run(directory: Path, rounds: int, size: Size) -> dict[str, list[Round]]:
    results: dict[str, list[Round]] = {}
    for _ in range(rounds):
        for backend, sync in BACKENDS:
            place = directory / f"{backend}-{sync}"
            try:
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    result = runner.run(measure(place, backend, sync, size))
            except InvalidSettings as refusal:
                print(f"{backend}: {refusal}")
                continue
            finally:
                shutil.rmtree(place, ignore_errors=True)
            results.setdefault(f"{backend}, {sync}", []).append(result)
    return results


def report(results: dict[str, list[Round]], device: tuple[float, float]) -> None:
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}, load {load}")
    print(f"device, 4 KiB O_DIRECT O_DSYNC, no loop: p50 {device[0]:.0f} us, p99 {device[1]:.0f} us\n")
    print("| backend, sync | single p50 us | p99 us | in groups of 64, /s | loop CPU us each | bulk MB/s | CPU-s/GiB |")
    print("|---|---|---|---|---|---|---|")
    for name, rounds in results.items():
        columns = [statistics.median(getattr(one, field) for one in rounds) for field in Round.__dataclass_fields__]
        p50, p99, grouped, cpu, bulk, bulk_cpu = columns
        print(f"| {name} | {p50:.0f} | {p99:.0f} | {grouped:,.0f} | {cpu:.1f} | {bulk:,.0f} | {bulk_cpu:.2f} |")


def test_bench_wal(tmp_path: Path) -> None:
    results = run(tmp_path, 1, Size(singles=20, groups=2, bulk_batches=40))
    assert "buffered, always" in results
    assert all(one.bulk_mb_per_second > 0 for rounds in results.values() for one in rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", type=Path, default=Path("tailrace-data/bench-wal"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    options = parser.parse_args()
    part = 10 if options.quick else 1
    options.directory.mkdir(parents=True, exist_ok=True)
    device = measure_device(options.directory, 3000 // part)
    size = Size(singles=3000 // part, groups=500 // part, bulk_batches=16_000 // part)
    report(run(options.directory, options.rounds, size), device)
    shutil.rmtree(options.directory, ignore_errors=True)


if __name__ == "__main__":
    main()
