"""The hot log: the tail of all partitions in memory, within one budget of bytes.

One queue in append order over all partitions decides what leaves first. The queue's order is each partition's offset
order too, so what leaves is always the oldest batch that its partition has in memory. A batch that is not durable yet
stays: nothing else holds it. Batches are immutable and freed by reference count; a socket may hold one for longer.

A batch counts with what Python takes to hold it, a third more than its bytes where producers send single records of a
kilobyte: the budget is of memory, not of data.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from tailrace_engine.log.entry import BatchEntry

BATCH_OVERHEAD_BYTES: Final = 320
"""An entry with its numbers, the head of the bytes, and places in three lists (CPython 3.11)."""
_DISCARDED_KEPT: Final = 64
"""So few entries without data are not worth going through the queue."""
_SWEPT_AT_ONCE: Final = 4


class HotLog:
    """bytes_used counts the batches here and what `charge` adds for their index entries elsewhere.

    Batches that are discarded leave entries without data in the queue. When they are more than half, the queue is
    swept, a few entries with each append and each discard: there may be a million, and nobody is to wait for that.
    """

    __slots__ = (
        "_discarded",
        "_entries",
        "_is_sweeping",
        "_let_go",
        "_overhead_bytes",
        "_swept",
        "budget_bytes",
        "bytes_used",
    )

    def __init__(self, budget_bytes: int, let_go: Callable[[BatchEntry], bool], overhead_bytes: int = 0) -> None:
        """let_go is asked of each batch that is to leave, while its data is still there; False keeps it.

        overhead_bytes: what each batch counts besides its own bytes.
        """
        self.budget_bytes = budget_bytes
        self.bytes_used = 0
        self._swept: deque[BatchEntry] = deque()
        """The queue's front, while it is swept; else empty."""
        self._entries: deque[BatchEntry] = deque()
        self._let_go = let_go
        self._overhead_bytes = overhead_bytes
        self._discarded = 0
        """Entries without data that are still in the queue."""
        self._is_sweeping = False

    def __len__(self) -> int:
        return len(self._swept) + len(self._entries)

    def append(self, entry: BatchEntry) -> None:
        """Take a batch that its partition has just appended."""
        self._entries.append(entry)
        self.bytes_used += entry.size + self._overhead_bytes
        if self._is_sweeping:
            self._sweep()

    def charge(self, count: int) -> None:
        """Count bytes (negative: give back) that are held because of batches which left."""
        self.bytes_used += count

    def discard(self, entry: BatchEntry) -> None:
        """Forget a batch out of order: its partition was deleted."""
        if entry.data is None:
            return
        entry.data = None
        self.bytes_used -= entry.size + self._overhead_bytes
        self._discarded += 1
        if self._is_sweeping or self._discarded > max(len(self) // 2, _DISCARDED_KEPT):
            self._is_sweeping = True
            self._sweep()

    def _sweep(self) -> None:
        entries = self._entries
        for _ in range(_SWEPT_AT_ONCE):
            if not entries:
                self._entries, self._swept = self._swept, entries
                self._is_sweeping = False
                return
            entry = entries.popleft()
            if entry.data is not None:
                self._swept.append(entry)
            else:
                self._discarded -= 1

    def evict(self) -> None:
        """Bring the bytes below the budget, as far as durable batches allow it."""
        while self.bytes_used > self.budget_bytes:
            entries = self._swept or self._entries
            if not entries:
                return
            entry = entries[0]
            if entry.data is not None:
                if not self._let_go(entry):
                    return
                entry.data = None
                self.bytes_used -= entry.size + self._overhead_bytes
            else:
                self._discarded -= 1
            entries.popleft()
