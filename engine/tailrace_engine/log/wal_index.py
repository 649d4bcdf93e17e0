"""Where the un-uploaded batches lie that have left memory: packed, 28 bytes a batch.

Batches of a partition leave the hot log in offset order, so the index only grows at its end and shrinks at its start.
Its bytes are charged to the hot log's budget.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple, TypeVar

ENTRY_BYTES: Final = 28

T = TypeVar("T")


class WalSpan(NamedTuple):
    """One batch in the WAL: file number, position and size of its raw bytes."""

    base_offset: int
    max_timestamp_ms: int
    segment: int
    position: int
    size: int


def count_segments(items: Sequence[T], start: int, end: int, segment_of: Callable[[T], int]) -> dict[int, int]:
    """How many of items[start:end] lie in each WAL segment.

    Un-uploaded batches of a partition stand in the order of the WAL, so those of a segment stand together: a segment is
    used again only when none of its batches is needed any more. So each run's end is searched, and not each item
    counted.
    """
    counts: dict[int, int] = {}
    while start < end:
        segment = segment_of(items[start])

        def is_beyond(item: T, segment: int = segment) -> bool:
            return segment_of(item) != segment

        run_end = bisect_left(items, True, start, end, key=is_beyond)
        counts[segment] = counts.get(segment, 0) + run_end - start
        start = run_end
    return counts


class WalIndex:
    """Contiguous from base_offset() to end_offset (exclusive)."""

    __slots__ = ("_bases", "_positions", "_segments", "_sizes", "_timestamps", "end_offset")

    def __init__(self) -> None:
        self._bases = array("q")
        self._timestamps = array("q")
        self._segments = array("I")
        self._positions = array("I")
        self._sizes = array("I")
        self.end_offset = 0

    def __len__(self) -> int:
        return len(self._bases)

    def base_offset(self) -> int:
        """The first batch's base offset; the end where it is empty."""
        return self._bases[0] if self._bases else self.end_offset

    def append(
        self, base_offset: int, end_offset: int, max_timestamp_ms: int, segment: int, position: int, size: int
    ) -> None:
        """Add the next batch."""
        assert not self._bases or base_offset >= self.end_offset, "batches leave memory in offset order"
        self._bases.append(base_offset)
        self._timestamps.append(max_timestamp_ms)
        self._segments.append(segment)
        self._positions.append(position)
        self._sizes.append(size)
        self.end_offset = end_offset

    def span(self, place: int) -> WalSpan:
        """The place-th batch, counted from the first that is here."""
        return WalSpan(
            self._bases[place],
            self._timestamps[place],
            self._segments[place],
            self._positions[place],
            self._sizes[place],
        )

    def batches(self) -> Iterator[tuple[int, int, int, int]]:
        """(segment, position, size, base offset) of all batches that are here now, whatever becomes of them."""
        return zip(self._segments[:], self._positions[:], self._sizes[:], self._bases[:], strict=True)

    def segment_ends(self) -> dict[int, int]:
        """Where the last of the batches that are here ends, in each segment."""
        ends: dict[int, int] = {}
        place = 0
        for segment, count in self.segments().items():
            place += count
            ends[segment] = self._positions[place - 1] + self._sizes[place - 1]
        return ends

    def find(self, offset: int) -> int:
        """The place of the batch that contains offset, or of the next one; len(self) when it is beyond the end."""
        if offset >= self.end_offset:
            return len(self._bases)
        return max(bisect_right(self._bases, offset) - 1, 0)

    def find_timestamp(self, timestamp_ms: int, place: int, end: int) -> int:
        """The first place in [place, end) whose largest timestamp is >= timestamp_ms; end when there is none."""
        timestamps = self._timestamps
        for candidate in range(place, end):
            if timestamps[candidate] >= timestamp_ms:
                return candidate
        return end

    def newest_timestamp(self, place: int, end: int) -> int:
        """The largest timestamp of the batches in [place, end), of which there is one."""
        return max(self._timestamps[place:end])

    def batch_end_offset(self, place: int) -> int:
        """Exclusive end of the place-th batch."""
        return self._bases[place + 1] if place + 1 < len(self._bases) else self.end_offset

    def spans(self, offset: int, max_bytes: int) -> list[WalSpan]:
        """The batches from the one that contains offset on, at least one, up to max_bytes."""
        place = self.find(offset)
        found: list[WalSpan] = []
        total = 0
        while place < len(self._bases):
            span = self.span(place)
            total += span.size
            if found and total > max_bytes:
                break
            found.append(span)
            place += 1
        return found

    def bytes_below(self, offset: int) -> int:
        """Bytes of the batches that end at or below offset."""
        return sum(self._sizes[: self.find(offset)])

    def segments(self) -> dict[int, int]:
        """How many batches lie in each segment."""
        return count_segments(self._segments, 0, len(self._segments), int)

    def drop_below(self, offset: int) -> dict[int, int]:
        """Remove the batches that end at or below offset; gives how many of them lay in each segment."""
        count = self.find(offset)
        dropped = count_segments(self._segments, 0, count, int)
        for column in (self._bases, self._timestamps, self._segments, self._positions, self._sizes):
            del column[:count]
        return dropped
