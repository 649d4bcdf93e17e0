"""Reads the WAL after a stop of any kind: what it holds, what was torn, what is damaged. Pure over segment sources.

The newest readable segment header says which files matter and where each older one ends. Within them groups follow one
another by sequence. The highest sequence that any intact group or header claims durable divides what is found broken:

- beyond it, the first missing or bad group and all that follows is cut, whatever follows: nobody was told it is kept;
- up to it, a bad group is damage. Records in it that are still whole are given; those that are not are named by
  partition; where not even that can be read, the position is reported and every partition without a later batch is a
  suspect.

Records come in the order they were written, in a list per group, while the files are read in windows of a few MiB:
memory does not grow with the WAL. The loop over records is written for speed: a start reads a million of them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol, TypeAlias

from crc32c import crc32c

from tailrace_core.batch import CRC_START, HEADER, LOG_OVERHEAD_BYTES
from tailrace_core.batch import HEADER_BYTES as BATCH_HEADER_BYTES
from tailrace_core.ids import TopicPartition
from tailrace_engine.wal.format import (
    BATCH,
    BATCH_CRC_END,
    BLOCK_BYTES,
    GROUP_HEADER_BYTES,
    GROUP_MAGIC,
    PARTITION_DELETED,
    RECORD_CRC_START,
    RECORD_HEADER,
    RECORD_HEADER_BYTES,
    RECORD_TYPES,
    SEGMENT_HEADER_BYTES,
    GroupFields,
    Retained,
    SegmentHeader,
    align_up,
    any_group_generation,
    group_prefix,
    read_group_header,
    read_segment_header,
)
from tailrace_engine.wal.ring import Segment

WINDOW_BYTES: Final = 4 << 20

WalRecord: TypeAlias = tuple[int, bytes, int, int, int, int, int, int, tuple[int, ...] | None]
"""type, topic id, partition, leader epoch, base offset, segment, position of the raw bytes, their length, and for a
batch the fields of its header in the order of core.batch.BatchHeader."""
OnRecords: TypeAlias = Callable[[list[WalRecord]], object]
OnProgress: TypeAlias = Callable[[int, int], object]
"""bytes read, bytes to read."""


class SegmentSource(Protocol):
    """A segment file as recovery reads it."""

    number: int
    size: int

    def read_into(self, position: int, view: memoryview) -> int:
        """Fill view from position; gives the bytes read, fewer only at the file's end. Unreadable blocks read as
        zeros."""


@dataclass(frozen=True, slots=True)
class Damage:
    """Acknowledged bytes that are not there any more."""

    segment: int
    position: int
    first_sequence: int
    end_sequence: int
    """Exclusive."""
    partitions: tuple[TopicPartition, ...]
    """Those whose records are known to be lost."""
    unreadable: bool
    """Records of partitions that cannot be named may be lost too."""
    reason: str

    def __str__(self) -> str:
        return f"WAL segment {self.segment} at byte {self.position}: {self.reason}"


@dataclass(frozen=True, slots=True)
class TornTail:
    """What was cut: written, never acknowledged."""

    segment: int
    position: int
    sequence: int

    def __str__(self) -> str:
        return f"torn tail cut in WAL segment {self.segment} at byte {self.position}: nothing acknowledged is lost"


@dataclass(slots=True)
class Recovery:
    """The result, and what Wal.open needs."""

    segments: list[Segment] = field(default_factory=list)
    """Oldest generation first; every record that was given counts as live."""
    free: list[int] = field(default_factory=list)
    last_generation: int = 0
    next_sequence: int = 1
    records: int = 0
    record_bytes: int = 0
    damage: list[Damage] = field(default_factory=list)
    torn: TornTail | None = None
    seen_since: dict[TopicPartition, None] = field(default_factory=dict)
    """Partitions with a batch (or their deletion) after the last unreadable damage."""

    @property
    def unreadable(self) -> bool:
        """Whether there is damage whose partitions cannot be named."""
        return any(damage.unreadable for damage in self.damage)

    def damaged(self) -> list[TopicPartition]:
        """Partitions with a named loss."""
        return list(dict.fromkeys(tp for damage in self.damage for tp in damage.partitions))

    def suspects(self, partitions: Iterable[TopicPartition]) -> list[TopicPartition]:
        """Which of partitions may have lost records where the WAL is unreadable: those without a later record."""
        return [tp for tp in partitions if tp not in self.seen_since] if self.unreadable else []


@dataclass(slots=True)
class _Part:
    """One segment to scan."""

    number: int
    source: SegmentSource | None
    """None where no readable file holds this generation any more."""
    prefix: bytes
    generation: int
    first: int | None
    """Its first sequence, if known."""
    end: int | None
    """Exclusive, if known: only of the last segment it never is."""
    durable: int = 0
    """What its own header claims durable."""


class _FirstGroup(NamedTuple):
    """What tells the use of a file whose segment header is not readable."""

    salt: int
    generation: int
    sequence: int
    position: int


class _Window:
    """A moving view on one source."""

    def __init__(self, source: SegmentSource, memory: bytearray, on_read: Callable[[int], object]) -> None:
        self._source = source
        self._memory = memory
        self._view = memoryview(memory)
        self._on_read = on_read
        self.start = 0
        """Position in the file of the window's first byte."""
        self.length = 0

    def at(self, position: int, need: int) -> tuple[memoryview, int]:
        """A view that holds need bytes from position, or as many as the file has, and where in it they begin."""
        offset = position - self.start
        if offset < 0 or offset + need > self.length:
            self._fill(position, need)
            offset = 0
        return self._view[: self.length], offset

    def _fill(self, position: int, need: int) -> None:
        if need > len(self._memory):
            self._memory = bytearray(align_up(need))
            self._view = memoryview(self._memory)
            self.length = 0
        kept = self.start + self.length - position
        if 0 < kept <= self.length:
            offset = position - self.start
            self._view[:kept] = bytes(self._view[offset : offset + kept])
        else:
            kept = 0
        self.start = position
        self.length = kept
        wanted = min(len(self._memory), self._source.size - position)
        while self.length < wanted:
            got = self._source.read_into(position + self.length, self._view[self.length : wanted])
            if got <= 0:
                break
            self.length += got
            self._on_read(got)


