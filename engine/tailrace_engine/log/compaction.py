"""Log compaction: of each key the last record stays. Pure: raw batches in, the raw batches that are left out.

What must hold whatever is read, and by whom (rules: Cleaner and MemoryRecords.filterTo of Apache Kafka):

- Offsets never change. A batch keeps its base offset and its last offset delta however many of its records are left,
  and a record that is left keeps its bytes. A batch without records goes; the last one of a pass stays without any, so
  that every offset of the pass still has a batch at or after it.
- Which record is a key's last one is known from the end. So batches are taken newest first, with `Keys` that grow; what
  it does not remember, because its memory is bounded, stays in the log and goes in a later pass.
- A tombstone (a null value) deletes what came before it, and has to outlive that for those who are reading. The pass
  that leaves nothing before it notes in its batch when it may go (the delete horizon: bit 6, in the place of the base
  timestamp), a later pass lets it go. Only a pass that begins where the log begins, and remembers the key, can say that
  nothing is left.
- Transactional batches and control batches stay as they are, and no record gives way to a transactional one: whether it
  was aborted is not known here. So tombstones stay where there are such batches. A batch whose records cannot be read
  stays, too.
- A record without a key goes, as in Kafka.

A batch that was compressed is left without compression when records of it go.

When: a partition's extents that were uploaded since the last pass are dirty, the others are clean. A pass runs once the
dirty bytes are at least as many as the clean ones and due_bytes. So a pass rewrites at most twice what is new, and the
log has at most twice the bytes of its last records and due_bytes, however long it lives. Many small extents are merged
as well, as each costs a read.
"""

from collections.abc import Iterable, Sequence
from struct import Struct
from typing import Final, NamedTuple

from crc32c import crc32c

from tailrace_core.batch import (
    CODEC_MASK,
    CONTROL_BIT,
    CRC_POSITION,
    CRC_START,
    DELETE_HORIZON_BIT,
    HEADER,
    HEADER_BYTES,
    LOG_APPEND_TIME_BIT,
    LOG_OVERHEAD_BYTES,
    NO_TIMESTAMP,
    TRANSACTIONAL_BIT,
    BatchHeader,
    read_header,
)
from tailrace_core.errors import DataCorrupt
from tailrace_engine.log.records import inflate
from tailrace_engine.log.varints import encoded_varint, read_varint

DIRTY_EXTENTS_MAX: Final = 64
"""So many uploads are merged, however small: a replay reads each by itself."""
_SPAN_BYTES: Final = 64 * 1024
"""Batches leave together in pieces of this size: what is kept of small batches costs no object each."""
_KEY_OVERHEAD_BYTES: Final = 104
"""What a remembered key takes in memory besides its bytes: its object's head and its share of a set's table."""
_LENGTH: Final = Struct(">i")
_CRC: Final = Struct(">I")
_UNTOUCHED: Final = TRANSACTIONAL_BIT | CONTROL_BIT


class Keys:
    """The keys that a later record has, as far as bytes_max lets them be remembered."""

    __slots__ = ("_keys", "bytes_left")

    def __init__(self, bytes_max: int) -> None:
        self._keys: set[bytes] = set()
        self.bytes_left = bytes_max

    def is_last(self, key: bytes) -> bool:
        """Whether no later record has the key; from now on, one has."""
        if key in self._keys:
            return False
        size = len(key) + _KEY_OVERHEAD_BYTES
        if size <= self.bytes_left:
            self.bytes_left -= size
            self._keys.add(key)
        return True

    def knows(self, key: bytes) -> bool:
        """Whether the key is remembered: nothing before it stays."""
        return key in self._keys


class Batches(NamedTuple):
    """Neighbouring batches, whole."""

    data: bytes
    base_offset: int
    """Of the first."""
    end_offset: int
    """Exclusive, of the last."""
    max_timestamp_ms: int


class Horizon(NamedTuple):
    """What becomes of tombstones in a pass that begins where the log begins and has no transactions."""

    now_ms: int
    delete_retention_ms: int


def has_transactions(data: bytes, length: int) -> bool:
    """Whether a batch in the first length bytes of data is transactional. Raises DataCorrupt, as compact does."""
    return any(
        read_header(data, position).attributes & TRANSACTIONAL_BIT for position in _batch_positions(data, length)
    )


def note_keys(data: bytes, length: int, keys: Keys) -> None:
    """Remember the keys of the raw batches in the first length bytes of data."""
    for position in _batch_positions(data, length):
        header = read_header(data, position)
        if header.attributes & _UNTOUCHED:
            continue
        try:
            for _, _, key, _ in _records(*_body(data, position, header), header.record_count):
                if key is not None:
                    keys.is_last(key)
        except DataCorrupt:
            continue


