"""The zigzag varints of records (magic 2): seven bits a byte, the lowest first, the sign in the lowest bit."""

from tailrace_core.errors import DataCorrupt


def read_varint(data: bytes | memoryview, position: int) -> tuple[int, int]:
    """The value, and where it ends. Raises IndexError beyond the end of data, DataCorrupt for more than ten bytes."""
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), position
        shift += 7
        if shift > 63:
            raise DataCorrupt("a varint of more than ten bytes")


def encoded_varint(value: int) -> bytes:
    """The bytes of a signed value of up to 64 bits."""
    value = (value << 1) ^ (value >> 63)
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
