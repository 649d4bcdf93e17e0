"""Receive buffers: bytes in, whole frames out. Pure.

All connections of a loop share one buffer: what a socket delivers is handled at once, and only a frame that is not
complete is copied out, into a buffer of its connection's own that later reads fill directly. So an idle connection
costs no buffer. A buffer grows as bytes really arrive: a size in a header reserves nothing.

`ReceivePool` hands out those buffers, keeps a few for the next frame and bounds their sum. Beyond the bound a
connection stops reading until another gives its buffer back; where all wait for room, one goes on, so that a frame
always fits.
"""

from collections import deque
from struct import Struct
from typing import Final, Protocol

FRAME_BYTES_MIN: Final = 8
"""API key, version and correlation id: with less there is nothing to answer to."""
_SIZE: Final = Struct(">i")
_CLASSES: Final = tuple(1 << shift for shift in range(16, 28))
_FIRST_GRANT_MAX: Final = 2 << 20
_KEPT_BYTES: Final = 16 << 20


class FrameSizeError(Exception):
    """A size that no request may have: the connection is closed without an answer, as Kafka does."""


class Stalled(Protocol):
    """A connection that waits for room in the pool."""

    def on_receive_room(self) -> None: ...


class ReceivePool:
    """budget_bytes bounds what all connections hold together; what the pool keeps for later is at most 16 MiB more."""

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self.bytes_used = 0
        self._holders = 0
        self._stalled: deque[Stalled] = deque()
        self._kept: dict[int, list[bytearray]] = {}
        self._kept_bytes = 0

    def take(self, size: int, *, must: bool = False) -> bytearray | None:
        """A buffer of at least size bytes; None while there is no room.

        must: the caller holds bytes that have to go somewhere; they are few. And where every other holder waits for
        room, one gets it beyond the budget, or none would ever finish.
        """
        capacity = next((capacity for capacity in _CLASSES if capacity >= size), size)
        room = self.bytes_used + capacity <= self.budget_bytes
        if not room and not must and len(self._stalled) + 1 < self._holders:
            return None
        kept = self._kept.get(capacity)
        if kept:
            buffer = kept.pop()
            self._kept_bytes -= capacity
        else:
            buffer = bytearray(capacity)
        self.bytes_used += capacity
        self._holders += 1
        return buffer

    def give(self, buffer: bytearray) -> None:
        """Give a buffer back. Nobody may look at it any more."""
        capacity = len(buffer)
        self.bytes_used -= capacity
        self._holders -= 1
        if self._kept_bytes + capacity <= _KEPT_BYTES:
            self._kept.setdefault(capacity, []).append(buffer)
            self._kept_bytes += capacity

    def stall(self, waiting: Stalled) -> None:
        """Tell waiting when there is room."""
        self._stalled.append(waiting)

    def forget(self, waiting: Stalled) -> None:
        """It waits no more."""
        if waiting in self._stalled:
            self._stalled.remove(waiting)

    def wake(self) -> None:
        """Let those that wait try again, in their order. Called when buffers were given back, at a safe point."""
        for _ in range(len(self._stalled)):
            if self.bytes_used >= self.budget_bytes and len(self._stalled) < self._holders:
                return
            self._stalled.popleft().on_receive_room()


class Inbox:
    """The unhandled bytes of one connection; in the shared buffer as long as possible."""

    __slots__ = ("_pool", "_shared", "buffer", "end", "frame_bytes_max", "start")

    def __init__(self, shared: bytearray, pool: ReceivePool, frame_bytes_max: int) -> None:
        self._shared = shared
        self._pool = pool
        self.frame_bytes_max = frame_bytes_max
        self.buffer: bytearray | None = None
        """The connection's own buffer, while bytes of it wait; else the shared one holds them during one call."""
        self.start = 0
        self.end = 0

    @property
    def waiting_bytes(self) -> int:
        """Bytes received and not handled."""
        return self.end - self.start

    def writable(self) -> memoryview:
        """Where the next read goes. Never empty."""
        if self.buffer is None:
            return memoryview(self._shared)
        return memoryview(self.buffer)[self.end :]

    def on_received(self, count: int) -> memoryview:
        """count bytes were read into writable(); gives the buffer in which frames are to be looked for."""
        if self.buffer is None:
            self.start = 0
            self.end = count
            return memoryview(self._shared)
        self.end += count
        return memoryview(self.buffer)

    def view(self) -> memoryview:
        """The buffer of the bytes that wait."""
        return memoryview(self.buffer if self.buffer is not None else self._shared)

    def next_frame_size(self, view: memoryview) -> int:
        """Bytes of the frame at the start, without its size field; -1 when it is not complete.

        Raises FrameSizeError for a size that no request's header fits in, and for one beyond the limit.
        """
        available = self.end - self.start
        if available < 4:
            return -1
        size: int = _SIZE.unpack_from(view, self.start)[0]
        if not FRAME_BYTES_MIN <= size <= self.frame_bytes_max:
            raise FrameSizeError(f"a frame of {size} bytes; allowed are {FRAME_BYTES_MIN} to {self.frame_bytes_max}")
        return size if available >= size + 4 else -1

    def keep(self) -> bool:
        """End of a call: move what waits out of the shared buffer, with room for more. False while there is none.

        After False nothing may be read into this inbox until keep() is True.
        """
        waiting = self.end - self.start
        if not waiting:
            self.release()
            return True
        held = self.buffer
        source = memoryview(held if held is not None else self._shared)
        needed = waiting + 1
        if waiting >= 4:
            needed = max(needed, _SIZE.unpack_from(source, self.start)[0] + 4)
        if held is not None and needed <= len(held):
            if self.start + needed > len(held):
                held[:waiting] = held[self.start : self.end]
                self.start, self.end = 0, waiting
            return True
        wanted = max(waiting + 1, min(needed, max(_FIRST_GRANT_MAX, 2 * waiting)))
        buffer = None if held is not None and wanted <= len(held) else self._pool.take(wanted)
        if buffer is None:
            if held is not None:
                if self.end == len(held):
                    held[:waiting] = held[self.start : self.end]
                    self.start, self.end = 0, waiting
                return self.end < len(held)
            buffer = self._pool.take(waiting + 1, must=True)
            assert buffer is not None
        buffer[:waiting] = source[self.start : self.end]
        self.release()
        self.buffer = buffer
        self.start, self.end = 0, waiting
        return True

    def release(self) -> None:
        """Give the own buffer back; the bytes in it are forgotten."""
        if self.buffer is not None:
            self._pool.give(self.buffer)
            self.buffer = None
        self.start = self.end = 0
