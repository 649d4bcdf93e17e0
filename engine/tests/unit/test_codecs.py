"""Codecs: both ways, within a bound, and nothing but Uninflatable for whatever comes."""

import contextlib
import gzip
from collections.abc import Callable
from random import Random

import cramjam
import pytest
from engine_support import COMPRESSIONS

from tailrace_engine.log import codecs
from tailrace_engine.log.codecs import GZIP, LZ4, NONE, SNAPPY, ZSTD, Uninflatable, deflate, inflate

LEVELS = {NONE: [0], GZIP: [-1, 1, 9], SNAPPY: [0], LZ4: [1, 9, 17], ZSTD: [-131072, -5, 0, 3, 22]}
BODIES = (b"", b"a", bytes(100_000), Random(1).randbytes(70_000), b"0123456789" * 20_000)


@pytest.mark.parametrize(("codec", "level"), [(codec, level) for codec, levels in LEVELS.items() for level in levels])
def test_what_was_deflated_is_inflated(codec: int, level: int) -> None:
    for body in BODIES:
        packed = deflate(codec, body, level)
        assert bytes(inflate(codec, memoryview(packed), len(body))) == body
        assert bytes(deflate(codec, memoryview(bytearray(body)), level)) == bytes(packed)


def test_what_clients_write_is_inflated() -> None:
    for name, (codec, compress) in COMPRESSIONS.items():
        for body in BODIES[1:]:
            assert bytes(inflate(codec, memoryview(compress(body)), len(body))) == body, name


@pytest.mark.parametrize(("codec", "compress"), [COMPRESSIONS[name] for name in ("gzip", "lz4", "zstd")])
def test_streams_of_several_parts_are_inflated_whole(codec: int, compress: Callable[[bytes], bytes]) -> None:
    packed = memoryview(b"".join(map(compress, BODIES)))
    whole = b"".join(BODIES)
    assert bytes(inflate(codec, packed, len(whole))) == whole
    with pytest.raises(Uninflatable) as raised:
        inflate(codec, packed, len(whole) - 1)
    assert raised.value.is_too_large
    with pytest.raises(Uninflatable):
        inflate(codec, packed[:-3], len(whole))


def test_a_gzip_stream_of_very_many_members_is_refused() -> None:
    members = [gzip.compress(b"a")] * 1_001
    assert bytes(inflate(GZIP, memoryview(b"".join(members[1:])), 1_000)) == b"a" * 1_000
    with pytest.raises(Uninflatable):
        inflate(GZIP, memoryview(b"".join(members)), 2_000)


@pytest.mark.parametrize("name", [name for name in COMPRESSIONS if name != "none"])
def test_one_byte_more_than_the_bound_is_too_large(name: str) -> None:
    codec, compress = COMPRESSIONS[name]
    for body in BODIES[1:]:
        with pytest.raises(Uninflatable) as raised:
            inflate(codec, memoryview(compress(body)), len(body) - 1)
        assert raised.value.is_too_large


@pytest.mark.parametrize("name", [name for name in COMPRESSIONS if name != "none"])
def test_damaged_bytes_are_uninflatable_or_bounded(name: str) -> None:
    codec, compress = COMPRESSIONS[name]
    random, packed = Random(7), compress(b"0123456789" * 300)
    for _ in range(300):
        damaged = bytearray(packed)
        for _ in range(random.randint(1, 3)):
            damaged[random.randrange(len(damaged))] = random.randrange(256)
        damaged = damaged[: random.randint(0, len(damaged))]
        with contextlib.suppress(Uninflatable):
            assert len(inflate(codec, memoryview(damaged), 5_000)) <= 5_000


def test_a_stream_that_ends_early_is_uninflatable() -> None:
    for name, (codec, compress) in COMPRESSIONS.items():
        if codec:
            packed = compress(bytes(range(256)) * 10)
            for cut in (0, 1, len(packed) // 2, len(packed) - 1):
                if name == "xerial" and cut == 0:
                    continue
                with pytest.raises(Uninflatable) as raised:
                    inflate(codec, memoryview(packed)[:cut], 1 << 20)
                assert not raised.value.is_too_large


def test_a_snappy_header_is_not_believed() -> None:
    with pytest.raises(Uninflatable) as raised:
        inflate(SNAPPY, memoryview(b"\xff\xff\xff\x3f" + bytes(20)), 1 << 40)
    assert not raised.value.is_too_large
    with pytest.raises(Uninflatable):
        inflate(SNAPPY, memoryview(b"\xff\xff\xff\xff\xff\xff\xff" + bytes(20)), 1 << 40)


def snappy_of_one_byte(copies: int, size: int) -> bytes:
    """As dense as snappy gets: a literal of one byte, then copies of 64 bytes. It says that it inflates to size."""
    varint = bytearray()
    while size > 0x7F:
        varint.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([*varint, size]) + b"\x00a" + b"\xfe\x01\x00" * copies


@pytest.mark.parametrize("framed", [False, True])
def test_the_densest_snappy_is_inflated_and_what_says_it_is_denser_is_not(framed: bool) -> None:
    def frame(block: bytes) -> memoryview:
        head = b"\x82SNAPPY\0" + bytes(8) + len(block).to_bytes(4, "big")
        return memoryview(head + block if framed else block)

    copies = 50_000
    size = 64 * copies + 1
    honest = snappy_of_one_byte(copies, size)
    assert size > 21 * len(honest)
    assert bytes(inflate(SNAPPY, frame(honest), size)) == b"a" * size
    for copies, lie in ((1, 128 << 20), (10_000, 22 * 30_005 + 200), (0, 100)):
        with pytest.raises(Uninflatable, match="says that it inflates to"):
            inflate(SNAPPY, frame(snappy_of_one_byte(copies, lie)), 128 << 20)


def test_snappy_and_lz4_are_framed_as_java_reads_them() -> None:
    body = Random(2).randbytes(100) * 1_000
    snappy = bytes(deflate(SNAPPY, body, 0))
    assert snappy[:16] == b"\x82SNAPPY\0\0\0\0\1\0\0\0\1"
    first = int.from_bytes(snappy[16:20], "big")
    assert bytes(cramjam.snappy.decompress_raw(snappy[20 : 20 + first])) == body[: 32 << 10]
    lz4 = bytes(deflate(LZ4, body, 9))
    assert lz4[:4] == b"\x04\x22\x4d\x18"
    assert lz4[4] & 0x20, "blocks are independent"
    assert gzip.decompress(bytes(deflate(GZIP, body, -1))) == body
    assert codecs.deflate(NONE, body, 0) is body
