"""Who reads on where the last read ended, and how far ahead of it to fetch. Pure.

A read is known as the continuation of another by its offset alone: each leaves its stream parked under the offset where
the next one would begin. A stream that nobody continues was a seek, or its consumer is gone: it is dropped once it was
idle for a while, or when there are too many, and what was fetched for it is no longer held.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic, TypeAlias, TypeVar

from tailrace_core.ids import TopicId

STREAMS_MAX: Final = 4096
"""A few hundred bytes each."""
IDLE_SECONDS: Final = 10.0
"""A consumer that works longer than this on one fetch is not worth the memory that reading ahead for it takes."""

StreamKey: TypeAlias = tuple[TopicId, int, int]
"""Topic id, partition, and the offset where the next read begins."""

H = TypeVar("H")


class Stream(Generic[H]):
    """One sequential reader of one partition."""

    __slots__ = ("consumed_bytes", "held", "is_sequential", "planned_to", "position", "section", "used_at")

    def __init__(self) -> None:
        self.is_sequential = False
        """It has been continued at least once."""
        self.consumed_bytes = 0
        self.section: object = None
        """What the last read was served from, and where in it that ended (bytes from its first batch)."""
        self.position = 0
        self.planned_to = 0
        """Up to where fetching is under way, measured as position is; may lie beyond the section."""
        self.held: dict[object, H] = {}
        """What was fetched ahead and is not served yet, by its key."""
        self.used_at = 0.0


class Streams(Generic[H]):
    """All parked streams, the longest idle first."""

    __slots__ = ("_on_dropped", "_parked", "sequential_count")

    def __init__(self, on_dropped: Callable[[Stream[H]], None]) -> None:
        self._parked: OrderedDict[StreamKey, Stream[H]] = OrderedDict()
        self._on_dropped = on_dropped
        self.sequential_count = 0

    def __len__(self) -> int:
        return len(self._parked)

    def take(self, key: StreamKey) -> Stream[H]:
        """The stream that a read at key continues, or a new one. The caller parks or drops it."""
        stream = self._parked.pop(key, None)
        if stream is None:
            return Stream()
        if not stream.is_sequential:
            stream.is_sequential = True
            self.sequential_count += 1
        return stream

    def park(self, key: StreamKey, stream: Stream[H], now: float) -> None:
        """The read ended at key. Of two streams at one place the newer stays."""
        old = self._parked.pop(key, None)
        if old is not None:
            self.drop(old)
        stream.used_at = now
        self._parked[key] = stream
        while len(self._parked) > STREAMS_MAX or next(iter(self._parked.values())).used_at < now - IDLE_SECONDS:
            self.drop(self._parked.popitem(last=False)[1])

    def drop(self, stream: Stream[H]) -> None:
        """Forget a stream that is not parked."""
        if stream.is_sequential:
            self.sequential_count -= 1
        self._on_dropped(stream)


def window_bytes(consumed_bytes: int, smallest: int, largest: int, budget: int, sequential_count: int) -> int:
    """How far ahead to fetch: as much as the stream has read so far, between the bounds, and its share of the budget.

    So the window doubles each time the reader has used it up, and a short read never fetches much for nothing.
    """
    return min(max(consumed_bytes, smallest), largest, budget // max(sequential_count, 1))
