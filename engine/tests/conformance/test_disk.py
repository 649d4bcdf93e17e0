"""What every backend of disk.port.Disk does alike, real and simulated, and the WAL end to end on each."""

import asyncio
import struct
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import uvloop
from crc32c import crc32c

from tailrace_core.batch import HEADER
from tailrace_core.errors import InvalidSettings, StorageUnavailable
from tailrace_engine.disk.port import BLOCK_BYTES, Disk, WriteBuffer
from tailrace_engine.disk.probe import open_disk
from tailrace_engine.log.entry import BatchEntry
from tailrace_engine.sim.disk import SimDisk
from tailrace_engine.sim.step_loop import StepLoop
from tailrace_engine.wal.recovery import WalRecord, recover
from tailrace_engine.wal.writer import Wal, WalOptions

BACKENDS = ["uring", "threads", "buffered", "interval", "sim", "sim-interval"]
SIZE = 1 << 20


class Clock:
    def now_ms(self) -> int:
        return int(time.time() * 1000)

    def monotonic(self) -> float:
        return time.monotonic()


class Owner:
    topic_id = b"0123456789abcdef"
    partition = 4


OWNER = Owner()


class Place:
    """A folder, or the simulated disk's memory, that disks are opened on one after another."""

    def __init__(self, backend: str, directory: Path) -> None:
        self.backend = backend
        self.directory = directory
        self.sim: SimDisk | None = None

    def open(self) -> Disk:
        loop = asyncio.get_running_loop()
        if self.backend.startswith("sim"):
            immediate = self.backend == "sim-interval"
            self.sim = SimDisk(loop, Random(5), immediate) if self.sim is None else self.sim.kill(loop)
            return self.sim
        sync = "interval" if self.backend == "interval" else "always"
        try:
            return open_disk(self.directory, "auto" if sync == "interval" else self.backend, sync, loop)
        except InvalidSettings as refusal:
            pytest.skip(str(refusal))


@pytest.fixture(params=BACKENDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    threads = threading.active_count()
    yield Place(request.param, tmp_path / "wal")
    assert threading.active_count() <= threads, "a closed disk leaves no thread"


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(main(), 60))


class Reply:
    """One on_done, awaited."""

    def __init__(self) -> None:
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.thread = threading.get_ident()

    def __call__(self, result: Any) -> None:
        assert threading.get_ident() == self.thread, "on_done is called on the loop's thread"
        self.future.set_result(result)


async def prepare(disk: Disk, number: int, now: bool = False) -> None:
    reply = Reply()
    disk.prepare(number, SIZE, reply)
    disk.hurry(now)
    assert await reply.future is None


async def put(disk: Disk, number: int, data: bytes, position: int) -> None:
    buffer = WriteBuffer(len(data) + BLOCK_BYTES)
    buffer.view[: len(data)] = data
    reply = Reply()
    disk.write(number, buffer, len(data), position, reply)
    assert await reply.future is None


@pytest.mark.parametrize("now", [False, True])
def test_a_prepared_file_is_zeros_of_the_size_asked_for(place: Place, now: bool) -> None:
    async def main() -> None:
        disk = place.open()
        await prepare(disk, 3, now)
        assert disk.read(3, 0, SIZE) == bytes(SIZE)
        assert [(source.number, source.size) for source in disk.sources()] == [(3, SIZE)]
        disk.close()

    run(main)


def test_what_was_written_is_read_by_any_span_and_after_reopening(place: Place) -> None:
    async def main() -> None:
        disk = place.open()
        await prepare(disk, 0)
        data = Random(1).randbytes(5 * BLOCK_BYTES)
        await put(disk, 0, data, 2 * BLOCK_BYTES)
        if disk.immediate:
            reply = Reply()
            disk.sync(reply)
            assert await reply.future is None
        content = bytes(2 * BLOCK_BYTES) + data
        for position, length in [(0, 1), (2 * BLOCK_BYTES - 1, 2), (3 * BLOCK_BYTES, BLOCK_BYTES), (9000, 12_345)]:
            assert disk.read(0, position, length) == content[position : position + length]
        disk.close()
        disk = place.open()
        (source,) = disk.sources()
        view = memoryview(bytearray(len(content)))
        assert source.read_into(0, view) == len(content)
        assert view == content
        disk.adopt([0])
        assert disk.read(0, 0, len(content)) == content
        await put(disk, 0, data, 0)
        assert disk.read(0, 0, len(data)) == data
        disk.close()

    run(main)


def test_a_read_beyond_the_end_is_an_error(place: Place) -> None:
    async def main() -> None:
        disk = place.open()
        await prepare(disk, 0)
        with pytest.raises(OSError, match="ends before"):
            disk.read(0, SIZE - 10, 11)
        disk.close()

    run(main)


def test_many_writes_under_way_all_complete(place: Place) -> None:
    async def main() -> None:
        disk = place.open()
        await prepare(disk, 0)
        replies = []
        for index in range(8):
            buffer = WriteBuffer(BLOCK_BYTES)
            buffer.view[:] = bytes([index]) * BLOCK_BYTES
            replies.append(Reply())
            disk.write(0, buffer, BLOCK_BYTES, index * BLOCK_BYTES, replies[-1])
        assert [await reply.future for reply in replies] == [None] * 8
        assert disk.read(0, 0, 8 * BLOCK_BYTES) == b"".join(bytes([index]) * BLOCK_BYTES for index in range(8))
        disk.close()

    run(main)


