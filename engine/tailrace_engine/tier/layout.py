"""The format of an object, which describes itself: the catalog could be made again from objects alone.

    header | section* | producer snapshots | footer index | trailer

    section      raw batches of one partition | section tail
    section tail head | base offset* | position* | running max timestamp* | running CRC* | leader epoch starts | CRC
    snapshots    per partition: frame (topic id, partition, length, CRC), encoded snapshot
    footer index head | extent*
    trailer      place, length and CRC of the index, format version, magic

All integers have a fixed width and are big endian. The section index has an entry where a batch begins at least 64 KiB
after the last entry; the bytes from one entry to the next are a *span*. Two columns run on over the whole section, so
that any run of spans is checked or searched without what lies before it:

- running max timestamp: the largest timestamp from the first batch to the end of the span;
- running CRC: the CRC-32C of the raw bytes from the first batch to the end of the span. The bytes of spans i to j are
  right if the CRC that starts with span i-1's value ends with span j's: one call for a megabyte, whatever the size of
  the batches, and it covers base offset and leader epoch, which a batch's own CRC does not.

The last span's values are the extent's. The columns are stored one after another, so they are read without a loop.

Every parser names the object in what it raises: DataCorrupt for bytes that cannot be ours, FormatTooNew for a version
that this program does not know.
"""

import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from struct import Struct
from typing import Final, NamedTuple

from crc32c import crc32c

from tailrace_core.batch import HEADER_BYTES, LOG_OVERHEAD_BYTES, Buffer
from tailrace_core.errors import DataCorrupt, FormatTooNew
from tailrace_core.extents import Extent
from tailrace_core.ids import TopicId, TopicPartition, topic_id_text

FORMAT_VERSION: Final = 1
INDEX_INTERVAL_BYTES: Final = 64 * 1024
"""The least distance of two index entries: what is searched batch by batch for one look-up."""

_MAGIC: Final = b"TRobject"
_SECTION_MAGIC: Final = b"TRsx"
_HEADER: Final = Struct(">8sH16siqqI")
_CRC: Final = Struct(">I")
_SECTION_HEAD: Final = Struct(">16siqqQIIQI")
_EPOCH: Final = Struct(">iq")
_SECTION_END: Final = Struct(">I4s")
_SNAPSHOT_FRAME: Final = Struct(">16siI")
_FOOTER_HEAD: Final = Struct(">QQI")
_EXTENT: Final = Struct(">16siiqqqQQQI")
_TRAILER: Final = Struct(">QQIH8s")
SNAPSHOT_FRAME_BYTES: Final = _SNAPSHOT_FRAME.size + _CRC.size
_TRAILER_CHECKED: Final = Struct(">QQH8s")
_BATCH: Final = Struct(">qi11xi8xq")
"""Base offset, batch length, last offset delta, max timestamp."""

OBJECT_HEADER_BYTES: Final = _HEADER.size
TRAILER_BYTES: Final = _TRAILER.size
_ENTRY_BYTES: Final = 28
_SWAP: Final = sys.byteorder == "little"


class ObjectHeader(NamedTuple):
    """Who wrote the object. Conflicts between objects are settled by leader epoch, then upload sequence."""

    cluster_id: bytes
    """16 raw bytes; in text as a topic id is."""
    broker_id: int
    broker_epoch: int
    upload_sequence: int
    """Rises with every object of one broker epoch."""


class Footer(NamedTuple):
    """The extents, and where the producer snapshots of all of them lie (bytes in the object)."""

    extents: tuple[Extent, ...]
    snapshots_position: int
    snapshots_length: int


