"""Segment files written by one thread.

`ThreadDisk` is the whole of the `threads` backend (O_DIRECT and O_DSYNC: the write is the sync) and the base of the
other two: `buffered.py` changes how files are opened and synced, `uring.py` how a write is submitted. The thread runs a
few Python lines per group; all that takes time in it releases the GIL.
"""

import contextlib
import errno
import mmap
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final, TypeAlias

from tailrace_core.ports import Loop
from tailrace_engine.disk.port import BLOCK_BYTES, Done, WriteBuffer
from tailrace_engine.wal.recovery import SegmentSource

_ZERO_SLICE_BYTES: Final = 256 << 10
_ZERO_PAUSE_SECONDS: Final = 0.004
"""Between slices: 60 MB/s at most, and a commit waits for one slice at worst."""
_COLD_THREADS: Final = 2
_CLOSE_SECONDS: Final = 2.0

_Job: TypeAlias = tuple[int, memoryview | None, int, Done]

O_DIRECT: Final[int] = getattr(os, "O_DIRECT", 0)


def segment_path(directory: Path, number: int) -> Path:
    """The file of a segment."""
    return directory / f"wal-{number:08d}.log"


def sync_directory(directory: Path) -> None:
    """Make the names in directory durable."""
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def full_sync(fd: int) -> None:
    """fdatasync, and on macOS, where that does not reach the medium, F_FULLFSYNC."""
    if hasattr(os, "fdatasync"):
        os.fdatasync(fd)
    else:
        import fcntl

        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)  # type: ignore[attr-defined,unused-ignore]


class FileSource:
    """A segment file, read through the page cache."""

    def __init__(self, path: Path, number: int) -> None:
        self.number = number
        self.size = path.stat().st_size
        self._path = path
        self._fd = -1

    def read_into(self, position: int, view: memoryview) -> int:
        if self._fd < 0:
            self._fd = os.open(self._path, os.O_RDONLY)
        try:
            return os.preadv(self._fd, [view], position)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return self._read_around(position, view)

    def _read_around(self, position: int, view: memoryview) -> int:
        """A medium error somewhere in the span: what can be read, zeros for what cannot."""
        length = max(min(len(view), self.size - position), 0)
        for start in range(0, length, BLOCK_BYTES):
            block = view[start : min(start + BLOCK_BYTES, length)]
            try:
                os.preadv(self._fd, [block], position + start)
            except OSError:
                block[:] = bytes(len(block))
        return length

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)


