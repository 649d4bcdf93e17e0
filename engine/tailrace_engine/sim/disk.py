"""A disk in memory, with the faults of a real one, from a seed.

It keeps two contents of each file: what readers see, and what a power cut leaves. A write becomes visible and durable
when it completes. Under `immediate` it becomes visible then, or at once with write_now, and durable at the next sync;
writes and syncs go one by one. Whatever is under way at a power cut survives sector by sector, by chance: torn writes,
lost writes and writes that overtook one another all come from that.
"""

import errno
from collections.abc import Callable, Sequence
from random import Random  # noqa: TID251 - the type of what the caller seeded
from typing import Any, Final

from tailrace_core.ports import Loop
from tailrace_engine.disk.port import BLOCK_BYTES, Done, WriteBuffer
from tailrace_engine.wal.recovery import SegmentSource

SECTOR_BYTES: Final = 512
DELAY_SECONDS: Final = (0.00005, 0.0005)


class _MemorySource:
    def __init__(self, number: int, content: bytearray) -> None:
        self.number = number
        self.size = len(content)
        self._content = content

    def read_into(self, position: int, view: memoryview) -> int:
        data = self._content[position : position + len(view)]
        view[: len(data)] = data
        return len(data)


def _nobody(what: str) -> None:
    """Hears of nothing."""


