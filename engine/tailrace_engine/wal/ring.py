"""Which segment files there are, what they hold, and which may be used again. Pure.

A segment is used (one of them is active: the last), or free. It becomes free when all its records are dead, nobody
reads it, and it is not active. One exception keeps order: control records (a truncation, say) speak about batches in
older segments, so a segment that holds one stays as long as any older segment is retained, else a dead batch could come
back without the truncation that killed it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from tailrace_engine.wal.format import RETAINED_MAX, SEGMENT_HEADER_BYTES, Retained


@dataclass(slots=True)
class Segment:
    """One use of one file."""

    number: int
    generation: int
    end_sequence: int
    """Exclusive; moves while the segment is active."""
    live: int
    """Records that are not dead."""
    has_control: bool
    pins: int = 0
    """Reads in progress."""


class Ring:
    """The segments of one WAL, oldest generation first."""

    def __init__(self, segment_bytes: int, capacity_bytes: int) -> None:
        self.segment_bytes = segment_bytes
        self.segments_max = max(capacity_bytes // segment_bytes, 2)
        assert self.segments_max <= RETAINED_MAX, "checked with the settings"
        self.used: dict[int, Segment] = {}
        """By file number, in order of generation; the last is the active one once begin() was called."""
        self.free: list[int] = []
        """File numbers to use again, already written once."""
        self.spare: int | None = None
        """The file that becomes the next segment; it may still be in the making."""
        self.active: Segment | None = None
        self.position = 0
        """Where the next group goes in the active segment."""
        self._next_generation = 1
        self._next_number = 0

    def restore(self, segments: Iterable[Segment], free: Iterable[int], last_generation: int) -> None:
        """Take over what recovery found; segments in order of generation."""
        for segment in segments:
            self.used[segment.number] = segment
        self.free.extend(free)
        self._next_generation = last_generation + 1
        self._next_number = max([*self.used, *self.free], default=-1) + 1

    @property
    def file_count(self) -> int:
        """Files that exist or are being made."""
        return len(self.used) + len(self.free) + (self.spare is not None)

    def take_spare(self) -> bool:
        """Make a free file the spare. False when there is none."""
        assert self.spare is None
        if not self.free:
            return False
        self.spare = self.free.pop(0)
        return True

    def new_spare(self) -> bool:
        """Give the spare the number of a file that is yet to be made. False when the capacity allows no more."""
        assert self.spare is None
        if self.file_count >= self.segments_max:
            return False
        self.spare = self._next_number
        self._next_number += 1
        return True

    def retained(self) -> list[Retained]:
        """The generations that are still needed, in order, to be named in the next segment's header."""
        result: list[Retained] = []
        for segment in self.used.values():
            if segment.live or (segment.has_control and result):
                result.append(Retained(segment.number, segment.generation, segment.end_sequence))
        return result

    def begin(self, first_sequence: int) -> Segment:
        """Make the spare the active segment."""
        number = self.spare
        assert number is not None
        self.spare = None
        segment = Segment(number, self._next_generation, first_sequence, 0, False)
        self._next_generation += 1
        self.used[number] = segment
        self.active = segment
        self.position = SEGMENT_HEADER_BYTES
        return segment

    def room(self) -> int:
        """Bytes left in the active segment."""
        return self.segment_bytes - self.position if self.active is not None else 0

    def mark_dead(self, number: int, count: int = 1) -> list[int]:
        """count records of a segment are needed no more. Gives the files that became free by it."""
        segment = self.used[number]
        assert segment.live >= count, f"segment {number} has {segment.live} live records, {count} cannot die"
        segment.live -= count
        return [] if segment.live else self.release()

    def pin(self, number: int) -> None:
        """A read begins: the segment is not used again before unpin()."""
        self.used[number].pins += 1

    def unpin(self, number: int) -> list[int]:
        """The inverse of pin. Gives the files that became free by it."""
        segment = self.used[number]
        segment.pins -= 1
        return [] if segment.pins or segment.live else self.release()

    def release(self) -> list[int]:
        """Move to the free list what is needed no more."""
        released = []
        older_retained = False
        for segment in list(self.used.values()):
            if segment is self.active or segment.live or segment.pins or (segment.has_control and older_retained):
                older_retained = True
                continue
            del self.used[segment.number]
            released.append(segment.number)
        self.free.extend(released)
        return released

    def free_bytes(self) -> int:
        """What may still be written before the capacity is used, segment headers not counted."""
        whole = self.segments_max - len(self.used)
        return self.room() + max(whole, 0) * (self.segment_bytes - SEGMENT_HEADER_BYTES)

    def used_bytes(self) -> int:
        """Bytes in segments that are not free; of the active one, what is written."""
        active = self.active
        if active is None:
            return len(self.used) * self.segment_bytes
        return (len(self.used) - 1) * self.segment_bytes + self.position
