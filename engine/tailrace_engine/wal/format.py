"""What the WAL's bytes mean. Pure; shared by the writer, recovery and the tests.

A segment file is a header region of 16 KiB, then groups, each beginning on a 4 KiB boundary:

    segment header | group | group | … | whatever the file held before

    segment header: magic, version, salt, generation, number, segment bytes, first sequence, durable, retained table,
    CRC-32C group:          group header (48 bytes), records one after another, zeros up to the boundary
    record:         record header (44 bytes), raw bytes

Sequences count groups from 1 over the whole WAL and never restart. A generation is one use of one file: it goes up each
time a segment is begun, so groups that a recycled file still holds carry an older generation and are not taken for new.
The segment header's retained table names each older generation that still held live records when the segment was begun,
with its file and the end of its sequences: the newest readable header decides what exists, so recovery can tell a
segment that was released from one that was lost, and a torn tail that an earlier start cut off never comes back. So no
group is written into a segment before its header is durable: until then the header before it may name what the file
held, and what was written over would look like damage. The salt is random per start: bytes inside a batch cannot be
made to look like a group.

Every byte that matters is covered once. The group header has its own CRC. A record's CRC covers its header and, for a
batch, the batch's own 61-byte header; the batch's CRC-32C, which the producer's bytes already carry, covers the rest
(from byte 21). So bulk bytes are not hashed a second time on the hot path. Padding is never read.

All integers are big-endian, as in Kafka's own formats.
"""

from struct import Struct
from typing import Final, NamedTuple, TypeAlias

from crc32c import crc32c

from tailrace_core.batch import HEADER_BYTES as BATCH_HEADER_BYTES
from tailrace_core.batch import Buffer
from tailrace_core.errors import FormatTooNew

FORMAT_VERSION: Final = 1
BLOCK_BYTES: Final = 4096
"""Groups begin and end on multiples of this: what O_DIRECT asks for on any disk there is."""
SEGMENT_HEADER_BYTES: Final = 4 * BLOCK_BYTES

BATCH: Final = 1
TRUNCATE: Final = 2
"""The partition's log now ends at base_offset (exclusive)."""
LOG_START_MOVED: Final = 3
"""base_offset is the new log start offset."""
PARTITION_DELETED: Final = 4
LEADER_EPOCH: Final = 5
"""leader_epoch begins at base_offset."""
RECORD_TYPES: Final = (BATCH, TRUNCATE, LOG_START_MOVED, PARTITION_DELETED, LEADER_EPOCH)

SEGMENT_MAGIC: Final = b"TRWS"
GROUP_MAGIC: Final = b"TRWG"

_PREFIX: Final = Struct(">4sHHIQ")
"""magic, version, reserved, salt, generation: constant for all groups of one generation, so recovery searches for
it."""
PREFIX_BYTES: Final = _PREFIX.size
GROUP_HEADER: Final = Struct(">4sHHIQQQIII")
"""magic, version, reserved, salt, generation, sequence, durable, payload length, record count, CRC-32C of what
precedes."""
GROUP_HEADER_BYTES: Final = GROUP_HEADER.size
_GROUP_CRC_POSITION: Final = GROUP_HEADER_BYTES - 4

RECORD_HEADER: Final = Struct(">IBxxxIiiq16s")
"""CRC-32C of what follows (and of the batch's header), type, length of the raw bytes, partition, leader epoch, base
offset, topic id."""
RECORD_HEADER_BYTES: Final = RECORD_HEADER.size
RECORD_CRC: Final = Struct(">I")
RECORD_CRC_START: Final = 4
BATCH_CRC_END: Final = RECORD_HEADER_BYTES + BATCH_HEADER_BYTES
"""From the record's start: where the part that the record's CRC covers ends, for a batch."""

_SEGMENT_HEADER: Final = Struct(">4sHHIQIQQQI")
"""magic, version, reserved, salt, generation, number, segment bytes, first sequence, durable, count of retained."""
_RETAINED: Final = Struct(">IQQ")
RETAINED_MAX: Final = (SEGMENT_HEADER_BYTES - _SEGMENT_HEADER.size - 4) // _RETAINED.size
"""How many older segments one header can name: the bound of capacity_bytes / segment_bytes."""
SEGMENT_BYTES_MAX: Final = 1 << 31
"""Positions are packed into 32 bits by those who index records; the uring backend writes less than 2 GiB at once."""

assert GROUP_HEADER_BYTES == 48
assert RECORD_HEADER_BYTES == 44


