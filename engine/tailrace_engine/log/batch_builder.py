"""Record batches that the broker itself writes: magic 2, uncompressed, one time for all records. Pure.

Record by record, since coordinators do not know how many will share a batch; what is known before an `add` is an upper
bound of the bytes it takes, so nothing is encoded twice.
"""

from collections.abc import Iterable
from struct import Struct
from typing import Any, Final, TypeAlias

from crc32c import crc32c

from tailrace_core.batch import CRC_POSITION, CRC_START, HEADER, HEADER_BYTES, LOG_OVERHEAD_BYTES
from tailrace_engine.log.varints import encoded_varint

RECORD_OVERHEAD_BYTES_MAX: Final = 23
"""What a record takes besides its key and value, at most: four varints of five bytes, and three single bytes."""
KeyAndValue: TypeAlias = tuple[bytes, bytes | None, *tuple[Any, ...]]
"""A record; None is a null value. What stands after the two is not looked at."""
_CRC: Final = Struct(">I")

_VARINTS: Final = tuple(encoded_varint(value) for value in range(8192))
"""All of one and two bytes."""
_TABLE_END: Final = len(_VARINTS)
_NULL: Final = encoded_varint(-1)


def bytes_max(records: Iterable[KeyAndValue]) -> int:
    """How many bytes the records add to a batch at most."""
    size = 0
    for record in records:
        value = record[1]
        size += len(record[0]) + RECORD_OVERHEAD_BYTES_MAX
        if value is not None:
            size += len(value)
    return size


class BatchBuilder:
    """The batch that is being put together. `finish` gives it, and begins the next."""

    __slots__ = ("_parts", "bytes_max", "record_count")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.record_count = 0
        self.bytes_max = HEADER_BYTES
        """Of the batch so far."""

    def add(self, records: Iterable[KeyAndValue], added_bytes_max: int) -> None:
        """Append records. added_bytes_max is what bytes_max says of them."""
        varints, end = _VARINTS, _TABLE_END
        append = self._parts.append
        delta = self.record_count
        for record in records:
            key, value = record[0], record[1]
            key_size = len(key)
            # Attributes and timestamp delta are zero.
            head = b"\0\0%b%b%b" % (
                varints[delta] if delta < end else encoded_varint(delta),
                varints[key_size] if key_size < end else encoded_varint(key_size),
                key,
            )
            if value is None:
                size = len(head) + 2
                append(b"%b%b%b\0" % (varints[size] if size < end else encoded_varint(size), head, _NULL))
            else:
                value_size = len(value)
                value_length = varints[value_size] if value_size < end else encoded_varint(value_size)
                size = len(head) + len(value_length) + value_size + 1
                append(
                    b"%b%b%b%b\0" % (varints[size] if size < end else encoded_varint(size), head, value_length, value)
                )
            delta += 1
        self.record_count = delta
        self.bytes_max += added_bytes_max

    def finish(self, timestamp_ms: int) -> bytearray:
        """The batch, at base offset 0 and without a leader epoch; every record has this time. There is one at least."""
        count = self.record_count
        parts = self._parts
        body_bytes = sum(map(len, parts))
        parts.insert(
            0,
            HEADER.pack(
                0,
                HEADER_BYTES - LOG_OVERHEAD_BYTES + body_bytes,
                -1,
                2,
                0,
                0,
                count - 1,
                timestamp_ms,
                timestamp_ms,
                -1,
                -1,
                -1,
                count,
            ),
        )
        batch = bytearray().join(parts)
        _CRC.pack_into(batch, CRC_POSITION, crc32c(memoryview(batch)[CRC_START:]))
        self._parts = []
        self.record_count = 0
        self.bytes_max = HEADER_BYTES
        return batch
