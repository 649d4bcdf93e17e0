"""What generated code calls when it leaves its fast path."""

from __future__ import annotations

from typing import Final

from tailrace_core.schema.declare import Buffer
from tailrace_core.schema.errors import DecodeError

UVARINT_BYTES_MAX: Final = 5
STRING_BYTES_MAX: Final = 0x7FFF
"""In every encoding, as in Kafka: a varint could say more, but what was read must fit where lengths have two bytes."""


def read_long_uvarint(buf: Buffer, pos: int, first: int) -> tuple[int, int]:
    """The value of a varint whose first byte, the one before pos, had its high bit set; and the position after it."""
    value = first & 0x7F
    for shift in range(7, 7 * UVARINT_BYTES_MAX, 7):
        byte = buf[pos]
        pos += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 32:
                break
            return value, pos
    raise DecodeError(f"the varint before byte {pos} is longer than 32 bits")


def read_uvarint(buf: Buffer, pos: int) -> tuple[int, int]:
    """A varint and the position after it."""
    first = buf[pos]
    return (first, pos + 1) if first < 0x80 else read_long_uvarint(buf, pos + 1, first)


def skip_tags(buf: Buffer, pos: int, count: int, end: int) -> int:
    """The position after a tag section of which only the count was read, all of its tags unknown."""
    if count > 0x7F:
        count, pos = read_long_uvarint(buf, pos, count)
    for _ in range(count):
        _, pos = read_uvarint(buf, pos)
        size, pos = read_uvarint(buf, pos)
        pos += size
        if pos > end:
            raise DecodeError(f"a tagged field of {size} bytes ends {pos - end} bytes too late")
    return pos


def bad_length(field: str, length: int, left: int) -> DecodeError:
    """The error for a length or count that is null, negative, or more than what remains could hold."""
    if length == -1:
        return DecodeError(f"{field} is null")
    return DecodeError(f"{field} has a length of {length} where {left} bytes remain")


def bad_string(field: str, length: int, left: int) -> DecodeError:
    """As bad_length, for a string, which has a largest length too."""
    if STRING_BYTES_MAX < length <= left:
        return DecodeError(f"{field} has a length of {length}, and a string has at most {STRING_BYTES_MAX} bytes")
    return bad_length(field, length, left)


def write_uvarint(value: int) -> bytes:
    """The varint of a value that is not negative."""
    if value < 1 << 14:
        return bytes((value & 0x7F | 0x80, value >> 7)) if value > 0x7F else bytes((value,))
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