class Retained(NamedTuple):
    """An older generation whose records were still needed."""

    number: int
    generation: int
    end_sequence: int
    """Exclusive: groups from here on in that file were never acknowledged, whatever they look like."""


class SegmentHeader(NamedTuple):
    """What stands at the start of a segment file."""

    salt: int
    generation: int
    number: int
    segment_bytes: int
    first_sequence: int
    durable: int
    """The last sequence known durable when the segment was begun."""
    retained: tuple[Retained, ...]


GroupFields: TypeAlias = tuple[int, int, int, int]
"""sequence, durable, payload length, record count."""


def align_up(length: int) -> int:
    """The next multiple of BLOCK_BYTES."""
    return (length + BLOCK_BYTES - 1) & -BLOCK_BYTES


def pack_segment_header(header: SegmentHeader) -> bytes:
    """SEGMENT_HEADER_BYTES bytes. At most RETAINED_MAX older segments fit."""
    assert len(header.retained) <= RETAINED_MAX
    parts = [
        _SEGMENT_HEADER.pack(
            SEGMENT_MAGIC,
            FORMAT_VERSION,
            0,
            header.salt,
            header.generation,
            header.number,
            header.segment_bytes,
            header.first_sequence,
            header.durable,
            len(header.retained),
        )
    ]
    parts.extend(_RETAINED.pack(*retained) for retained in header.retained)
    body = b"".join(parts)
    return (body + RECORD_CRC.pack(crc32c(body))).ljust(SEGMENT_HEADER_BYTES, b"\0")


def read_segment_header(buffer: Buffer) -> SegmentHeader | None:
    """The header, or None where the bytes are not an intact one. Raises FormatTooNew for a later version's."""
    if len(buffer) < SEGMENT_HEADER_BYTES:
        return None
    magic, version, _, salt, generation, number, segment_bytes, first, durable, count = _SEGMENT_HEADER.unpack_from(
        buffer
    )
    if magic != SEGMENT_MAGIC or count > RETAINED_MAX:
        return None
    end = _SEGMENT_HEADER.size + count * _RETAINED.size
    if crc32c(memoryview(buffer)[:end]) != RECORD_CRC.unpack_from(buffer, end)[0]:
        return None
    if version > FORMAT_VERSION:
        raise FormatTooNew(f"the WAL segment {number} has format {version}, this program reads up to {FORMAT_VERSION}")
    retained = tuple(
        Retained._make(_RETAINED.unpack_from(buffer, _SEGMENT_HEADER.size + i * _RETAINED.size)) for i in range(count)
    )
    return SegmentHeader(salt, generation, number, segment_bytes, first, durable, retained)


def group_prefix(salt: int, generation: int) -> bytes:
    """The bytes that every group of this generation begins with."""
    return _PREFIX.pack(GROUP_MAGIC, FORMAT_VERSION, 0, salt, generation)


def pack_group_header(
    view: memoryview, salt: int, generation: int, sequence: int, durable: int, payload_bytes: int, record_count: int
) -> None:
    """Write the header of a group at the start of view."""
    GROUP_HEADER.pack_into(
        view, 0, GROUP_MAGIC, FORMAT_VERSION, 0, salt, generation, sequence, durable, payload_bytes, record_count, 0
    )
    RECORD_CRC.pack_into(view, _GROUP_CRC_POSITION, crc32c(view[:_GROUP_CRC_POSITION]))


def read_group_header(buffer: memoryview, position: int, prefix: bytes) -> GroupFields | None:
    """The fields of an intact group header of this generation at position, or None."""
    if buffer[position : position + PREFIX_BYTES] != prefix:
        return None
    if len(buffer) - position < GROUP_HEADER_BYTES:
        return None
    _, _, _, _, _, sequence, durable, payload_bytes, count, crc = GROUP_HEADER.unpack_from(buffer, position)
    if crc32c(buffer[position : position + _GROUP_CRC_POSITION]) != crc:
        return None
    return sequence, durable, payload_bytes, count


def any_group_generation(buffer: memoryview, position: int) -> tuple[int, int] | None:
    """(salt, generation) of an intact group header of whatever generation at position, or None."""
    if len(buffer) - position < GROUP_HEADER_BYTES or bytes(buffer[position : position + 4]) != GROUP_MAGIC:
        return None
    _, version, _, salt, generation, *_, crc = GROUP_HEADER.unpack_from(buffer, position)
    if crc32c(buffer[position : position + _GROUP_CRC_POSITION]) != crc:
        return None
    if version > FORMAT_VERSION:
        raise FormatTooNew(f"a WAL group has format {version}, this program reads up to {FORMAT_VERSION}")
    return salt, generation
