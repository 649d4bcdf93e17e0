"""Record batches of magic 2, written and read by hand: every field can be given a wrong value."""

from __future__ import annotations

import gzip
import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cramjam
import lz4.frame
from crc32c import crc32c

HEADER = struct.Struct(">qiibIhiqqqhii")
CRC_START = 21
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
LOG_APPEND_TIME, TRANSACTIONAL, CONTROL = 8, 16, 32
XERIAL = b"\x82SNAPPY\x00"
NOW = time.time_ns() // 1_000_000 - 60_000
"""A timestamp a minute ago for records that do not care: younger than any retention, older than any append."""


@dataclass(frozen=True)
class Record:
    """A record as a client sees it. Headers keep their order and may repeat."""

    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    timestamp: int = NOW
    offset: int = -1

    def content(self) -> tuple[object, ...]:
        """What a producer decides: all but offset and timestamp."""
        return self.key, self.value, self.headers


@dataclass(frozen=True)
class Batch:
    """The header of a stored batch, and its records still packed."""

    base_offset: int
    length: int
    leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    count: int
    raw: bytes

    @property
    def codec(self) -> int:
        return self.attributes & 7

    @property
    def last_offset(self) -> int:
        return self.base_offset + self.last_offset_delta

    def records(self) -> Iterator[Record]:
        data, at = _decompress(self.codec, self.raw[HEADER.size :]), 0
        for _ in range(self.count):
            size, at = read_varint(data, at)
            yield self._record(data, at)
            at += size
        assert at == len(data), "bytes after the last record"

    def _record(self, data: bytes, at: int) -> Record:
        timestamp_delta, at = read_varint(data, at + 1)
        offset_delta, at = read_varint(data, at)
        key, at = _read_bytes(data, at)
        value, at = _read_bytes(data, at)
        headers = []
        count, at = read_varint(data, at)
        for _ in range(count):
            name, at = _read_bytes(data, at)
            content, at = _read_bytes(data, at)
            assert name is not None
            headers.append((name.decode(), content))
        timestamp = self.max_timestamp if self.attributes & LOG_APPEND_TIME else self.base_timestamp + timestamp_delta
        return Record(value, key, tuple(headers), timestamp, self.base_offset + offset_delta)


def make_batch(
    records: Sequence[Record],
    *,
    codec: str = "none",
    producer_id: int = -1,
    producer_epoch: int = -1,
    base_sequence: int = -1,
    base_offset: int = 0,
    leader_epoch: int = -1,
    magic: int = 2,
    attributes: int = 0,
    last_offset_delta: int | None = None,
    count: int | None = None,
    crc: int | None = None,
    max_timestamp: int | None = None,
) -> bytes:
    """A record batch with a right CRC (of whatever was asked for), unless `crc` is given. `attributes` is or-ed to
    the codec."""
    base_timestamp = records[0].timestamp if records else -1
    body = _compress(codec, b"".join(_pack(record, index, base_timestamp) for index, record in enumerate(records)))
    latest = max((record.timestamp for record in records), default=-1)
    checked = struct.pack(
        ">hiqqqhii",
        CODECS[codec] | attributes,
        len(records) - 1 if last_offset_delta is None else last_offset_delta,
        base_timestamp,
        latest if max_timestamp is None else max_timestamp,
        producer_id,
        producer_epoch,
        base_sequence,
        len(records) if count is None else count,
    )
    checked += body
    checksum = crc32c(checked) if crc is None else crc
    return struct.pack(">qiibI", base_offset, 9 + len(checked), leader_epoch, magic, checksum) + checked


def simple_batch(*values: bytes, **options: object) -> bytes:
    """A batch of records that only have values."""
    return make_batch([Record(value) for value in values], **options)  # type: ignore[arg-type]


def parse_batches(data: bytes | None) -> list[Batch]:
    """The whole batches in a Fetch answer, each with its CRC checked; a part of one at the end is left out, as
    clients do."""
    batches, at = [], 0
    data = data or b""
    while at + HEADER.size <= len(data):
        fields = HEADER.unpack_from(data, at)
        end = at + 12 + fields[1]
        if end > len(data):
            break
        batch = Batch(*fields, raw=data[at:end])
        assert batch.magic == 2
        assert crc32c(batch.raw[CRC_START:]) == batch.crc, f"the CRC of the batch at {batch.base_offset}"
        batches.append(batch)
        at = end
    return batches


def parse_records(data: bytes | None) -> list[Record]:
    return [record for batch in parse_batches(data) for record in batch.records()]


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """A zigzag varint and the position after it."""
    shift = value = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), at
        shift += 7


def write_varint(value: int) -> bytes:
    value = (value << 1) ^ (value >> 63)
    out = bytearray()
    while value > 0x7F:
        out.append((value & 0x7F) | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_bytes(data: bytes, at: int) -> tuple[bytes | None, int]:
    size, at = read_varint(data, at)
    return (None, at) if size < 0 else (bytes(data[at : at + size]), at + size)


def _write_bytes(data: bytes | None) -> bytes:
    return write_varint(-1) if data is None else write_varint(len(data)) + data


def _pack(record: Record, offset_delta: int, base_timestamp: int) -> bytes:
    parts: Iterable[bytes] = (
        b"\0",
        write_varint(record.timestamp - base_timestamp),
        write_varint(offset_delta),
        _write_bytes(record.key),
        _write_bytes(record.value),
        write_varint(len(record.headers)),
        *(_write_bytes(name.encode()) + _write_bytes(content) for name, content in record.headers),
    )
    body = b"".join(parts)
    return write_varint(len(body)) + body


def _compress(codec: str, data: bytes) -> bytes:
    if codec == "none":
        return data
    if codec == "gzip":
        return gzip.compress(data)
    if codec == "snappy":
        block = bytes(cramjam.snappy.compress_raw(data))
        return XERIAL + struct.pack(">iii", 1, 1, len(block)) + block
    if codec == "lz4":
        # Apache Kafka reads frames of independent blocks only.
        return bytes(lz4.frame.compress(data, block_linked=False))
    return bytes(cramjam.zstd.compress(data))


def _decompress(codec: int, data: bytes) -> bytes:
    if codec == 0:
        return data
    if codec == 1:
        return gzip.decompress(data)
    if codec == 2:
        if not data.startswith(XERIAL):
            return bytes(cramjam.snappy.decompress_raw(data))
        blocks, at = [], 16
        while at < len(data):
            (size,) = struct.unpack_from(">i", data, at)
            blocks.append(bytes(cramjam.snappy.decompress_raw(data[at + 4 : at + 4 + size])))
            at += 4 + size
        return b"".join(blocks)
    if codec == 3:
        return bytes(cramjam.lz4.decompress(data))
    return bytes(cramjam.zstd.decompress(data))
