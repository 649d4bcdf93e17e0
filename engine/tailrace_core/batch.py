"""The record batch (magic 2): the unit on the wire, in the WAL, in memory and in the tier.

A batch is never unpacked to be stored. What the broker has to know stands in the 61-byte header; what it changes, the
base offset and the partition leader epoch, stands before the part that the CRC covers (from byte 21), so both are
written in place. Layout: Kafka's record batch v2 (KIP-98).
"""

from struct import Struct
from typing import Final, NamedTuple, TypeAlias

from crc32c import crc32c

from tailrace_core.errors import CorruptBatch, InvalidRecord

Buffer: TypeAlias = bytes | bytearray | memoryview

HEADER_BYTES: Final = 61
LOG_OVERHEAD_BYTES: Final = 12
"""base offset and batch length: what stands before the bytes that batch_length counts."""
CRC_POSITION: Final = 17
CRC_START: Final = 21
"""The CRC-32C covers the batch from here to its end."""
RECORD_BYTES_MIN: Final = 7
"""The shortest record: length, attributes, timestamp delta, offset delta, key, value and header count, a byte each."""

CODEC_MASK: Final = 0x07
LOG_APPEND_TIME_BIT: Final = 0x08
TRANSACTIONAL_BIT: Final = 0x10
CONTROL_BIT: Final = 0x20
DELETE_HORIZON_BIT: Final = 0x40

NO_TIMESTAMP: Final = -1
SEQUENCE_WRAP: Final = 1 << 31

HEADER: Final = Struct(">qiibIhiqqqhii")
_OFFSET_LENGTH: Final = Struct(">qi")
_BASE_OFFSET: Final = Struct(">q")
_LEADER_EPOCH: Final = Struct(">i")
_CRC: Final = Struct(">I")
_ATTRIBUTES: Final = Struct(">h")
_MAX_TIMESTAMP: Final = Struct(">q")


class BatchHeader(NamedTuple):
    """The header's fields in wire order."""

    base_offset: int
    batch_length: int
    leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp_ms: int
    max_timestamp_ms: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int

    @property
    def size(self) -> int:
        """Bytes of the whole batch."""
        return self.batch_length + LOG_OVERHEAD_BYTES

    @property
    def end_offset(self) -> int:
        """Exclusive; counts the offsets that compaction emptied too."""
        return self.base_offset + self.last_offset_delta + 1

    @property
    def codec(self) -> int:
        """0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd."""
        return self.attributes & CODEC_MASK

    @property
    def last_sequence(self) -> int:
        """Wraps from 2^31-1 to 0 (KIP-98)."""
        return (self.base_sequence + self.last_offset_delta) % SEQUENCE_WRAP


def read_header(buffer: Buffer, position: int = 0) -> BatchHeader:
    """The header at position. The caller knows that 61 bytes remain."""
    return BatchHeader._make(HEADER.unpack_from(buffer, position))


