"""Walking the records of one batch: only where a rule needs it (search by time, coordinators, compacted topics). Pure.

Compressed batches are inflated within a bound, never by trust in a header.
"""

from collections.abc import Iterator
from typing import Final

from tailrace_core.batch import HEADER_BYTES, LOG_APPEND_TIME_BIT, BatchHeader, Buffer, read_header
from tailrace_core.errors import DataCorrupt, InvalidRecord, MessageTooLarge, RecordsRefused
from tailrace_engine.log import codecs
from tailrace_engine.log.varints import read_varint

_NULL_LENGTH: Final = 0x01
"""The varint of -1."""
INFLATED_BYTES_MAX: Final = 128 << 20
"""A batch that inflates beyond this is taken for a decompression bomb."""


def timestamps(batch: Buffer, inflated: Buffer | None = None) -> Iterator[tuple[int, int]]:
    """(offset, timestamp in ms) of each record, in order. Raises DataCorrupt.

    inflated: what inflate gave for the batch's records, where the caller has done that elsewhere.
    """
    header = read_header(batch)
    is_appended_time = header.attributes & LOG_APPEND_TIME_BIT
    if is_appended_time and header.record_count == header.last_offset_delta + 1:
        for delta in range(header.record_count):
            yield header.base_offset + delta, header.max_timestamp_ms
        return
    body = memoryview(inflated if inflated is not None else inflate(header.codec, memoryview(batch)[HEADER_BYTES:]))
    position = 0
    try:
        for _ in range(header.record_count):
            length, position = read_varint(body, position)
            end = position + length
            timestamp_delta, position = read_varint(body, position + 1)
            offset_delta, position = read_varint(body, position)
            timestamp_ms = header.max_timestamp_ms if is_appended_time else header.base_timestamp_ms + timestamp_delta
            yield header.base_offset + offset_delta, timestamp_ms
            if not position <= end <= len(body):
                raise DataCorrupt(f"a record of {length} bytes in the batch at offset {header.base_offset}")
            position = end
    except IndexError as error:
        raise DataCorrupt(f"the batch at offset {header.base_offset} ends inside a record") from error


def keys_and_values(batch: Buffer, header: BatchHeader) -> Iterator[tuple[bytes | None, bytes | None]]:
    """Key and value of each record, in order; None where it is null. Raises DataCorrupt.

    The batch matches its CRC, so that what is read here is what was written.
    """
    # Indexing and slicing bytes is twice as fast as a view's.
    if header.codec:
        data, position = bytes(inflate(header.codec, memoryview(batch)[HEADER_BYTES:])), 0
    else:
        data, position = bytes(batch), HEADER_BYTES
    size = len(data)
    try:
        for _ in range(header.record_count):
            # Short varints, the usual ones, are read in place.
            length = data[position]
            position += 1
            if length < 0x80:
                length >>= 1
            elif data[position] < 0x80:  # most records have 64 to 8191 bytes
                length = (length & 0x7F | data[position] << 7) >> 1
                position += 1
            else:
                length, position = read_varint(data, position - 1)
            end = position + length
            position += 1  # the attributes
            while data[position] > 0x7F:  # the timestamp delta
                position += 1
            position += 1
            while data[position] > 0x7F:  # the offset delta
                position += 1
            position += 1
            length = data[position]
            position += 1
            if length > 0x7F:
                length, position = read_varint(data, position - 1)
            else:
                length = (length >> 1) ^ -(length & 1)
            key = None
            if length >= 0:
                key = data[position : position + length]
                position += length
            length = data[position]
            position += 1
            if length > 0x7F:
                length, position = read_varint(data, position - 1)
            else:
                length = (length >> 1) ^ -(length & 1)
            value = None
            if length >= 0:
                value = data[position : position + length]
                position += length
            if not position < end <= size:
                raise DataCorrupt(f"a record ends outside of the batch at offset {header.base_offset}")
            yield key, value
            position = end
    except IndexError as error:
        raise DataCorrupt(f"the batch at offset {header.base_offset} ends inside a record") from error


def check_keys(batch: Buffer, place: str, inflated_bytes_max: int) -> None:
    """Every record of a compacted topic has a key: compaction could not tell what replaces it.

    place names the partition in what the producer is told. Raises RecordsRefused with all that have none, InvalidRecord
    where the bytes are no records, MessageTooLarge where they inflate to more than inflated_bytes_max.
    Rule: LogValidator.validateKey of Apache Kafka.
    """
    header = read_header(batch)
    try:
        inflated = codecs.inflate(header.codec, memoryview(batch)[HEADER_BYTES:], inflated_bytes_max)
    except codecs.Uninflatable as error:
        raise (MessageTooLarge if error.is_too_large else InvalidRecord)(str(error)) from error
    data = bytes(inflated)
    size, position = len(data), 0
    without = []
    try:
        for index in range(header.record_count):
            length, position = read_varint(data, position)
            end = position + length
            position += 1  # the attributes
            while data[position] > 0x7F:  # the timestamp delta
                position += 1
            position += 1
            while data[position] > 0x7F:  # the offset delta
                position += 1
            if data[position + 1] == _NULL_LENGTH:
                without.append(index)
            if not position < end <= size:
                raise InvalidRecord(f"record {index} of the batch is longer than the batch")
            position = end
    except (IndexError, DataCorrupt) as error:
        raise InvalidRecord("the batch ends inside a record") from error
    if without:
        reason = f"Compacted topic cannot accept message without key in topic partition {place}"
        raise RecordsRefused([(index, reason) for index in without])


def inflate(codec: int, body: memoryview) -> Buffer:
    """The records of a batch without their compression. Raises DataCorrupt, for what is too large as well."""
    try:
        return codecs.inflate(codec, body, INFLATED_BYTES_MAX)
    except codecs.Uninflatable as error:
        raise DataCorrupt(f"a batch cannot be inflated: {error}") from error
