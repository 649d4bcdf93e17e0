"""What is done to a valid request: to one of its tokens, to its bytes, or to its frame.

A function of a random generator and the request alone, so that a seed names every frame.
"""

from __future__ import annotations

import random
import struct

from crc32c import crc32c
from harness.batches import CRC_START, HEADER

from fuzz.tokens import Kind, Token, joined, varint

INTEGERS = (
    *(0, 1, -1, 2, -2, 100, 127, 128, -128, 255, 256, 32767, 32768, -32768, 65535, 65536, 1 << 24, 12345),
    *((1 << 31) - 1, 1 << 31, -(1 << 31), (1 << 32) - 1, (1 << 63) - 1, -(1 << 63), 1 << 62),
)
SIZES = (0, 1, 2, 5, 100, 127, 128, 255, 256, 16383, 16384, 32767, 65535, 1 << 20, 1 << 24, (1 << 31) - 1, -1, -2)
VARINTS = (
    *(b"\x80", b"\x80\x00", b"\x81\x80\x00", b"\xff\xff\xff\xff\x07", b"\xff\xff\xff\xff\x0f"),
    *(b"\xff\xff\xff\xff\x7f", b"\x80\x80\x80\x80\x80\x80\x01", b"\xff" * 10),
)
TEXTS = (
    *(b"", b"\0", b"\xff\xfe", b"\xc3", b"\xed\xa0\x80", b"\xf0\x9f\x90\x9f", b"..", b"a" * 249, b"a" * 250),
    *(
        b"a" * 32767,
        b"a" * 32768,
        b"a" * 70_000,
        b" ",
        b"a,b",
        b"%s%n{}",
        b"-1",
        b"9" * 400,
        b"nan",
        b"1e9",
        b"\n",
        b"../../etc/passwd",
    ),
)
TAGGED = (b"\x00\x00", b"\x01\x01\x00", b"\x7f\x03abc", b"\xff\xff\xff\xff\x0f\x00", b"\x00\xff\xff\xff\xff\x0f")

FRAME_SIZES = (-1, 0, 3, 4, 7, 8, 9, 100 << 20, (100 << 20) + 1, (1 << 31) - 1, -(1 << 31))


def mutated(chance: random.Random, tokens: list[Token], other: list[Token]) -> tuple[bytes, bool]:
    """A mutation of `tokens`, in some of them with pieces of `other`, and whether the frame's own size is kept apart
    from it: then these bytes are a request, else they are a piece of a stream, sizes included."""
    kind = chance.random()
    if kind < 0.70:
        tokens = list(tokens)
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            _mutate_token(chance, tokens, other)
        return joined(tokens), True
    data = bytearray(joined(tokens))
    if kind < 0.95:
        _mutate_bytes(chance, data, other)
        return bytes(data), True
    return _mutate_frame(chance, bytes(data)), False


