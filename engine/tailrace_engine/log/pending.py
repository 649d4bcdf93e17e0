"""Appends that wait for the high watermark: a queue released in order by an offset.

A duplicate of an idempotent batch waits here like its original, for the original's end offset, and is released or
failed with it. Duplicates arrive out of order, so the queue is kept sorted by end offset; appends come in order and
cost one append at the end.
"""

from bisect import bisect_right
from collections import deque
from typing import Generic, TypeVar

Waiter = TypeVar("Waiter")


class PendingAppends(Generic[Waiter]):
    """What waits, by the end offset that must be below the high watermark."""

    __slots__ = ("queue",)

    def __init__(self) -> None:
        self.queue: deque[tuple[int, Waiter]] = deque()
        """(end offset, waiter), rising. The owner takes those off the front whose offset is reached."""

    def __len__(self) -> int:
        return len(self.queue)

    def add(self, end_offset: int, waiter: Waiter) -> None:
        """Wait until the high watermark reaches end_offset."""
        queue = self.queue
        if not queue or queue[-1][0] <= end_offset:
            queue.append((end_offset, waiter))
        else:
            queue.insert(bisect_right(queue, end_offset, key=lambda item: item[0]), (end_offset, waiter))

    def release(self, high_watermark: int) -> list[Waiter]:
        """Those whose records are below the high watermark now, in order of their offsets."""
        queue = self.queue
        released = []
        while queue and queue[0][0] <= high_watermark:
            released.append(queue.popleft()[1])
        return released

    def fail_all(self) -> list[Waiter]:
        """Everything that waits: its records may never become durable."""
        waiting = [waiter for _, waiter in self.queue]
        self.queue.clear()
        return waiting
