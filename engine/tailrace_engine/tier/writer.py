"""Builds objects in the format of layout.py: batches in, the parts of one object and its extents out.

Pure, and it shares no state: sections may be filled on the loop, slice by slice, or in a thread. The batches' bytes are
never copied; they are the parts. A batch costs one CRC call (0.2 us a KiB-sized batch); batches of 32 KiB and more
release the GIL for it.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from crc32c import crc32c

from tailrace_core.batch import NO_TIMESTAMP, Buffer
from tailrace_core.extents import Extent
from tailrace_core.ids import TopicId
from tailrace_engine.tier.layout import (
    INDEX_INTERVAL_BYTES,
    Footer,
    ObjectHeader,
    SectionIndex,
    encode_footer,
    encode_header,
    encode_section_tail,
    encode_snapshot_frame,
    section_tail_bytes,
)

_STEP_SECTIONS: Final = 64
"""Laid out in one step: under a millisecond."""


class RawBatch(NamedTuple):
    """One stored batch, or several that follow each other. Any tuple in this order will do."""

    data: Buffer
    base_offset: int
    end_offset: int
    """Exclusive."""
    max_timestamp_ms: int


class BuiltObject(NamedTuple):
    """What to put, and what to commit once it is there."""

    parts: list[Buffer]
    extents: tuple[Extent, ...]
    size: int


class SectionWriter:
    """One partition's batches in offset order."""

    __slots__ = (
        "_base_offset",
        "_base_offsets",
        "_crc",
        "_crcs",
        "_max_timestamp_ms",
        "_max_timestamps_ms",
        "_positions",
        "end_offset",
        "leader_epoch",
        "leader_epochs",
        "length",
        "partition",
        "parts",
        "producer_snapshot",
        "topic_id",
        "untimed_ms",
    )

    def __init__(
        self,
        topic_id: TopicId,
        partition: int,
        leader_epoch: int,
        leader_epochs: Sequence[tuple[int, int]],
        producer_snapshot: bytes,
        base_offset: int | None = None,
    ) -> None:
        """leader_epoch is the committing leader's; leader_epochs are (epoch, start offset) of the batches to come.

        base_offset: where the extent begins, if that is before its first batch.
        """
        self.topic_id = topic_id
        self.partition = partition
        self.leader_epoch = leader_epoch
        self.leader_epochs = leader_epochs
        self.producer_snapshot = producer_snapshot
        self.parts: list[Buffer] = []
        self.length = 0
        """Bytes so far."""
        self.end_offset = -1
        self.untimed_ms = NO_TIMESTAMP
        """What the extent says where no batch has a timestamp."""
        self._base_offset = base_offset
        self._crc = 0
        self._max_timestamp_ms = NO_TIMESTAMP
        self._base_offsets = array("q")
        self._positions = array("Q")
        self._max_timestamps_ms = array("q")
        self._crcs = array("I")

    def add(self, batches: Iterable[tuple[Buffer, int, int, int]]) -> None:
        """Take the next batches. They may not change until the object is put."""
        crc, length, max_timestamp_ms, end_offset = self._crc, self.length, self._max_timestamp_ms, self.end_offset
        positions = self._positions
        next_entry = positions[-1] + INDEX_INTERVAL_BYTES if positions else 0
        append = self.parts.append
        for data, base_offset, batch_end_offset, batch_max_timestamp_ms in batches:
            assert base_offset >= end_offset, f"batch at {base_offset} after {end_offset}"
            if length >= next_entry:
                if length:
                    self._crcs.append(crc)
                    self._max_timestamps_ms.append(max_timestamp_ms)
                self._base_offsets.append(base_offset)
                positions.append(length)
                next_entry = length + INDEX_INTERVAL_BYTES
            append(data)
            crc = crc32c(data, crc)
            length += len(data)
            end_offset = batch_end_offset
            if batch_max_timestamp_ms > max_timestamp_ms:
                max_timestamp_ms = batch_max_timestamp_ms
        self._crc, self.length, self._max_timestamp_ms, self.end_offset = crc, length, max_timestamp_ms, end_offset

    @property
    def base_offset(self) -> int:
        return self._base_offsets[0] if self._base_offset is None else self._base_offset

    @property
    def tail_bytes(self) -> int:
        """What this section will take besides its batches and its snapshot."""
        return section_tail_bytes(len(self._positions), len(self.leader_epochs))

    def extent(self, position: int) -> Extent:
        """The extent, given where the section begins in its object."""
        return Extent(
            self.topic_id,
            self.partition,
            self.leader_epoch,
            self.base_offset,
            self.end_offset,
            self._max_timestamp_ms if self._max_timestamp_ms >= 0 else self.untimed_ms,
            position,
            self.length,
            self.length + self.tail_bytes,
            self._crc,
        )

    def tail(self, snapshot_position: int) -> bytes:
        """The encoded section tail, given where the frame of the partition's snapshot lies in the object."""
        index = SectionIndex(
            self._base_offsets,
            self._positions,
            self._max_timestamps_ms + array("q", [self._max_timestamp_ms]),
            self._crcs + array("I", [self._crc]),
            self.leader_epochs,
            self.end_offset,
            self.length,
            snapshot_position,
            len(self.producer_snapshot),
        )
        return encode_section_tail(self.topic_id, self.partition, self.base_offset, index)


def build_object(header: ObjectHeader, sections: Sequence[SectionWriter]) -> BuiltObject:
    """Lay out an object of sections, each with at least one batch."""
    *_, built = build_in_steps(header, sections)
    assert built is not None
    return built


def build_in_steps(header: ObjectHeader, sections: Sequence[SectionWriter]) -> Iterator[BuiltObject | None]:
    """The same with None after each part of the work, so that something else has its turn; the object comes last."""
    encoded_header = encode_header(header)
    extents = []
    position = len(encoded_header)
    for section in sections:
        extent = section.extent(position)
        extents.append(extent)
        position += extent.section_length
    snapshots_position = position
    parts: list[Buffer] = [encoded_header]
    snapshots: list[Buffer] = []
    for number, section in enumerate(sections):
        if number % _STEP_SECTIONS == _STEP_SECTIONS - 1:
            yield None
        parts += section.parts
        parts.append(section.tail(position))
        snapshot = section.producer_snapshot
        frame = encode_snapshot_frame(section.topic_id, section.partition, snapshot)
        snapshots += (frame, snapshot)
        position += len(frame) + len(snapshot)
    footer = encode_footer(Footer(tuple(extents), snapshots_position, position - snapshots_position), position)
    parts += snapshots
    parts.append(footer)
    yield BuiltObject(parts, tuple(extents), position + len(footer))
