"""Deadlines that are moved far more often than they pass.

A heartbeat moves its member's deadline: that is one assignment. The heap keeps at most a few entries for each deadline,
the earliest of them no later than the deadline; an entry that comes up before its deadline is put back. So a wake-up
may find nothing to do, and that costs less than to sort every heartbeat.

Milliseconds are of whichever clock the owner of some deadlines means by them.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Final

from tailrace_engine.coordinator.decision import Now

NEVER: Final = 1 << 62
_CALLED_OFF_MAX: Final = 1_000
"""So many entries of deadlines that were called off are not worth a look."""


class Deadline:
    """A moment at which something is to be done; owned by what it belongs to, which also calls it off."""

    __slots__ = ("act", "due_ms", "queued_ms")

    def __init__(self, act: Callable[[Now], None]) -> None:
        self.act = act
        """Called when the moment has come."""
        self.due_ms = NEVER
        self.queued_ms = NEVER
        """The earliest entry of the heap that stands for this."""


class Deadlines:
    """The deadlines of one owner, by time."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Deadline]] = []
        self._sequence = 0
        self._count = 0
        """Deadlines that are set."""

    def set(self, deadline: Deadline, due_ms: int) -> None:
        """Move it, earlier or later."""
        if deadline.due_ms == NEVER:
            self._count += 1
        deadline.due_ms = due_ms
        if due_ms < deadline.queued_ms:
            deadline.queued_ms = due_ms
            self._sequence += 1
            heappush(self._heap, (due_ms, self._sequence, deadline))

    def clear(self, deadline: Deadline) -> None:
        """Call it off."""
        if deadline.due_ms != NEVER:
            self._count -= 1
            deadline.due_ms = NEVER
            if len(self._heap) > 4 * self._count + _CALLED_OFF_MAX:
                self._tidy()

    def next_ms(self) -> int | None:
        """No later than the earliest deadline."""
        heap = self._heap
        while heap:
            queued_ms, _, deadline = heap[0]
            if deadline.queued_ms == queued_ms and deadline.due_ms != NEVER:
                return queued_ms
            self._take()
        return None

    def pop_due(self, now_ms: int) -> Deadline | None:
        """A deadline with due_ms <= now_ms, which is then no longer set; None when there is none."""
        heap = self._heap
        while heap and heap[0][0] <= now_ms:
            deadline = self._take()
            if deadline is None or deadline.due_ms == NEVER:
                continue
            if deadline.due_ms <= now_ms:
                self._count -= 1
                deadline.due_ms = NEVER
                return deadline
            self.set(deadline, deadline.due_ms)
        return None

    def _tidy(self) -> None:
        """Forget the entries of deadlines that were called off, which would stay until their time."""
        kept: dict[Deadline, None] = {}
        for _, _, deadline in self._heap:
            if deadline.due_ms == NEVER:
                deadline.queued_ms = NEVER
            else:
                kept[deadline] = None
        self._heap = []
        for deadline in kept:
            deadline.queued_ms = NEVER
            self.set(deadline, deadline.due_ms)

    def _take(self) -> Deadline | None:
        """Remove the first entry; None when an earlier one stood for its deadline."""
        queued_ms, _, deadline = heappop(self._heap)
        if deadline.queued_ms != queued_ms:
            return None
        deadline.queued_ms = NEVER
        return deadline
