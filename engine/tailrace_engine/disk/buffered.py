"""Segment files through the page cache: where there is no O_DIRECT, and for wal.sync=interval on every backend.

`BufferedDisk` writes and syncs in its thread before it answers. `IntervalDisk` answers when the operating system has
the bytes; the WAL asks for a sync every few milliseconds.
"""

import errno
import os

from tailrace_engine.disk.port import BLOCK_BYTES, Done, WriteBuffer
from tailrace_engine.disk.threads import ThreadDisk, full_sync


class BufferedDisk(ThreadDisk):
    """write + fdatasync per group."""

    name = "buffered"
    direct = False
    _flags = os.O_RDWR
    _prepare_flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC

    def read(self, number: int, position: int, length: int) -> bytes:
        data = os.pread(self._files[number], length, position)
        if len(data) != length:
            raise OSError(errno.EIO, f"WAL segment {number} ends before position {position + length}")
        return data

    def _commit(self, fd: int, view: memoryview, position: int) -> None:
        super()._commit(fd, view, position)
        full_sync(fd)


class IntervalDisk(BufferedDisk):
    """Writes are done once the operating system has them: they survive kill -9, and a power cut after sync()."""

    immediate = True
    _dirty = -1
    """The file written last; the one before it was synced when the WAL went on to the next."""
    _turn_failure: OSError | None = None
    """A sync of a former file that failed: the next sync() says so."""

    def write(self, number: int, buffer: WriteBuffer, length: int, position: int, on_done: Done) -> None:
        self._turn_to(number)
        super().write(number, buffer, length, position, on_done)

    def write_now(self, number: int, view: memoryview, position: int) -> None:
        assert position % BLOCK_BYTES == 0
        assert len(view) % BLOCK_BYTES == 0
        self._turn_to(number)
        ThreadDisk._commit(self, self._files[number], view, position)

    def sync(self, on_done: Done) -> None:
        self._queue.put((self._files[self._dirty], None, 0, lambda error: on_done(self._turn_failure or error)))

    def _turn_to(self, number: int) -> None:
        """Writes move on from one file to the next and never back: the former one is synced in the thread, in order."""
        if self._dirty not in (-1, number):
            self._queue.put((self._files[self._dirty], None, 0, self._on_turned))
        self._dirty = number

    def _on_turned(self, error: OSError | None) -> None:
        self._turn_failure = self._turn_failure or error

    def _commit(self, fd: int, view: memoryview, position: int) -> None:
        ThreadDisk._commit(self, fd, view, position)
