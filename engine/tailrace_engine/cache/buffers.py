"""Buffers for what is read from the tier, used again once nobody refers to them. Pure.

A fresh buffer of a megabyte costs 256 page faults, as much CPU as all the rest of a cold read; malloc gives memory of
this size back to the system as soon as it is free. So the pool remembers the buffers that it gave. Whether one is free
is told by its reference count: every memoryview of it, and every slice of those, holds a reference. To look at all of
them takes 2 us for a hundred, which is nothing beside the GET that a buffer is for. Fresh ones are mapped: a bytearray
of 8 MiB stops the loop for 5 ms to be zeroed, mapped pages come one by one where a thread reads into them.
"""

from mmap import MAP_ANON, MAP_PRIVATE, mmap
from sys import getrefcount
from typing import Final

SMALLEST_BYTES: Final = 256 * 1024
"""What is asked for below it is made to measure and not used again."""
UNIT_BYTES: Final = 64 * 1024
"""Sizes are rounded up to multiples of it, so that one buffer serves ranges of about the same size."""


class BufferPool:
    """Remembers buffers of budget_bytes together; what is asked for beyond that is not used again."""

    __slots__ = ("_buffers", "_references_when_free", "budget_bytes", "bytes_held")

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self.bytes_held = 0
        """Of the buffers that are remembered, free or in use."""
        self._buffers: list[mmap] = [_map(1)]
        (self._references_when_free,) = map(getrefcount, self._buffers)
        self._buffers.clear()

    def take(self, length: int) -> memoryview:
        """length writable bytes with any content. They are the caller's while it, or anyone, refers to them."""
        if length < SMALLEST_BYTES:
            return memoryview(bytearray(length))
        size = -(-length // UNIT_BYTES) * UNIT_BYTES
        free = [i for i, count in enumerate(map(getrefcount, self._buffers)) if count == self._references_when_free]
        for i in free:
            if len(self._buffers[i]) == size:
                return memoryview(self._buffers[i])[:length]
        while free and self.bytes_held + size > self.budget_bytes:
            self.bytes_held -= len(self._buffers.pop(free.pop()))
        buffer = _map(size)
        if self.bytes_held + size <= self.budget_bytes:
            self.bytes_held += size
            self._buffers.append(buffer)
        return memoryview(buffer)[:length]


def _map(size: int) -> mmap:
    return mmap(-1, size, flags=MAP_PRIVATE | MAP_ANON)
