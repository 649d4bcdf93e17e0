"""What the WAL needs of a disk: numbered segment files in one folder.

All methods but `read` are called on the loop's thread, and every `on_done` is called there too. Writes are given whole
aligned buffers, so one contract serves O_DIRECT and buffered files. The real forms and the simulated one pass one
conformance suite.
"""

import mmap
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeAlias

from tailrace_engine.wal.recovery import SegmentSource

BLOCK_BYTES: Final = 4096
"""Positions and lengths of writes are multiples of it."""

Done: TypeAlias = Callable[[OSError | None], None]


class WriteBuffer:
    """Page-aligned memory that a write is made of. Made once and used again: see uring.py."""

    __slots__ = ("iovecs", "size", "view")

    def __init__(self, size: int) -> None:
        self.size = size
        self.view = memoryview(mmap.mmap(-1, size))
        self.iovecs: dict[int, Any] = {}
        """What the uring backend made of the first n bytes."""


class Disk(Protocol):
    """Segment files, written in whole groups."""

    name: str
    """The backend, for people: uring, threads, buffered, sim."""
    immediate: bool
    """True under wal.sync=interval: a write is done when the operating system has it, and sync() makes it durable."""

    def sources(self) -> list[SegmentSource]:
        """The segment files that are there, by number."""

    def adopt(self, numbers: Sequence[int]) -> None:
        """Open files that recovery found, and make durable what they hold. Blocks; raises OSError."""

    def prepare(self, number: int, size: int, on_done: Done) -> None:
        """Make a zero-written file of size bytes, in the background and gently. One at a time."""

    def hurry(self, now: bool) -> None:
        """The file in preparation is wanted soon, or now: then it is not zero-written any further."""

    def remove(self, number: int) -> None:
        """Delete a file. Raises OSError."""

    def write(self, number: int, buffer: WriteBuffer, length: int, position: int, on_done: Done) -> None:
        """Write the first length bytes of buffer, unchanged until on_done; then they are durable unless `immediate`.

        A short write is an error. Several may be under way; they may complete in any order.
        """

    def write_now(self, number: int, view: memoryview, position: int) -> None:
        """Hand bytes to the operating system before this returns; only where `immediate`. Raises OSError."""

    def sync(self, on_done: Done) -> None:
        """Make durable what was written before this call; only where `immediate`."""

    def read(self, number: int, position: int, length: int) -> bytes:
        """Blocks, on any thread. Raises OSError, also where the file ends before length."""

    def call(self, function: Callable[[], Any], on_done: Callable[[Any], None]) -> None:
        """Run a blocking function off the loop, a few at a time; on_done gets its result, or the Exception it
        raised."""

    def close(self) -> None:
        """Wait for what is under way, then close all files. No on_done is called any more."""
