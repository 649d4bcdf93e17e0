"""Segment files written through io_uring: a write is submitted by the loop and its completion wakes the loop by an
eventfd.

No thread and no lock lies between a commit and its acknowledgement, which is worth 40 to 90 us a write. Everything but
writes (making files, reading back) is done in the base's threads. Facts about the package liburing 2026.3.30 that the
code leans on: `Cqe` is read at index 0 only, and advanced by one (a higher index is wrong where the ring wraps); `res`
raises OSError for a failed write; an `Iovec` keeps no hold on its memory and each one made leaks a reference to it, so
one is made for each length of each pooled buffer, once.
"""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol, cast

from tailrace_core.ports import Loop
from tailrace_engine.disk.port import BLOCK_BYTES, Done, WriteBuffer
from tailrace_engine.disk.threads import ThreadDisk

try:
    import liburing
except ImportError:
    liburing = None

_ENTRIES: Final = 16
"""Submissions: the WAL has three under way at most."""


class _ReaderLoop(Loop, Protocol):
    def add_reader(self, fd: int, callback: Callable[..., object], *args: object) -> object: ...

    def remove_reader(self, fd: int) -> object: ...


def _iovec(buffer: WriteBuffer, length: int) -> Any:
    iovec = buffer.iovecs.get(length)
    if iovec is None:
        iovec = buffer.iovecs[length] = liburing.Iovec([buffer.view[:length]])
    return iovec


def try_uring(fd: int, buffer: WriteBuffer) -> None:
    """Write the whole buffer to fd through a ring of its own. Raises OSError or ImportError where that does not
    work."""
    if liburing is None:
        raise ImportError("the package liburing is not installed (it exists for Linux on x86-64)")
    ring = liburing.Ring()
    liburing.io_uring_queue_init(_ENTRIES, ring)
    try:
        sqe = liburing.io_uring_get_sqe(ring)
        liburing.io_uring_prep_writev(sqe, fd, _iovec(buffer, buffer.size), 0)
        liburing.io_uring_submit(ring)
        cqe = liburing.Cqe()
        liburing.io_uring_wait_cqe(ring, cqe)
        if cqe[0].res != buffer.size:
            raise OSError(errno.EIO, "short write")
        liburing.io_uring_cq_advance(ring, 1)
    finally:
        liburing.io_uring_queue_exit(ring)


class UringDisk(ThreadDisk):
    """The `uring` backend: O_DIRECT and O_DSYNC writes."""

    name = "uring"

    def __init__(self, directory: Path, loop: Loop) -> None:
        super().__init__(directory, loop)
        self._reader_loop = cast(_ReaderLoop, loop)
        self._ring = liburing.Ring()
        self._cqe = liburing.Cqe()
        liburing.io_uring_queue_init(_ENTRIES, self._ring)
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        liburing.io_uring_register_eventfd(self._ring, self._event)
        self._under_way: dict[int, tuple[WriteBuffer, int, Done]] = {}
        self._next_id = 1
        self._reader_loop.add_reader(self._event, self._on_event)

    def write(self, number: int, buffer: WriteBuffer, length: int, position: int, on_done: Done) -> None:
        assert position % BLOCK_BYTES == 0
        assert length % BLOCK_BYTES == 0
        sqe = liburing.io_uring_get_sqe(self._ring)
        liburing.io_uring_prep_writev(sqe, self._files[number], _iovec(buffer, length), position)
        sqe.user_data = self._next_id
        self._under_way[self._next_id] = (buffer, length, on_done)
        self._next_id += 1
        liburing.io_uring_submit(self._ring)

    def close(self) -> None:
        while self._under_way:
            liburing.io_uring_wait_cqe(self._ring, self._cqe)
            self._take_one()
        self._reader_loop.remove_reader(self._event)
        liburing.io_uring_queue_exit(self._ring)
        os.close(self._event)
        super().close()

    def _on_event(self) -> None:
        try:
            os.eventfd_read(self._event)
        except BlockingIOError:
            return
        finished = []
        while liburing.io_uring_cq_ready(self._ring):
            liburing.io_uring_peek_cqe(self._ring, self._cqe)
            finished.append(self._take_one())
        for on_done, error in finished:
            on_done(error)

    def _take_one(self) -> tuple[Done, OSError | None]:
        entry = self._cqe[0]
        _, length, on_done = self._under_way.pop(entry.user_data)
        error: OSError | None = None
        try:
            if entry.res != length:
                error = OSError(errno.EIO, "short write to the WAL")
        except OSError as failure:
            error = failure
        liburing.io_uring_cq_advance(self._ring, 1)
        return on_done, error