class ThreadDisk:
    """The `threads` backend."""

    name = "threads"
    immediate = False
    direct = True
    """Files are open with O_DIRECT."""
    _flags = os.O_RDWR | O_DIRECT | getattr(os, "O_DSYNC", os.O_SYNC)
    _prepare_flags = os.O_RDWR | O_DIRECT | os.O_CREAT | os.O_TRUNC

    def __init__(self, directory: Path, loop: Loop) -> None:
        self._directory = directory
        self._loop = loop
        self._files: dict[int, int] = {}
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._soon = threading.Event()
        self._now = threading.Event()
        self._closed = threading.Event()
        self._writer = threading.Thread(target=self._write_loop, name="wal-writer", daemon=True)
        self._writer.start()
        self._preparer = ThreadPoolExecutor(1, "wal-prepare")
        self._cold = ThreadPoolExecutor(_COLD_THREADS, "wal-cold")

    def sources(self) -> list[SegmentSource]:
        found: list[SegmentSource] = []
        for path in sorted(self._directory.glob("wal-*.log")):
            digits = path.stem.removeprefix("wal-")
            if digits.isdigit():
                found.append(FileSource(path, int(digits)))
        return found

    def adopt(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            fd = os.open(segment_path(self._directory, number), self._flags)
            self._files[number] = fd
            full_sync(fd)

    def prepare(self, number: int, size: int, on_done: Done) -> None:
        self._soon.clear()
        self._now.clear()
        self._preparer.submit(self._prepare, number, size, on_done)

    def hurry(self, now: bool) -> None:
        self._soon.set()
        if now:
            self._now.set()

    def remove(self, number: int) -> None:
        fd = self._files.pop(number, None)
        if fd is not None:
            os.close(fd)
        segment_path(self._directory, number).unlink()

    def write(self, number: int, buffer: WriteBuffer, length: int, position: int, on_done: Done) -> None:
        assert position % BLOCK_BYTES == 0
        assert length % BLOCK_BYTES == 0
        self._queue.put((self._files[number], buffer.view[:length], position, on_done))

    def write_now(self, number: int, view: memoryview, position: int) -> None:
        raise NotImplementedError("writes of this backend are durable when done: there is nothing to do on the loop")

    def sync(self, on_done: Done) -> None:
        raise NotImplementedError("writes of this backend are durable when done")

    def read(self, number: int, position: int, length: int) -> bytes:
        fd = self._files[number]
        first = position & -BLOCK_BYTES
        span = -(-(position + length) // BLOCK_BYTES) * BLOCK_BYTES - first
        with mmap.mmap(-1, span) as memory, memoryview(memory) as view:
            got = os.preadv(fd, [view], first)
            if got < position + length - first:
                raise OSError(errno.EIO, f"WAL segment {number} ends before position {position + length}")
            return bytes(view[position - first : position - first + length])

    def call(self, function: Callable[[], Any], on_done: Callable[[Any], None]) -> None:
        self._cold.submit(self._call, function, on_done)

    def close(self) -> None:
        self._closed.set()
        self._soon.set()
        self._now.set()
        self._queue.put(None)
        self._writer.join(_CLOSE_SECONDS)
        if self._writer.is_alive():
            return  # a device that hangs: its thread has the files, and ends with the process
        self._preparer.shutdown(cancel_futures=True)
        self._cold.shutdown(cancel_futures=True)
        for fd in self._files.values():
            os.close(fd)
        self._files.clear()

    def _commit(self, fd: int, view: memoryview, position: int) -> None:
        """In the writer thread: write, and make durable unless `immediate`."""
        if os.pwritev(fd, [view], position) != len(view):
            raise OSError(errno.EIO, "short write to the WAL")

    def _tell(self, callback: Callable[[Any], None], value: object) -> None:
        """From a thread: call back on the loop. A loop that is closed already has nobody to tell."""
        if not self._closed.is_set():
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._hear, callback, value)

    def _hear(self, callback: Callable[[Any], None], value: object) -> None:
        if not self._closed.is_set():
            callback(value)

    def _write_loop(self) -> None:
        get = self._queue.get
        while (job := get()) is not None:
            fd, view, position, on_done = job
            failure: OSError | None = None
            try:
                if view is None:
                    full_sync(fd)
                else:
                    self._commit(fd, view, position)
            except OSError as error:
                failure = error
            del view, job
            self._tell(on_done, failure)

    def _call(self, function: Callable[[], Any], on_done: Callable[[Any], None]) -> None:
        try:
            result = function()
        except Exception as error:
            result = error
        self._tell(on_done, result)

    def _prepare(self, number: int, size: int, on_done: Done) -> None:
        path = segment_path(self._directory, number)
        try:
            fd = os.open(path, self._prepare_flags, 0o600)
            try:
                self._zero(fd, size)
                full_sync(fd)
            finally:
                os.close(fd)
            sync_directory(self._directory)
            self._files[number] = os.open(path, self._flags)
        except OSError as error:
            with contextlib.suppress(OSError):
                path.unlink()
            self._tell(on_done, error)
        else:
            self._tell(on_done, None)

    def _zero(self, fd: int, size: int) -> None:
        # Written blocks sync faster than allocated ones (91 against 122 us): no extent is converted at the first write.
        with mmap.mmap(-1, _ZERO_SLICE_BYTES) as memory, memoryview(memory) as zeros:
            position = 0
            while position < size:
                if self._closed.is_set():
                    raise OSError(errno.ECANCELED, "closed while a WAL segment was made")
                if self._now.is_set() and hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(fd, position, size - position)
                    return
                length = min(_ZERO_SLICE_BYTES, size - position)
                if os.pwritev(fd, [zeros[:length]], position) != length:
                    raise OSError(errno.ENOSPC, "short write while a WAL segment was made")
                position += length
                self._soon.wait(_ZERO_PAUSE_SECONDS)