def _mutate_token(chance: random.Random, tokens: list[Token], other: list[Token]) -> None:
    # Behind the header of twelve bytes, most of the time.
    at = chance.randrange(0 if chance.random() < 0.02 else min(3, len(tokens) - 1), len(tokens))
    if tokens[at].kind in (Kind.FIXED_SIZE, Kind.VARINT_SIZE) and chance.random() < 0.6:
        # Sizes are many, and most that are wrong end in the decoder.
        at = min(at + 1, len(tokens) - 1)
    kind, data = tokens[at]
    action = chance.random()
    if action < 0.05:
        del tokens[at]
    elif action < 0.10:
        tokens.insert(at, tokens[at])
    elif action < 0.15:
        swap = chance.randrange(len(tokens))
        tokens[at], tokens[swap] = tokens[swap], tokens[at]
    elif action < 0.20:
        tokens[at] = chance.choice(other)
    elif action < 0.22:
        # A part twice: items of an array beyond its count, or a whole second body.
        tokens[at:at] = tokens[at : at + chance.randrange(1, 12)]
    elif kind is Kind.HEADER:
        tokens[at] = Token(kind, _header(chance, data))
    elif kind is Kind.INTEGER:
        tokens[at] = Token(kind, _integer(chance, data))
    elif kind is Kind.FIXED_SIZE:
        tokens[at] = Token(kind, _fixed_size(chance, data))
    elif kind is Kind.VARINT_SIZE:
        tokens[at] = Token(kind, chance.choice(VARINTS) if chance.random() < 0.3 else varint(_size(chance, data[0])))
    elif kind is Kind.TEXT:
        _resize(chance, tokens, at, chance.choice(TEXTS))
    elif kind is Kind.BLOB:
        _resize(chance, tokens, at, chance.choice((b"", b"\0" * 4, data + data, data[: len(data) // 2], bytes(70_000))))
    elif kind is Kind.RECORDS:
        _resize(chance, tokens, at, _records(chance, data))
    elif kind is Kind.TAGS:
        tagged = [chance.choice(TAGGED) for _ in range(chance.randrange(1, 4))]
        count = len(tagged) + chance.choice((0, 0, 0, 1, -1, 1 << 20))
        tokens[at] = Token(kind, varint(count) + b"".join(tagged))
    elif kind is Kind.UUID:
        tokens[at] = Token(kind, chance.choice((bytes(16), b"\xff" * 16, chance.randbytes(16), bytes(15) + b"\1")))
    elif kind is Kind.TAGGED:
        tokens[at] = Token(kind, chance.choice((data + data, data[:-1], chance.choice(TAGGED))))
    elif kind is Kind.PRESENCE:
        tokens[at] = Token(kind, chance.choice((b"\x00", b"\x01", b"\xff", b"\x7f")))


def _header(chance: random.Random, data: bytes) -> bytes:
    at = chance.choice((0, 2, 4))
    width = 4 if at == 4 else 2
    value = int.from_bytes(data[at : at + width], "big", signed=True) + chance.choice((-2, -1, 1, 2, 100))
    return data[:at] + (value & ((1 << 8 * width) - 1)).to_bytes(width, "big") + data[at + width :]


def _integer(chance: random.Random, data: bytes) -> bytes:
    bits = 8 * len(data)
    value = int.from_bytes(data, "big", signed=True)
    value = value + chance.choice((-1, 1)) if chance.random() < 0.2 else chance.choice(INTEGERS)
    return (value & ((1 << bits) - 1)).to_bytes(len(data), "big")


def _size(chance: random.Random, size: int) -> int:
    return size + chance.choice((-2, -1, 1, 2)) if chance.random() < 0.4 else chance.choice(SIZES)


def _fixed_size(chance: random.Random, data: bytes) -> bytes:
    size = _size(chance, int.from_bytes(data, "big", signed=True))
    return (size & ((1 << 8 * len(data)) - 1)).to_bytes(len(data), "big")


def _resize(chance: random.Random, tokens: list[Token], at: int, data: bytes) -> None:
    """Another content, most of the time with its right size in front."""
    tokens[at] = Token(tokens[at].kind, data)
    if at and chance.random() < 0.9:
        kind, size = tokens[at - 1]
        if kind is Kind.VARINT_SIZE:
            tokens[at - 1] = Token(kind, varint(len(data) + 1))
        elif kind is Kind.FIXED_SIZE and (len(size) == 4 or len(data) < 1 << 15):
            tokens[at - 1] = Token(kind, len(data).to_bytes(len(size), "big"))


def _records(chance: random.Random, data: bytes) -> bytes:
    """A record batch with something wrong in it; half of the time the CRC is right all the same."""
    if len(data) < HEADER.size:
        return chance.randbytes(chance.choice((0, 1, 60, 61, 62, 500)))
    action = chance.random()
    if action < 0.1:
        return data + data
    if action < 0.2:
        return data[: chance.randrange(len(data))]
    if action < 0.25:
        return data + chance.randbytes(chance.randrange(1, 100))
    batch = bytearray(data)
    if action < 0.65:
        # A field of the header: offset, length, epoch, magic, attributes, last delta, times, producer, sequence, count.
        at, width = chance.choice(
            ((0, 8), (8, 4), (12, 4), (16, 1), (21, 2), (23, 4), (27, 8), (35, 8), (43, 8), (51, 2), (53, 4), (57, 4))
        )
        batch[at : at + width] = _integer(chance, bytes(batch[at : at + width]))
    else:
        for _ in range(chance.choice((1, 1, 2, 8))):
            batch[chance.randrange(len(batch))] ^= 1 << chance.randrange(8)
    if chance.random() < 0.6:
        struct.pack_into(">I", batch, 17, crc32c(bytes(batch[CRC_START:])))
    return bytes(batch)


def _mutate_bytes(chance: random.Random, data: bytearray, other: list[Token]) -> None:
    start = 8 if len(data) > 8 and chance.random() < 0.9 else 0
    action = chance.random()
    if action < 0.45:
        for _ in range(chance.choice((1, 1, 1, 2, 5, 20))):
            data[chance.randrange(start, len(data))] ^= 1 << chance.randrange(8)
    elif action < 0.65:
        for _ in range(chance.choice((1, 1, 2, 5))):
            data[chance.randrange(start, len(data))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
    elif action < 0.75:
        del data[chance.randrange(start, len(data)) :]
    elif action < 0.85:
        data += chance.choice((b"\0", b"\xff" * 8, chance.randbytes(chance.randrange(1, 400)), joined(other)))
    elif action < 0.95:
        at = chance.randrange(start, len(data))
        del data[at : at + chance.choice((1, 1, 2, 4, 8, 100))]
    else:
        at = chance.randrange(start, len(data))
        data[at:at] = chance.randbytes(chance.choice((1, 2, 4, 8, 100)))


def _mutate_frame(chance: random.Random, data: bytes) -> bytes:
    size = len(data) + chance.choice((-4, -1, 1, 4, 100)) if chance.random() < 0.6 else chance.choice(FRAME_SIZES)
    return size.to_bytes(4, "big", signed=True) + data