class SimDisk:
    """The simulated form of disk.port.Disk."""

    name = "sim"

    def __init__(
        self,
        loop: Loop,
        random: Random,
        immediate: bool = False,
        capacity_bytes: int | None = None,
        on_event: Callable[[str], object] = _nobody,
    ) -> None:
        """capacity_bytes: of all files together. on_event is told what is done."""
        self.immediate = immediate
        self.capacity_bytes = capacity_bytes
        self.delay_seconds = DELAY_SECONDS
        """How long an operation takes, at least and at most."""
        self.files: dict[int, bytearray] = {}
        """What readers see, by file number."""
        self.write_failure: OSError | None = None
        """Every write from now on fails so, after it tore."""
        self.sync_failure: OSError | None = None
        self.short_writes = False
        """Every write from now on writes only a part, and says so."""
        self._loop = loop
        self._random = random
        self._on_event = on_event
        self._preparing: dict[int, int] = {}
        """Files that are being made: number, size."""
        self._durable: dict[int, bytearray] = {}
        self._volatile: dict[int, tuple[int, int, bytes]] = {}
        """Writes that a power cut may take: number, position, bytes; in the order they were begun."""
        self._next_id = 0
        self._queue_end = 0.0
        """When the last of the queue's operations ends, of `immediate`'s writes and syncs."""
        self._closed = False

    # Faults.

    def power_cut(self, loop: Loop) -> "SimDisk":
        """The disk after power came back, on the next life's loop. This one answers no more."""
        self._closed = True
        for number, position, data in self._volatile.values():
            self._tear(number, position, data)
        return self._reborn(self._durable, loop)

    def kill(self, loop: Loop) -> "SimDisk":
        """The disk after the process was killed: what the operating system has stays; what is under way may tear."""
        self._closed = True
        if not self.immediate:
            for number, position, data in self._volatile.values():
                self._tear(number, position, data)
            return self._reborn(self._durable, loop)
        return self._reborn(self.files, loop)

    def rot(self, number: int, position: int, data: bytes) -> None:
        """The medium holds other bytes than were written."""
        for content in (self.files[number], self._durable[number]):
            content[position : position + len(data)] = data

    def _tear(self, number: int, position: int, data: bytes) -> None:
        content = self._durable[number]
        way = self._random.random()
        kept = self._random.randint(0, len(data) // SECTOR_BYTES)
        for index in range(len(data) // SECTOR_BYTES):
            if index < kept if way < 0.5 else self._random.random() < way:
                start = index * SECTOR_BYTES
                content[position + start : position + start + SECTOR_BYTES] = data[start : start + SECTOR_BYTES]

    def _reborn(self, contents: dict[int, bytearray], loop: Loop) -> "SimDisk":
        disk = SimDisk(loop, self._random, self.immediate, self.capacity_bytes, self._on_event)
        disk.files = {number: bytearray(content) for number, content in contents.items()}
        for number, size in self._preparing.items():
            if self._random.random() < 0.5:
                disk.files[number] = bytearray(self._random.randint(0, size // SECTOR_BYTES) * SECTOR_BYTES)
        disk._durable = {number: bytearray(content) for number, content in disk.files.items()}
        return disk

    # The port.

    def sources(self) -> list[SegmentSource]:
        return [_MemorySource(number, self.files[number]) for number in sorted(self.files)]

    def adopt(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self._durable[number] = bytearray(self.files[number])

    def prepare(self, number: int, size: int, on_done: Done) -> None:
        self._preparing[number] = size

        def finish() -> None:
            del self._preparing[number]
            used = sum(len(content) for content in self.files.values())
            if self.capacity_bytes is not None and used + size > self.capacity_bytes:
                self._on_event(f"is full: no segment {number}")
                on_done(OSError(errno.ENOSPC, "the simulated disk is full"))
                return
            self.files[number] = bytearray(size)
            self._durable[number] = bytearray(size)
            self._on_event(f"made segment {number}")
            on_done(None)

        self._later(finish)

    def hurry(self, now: bool) -> None:
        pass

    def remove(self, number: int) -> None:
        del self.files[number]
        self._durable.pop(number, None)

    def write(self, number: int, buffer: WriteBuffer, length: int, position: int, on_done: Done) -> None:
        assert position % BLOCK_BYTES == 0
        assert length % BLOCK_BYTES == 0
        data = bytes(buffer.view[:length])
        write_id = self._begin(number, position, data)

        def finish() -> None:
            failure = self._failure()
            if failure is not None:
                self._tear(number, position, data)
                self._volatile.pop(write_id, None)
                self._on_event(f"failed to write {length} at {number}:{position}")
                on_done(failure)
                return
            assert data == buffer.view[:length], "the buffer changed while it was written"
            self.files[number][position : position + length] = data
            if not self.immediate:
                self._settle(write_id)
            self._on_event(f"wrote {length} at {number}:{position}")
            on_done(None)

        self._later(finish, in_order=self.immediate)

    def write_now(self, number: int, view: memoryview, position: int) -> None:
        assert self.immediate
        failure = self._failure()
        if failure is not None:
            raise failure
        self._begin(number, position, bytes(view))
        self.files[number][position : position + len(view)] = view
        self._on_event(f"took {len(view)} at {number}:{position}")

    def sync(self, on_done: Done) -> None:
        assert self.immediate
        covered = list(self._volatile)

        def finish() -> None:
            if self.sync_failure is not None:
                on_done(self.sync_failure)
                return
            for write_id in covered:
                if write_id in self._volatile:  # it has not failed
                    self._settle(write_id)
            self._on_event("synced")
            on_done(None)

        self._later(finish, in_order=True)

    def read(self, number: int, position: int, length: int) -> bytes:
        data = bytes(self.files[number][position : position + length])
        if len(data) != length:
            raise OSError(errno.EIO, f"WAL segment {number} ends before position {position + length}")
        return data

    def call(self, function: Callable[[], Any], on_done: Callable[[Any], None]) -> None:
        def run() -> None:
            try:
                result = function()
            except Exception as error:
                result = error
            on_done(result)

        self._later(run)

    def close(self) -> None:
        self._closed = True

    def _begin(self, number: int, position: int, data: bytes) -> int:
        self._next_id += 1
        self._volatile[self._next_id] = (number, position, data)
        return self._next_id

    def _settle(self, write_id: int) -> None:
        number, position, data = self._volatile.pop(write_id)
        self._durable[number][position : position + len(data)] = data

    def _failure(self) -> OSError | None:
        if self.write_failure is not None:
            return self.write_failure
        return OSError(errno.EIO, "short write to the WAL") if self.short_writes else None

    def _later(self, callback: Callable[[], None], in_order: bool = False) -> None:
        if self._closed:
            return
        seconds = self._random.uniform(*self.delay_seconds)
        if in_order:
            now = self._loop.time()
            self._queue_end = max(self._queue_end, now) + seconds
            seconds = self._queue_end - now

        def unless_closed() -> None:
            if not self._closed:
                callback()

        self._loop.call_later(seconds, unless_closed)