def test_immediate_writes_are_visible_at_once_and_syncable(place: Place) -> None:
    async def main() -> None:
        disk = place.open()
        if disk.immediate:
            for number in (0, 1):
                await prepare(disk, number)
                disk.write_now(number, memoryview(b"x" * BLOCK_BYTES), BLOCK_BYTES)
                assert disk.read(number, BLOCK_BYTES, 3) == b"xxx"
            reply = Reply()
            disk.sync(reply)
            assert await reply.future is None
        disk.close()

    run(main)


def test_a_call_gives_its_result_or_its_exception_on_the_loop(place: Place) -> None:
    async def main() -> None:
        disk = place.open()
        reply = Reply()
        disk.call(lambda: 42, reply)
        assert await reply.future == 42
        reply = Reply()
        disk.call(lambda: 1 // 0, reply)
        assert isinstance(await reply.future, ZeroDivisionError)
        disk.close()

    run(main)


def test_a_removed_file_is_gone(place: Place) -> None:
    async def main() -> None:
        disk = place.open()
        await prepare(disk, 0)
        disk.remove(0)
        assert disk.sources() == []
        disk.close()

    run(main)


def make_batch(base_offset: int, size: int) -> bytes:
    batch = bytearray(
        HEADER.pack(base_offset, size - 12, 1, 2, 0, 0, 0, 0, 0, -1, -1, -1, 1)
        + bytes([base_offset % 251]) * (size - 61)
    )
    struct.pack_into(">I", batch, 17, crc32c(memoryview(batch)[21:]))
    return bytes(batch)


def open_wal(disk: Disk, told: list[BatchEntry], recovered: list[WalRecord]) -> Wal:
    def on_failed(entries: list[BatchEntry], error: StorageUnavailable) -> None:
        raise AssertionError(f"{len(entries)} failed: {error}")

    recovery = recover(disk.sources(), recovered.extend)
    assert recovery.damage == []
    assert recovery.torn is None
    options = WalOptions(segment_bytes=SIZE, capacity_bytes=16 * SIZE)
    return Wal.open(disk, options, asyncio.get_running_loop(), Clock(), recovery, told.extend, on_failed, 11)


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in 20 s"
        await asyncio.sleep(0.001)


def test_the_wal_keeps_reads_back_and_recovers_what_it_acknowledged(place: Place, tmp_path: Path) -> None:
    async def main() -> None:
        told: list[BatchEntry] = []
        wal = open_wal(place.open(), told, [])
        entries = [BatchEntry(OWNER, 1, i, i + 1, 0, make_batch(i, 100 + i * 37 % 9000)) for i in range(1500)]
        for index, entry in enumerate(entries):
            wal.append(entry)
            if index % 100 == 99:
                await until(lambda: len(told) == index + 1)  # noqa: B023 - awaited at once
        assert told == entries
        spans = [(entry.wal_segment, entry.wal_position, entry.size) for entry in entries]
        assert await wal.read_many(spans[::7]) == [entry.data for entry in entries[::7]]
        assert await wal.read(*spans[1000]) == entries[1000].data
        kept = await wal.quarantine(tmp_path / "quarantine", "topic-4.batches", spans[3:6])
        assert kept.read_bytes() == b"".join(entry.data or b"" for entry in entries[3:6])
        assert await wal.close()
        with pytest.raises(StorageUnavailable):
            wal.append(entries[0])
        with pytest.raises(StorageUnavailable):
            await wal.read(*spans[0])
        recovered: list[WalRecord] = []
        wal = open_wal(place.open(), told, recovered)
        assert [record[4:8] for record in recovered] == [
            (entry.base_offset, entry.wal_segment, entry.wal_position, entry.size) for entry in entries
        ]
        assert await wal.read(*spans[77]) == entries[77].data
        for entry in entries:
            wal.mark_dead(entry.wal_segment)
        with pytest.raises(StorageUnavailable):
            await wal.read(*spans[0])
        assert await wal.close()

    run(main)


def test_close_finishes_what_is_queued(place: Place) -> None:
    async def main() -> None:
        told: list[BatchEntry] = []
        wal = open_wal(place.open(), told, [])
        entries = [BatchEntry(OWNER, 1, i, i + 1, 0, make_batch(i, 50_000)) for i in range(60)]
        for entry in entries:
            wal.append(entry)
        assert await wal.close()
        assert told == entries

    run(main)


def test_auto_takes_a_backend_that_works_and_a_forced_one_that_does_not_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        disk = open_disk(tmp_path / "wal", "auto", "always", loop)
        assert disk.name in ("uring", "threads", "buffered")
        assert list((tmp_path / "wal").iterdir()) == []
        disk.close()
        with pytest.raises(InvalidSettings, match=r"wal\.backend=uring"):
            open_disk(tmp_path / "wal", "uring", "always", StepLoop())

    run(main)