def recover(sources: Sequence[SegmentSource], on_records: OnRecords, on_progress: OnProgress | None = None) -> Recovery:
    """Read all there is, calling on_records once per group. Blocks; at about 2 us a record of 1 KiB.

    on_progress is called after each window. Raises FormatTooNew when a later version of the program wrote here.
    """
    return _Scan(sources, on_records, on_progress).run()


class _Scan:
    def __init__(self, sources: Sequence[SegmentSource], on_records: OnRecords, on_progress: OnProgress | None) -> None:
        self._sources = {source.number: source for source in sources}
        self._on_records = on_records
        self._on_progress = on_progress
        self._memory = bytearray(WINDOW_BYTES)
        self._bytes_read = 0
        self._bytes_total = 0
        self._parts: list[_Part] = []
        self._claim = 0
        """The highest sequence claimed durable, as far as known."""
        self._claim_is_final = False
        self._result = Recovery()

    def run(self) -> Recovery:
        result = self._result
        self._plan()
        self._bytes_total = sum(part.source.size for part in self._parts if part.source is not None)
        sequence = 1
        kept: set[int] = set()
        for part in self._parts:
            if part.first is not None:
                sequence = part.first
            segment = Segment(part.number, part.generation, sequence, 0, False)
            sequence = segment.end_sequence = self._scan_part(part, segment, sequence)
            if part.source is not None:
                result.segments.append(segment)
                kept.add(part.number)
            if result.torn is not None:
                break  # segments wholly beyond the cut hold nothing
        result.next_sequence = sequence
        result.free.extend(number for number in self._sources if number not in kept)
        return result

    # Which files matter.

    def _plan(self) -> None:
        result = self._result
        headers: dict[int, SegmentHeader] = {}
        found: dict[int, _FirstGroup] = {}
        memory = bytearray(SEGMENT_HEADER_BYTES)
        for number, source in self._sources.items():
            view, _ = _Window(source, memory, self._on_read).at(0, SEGMENT_HEADER_BYTES)
            header = read_segment_header(view)
            if header is not None and header.number == number:
                headers[number] = header
                result.last_generation = max(result.last_generation, header.generation)
            elif (group := self._first_group(source)) is not None:
                found[number] = group
                result.last_generation = max(result.last_generation, group.generation)
        newest = max(headers.values(), key=lambda header: header.generation, default=None)
        if newest is not None:
            for retained in newest.retained:
                self._parts.append(self._retained_part(retained, headers, found))
            prefix = group_prefix(newest.salt, newest.generation)
            source = self._sources[newest.number]
            self._parts.append(
                _Part(newest.number, source, prefix, newest.generation, newest.first_sequence, None, newest.durable)
            )
        newer_than = newest.generation if newest is not None else 0
        for number, group in sorted(found.items(), key=lambda item: item[1].generation):
            if group.generation > newer_than:
                if self._parts:
                    self._parts[-1].end = group.sequence
                self._parts.append(self._beheaded_part(number, group, None))

    def _retained_part(
        self, retained: Retained, headers: dict[int, SegmentHeader], found: dict[int, _FirstGroup]
    ) -> _Part:
        number, generation, end = retained
        header = headers.get(number)
        if header is not None and header.generation == generation:
            prefix = group_prefix(header.salt, generation)
            return _Part(number, self._sources[number], prefix, generation, header.first_sequence, end, header.durable)
        group = found.get(number)
        if group is not None and group.generation == generation:
            return self._beheaded_part(number, group, end)
        return _Part(number, None, b"", generation, None, end)

    def _beheaded_part(self, number: int, group: _FirstGroup, end: int | None) -> _Part:
        # Where the first group is lost too, the sequence goes on from the segment before: the most that can be missing.
        first = group.sequence if group.position == SEGMENT_HEADER_BYTES else None
        prefix = group_prefix(group.salt, group.generation)
        return _Part(number, self._sources[number], prefix, group.generation, first, end)

    def _first_group(self, source: SegmentSource) -> _FirstGroup | None:
        window = _Window(source, self._memory, self._on_read)
        for view, offset, position in _blocks(window, source, SEGMENT_HEADER_BYTES, GROUP_MAGIC):
            use = any_group_generation(view, offset)
            if use is not None:
                fields = read_group_header(view, offset, group_prefix(*use))
                assert fields is not None
                return _FirstGroup(*use, fields[0], position)
        return None

    def _on_read(self, count: int) -> None:
        self._bytes_read += count
        if self._on_progress is not None and self._bytes_total:
            self._on_progress(min(self._bytes_read, self._bytes_total), self._bytes_total)

    # One segment.

    def _scan_part(self, part: _Part, segment: Segment, expected: int) -> int:
        """Give the records of one segment. Returns the sequence that comes next; sets result.torn at a cut."""
        source = part.source
        end = part.end
        result = self._result
        self._claim = max(self._claim, part.durable)
        if source is None:
            assert end is not None
            return self._lost(segment.number, 0, expected, end, "no file holds this segment any more")
        window = _Window(source, self._memory, self._on_read)
        position = SEGMENT_HEADER_BYTES
        last_position = source.size - BLOCK_BYTES
        prefix = part.prefix
        while end is None or expected < end:
            fields: GroupFields | None = None
            if position <= last_position:
                view, offset = window.at(position, BLOCK_BYTES)
                fields = read_group_header(view, offset, prefix)
            if fields is not None and fields[0] == expected:
                _, durable, payload_bytes, count = fields
                if durable > self._claim:
                    self._claim = durable
                length = align_up(GROUP_HEADER_BYTES + payload_bytes)
                view, offset = window.at(position, length)
                records = self._records(view, offset, payload_bytes, count, segment, position)
                if records is None:
                    if expected > self._final_claim():
                        result.torn = TornTail(segment.number, position, expected)
                        return expected
                    records = self._whole_records(view, offset, payload_bytes, count, segment, position, expected)
                elif result.damage:
                    self._note_seen(records)
                if records:
                    segment.live += len(records)
                    result.records += len(records)
                    result.record_bytes += payload_bytes - count * RECORD_HEADER_BYTES
                    self._on_records(records)
                position += length
                expected += 1
                continue
            found = self._next_group(part, window, position, expected)
            if found is None:
                if end is None:
                    # The end of all: every group that is left was looked at, so every claim is known.
                    return self._lost(segment.number, position, expected, self._claim + 1, "groups are lost")
                return self._lost(segment.number, position, expected, end, "groups are lost")
            expected = self._lost(segment.number, position, expected, found[1], "group headers are not readable")
            if result.torn is not None:
                return expected
            position = found[0]
        return expected

    def _lost(self, number: int, position: int, first: int, end: int, reason: str) -> int:
        """Sequences [first, end) are not there: damage as far as they were claimed durable, from there on a cut.

        Returns the sequence that comes next.
        """
        if first >= end:
            return first
        cut = self._final_claim() + 1
        if first < cut:
            reason = f"{reason}: sequences {first} to {min(end, cut) - 1}"
            self._damage(Damage(number, position, first, min(end, cut), (), True, reason))
        if end <= cut:
            return end
        self._result.torn = TornTail(number, position, max(first, cut))
        return max(first, cut)

    def _note_seen(self, records: list[WalRecord]) -> None:
        seen = self._result.seen_since
        for record in records:
            if record[0] in (BATCH, PARTITION_DELETED):
                seen[TopicPartition(record[1], record[2])] = None

    def _next_group(self, part: _Part, window: _Window, position: int, expected: int) -> tuple[int, int] | None:
        """Position and sequence of the next intact group of this generation behind what is unreadable."""
        assert part.source is not None
        for view, offset, at in _blocks(window, part.source, position + BLOCK_BYTES, part.prefix):
            fields = read_group_header(view, offset, part.prefix)
            if fields is not None and fields[0] > expected and (part.end is None or fields[0] < part.end):
                self._claim = max(self._claim, fields[1])
                return at, fields[0]
        return None

    def _final_claim(self) -> int:
        """The highest sequence that anything intact claims durable. Claims grow with sequences: the last ones tell."""
        if self._claim_is_final:
            return self._claim
        self._claim_is_final = True
        memory = bytearray(WINDOW_BYTES)
        for part in reversed(self._parts):
            self._claim = max(self._claim, part.durable)
            any_group = False
            if part.source is not None:
                window = _Window(part.source, memory, self._on_read)
                for view, offset, _ in _blocks(window, part.source, SEGMENT_HEADER_BYTES, part.prefix):
                    fields = read_group_header(view, offset, part.prefix)
                    if fields is not None and (part.end is None or fields[0] < part.end):
                        any_group = True
                        self._claim = max(self._claim, fields[1])
            if any_group:
                break
        return self._claim

    # One group.

    def _records(
        self, view: memoryview, offset: int, payload_bytes: int, count: int, segment: Segment, base: int
    ) -> list[WalRecord] | None:
        """The records of a group, or None where any of them is not whole."""
        number = segment.number
        unpack = RECORD_HEADER.unpack_from
        unpack_batch = HEADER.unpack_from
        crc_of = crc32c
        records: list[WalRecord] = []
        position = offset + GROUP_HEADER_BYTES
        end = position + payload_bytes
        to_file = base - offset
        if end > len(view):
            return None
        last_position = end - RECORD_HEADER_BYTES
        while position < end:
            if position > last_position:
                return None
            crc, kind, length, partition, leader_epoch, base_offset, topic_id = unpack(view, position)
            raw = position + RECORD_HEADER_BYTES
            if kind == BATCH:
                stop = raw + length
                if (
                    stop > end
                    or length < BATCH_HEADER_BYTES
                    or crc_of(view[position + RECORD_CRC_START : position + BATCH_CRC_END]) != crc
                ):
                    return None
                header = unpack_batch(view, raw)
                if header[4] != crc_of(view[raw + CRC_START : stop]) or header[1] + LOG_OVERHEAD_BYTES != length:
                    return None
                records.append(
                    (BATCH, topic_id, partition, leader_epoch, base_offset, number, to_file + raw, length, header)
                )
                position = stop
            else:
                if length or kind not in RECORD_TYPES or crc_of(view[position + RECORD_CRC_START : raw]) != crc:
                    return None
                segment.has_control = True
                records.append((kind, topic_id, partition, leader_epoch, base_offset, number, to_file + raw, 0, None))
                position = raw
        return records if len(records) == count else None

    def _whole_records(
        self,
        view: memoryview,
        offset: int,
        payload_bytes: int,
        count: int,
        segment: Segment,
        base: int,
        sequence: int,
    ) -> list[WalRecord]:
        """What can be read of a damaged group; reports the damage.

        A record whose own CRC holds has a length to go on from, even where its batch is broken. One whose CRC does not
        hold may still have its length right: then the next record's CRC holds.
        """
        records: list[WalRecord] = []
        named: list[TopicPartition] = []
        position = offset + GROUP_HEADER_BYTES
        end = min(position + payload_bytes, len(view))
        while position + RECORD_HEADER_BYTES <= end:
            crc, kind, length, partition, leader_epoch, base_offset, topic_id = RECORD_HEADER.unpack_from(
                view, position
            )
            raw = position + RECORD_HEADER_BYTES
            stop = raw + length
            if stop > end:
                break
            covered = BATCH_CRC_END if kind == BATCH and length >= BATCH_HEADER_BYTES else RECORD_HEADER_BYTES
            if crc32c(view[position + RECORD_CRC_START : position + covered]) == crc:
                header = None
                whole = True
                if kind == BATCH:
                    header = HEADER.unpack_from(view, raw)
                    whole = header[4] == crc32c(view[raw + CRC_START : stop])
                else:
                    segment.has_control = True
                if whole:
                    at = base + raw - offset
                    records.append(
                        (kind, topic_id, partition, leader_epoch, base_offset, segment.number, at, length, header)
                    )
                else:
                    named.append(TopicPartition(topic_id, partition))
            position = stop
        self._damage(
            Damage(
                segment.number,
                base,
                sequence,
                sequence + 1,
                tuple(dict.fromkeys(named)),
                len(records) + len(named) < count,
                f"{count - len(records)} of the {count} records of group {sequence} are damaged",
            )
        )
        # Only what stands behind the damage proves anything: inside one group, order is not looked at.
        return records

    def _damage(self, damage: Damage) -> None:
        self._result.damage.append(damage)
        if damage.unreadable:
            self._result.seen_since.clear()


def _blocks(
    window: _Window, source: SegmentSource, position: int, prefix: bytes
) -> Iterator[tuple[memoryview, int, int]]:
    """Every block from position on that begins with prefix: a view, where in it the block is, and where in the file."""
    size = source.size
    while position + BLOCK_BYTES <= size:
        view, offset = window.at(position, BLOCK_BYTES)
        whole = (len(view) - offset) & -BLOCK_BYTES
        if whole == 0:
            return
        first = prefix[0]
        # One byte per block, taken by C, before any block is looked at.
        for index, byte in enumerate(view[offset : offset + whole : BLOCK_BYTES].tobytes()):
            if byte == first and view[offset + index * BLOCK_BYTES :][: len(prefix)] == prefix:
                at = position + index * BLOCK_BYTES
                yield view, offset + index * BLOCK_BYTES, at
        position += whole