def compact(data: bytes, length: int, keys: Keys, horizon: Horizon | None, is_newest: bool) -> list[Batches]:
    """What is left of the raw batches in the first length bytes of data, in offset order.

    keys are those of everything later, and know these batches' keys afterwards. is_newest: no later batches of the same
    pass, so the last batch stays. horizon: None keeps all tombstones. Raises DataCorrupt where batches cannot be told
    apart.
    """
    kept: list[tuple[bytes, int, int, int]] = []
    stays = is_newest
    for position in reversed(_batch_positions(data, length)):
        header = read_header(data, position)
        batch, max_timestamp_ms = _compact_batch(data, position, header, keys, horizon, stays)
        stays = False
        if batch is not None:
            kept.append((batch, header.base_offset, header.end_offset, max_timestamp_ms))
    kept.reverse()
    return list(_joined(kept))


def _joined(batches: Iterable[tuple[bytes, int, int, int]]) -> Iterable[Batches]:
    parts: list[bytes] = []
    size = first_offset = end_offset = 0
    newest_ms = NO_TIMESTAMP
    for batch, base_offset, batch_end_offset, max_timestamp_ms in batches:
        if not parts:
            first_offset, newest_ms, size = base_offset, NO_TIMESTAMP, 0
        parts.append(batch)
        size += len(batch)
        end_offset = batch_end_offset
        newest_ms = max(newest_ms, max_timestamp_ms)
        if size >= _SPAN_BYTES:
            yield Batches(b"".join(parts), first_offset, end_offset, newest_ms)
            parts = []
    if parts:
        yield Batches(b"".join(parts), first_offset, end_offset, newest_ms)


def _batch_positions(data: bytes, length: int) -> list[int]:
    positions = []
    position = 0
    while position + HEADER_BYTES <= length:
        positions.append(position)
        size = LOG_OVERHEAD_BYTES + int(_LENGTH.unpack_from(data, position + 8)[0])
        if size < HEADER_BYTES:
            raise DataCorrupt(f"a batch of {size} bytes at byte {position}")
        position += size
    if position != length:
        raise DataCorrupt(f"the last of {len(positions)} batches ends at byte {position}, not {length}")
    return positions


def _body(data: bytes, position: int, header: BatchHeader) -> tuple[bytes, int, int]:
    """Where the records lie, without compression: bytes, start, end."""
    start, end = position + HEADER_BYTES, position + header.size
    if not header.codec:
        return data, start, end
    inflated = bytes(inflate(header.codec, memoryview(data)[start:end]))
    return inflated, 0, len(inflated)


def _compact_batch(
    data: bytes, position: int, header: BatchHeader, keys: Keys, horizon: Horizon | None, stays: bool
) -> tuple[bytes | None, int]:
    """What is left of the batch, None where nothing is, and the largest timestamp in it."""
    raw = data[position : position + header.size]
    if header.attributes & _UNTOUCHED:
        return raw, header.max_timestamp_ms
    try:
        body, start, end = _body(data, position, header)
        records = _records(body, start, end, header.record_count)
    except DataCorrupt:
        return raw, header.max_timestamp_ms
    has_horizon = bool(header.attributes & DELETE_HORIZON_BIT)
    may_go = has_horizon and horizon is not None and header.base_timestamp_ms <= horizon.now_ms
    left = []
    has_tombstones = False
    for record_start, record_end, key, is_tombstone in reversed(records):
        if key is None or not keys.is_last(key):
            continue
        if is_tombstone:
            if not keys.knows(key):
                horizon = None
            elif may_go:
                continue
            has_tombstones = True
        left.append((record_start, record_end))
    if not left:
        return (_empty(header) if stays else None), NO_TIMESTAMP
    left.reverse()
    base_timestamp_ms = header.base_timestamp_ms
    attributes = header.attributes
    if has_tombstones and horizon is not None and not has_horizon:
        base_timestamp_ms = horizon.now_ms + horizon.delete_retention_ms
        attributes |= DELETE_HORIZON_BIT
    elif len(left) == len(records):
        return raw, header.max_timestamp_ms
    return _rewritten(body, left, header, attributes & ~CODEC_MASK, base_timestamp_ms)


def _empty(header: BatchHeader) -> bytes:
    attributes = header.attributes & ~(CODEC_MASK | DELETE_HORIZON_BIT)
    return _sealed(header._replace(attributes=attributes, max_timestamp_ms=NO_TIMESTAMP, record_count=0), [])


