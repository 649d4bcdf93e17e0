"""The compression codecs of record batches, both ways: C code that releases the GIL. Pure.

Inflating is bounded by the bytes that come out, never by trust in a header. What is deflated is as Kafka's Java clients
write it: snappy in xerial's framing of blocks of 32 KiB, lz4 in frames of independent blocks.
"""

import zlib
from collections.abc import Callable
from typing import Any, Final

import cramjam

from tailrace_core.batch import Buffer

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
"""The codec's number in a batch's attributes."""

_GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP_MEMBERS_MAX: Final = 1_000
"""With each one, all that follows it is copied."""
_XERIAL_MAGIC: Final = b"\x82SNAPPY\x00"
_XERIAL_HEAD: Final = _XERIAL_MAGIC + b"\0\0\0\1\0\0\0\1"
_XERIAL_BLOCK_BYTES: Final = 32 << 10
_SNAPPY_RATIO_MAX: Final = 22
"""A copy with an offset of two bytes gives at most 64 bytes for 3. The other elements give less: a literal fewer bytes
than it has, a copy with an offset of one byte 11 for 2, of four bytes 64 for 5."""
_FIRST_GUESS_RATIO: Final = 8
_NO_ROOM: Final = "failed to write whole buffer"
"""What cramjam says where the buffer is too small, and nothing is wrong with the bytes so far."""


class Uninflatable(Exception):
    """The bytes are not what the codec writes, or become too many."""

    def __init__(self, text: str, is_too_large: bool = False) -> None:
        super().__init__(text)
        self.is_too_large = is_too_large


def inflate(codec: int, body: memoryview, bytes_max: int) -> Buffer:
    """body without its compression, at most bytes_max. Raises Uninflatable."""
    if codec == NONE:
        return body
    try:
        if codec == GZIP:
            return _gunzip(body, bytes_max)
        if codec == SNAPPY:
            return _unsnap(body, bytes_max)
        return _whole_frame(cramjam.lz4 if codec == LZ4 else cramjam.zstd, bytes(body), bytes_max)
    except (cramjam.DecompressionError, zlib.error, ValueError, IndexError) as error:
        raise Uninflatable(f"the bytes are not of codec {codec}: {error}") from error


def deflate(codec: int, body: Buffer, level: int) -> Buffer:
    """body compressed. level is the codec's own, where it has levels."""
    return _DEFLATE[codec](body, level)


def _too_large(bytes_max: int) -> Uninflatable:
    return Uninflatable(f"the records inflate to more than {bytes_max} bytes", is_too_large=True)


def _gunzip(body: Buffer, bytes_max: int) -> Buffer:
    """Of all members: a stream may have several, which Java reads as one. What follows that is no member is passed."""
    inflated, rest = _gunzip_member(body, bytes_max)
    if not rest.startswith(_GZIP_MAGIC):
        return inflated
    whole = bytearray(inflated)
    for _ in range(_GZIP_MEMBERS_MAX - 1):
        inflated, rest = _gunzip_member(rest, bytes_max - len(whole))
        whole += inflated
        if not rest.startswith(_GZIP_MAGIC):
            return whole
    raise Uninflatable(f"the gzip stream has more than {_GZIP_MEMBERS_MAX} members")


def _gunzip_member(body: Buffer, bytes_max: int) -> tuple[bytes, bytes]:
    """What the first member holds, and what follows it."""
    inflater = zlib.decompressobj(wbits=31)
    inflated = inflater.decompress(body, bytes_max + 1)
    if len(inflated) > bytes_max:
        raise _too_large(bytes_max)
    if not inflater.eof:
        raise Uninflatable("the gzip stream ends early")
    return inflated, inflater.unused_data


def _whole_frame(codec: Any, body: bytes, bytes_max: int) -> Buffer:
    """cramjam inflates whole frames only; a buffer of a known size is what bounds it."""
    size = min(max(_FIRST_GUESS_RATIO * len(body), 1 << 16), bytes_max)
    while True:
        buffer = bytearray(size)
        try:
            return memoryview(buffer)[: codec.decompress_into(body, buffer)]
        except cramjam.DecompressionError as error:
            if _NO_ROOM not in str(error):
                raise
        if size == bytes_max:
            raise _too_large(bytes_max)
        size = min(_FIRST_GUESS_RATIO * size, bytes_max)


def _unsnap(body: memoryview, bytes_max: int) -> Buffer:
    """Java writes xerial's block framing; other clients write raw snappy."""
    if bytes(body[:8]) != _XERIAL_MAGIC:
        return _unsnap_block(body, bytes_max)
    inflated = bytearray()
    position = len(_XERIAL_HEAD)
    while position + 4 <= len(body):
        size = int.from_bytes(body[position : position + 4], "big")
        position += 4
        if position + size > len(body):
            raise Uninflatable("a snappy block reaches beyond its batch")
        inflated += _unsnap_block(body[position : position + size], bytes_max - len(inflated))
        position += size
    return inflated


def _unsnap_block(block: memoryview, bytes_max: int) -> bytes:
    size = _length_of_snappy(block)
    if size > bytes_max:
        raise _too_large(bytes_max)
    if size > _SNAPPY_RATIO_MAX * len(block):
        raise Uninflatable(f"a snappy block of {len(block)} bytes says that it inflates to {size}")
    return bytes(cramjam.snappy.decompress_raw(bytes(block)))


def _length_of_snappy(block: memoryview) -> int:
    value = 0
    for place in range(5):
        value |= (block[place] & 0x7F) << (7 * place)
        if block[place] < 0x80:
            return value
    raise Uninflatable("a snappy block begins with a varint of more than 5 bytes")


def _deflate_none(body: Buffer, level: int) -> Buffer:
    return body


def _deflate_gzip(body: Buffer, level: int) -> bytes:
    return zlib.compress(body, level, wbits=31)


def _deflate_snappy(body: Buffer, level: int) -> bytes:
    view = memoryview(body)
    parts = [_XERIAL_HEAD]
    for start in range(0, len(view), _XERIAL_BLOCK_BYTES):
        block = bytes(cramjam.snappy.compress_raw(view[start : start + _XERIAL_BLOCK_BYTES]))
        parts += (len(block).to_bytes(4, "big"), block)
    return b"".join(parts)


def _deflate_lz4(body: Buffer, level: int) -> bytes:
    # Kafka's reader refuses blocks that depend on each other.
    compressor = cramjam.lz4.Compressor(level=level, content_checksum=False, block_linked=False)
    compressor.compress(bytes(body))
    return bytes(compressor.finish())


def _deflate_zstd(body: Buffer, level: int) -> bytes:
    return bytes(cramjam.zstd.compress(body, level))


_DEFLATE: Final[dict[int, Callable[[Buffer, int], Buffer]]] = {
    NONE: _deflate_none,
    GZIP: _deflate_gzip,
    SNAPPY: _deflate_snappy,
    LZ4: _deflate_lz4,
    ZSTD: _deflate_zstd,
}