class SectionIndex:
    """One section's index. Positions are bytes from the section's first batch; entry numbers count its spans."""

    __slots__ = (
        "base_offsets",
        "crcs",
        "end_offset",
        "leader_epochs",
        "length",
        "max_timestamps_ms",
        "positions",
        "snapshot_length",
        "snapshot_position",
    )

    def __init__(
        self,
        base_offsets: "array[int]",
        positions: "array[int]",
        max_timestamps_ms: "array[int]",
        crcs: "array[int]",
        leader_epochs: Sequence[tuple[int, int]],
        end_offset: int,
        length: int,
        snapshot_position: int,
        snapshot_length: int,
    ) -> None:
        self.base_offsets = base_offsets
        """Of each span's first batch."""
        self.positions = positions
        self.max_timestamps_ms = max_timestamps_ms
        """Running, through the end of the span; -1 while no batch had one."""
        self.crcs = crcs
        """Running, through the end of the span."""
        self.leader_epochs = leader_epochs
        """(leader epoch, start offset), rising."""
        self.end_offset = end_offset
        """Exclusive."""
        self.length = length
        """Bytes of the raw batches."""
        self.snapshot_position = snapshot_position
        """Of this partition's snapshot frame in the object."""
        self.snapshot_length = snapshot_length
        """Bytes of the encoded snapshot, without its frame."""

    @property
    def size_bytes(self) -> int:
        """About what it takes in memory."""
        return len(self.positions) * _ENTRY_BYTES + 1024

    def entry_of_offset(self, offset: int) -> int:
        """The span that holds the batch with offset, given that the section holds it."""
        return max(bisect_right(self.base_offsets, offset) - 1, 0)

    def entry_of_position(self, position: int) -> int:
        """The last span that begins at or before position."""
        return bisect_right(self.positions, position) - 1

    def entry_of_timestamp(self, timestamp_ms: int) -> int | None:
        """The span with the first batch whose largest timestamp is at least timestamp_ms."""
        entry = bisect_left(self.max_timestamps_ms, timestamp_ms)
        return entry if entry < len(self.positions) else None

    def start_of(self, entry: int) -> int:
        """Where the span begins; for the entry after the last one, where the raw batches end."""
        return self.positions[entry] if entry < len(self.positions) else self.length

    def base_offset_of(self, entry: int) -> int:
        """The base offset of the span's first batch; for the entry after the last one, the section's end offset."""
        return self.base_offsets[entry] if entry < len(self.base_offsets) else self.end_offset

    def crc_before(self, entry: int) -> int:
        """The running CRC where the span begins."""
        return self.crcs[entry - 1] if entry else 0

    def is_intact(self, spans: Buffer, first: int, end: int) -> bool:
        """Whether these are the bytes of the spans first to end (exclusive)."""
        # The GIL is kept: a megabyte takes 40 us, and to get the GIL back from a busy thread may take 5 ms.
        return bool(crc32c(spans, self.crc_before(first), 0) == self.crcs[end - 1])

    def block_end(self, first: int, block_bytes: int) -> int:
        """The first entry at least block_bytes after entry `first`: blocks hold whole batches."""
        return bisect_left(self.positions, self.positions[first] + block_bytes, lo=first + 1)


def place_text(topic_id: TopicId, partition: int) -> str:
    """How a partition is named where only its topic id is known."""
    return f"{topic_id_text(topic_id)}-{partition}"


def extent_text(extent: Extent) -> str:
    """How messages name an extent."""
    return f"{place_text(extent.topic_id, extent.partition)} offsets [{extent.base_offset}, {extent.end_offset})"


def encode_header(header: ObjectHeader) -> bytes:
    """OBJECT_HEADER_BYTES bytes."""
    packed = _HEADER.pack(_MAGIC, FORMAT_VERSION, *header, 0)[: -_CRC.size]
    return packed + _CRC.pack(crc32c(packed))


def parse_header(key: str, data: Buffer) -> ObjectHeader:
    """data begins where the object begins."""
    if len(data) < OBJECT_HEADER_BYTES:
        raise DataCorrupt(f"object {key} ends at byte {len(data)}, inside of its header")
    magic, version, *fields, crc = _HEADER.unpack_from(data)
    _check_version(key, "header", magic, version)
    if crc32c(memoryview(data)[: OBJECT_HEADER_BYTES - _CRC.size]) != crc:
        raise DataCorrupt(f"object {key}: its header does not match its CRC-32C")
    return ObjectHeader(*fields)


def encode_section_tail(topic_id: TopicId, partition: int, base_offset: int, index: SectionIndex) -> bytes:
    """What follows the raw batches of a section."""
    head = _SECTION_HEAD.pack(
        topic_id,
        partition,
        base_offset,
        index.end_offset,
        index.length,
        len(index.positions),
        len(index.leader_epochs),
        index.snapshot_position,
        index.snapshot_length,
    )
    columns = [_to_bytes(c) for c in (index.base_offsets, index.positions, index.max_timestamps_ms, index.crcs)]
    body = b"".join((head, *columns, *(_EPOCH.pack(*entry) for entry in index.leader_epochs)))
    return body + _SECTION_END.pack(crc32c(body), _SECTION_MAGIC)


