"""What the broker has acknowledged, and whether it is still there.

A batch is known by where it was acknowledged, and by the CRC of its records: the broker may stamp the header, and
leaves the records alone. Thread-safe.
"""

from __future__ import annotations

import threading
import zlib

from harness.batches import HEADER, Batch

Place = tuple[str, int]
"""Topic and partition."""


class Lost(AssertionError):
    """Something that was acknowledged is not there, or is another thing."""


class Ledger:
    """Acknowledged batches and commits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._batches: dict[Place, dict[int, tuple[int, int]]] = {}
        self._commits: dict[tuple[str, Place], int] = {}
        self.acknowledged = 0
        self.verified = 0

    def on_acknowledged(self, place: Place, base_offset: int, batch: bytes, count: int) -> None:
        """A batch of `count` records has this base offset."""
        with self._lock:
            known = self._batches.setdefault(place, {})
            known[base_offset] = (zlib.crc32(batch[HEADER.size :]), base_offset + count)
            self.acknowledged += 1

    def places(self) -> list[Place]:
        with self._lock:
            return list(self._batches)

    def end(self, place: Place) -> int:
        """The offset after the last acknowledged record."""
        with self._lock:
            return max((end for _, end in self._batches.get(place, {}).values()), default=0)

    def expected(self, place: Place, start: int, end: int) -> dict[int, int]:
        """Base offset -> CRC of the acknowledged batches that lie within start (inclusive) and end (exclusive)."""
        with self._lock:
            known = self._batches.get(place, {})
            return {base: crc for base, (crc, after) in known.items() if start <= base and after <= end}

    def compare(self, place: Place, expected: dict[int, int], found: list[Batch]) -> None:
        """Raise Lost where an expected batch is not among those found."""
        there = {batch.base_offset: zlib.crc32(batch.raw[HEADER.size :]) for batch in found}
        for base, crc in expected.items():
            if there.get(base) != crc:
                what = "has other records" if base in there else "is not there"
                raise Lost(f"{place}: the batch that was acknowledged at {base} {what}")
        with self._lock:
            self.verified += len(expected)

    def forget_below(self, place: Place, start: int) -> None:
        """Retention or DeleteRecords has removed what lies below."""
        with self._lock:
            known = self._batches.get(place, {})
            for base in [base for base, (_, after) in known.items() if after <= start]:
                del known[base]

    def on_committed(self, group: str, place: Place, offset: int) -> None:
        with self._lock:
            self._commits[group, place] = offset

    def commits(self) -> dict[tuple[str, Place], int]:
        with self._lock:
            return dict(self._commits)