def check_batch(batch: Buffer) -> BatchHeader:
    """Check, in header mode, what a producer sent as one partition's records; give its header.

    Checked: length, magic, CRC-32C, one batch only, counts, the count against the bytes when uncompressed, attributes,
    sequence. Not walked: the records. Raises InvalidRecord or CorruptBatch, whose text the producer is told.
    Rules: UnifiedLog.analyzeAndValidateRecords and LogValidator.validateBatch of Apache Kafka.
    """
    total = len(batch)
    if total < HEADER_BYTES:
        raise InvalidRecord(f"a record batch has at least {HEADER_BYTES} bytes, these are {total}")
    header = BatchHeader._make(HEADER.unpack_from(batch))
    (
        base_offset,
        batch_length,
        _,
        magic,
        crc,
        attributes,
        last_offset_delta,
        _,
        max_timestamp_ms,
        producer_id,
        producer_epoch,
        base_sequence,
        count,
    ) = header
    if magic != 2:
        raise InvalidRecord(f"record batches of magic 2 are accepted, not magic {magic}")
    size = batch_length + LOG_OVERHEAD_BYTES
    if size != total:
        if HEADER_BYTES <= size < total:
            raise InvalidRecord("exactly one record batch per partition is accepted in a request")
        raise CorruptBatch(f"the batch says {size} bytes, the request holds {total}")
    if crc32c(memoryview(batch)[CRC_START:]) != crc:
        raise CorruptBatch("the record batch does not match its CRC-32C")
    if base_offset != 0:
        raise InvalidRecord(f"the base offset of a produced batch is 0, not {base_offset}")
    if count <= 0 or last_offset_delta + 1 != count:
        raise InvalidRecord(f"the batch counts {count} records and its last offset delta is {last_offset_delta}")
    if attributes & CODEC_MASK:
        if attributes & CODEC_MASK > 4:
            raise InvalidRecord(f"the compression codecs are 0 to 4, not {attributes & CODEC_MASK}")
    elif count * RECORD_BYTES_MIN > size - HEADER_BYTES:
        raise InvalidRecord(f"{count} records do not fit into {size - HEADER_BYTES} bytes")
    if attributes & CONTROL_BIT:
        raise InvalidRecord("clients may not write control batches")
    if producer_id >= 0:
        if base_sequence < 0 or producer_epoch < 0:
            raise InvalidRecord(f"producer {producer_id} sent {base_sequence=} and {producer_epoch=}")
    elif attributes & TRANSACTIONAL_BIT:
        raise InvalidRecord("a transactional batch needs a producer id")
    if max_timestamp_ms < NO_TIMESTAMP:
        raise InvalidRecord(f"the largest timestamp is {max_timestamp_ms}, below -1")
    return header


def assign_offset(batch: bytearray | memoryview, base_offset: int, leader_epoch: int) -> None:
    """Write the base offset and the leader epoch in place; the CRC does not cover them."""
    _BASE_OFFSET.pack_into(batch, 0, base_offset)
    _LEADER_EPOCH.pack_into(batch, LOG_OVERHEAD_BYTES, leader_epoch)


def set_log_append_time(batch: bytearray | memoryview, attributes: int, now_ms: int) -> None:
    """Make now_ms the timestamp of every record (the readers' rule for bit 3) and compute the CRC again."""
    _ATTRIBUTES.pack_into(batch, CRC_START, attributes | LOG_APPEND_TIME_BIT)
    _MAX_TIMESTAMP.pack_into(batch, 35, now_ms)
    _CRC.pack_into(batch, CRC_POSITION, crc32c(memoryview(batch)[CRC_START:]))


def clear_log_append_time(batch: bytearray | memoryview, attributes: int) -> None:
    """Take the bit away that only the broker may set, and compute the CRC again; Kafka accepts such batches, too."""
    _ATTRIBUTES.pack_into(batch, CRC_START, attributes & ~LOG_APPEND_TIME_BIT)
    _CRC.pack_into(batch, CRC_POSITION, crc32c(memoryview(batch)[CRC_START:]))


def is_intact(batch: Buffer) -> bool:
    """Whether a stored batch is whole and matches its CRC-32C."""
    if len(batch) < HEADER_BYTES:
        return False
    _, batch_length = _OFFSET_LENGTH.unpack_from(batch)
    if batch_length + LOG_OVERHEAD_BYTES != len(batch):
        return False
    (crc,) = _CRC.unpack_from(batch, CRC_POSITION)
    return bool(crc == crc32c(memoryview(batch)[CRC_START:]))


def batch_spans(buffer: Buffer, position: int = 0) -> list[tuple[int, int, int]]:
    """(start, size, base offset) of the whole batches that lie in buffer from position on; a cut last one is left out.

    Raises CorruptBatch where a length cannot be one.
    """
    spans = []
    end = len(buffer)
    while position + HEADER_BYTES <= end:
        base_offset, batch_length = _OFFSET_LENGTH.unpack_from(buffer, position)
        size = batch_length + LOG_OVERHEAD_BYTES
        if size < HEADER_BYTES:
            raise CorruptBatch(f"a batch of {size} bytes at position {position}")
        if position + size > end:
            break
        spans.append((position, size, base_offset))
        position += size
    return spans
