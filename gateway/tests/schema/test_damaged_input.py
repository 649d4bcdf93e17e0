"""Whatever the bytes are, a decoder returns a message or raises DecodeError, and allocates no more than they hold."""

from __future__ import annotations

import random
import struct
import tracemalloc
from collections.abc import Callable

import pytest

from tailrace_core.schema import reference
from tailrace_core.schema.declare import Array, Message, Struct
from tailrace_core.schema.writer import least_size
from tailrace_gateway.kafka import schema
from tailrace_gateway.kafka.schema.messages.heartbeat import HeartbeatRequest

Fill = Callable[[type[Message], int, int], Message]


def decoded_end(message: type[Message], version: int, data: bytes) -> tuple[bytes, int] | None:
    """What is in the message, as bytes that can be compared (a NaN is not equal to itself), and its end."""
    try:
        value, end = message.decoder(version)(data, 0)
    except schema.DecodeError:
        return None
    return bytes(message.encoder(version)(value)), end


def test_a_cut_at_any_byte_is_an_error(message: type[Message], fill: Fill, examples: range) -> None:
    for version in message.versions:
        decode = message.decoder(version)
        for seed in examples:
            encoded = bytes(message.encoder(version)(fill(message, version, seed)))
            for cut in {*range(min(len(encoded), 400)), *range(max(0, len(encoded) - 50), len(encoded))}:
                with pytest.raises(schema.DecodeError):
                    decode(encoded[:cut], 0)


def test_flipped_bits_give_what_the_reference_gives_or_an_error(
    message: type[Message], fill: Fill, examples: range
) -> None:
    for version in message.versions:
        rng = random.Random(f"{message.__name__} {version}")
        encoded = bytes(message.encoder(version)(fill(message, version, 0)))
        for _ in range(4 * len(examples) if encoded else 0):
            damaged = bytearray(encoded)
            for _ in range(rng.choice([1, 1, 2])):
                damaged[rng.randrange(len(damaged))] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
            found = decoded_end(message, version, bytes(damaged))
            try:
                value, end = reference.decode(message, version, damaged)
            except schema.DecodeError:
                assert found is None
            else:
                assert found == (bytes(message.encoder(version)(value)), end)


def test_random_bytes_give_a_value_or_an_error(message: type[Message], examples: range) -> None:
    for version in message.versions:
        rng = random.Random(f"{message.__name__} {version}")
        for _ in range(10 * len(examples)):
            decoded_end(message, version, rng.randbytes(rng.randrange(60)))