def section_tail_bytes(entries: int, leader_epochs: int) -> int:
    """The size of a section tail, before what it says is known."""
    return _SECTION_HEAD.size + entries * _ENTRY_BYTES + leader_epochs * _EPOCH.size + _SECTION_END.size


def parse_section_tail(key: str, extent: Extent, tail: Buffer) -> SectionIndex:
    """The index of extent's section, from the section_length - length bytes that follow its raw batches."""
    where = f"object {key}: the section index of {extent_text(extent)} at byte {extent.position + extent.length}"
    if len(tail) != extent.section_length - extent.length or len(tail) < section_tail_bytes(0, 0):
        raise DataCorrupt(f"{where} is cut: {len(tail)} bytes")
    crc, magic = _SECTION_END.unpack_from(tail, len(tail) - _SECTION_END.size)
    if magic != _SECTION_MAGIC or crc32c(memoryview(tail)[: -_SECTION_END.size]) != crc:
        raise DataCorrupt(f"{where} does not match its CRC-32C")
    topic_id, partition, base_offset, end_offset, length, entries, epochs, snapshot_position, snapshot_length = (
        _SECTION_HEAD.unpack_from(tail)
    )
    if len(tail) != section_tail_bytes(entries, epochs) or not entries:
        raise DataCorrupt(f"{where} says {entries} entries in {len(tail)} bytes")
    position = _SECTION_HEAD.size
    columns = []
    for typecode in "qQqI":
        column = array(typecode)
        size = entries * column.itemsize
        column.frombytes(memoryview(tail)[position : position + size])
        if _SWAP:
            column.byteswap()
        columns.append(column)
        position += size
    starts = [_EPOCH.unpack_from(tail, position + i * _EPOCH.size) for i in range(epochs)]
    base_offsets, positions, max_timestamps_ms, crcs = columns
    found = (topic_id, partition, base_offset, end_offset, length, crcs[-1])
    expected = (extent.topic_id, extent.partition, extent.base_offset, extent.end_offset, extent.length, extent.crc)
    if found != expected:
        raise DataCorrupt(
            f"{where} is that of {place_text(topic_id, partition)} offsets [{base_offset}, {end_offset}), "
            f"{length} bytes with CRC-32C {crcs[-1]:08x}"
        )
    return SectionIndex(
        base_offsets,
        positions,
        max_timestamps_ms,
        crcs,
        starts,
        end_offset,
        length,
        snapshot_position,
        snapshot_length,
    )


def encode_snapshot_frame(topic_id: TopicId, partition: int, snapshot: bytes) -> bytes:
    """What stands before an encoded producer snapshot."""
    frame = _SNAPSHOT_FRAME.pack(topic_id, partition, len(snapshot))
    return frame + _CRC.pack(crc32c(snapshot, crc32c(frame)))


def parse_snapshots(key: str, data: Buffer) -> dict[TopicPartition, bytes]:
    """All producer snapshots, from the bytes that the footer names."""
    snapshots = {}
    position = 0
    while position < len(data):
        start = position + SNAPSHOT_FRAME_BYTES
        if start > len(data):
            raise DataCorrupt(f"object {key}: its producer snapshots are cut")
        topic_id, partition, length = _SNAPSHOT_FRAME.unpack_from(data, position)
        (crc,) = _CRC.unpack_from(data, start - _CRC.size)
        snapshot = bytes(data[start : start + length])
        frame = data[position : start - _CRC.size]
        if len(snapshot) != length or crc32c(snapshot, crc32c(frame)) != crc:
            raise DataCorrupt(
                f"object {key}: the producer snapshot of {place_text(topic_id, partition)} does not match its CRC-32C"
            )
        snapshots[TopicPartition(topic_id, partition)] = snapshot
        position = start + length
    return snapshots


def encode_footer(footer: Footer, position: int) -> bytes:
    """Footer index and trailer; position is where the index will begin in the object."""
    head = _FOOTER_HEAD.pack(footer.snapshots_position, footer.snapshots_length, len(footer.extents))
    index = head + b"".join(_EXTENT.pack(*extent) for extent in footer.extents)
    crc = crc32c(_TRAILER_CHECKED.pack(position, len(index), FORMAT_VERSION, _MAGIC), crc32c(index))
    return index + _TRAILER.pack(position, len(index), crc, FORMAT_VERSION, _MAGIC)


