"""Reads batches back from the WAL, off the loop: for late readers, the uploader and the quarantine.

A segment that is being read is pinned, so it is not used again under the reader; what was released already is refused,
and the caller finds the data in the catalog.
"""

import asyncio
import os
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

from tailrace_core.errors import StorageUnavailable
from tailrace_engine.disk.port import Disk
from tailrace_engine.disk.threads import sync_directory
from tailrace_engine.wal.ring import Ring

_GAP_BYTES: Final = 64 << 10
"""Spans that lie no further apart are read together."""
_READ_BYTES_MAX: Final = 4 << 20

Span: TypeAlias = tuple[int, int, int]
"""segment, position, length of raw batch bytes."""

R = TypeVar("R")


class WalReader:
    """The reading half of a Wal, on the loop's thread."""

    def __init__(self, disk: Disk, ring: Ring, on_released: Callable[[], None]) -> None:
        self._disk = disk
        self._ring = ring
        self._on_released = on_released
        self._waiting: dict[asyncio.Future[Any], None] = {}
        self._closed = False

    async def read_many(self, spans: Sequence[Span]) -> list[bytes]:
        """See Wal.read_many."""
        if not spans:
            return []
        unpin = self.pin({span[0] for span in spans})
        return await self._call(lambda: read_spans(self._disk, spans), unpin)

    def pin(self, segments: Iterable[int]) -> Callable[[], None]:
        """See Wal.pin."""
        ring = self._ring
        pinned = sorted(segments)
        for number in pinned:
            if number not in ring.used:
                raise StorageUnavailable(f"WAL segment {number} was released")
        for number in pinned:
            ring.pin(number)

        def unpin() -> None:
            released = [file for number in pinned for file in ring.unpin(number)]
            if released and not self._closed:
                self._on_released()

        return unpin

    async def quarantine(self, directory: Path, name: str, spans: Sequence[Span]) -> Path:
        """See Wal.quarantine."""
        batches = await self.read_many(spans)

        def keep() -> Path:
            directory.mkdir(parents=True, exist_ok=True)
            path = directory / name
            with path.open("wb") as file:
                file.writelines(batches)
                file.flush()
                os.fsync(file.fileno())
            sync_directory(directory)
            return path

        return await self._call(keep, lambda: None)

    def close(self) -> None:
        """Fail what waits: the disk calls back no more."""
        self._closed = True
        for future in self._waiting:
            if not future.done():
                future.set_exception(StorageUnavailable("the write-ahead log is closed"))

    async def _call(self, function: Callable[[], R], on_done: Callable[[], None]) -> R:
        """function's result, off the loop. on_done is called when it ended, also where nobody waits for it any more."""
        if self._closed:
            on_done()
            raise StorageUnavailable("the write-ahead log is closed")
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()

        def on_result(result: Any) -> None:
            on_done()
            if future.done():
                return
            if isinstance(result, Exception):
                future.set_exception(StorageUnavailable(f"the write-ahead log cannot be read: {result}"))
            else:
                future.set_result(result)

        self._waiting[future] = None
        try:
            self._disk.call(function, on_result)
            return await future
        finally:
            del self._waiting[future]


def read_spans(disk: Disk, spans: Sequence[Span]) -> list[bytes]:
    """Read spans, near ones by one read. Blocks; raises OSError."""
    result: list[bytes] = [b""] * len(spans)
    order = sorted(enumerate(spans), key=itemgetter(1))
    index = 0
    while index < len(order):
        number, first, length = order[index][1]
        end = first + length
        stop = index + 1
        while stop < len(order):
            other, position, size = order[stop][1]
            if other != number or position > end + _GAP_BYTES or position + size - first > _READ_BYTES_MAX:
                break
            end = max(end, position + size)
            stop += 1
        data = disk.read(number, first, end - first)
        for at, (_, position, size) in order[index:stop]:
            result[at] = data[position - first : position - first + size]
        index = stop
    return result
