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

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from crc32c import crc32c
from tailrace_core.batch import CRC_START, HEADER, LOG_OVERHEAD_BYTES
from tailrace_core.batch import HEADER_BYTES as BATCH_HEADER_BYTES
from tailrace_core.ids import TopicPartition

from tailrace_engine.disk.port import SegmentSource
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

    source: SegmentSource
    header: SegmentHeader | None
    prefix: bytes
    generation: int
    first: int | None
    """Its first sequence, if known."""
    end: int | None
    """Exclusive, if known."""


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
            self._view.release()
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
        self._bytes_total = sum(part.source.size for part in self._parts)
        expected = self._parts[0].first if self._parts else 1
        sequence = expected if expected is not None else 1
        for index, part in enumerate(self._parts):
            if part.first is not None:
                sequence = part.first
            segment = Segment(part.source.number, part.generation, sequence, 0, False)
            result.segments.append(segment)
            sequence = self._scan_part(part, segment, sequence, last=index == len(self._parts) - 1)
            segment.end_sequence = sequence
            if result.torn is not None:
                self._keep_cut_segments(index + 1, sequence)
                break
        result.next_sequence = max(sequence, 1)
        used = {part.source.number for part in self._parts}
        result.free.extend(number for number in self._sources if number not in used)
        return result

    def _keep_cut_segments(self, index: int, sequence: int) -> None:
        """Segments wholly beyond a cut hold nothing: they may be used again, their generations not."""
        del self._parts[index:]

    # Which files matter.

    def _plan(self) -> None:
        result = self._result
        headers: dict[int, SegmentHeader] = {}
        headless: list[int] = []
        for number, source in self._sources.items():
            window = self._window(source)
            view, _ = window.at(0, SEGMENT_HEADER_BYTES)
            header = read_segment_header(view)
            if header is not None and header.number == number:
                headers[number] = header
                result.last_generation = max(result.last_generation, header.generation)
            else:
                headless.append(number)
        newest = max(headers.values(), key=lambda header: header.generation, default=None)
        found = {number: self._first_group(self._sources[number]) for number in headless}
        if newest is not None:
            self._claim = max(self._claim, newest.durable)
            for retained in newest.retained:
                self._plan_retained(retained.number, retained.generation, retained.end_sequence, headers, found)
            self._parts.append(self._part(newest.number, newest, newest.salt, newest.generation, newest.first_sequence))
        newer_than = newest.generation if newest is not None else 0
        beheaded = sorted(
            (group[1], number, group) for number, group in found.items() if group is not None and group[1] > newer_than
        )
        for generation, number, group in beheaded:
            result.last_generation = max(result.last_generation, generation)
            if self._parts and self._parts[-1].end is None:
                self._parts[-1].end = group[2]
            self._parts.append(self._part(number, None, group[0], generation, group[2]))

    def _plan_retained(
        self,
        number: int,
        generation: int,
        end: int,
        headers: dict[int, SegmentHeader],
        found: dict[int, tuple[int, int, int] | None],
    ) -> None:
        header = headers.get(number)
        group = found.get(number)
        if header is not None and header.generation == generation:
            part = self._part(number, header, header.salt, generation, header.first_sequence)
        elif group is not None and group[1] == generation:
            part = self._part(number, None, group[0], generation, None)
        else:
            what = "is missing" if number not in self._sources else "is not readable"
            self._damage(number, 0, 0, end, (), f"the segment {what}; it held groups up to {end - 1}")
            return
        part.end = end
        self._parts.append(part)

    def _part(self, number: int, header: SegmentHeader | None, salt: int, generation: int, first: int | None) -> _Part:
        return _Part(self._sources[number], header, group_prefix(salt, generation), generation, first, None)

    def _first_group(self, source: SegmentSource) -> tuple[int, int, int] | None:
        """salt, generation and sequence of the first intact group, for a file without a readable header."""
        window = self._window(source)
        for view, offset, _ in _blocks(window, source, SEGMENT_HEADER_BYTES, GROUP_MAGIC):
            group = any_group_generation(view, offset)
            if group is not None:
                fields = read_group_header(view, offset, group_prefix(*group))
                assert fields is not None
                return (*group, fields[0])
        return None

    def _window(self, source: SegmentSource) -> _Window:
        return _Window(source, self._memory, self._on_read)

    def _on_read(self, count: int) -> None:
        self._bytes_read += count
        if self._on_progress is not None and self._bytes_total:
            self._on_progress(min(self._bytes_read, self._bytes_total), self._bytes_total)

    # One segment.

    def _scan_part(self, part: _Part, segment: Segment, expected: int, last: bool) -> int:
        """Give the records of one segment. Returns the sequence that comes next; sets result.torn at a cut."""
        window = self._window(part.source)
        position = SEGMENT_HEADER_BYTES
        size = part.source.size
        prefix = part.prefix
        end = part.end
        result = self._result
        while end is None or expected < end:
            fields: GroupFields | None = None
            if position + BLOCK_BYTES <= size:
                view, offset = window.at(position, BLOCK_BYTES)
                fields = read_group_header(view, offset, prefix)
            if fields is not None and fields[0] == expected:
                sequence, durable, payload_bytes, count = fields
                if durable > self._claim:
                    self._claim = durable
                length = align_up(GROUP_HEADER_BYTES + payload_bytes)
                view, offset = window.at(position, length)
                records = self._records(view, offset, payload_bytes, count, segment, position, sequence)
                if records is None:
                    result.torn = TornTail(segment.number, position, sequence)
                    return expected
                if records:
                    segment.live += len(records)
                    result.records += len(records)
                    self._on_records(records)
                    self._note(records, segment)
                position += length
                expected += 1
                continue
            found = self._next_group(part, window, position, expected)
            durable_end = self._final_claim(part) + 1
            if found is None:
                lost_end = end if end is not None else max(durable_end, expected)
                if expected >= min(lost_end, durable_end):
                    if not last:
                        result.torn = TornTail(segment.number, position, expected)
                    return expected
                if end is None or end > durable_end:
                    lost_end = durable_end
                self._damage(
                    segment.number, position, expected, lost_end, (), f"groups {expected} to {lost_end - 1} are lost"
                )
                if end is not None and lost_end < end:
                    result.torn = TornTail(segment.number, position, lost_end)
                return lost_end
            next_position, next_sequence = found
            if expected >= durable_end:
                result.torn = TornTail(segment.number, position, expected)
                return expected
            self._damage(
                segment.number,
                position,
                expected,
                min(next_sequence, durable_end),
                (),
                f"groups {expected} to {next_sequence - 1} have no readable header",
            )
            if next_sequence > durable_end:
                result.torn = TornTail(segment.number, position, durable_end)
                return durable_end
            position, expected = next_position, next_sequence
        return expected

    def _note(self, records: list[WalRecord], segment: Segment) -> None:
        for record in records:
            if record[0] != BATCH:
                segment.has_control = True
            else:
                self._result.record_bytes += record[7]
        if self._result.damage:
            seen = self._result.seen_since
            for record in records:
                if record[0] in (BATCH, PARTITION_DELETED):
                    seen[TopicPartition(record[1], record[2])] = None

    def _next_group(self, part: _Part, window: _Window, position: int, expected: int) -> tuple[int, int] | None:
        """Position and sequence of the next intact group of this generation behind what is unreadable."""
        for view, offset, at in _blocks(window, part.source, position + BLOCK_BYTES, part.prefix):
            fields = read_group_header(view, offset, part.prefix)
            if fields is not None and fields[0] > expected and (part.end is None or fields[0] < part.end):
                return at, fields[0]
        return None

    def _final_claim(self, current: _Part) -> int:
        """The highest sequence that anything intact claims durable. Claims grow with sequences: the last groups
        tell."""
        if self._claim_is_final:
            return self._claim
        self._claim_is_final = True
        for part in reversed(self._parts):
            window = _Window(part.source, bytearray(WINDOW_BYTES), self._on_read)
            any_group = False
            for view, offset, _ in _blocks(window, part.source, SEGMENT_HEADER_BYTES, part.prefix):
                fields = read_group_header(view, offset, part.prefix)
                if fields is not None and (part.end is None or fields[0] < part.end):
                    any_group = True
                    self._claim = max(self._claim, fields[1])
            if part.header is not None:
                self._claim = max(self._claim, part.header.durable)
            if any_group or part is current:
                break
        return self._claim

    # One group.

    def _records(
        self, view: memoryview, offset: int, payload_bytes: int, count: int, segment: Segment, base: int, sequence: int
    ) -> list[WalRecord] | None:
        """The whole records of a group; None for the list where the group is beyond what was claimed durable and
        bad."""
        number = segment.number
        unpack = RECORD_HEADER.unpack_from
        unpack_batch = HEADER.unpack_from
        crc_of = crc32c
        records: list[WalRecord] = []
        position = offset + GROUP_HEADER_BYTES
        end = position + payload_bytes
        to_file = base - offset
        if end > len(view):
            return self._bad_group(view, offset, len(view), count, segment, base, sequence)
        while position < end:
            if position + RECORD_HEADER_BYTES > end:
                return self._bad_group(view, offset, end, count, segment, base, sequence)
            crc, kind, length, partition, leader_epoch, base_offset, topic_id = unpack(view, position)
            raw = position + RECORD_HEADER_BYTES
            if kind == BATCH:
                stop = raw + length
                if stop > end or length < BATCH_HEADER_BYTES:
                    return self._bad_group(view, offset, end, count, segment, base, sequence)
                if crc_of(view[position + RECORD_CRC_START : position + BATCH_CRC_END]) != crc:
                    return self._bad_group(view, offset, end, count, segment, base, sequence)
                header = unpack_batch(view, raw)
                if header[4] != crc_of(view[raw + CRC_START : stop]) or header[1] + LOG_OVERHEAD_BYTES != length:
                    return self._bad_group(view, offset, end, count, segment, base, sequence)
                records.append(
                    (BATCH, topic_id, partition, leader_epoch, base_offset, number, to_file + raw, length, header)
                )
                position = stop
            else:
                if length or kind not in RECORD_TYPES or crc_of(view[position + RECORD_CRC_START : raw]) != crc:
                    return self._bad_group(view, offset, end, count, segment, base, sequence)
                records.append((kind, topic_id, partition, leader_epoch, base_offset, number, to_file + raw, 0, None))
                position = raw
        if len(records) != count:
            return self._bad_group(view, offset, end, count, segment, base, sequence)
        return records

    def _bad_group(
        self, view: memoryview, offset: int, end: int, count: int, segment: Segment, base: int, sequence: int
    ) -> list[WalRecord] | None:
        """A group with an intact header and broken content: cut, or damage to what cannot be read of it.

        A record whose own CRC holds has a length to go on from, even where its batch is broken. One whose CRC does not
        hold may still have its length right: then the next record's CRC holds.
        """
        part = next(part for part in self._parts if part.source.number == segment.number)
        if sequence > self._final_claim(part):
            return None
        records: list[WalRecord] = []
        named: dict[TopicPartition, None] = {}
        unreadable = 0
        position = offset + GROUP_HEADER_BYTES
        seen = 0
        while position + RECORD_HEADER_BYTES <= end:
            crc, kind, length, partition, leader_epoch, base_offset, topic_id = RECORD_HEADER.unpack_from(
                view, position
            )
            raw = position + RECORD_HEADER_BYTES
            stop = raw + length
            if stop > end:
                break
            seen += 1
            covered = min(BATCH_CRC_END, stop - position)
            if crc32c(view[position + RECORD_CRC_START : position + covered]) != crc:
                unreadable += 1
            elif kind != BATCH:
                records.append(
                    (kind, topic_id, partition, leader_epoch, base_offset, segment.number, base + raw - offset, 0, None)
                )
            else:
                header = HEADER.unpack_from(view, raw)
                if header[4] == crc32c(view[raw + CRC_START : stop]) and header[1] + LOG_OVERHEAD_BYTES == length:
                    at = base + raw - offset
                    records.append(
                        (BATCH, topic_id, partition, leader_epoch, base_offset, segment.number, at, length, header)
                    )
                else:
                    named[TopicPartition(topic_id, partition)] = None
            position = stop
        unreadable = max(unreadable, count - len(records) - len(named)) if seen != count else unreadable
        reason = f"{count - len(records)} of the {count} records of group {sequence} are damaged"
        self._damage(segment.number, base, sequence, sequence + 1, tuple(named), reason, unreadable=bool(unreadable))
        return records

    def _damage(
        self,
        segment: int,
        position: int,
        first: int,
        end: int,
        partitions: tuple[TopicPartition, ...],
        reason: str,
        unreadable: bool = True,
    ) -> None:
        self._result.damage.append(Damage(segment, position, first, end, partitions, unreadable, reason))
        if unreadable:
            self._result.seen_since.clear()


def _blocks(
    window: _Window, source: SegmentSource, position: int, prefix: bytes
) -> "Iterable[tuple[memoryview, int, int]]":
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