@pytest.mark.parametrize(
    "huge", [b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff\x07", b"\xff\xff\xff\xff\x0f", b"\x80\x00\x00\x00"]
)
def test_a_huge_or_negative_length_at_any_place_allocates_nothing(huge: bytes, fill: Fill) -> None:
    names = ["ProduceRequest", "FetchRequest", "FetchResponse", "MetadataResponse", "CreateTopicsRequest"]
    for message in map(schema.message, names):
        for version in (message.versions[0], message.versions[-1]):
            encoded = bytes(message.encoder(version)(fill(message, version, 1)))
            cases = [encoded[:at] + huge + encoded[at + len(huge) :] for at in range(min(len(encoded), 150))]
            decoded_end(message, version, encoded)
            tracemalloc.start()
            for case in cases:
                decoded_end(message, version, case)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert peak < 200_000


@pytest.mark.parametrize(
    ("name", "version", "data", "says"),
    [
        ("FetchRequest", 12, b"\0" * 25 + b"\xff\xff\xff\xff\x0f", "topics has a length of 4294967294 where 0"),
        ("FetchRequest", 11, b"\0" * 25 + b"\x80\x00\x00\x00", "topics has a length of -2147483648"),
        ("FetchRequest", 11, b"\0" * 25 + b"\xff\xff\xff\xff", "topics is null"),
        ("FetchRequest", 11, b"\0" * 25 + b"\x00\x00\x00\x02" + b"\0" * 11, "topics has a length of 2 where 11"),
        ("HeartbeatRequest", 3, b"\xff\xff", "group_id is null"),
        ("HeartbeatRequest", 3, b"\xff\xfe", "group_id has a length of -2"),
        ("HeartbeatRequest", 3, b"\x00\x05abcd", "group_id has a length of 5 where 4 bytes remain"),
        ("HeartbeatRequest", 3, b"\x00\x02\xc3\x28" + b"\0" * 20, "not UTF-8"),
        ("HeartbeatRequest", 4, b"\x00", "group_id is null"),
        ("HeartbeatRequest", 4, b"\x80\x80\x80\x80\x80\x01", "longer than 32 bits"),
        ("HeartbeatRequest", 4, b"\xff\xff\xff\xff\x1f", "longer than 32 bits"),
        ("HeartbeatRequest", 4, b"", "ends too early"),
        ("HeartbeatRequest", 3, b"\x00\x00\x00\x00", "ends too early: at byte 2 of 4"),
        (
            "ConsumerGroupHeartbeatResponse",
            0,
            b"\0" * 6 + b"\x01\x00" + b"\0" * 8 + b"\x05",
            "neither null nor present",
        ),
        ("ResponseHeader", 1, b"\0\0\0\0\x01\x09\x05abcd", "ends 1 bytes too late"),
        ("FetchRequest", 12, b"\0" * 25 + b"\x01\x01\x01\x01\x00\x09", "tagged field has a length of 9"),
        (
            "FetchRequest",
            12,
            b"\0" * 25 + b"\x01\x01\x01\x01\x00\x03\x02a\x00",
            "tagged field 0 of FetchRequest is not 3",
        ),
    ],
)
def test_the_error_says_what_is_wrong(name: str, version: int, data: bytes, says: str) -> None:
    cls = schema.message(name)
    with pytest.raises(schema.DecodeError, match=says):
        cls.decoder(version)(data, 0)
    with pytest.raises(schema.DecodeError):
        reference.decode(cls, version, data)


@pytest.mark.parametrize("size", [0x7FFF, 0x8000, 70_000])
def test_a_string_is_never_longer_than_its_legacy_length_could_say(size: int) -> None:
    """Else an answer or a record of an older version could not repeat it."""
    name = "é" + "g" * (size - 2)
    encoded = bytes(HeartbeatRequest.encoder(4)(HeartbeatRequest(group_id=name, member_id="m")))
    if size <= 0x7FFF:
        assert HeartbeatRequest.decoder(4)(encoded, 0)[0].group_id == name
        assert reference.decode(HeartbeatRequest, 4, encoded)[0].group_id == name
        return
    with pytest.raises(schema.DecodeError, match=r"group_id has a length of .* at most 32767"):
        HeartbeatRequest.decoder(4)(encoded, 0)
    with pytest.raises(schema.DecodeError):
        reference.decode(HeartbeatRequest, 4, encoded)


def test_a_varint_may_have_more_bytes_than_it_needs() -> None:
    data = b"\x82\x80\x80\x80\x00" + b"a" + struct.pack(">i", 1) + b"\x02m\x00\x00"
    expected = (HeartbeatRequest(group_id="a", generation_id=1, member_id="m"), len(data))
    assert HeartbeatRequest.decoder(4)(data, 0) == reference.decode(HeartbeatRequest, 4, data) == expected


def elements(cls: type[Struct]) -> set[type[Struct]]:
    found = set()
    for field in cls.fields:
        kind = field.kind.element if isinstance(field.kind, Array) else field.kind
        if isinstance(kind, type):
            found |= elements(kind) | ({kind} if isinstance(field.kind, Array) else set())
    return found


def test_every_element_of_an_array_takes_at_least_a_byte(message: type[Message]) -> None:
    for version in message.versions:
        for cls in elements(message):
            if any(version in field.versions for field in cls.fields):
                assert least_size(cls, version, version in message.flexible) > 0