def _rewritten(
    body: bytes, left: Sequence[tuple[int, int]], header: BatchHeader, attributes: int, base_timestamp_ms: int
) -> tuple[bytes, int]:
    """The batch with the records that are left, timestamps counted from base_timestamp_ms."""
    shift_ms = header.base_timestamp_ms - base_timestamp_ms
    parts: list[bytes] = []
    max_timestamp_ms = NO_TIMESTAMP
    for start, end in left:
        _, attributes_at = read_varint(body, start)
        delta_ms, rest = read_varint(body, attributes_at + 1)
        max_timestamp_ms = max(max_timestamp_ms, header.base_timestamp_ms + delta_ms)
        if shift_ms:
            record = b"%b%b%b" % (
                body[attributes_at : attributes_at + 1],
                encoded_varint(delta_ms + shift_ms),
                body[rest:end],
            )
            parts += (encoded_varint(len(record)), record)
        else:
            parts.append(body[start:end])
    if attributes & LOG_APPEND_TIME_BIT:
        max_timestamp_ms = header.max_timestamp_ms
    header = header._replace(
        attributes=attributes,
        base_timestamp_ms=base_timestamp_ms,
        max_timestamp_ms=max_timestamp_ms,
        record_count=len(left),
    )
    return _sealed(header, parts), max_timestamp_ms


def _sealed(header: BatchHeader, parts: Sequence[bytes]) -> bytes:
    size = HEADER_BYTES - LOG_OVERHEAD_BYTES + sum(map(len, parts))
    batch = bytearray(HEADER.pack(*header._replace(batch_length=size)))
    for part in parts:
        batch += part
    _CRC.pack_into(batch, CRC_POSITION, crc32c(memoryview(batch)[CRC_START:]))
    return bytes(batch)


def _records(data: bytes, position: int, end: int, count: int) -> list[tuple[int, int, bytes | None, bool]]:
    """Start, end, key and whether the value is null, of count records from position to end. Raises DataCorrupt."""
    records: list[tuple[int, int, bytes | None, bool]] = []
    try:
        for _ in range(count):
            start = position
            # Varints of one byte, the usual ones, are read in place.
            length = data[position]
            if length < 0x80:
                position += 1
                length >>= 1
            else:
                length, position = read_varint(data, position)
            record_end = position + length
            position += 1  # the attributes
            while data[position] > 0x7F:  # the timestamp delta
                position += 1
            position += 1
            while data[position] > 0x7F:  # the offset delta
                position += 1
            position += 1
            length = data[position]
            if length < 0x80:
                position += 1
                length = (length >> 1) ^ -(length & 1)
            else:
                length, position = read_varint(data, position)
            key = None
            if length >= 0:
                key = data[position : position + length]
                position += length
            is_tombstone = bool(data[position] & 1)  # the sign of the value's length
            if not position < record_end <= end:
                raise DataCorrupt(f"a record ends at byte {record_end} of {end}")
            records.append((start, record_end, key, is_tombstone))
            position = record_end
    except IndexError as error:
        raise DataCorrupt(f"a batch ends inside of a record, at byte {position}") from error
    if position != end:
        raise DataCorrupt(f"{count} records end at byte {position} of {end}")
    return records


# --- which extents


class Share(NamedTuple):
    """What is dirty of a partition."""

    dirty_bytes: int
    dirty_extents: int
    clean_bytes: int


def share_of(extents: Iterable[tuple[int, int]]) -> Share:
    """extents: length in bytes and generation (core.membership.PlacedExtent) of each."""
    dirty_bytes = dirty_extents = clean_bytes = 0
    for length, generation in extents:
        if generation:
            clean_bytes += length
        else:
            dirty_bytes += length
            dirty_extents += 1
    return Share(dirty_bytes, dirty_extents, clean_bytes)


def plan_runs(extents: Sequence[tuple[int, int]], due_bytes: int, run_bytes_max: int) -> list[tuple[int, int]]:
    """The runs of extents that a pass rewrites, newest first: place of the first, and after the last. None: not due.

    A run has at most run_bytes_max bytes, or one extent. Each run is rewritten by what is known of everything later,
    which the runs before it have made small. Where only the number of extents is due, the newest run is all.
    """
    share = share_of(extents)
    if share.dirty_bytes < max(due_bytes, share.clean_bytes) and share.dirty_extents < DIRTY_EXTENTS_MAX:
        return []
    runs = []
    end = len(extents)
    while end:
        first, size = end - 1, extents[end - 1][0]
        while first and size + extents[first - 1][0] <= run_bytes_max:
            first -= 1
            size += extents[first][0]
        runs.append((first, end))
        if share.dirty_bytes < max(due_bytes, share.clean_bytes):
            break
        end = first
    return runs