def parse_trailer(key: str, object_size: int, tail: Buffer) -> int:
    """Where the footer index begins, from the object's last bytes (at least TRAILER_BYTES)."""
    if len(tail) < TRAILER_BYTES:
        raise DataCorrupt(f"object {key} has {len(tail)} bytes where its trailer should be")
    position, length, _, version, magic = _TRAILER.unpack_from(tail, len(tail) - TRAILER_BYTES)
    _check_version(key, "trailer", magic, version)
    if position + length + TRAILER_BYTES != object_size or length < _FOOTER_HEAD.size:
        raise DataCorrupt(f"object {key}: its trailer names {length} bytes at {position}, it has {object_size}")
    return int(position)


def parse_footer(key: str, object_size: int, tail: Buffer) -> Footer:
    """The footer, from the object's last bytes; parse_trailer says how many are needed."""
    position = parse_trailer(key, object_size, tail)
    start = position - (object_size - len(tail))
    if start < 0:
        raise DataCorrupt(f"object {key}: its footer index begins before the bytes that were read")
    index = memoryview(tail)[start : len(tail) - TRAILER_BYTES]
    _, length, crc, version, magic = _TRAILER.unpack_from(tail, len(tail) - TRAILER_BYTES)
    if crc32c(_TRAILER_CHECKED.pack(position, length, version, magic), crc32c(index)) != crc:
        raise DataCorrupt(f"object {key}: its footer does not match its CRC-32C")
    snapshots_position, snapshots_length, count = _FOOTER_HEAD.unpack_from(index)
    if _FOOTER_HEAD.size + count * _EXTENT.size != len(index) or snapshots_position + snapshots_length != position:
        raise DataCorrupt(f"object {key}: its footer names {count} extents in {len(index)} bytes")
    extents = tuple(Extent(*fields) for fields in _EXTENT.iter_unpack(index[_FOOTER_HEAD.size :]))
    return Footer(extents, snapshots_position, snapshots_length)


def position_of_offset(batches: Buffer, position: int, offset: int) -> int:
    """Where the first batch that ends beyond offset begins, searched from the batch at position.

    The end of the buffer where none does. Offsets that compaction took away belong to the batch after them.
    """
    end = len(batches)
    unpack = _BATCH.unpack_from
    while position < end:
        base_offset, batch_length, last_offset_delta, _ = unpack(batches, position)
        if base_offset + last_offset_delta >= offset:
            return position
        position += batch_length + LOG_OVERHEAD_BYTES
    return position


def position_of_timestamp(batches: Buffer, timestamp_ms: int) -> int:
    """Where the first batch with a largest timestamp of at least timestamp_ms begins; the buffer's end if none has."""
    position, end = 0, len(batches)
    while position < end:
        _, batch_length, _, max_timestamp_ms = _BATCH.unpack_from(batches, position)
        if max_timestamp_ms >= timestamp_ms:
            return position
        position += batch_length + LOG_OVERHEAD_BYTES
    return position


def cut_of_batches(batches: Buffer, position: int, limit: int) -> int:
    """Where the last batch that ends at or before limit ends, searched from the batch at position; position if none."""
    end = min(limit, len(batches))
    unpack = _BATCH.unpack_from
    while position + HEADER_BYTES <= end:
        next_position = position + unpack(batches, position)[1] + LOG_OVERHEAD_BYTES
        if next_position > end:
            break
        position = next_position
    return position


def base_offset_at(batches: Buffer, position: int) -> int:
    """The base offset of the batch at position."""
    return int(_BATCH.unpack_from(batches, position)[0])


def end_position_at(batches: Buffer, position: int) -> int:
    """Where the batch at position ends."""
    return int(position + _BATCH.unpack_from(batches, position)[1] + LOG_OVERHEAD_BYTES)


def _check_version(key: str, part: str, magic: bytes, version: int) -> None:
    if magic != _MAGIC or version < 1:
        raise DataCorrupt(f"object {key}: its {part} is not one of ours")
    if version > FORMAT_VERSION:
        raise FormatTooNew(f"object {key} has format version {version}; this program knows up to {FORMAT_VERSION}")


def _to_bytes(column: "array[int]") -> bytes:
    if _SWAP:
        column = column[:]
        column.byteswap()
    return column.tobytes()
