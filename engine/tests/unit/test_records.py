"""Walking a batch's records for their times, through every codec, and through what is no such batch."""

import gzip

import cramjam
import pytest
from engine_support import COMPRESSIONS, make_batch, record, varint

from tailrace_core.batch import assign_offset, read_header, set_log_append_time
from tailrace_core.errors import DataCorrupt, InvalidRecord, MessageTooLarge, RecordsRefused
from tailrace_engine.log import records
from tailrace_engine.log.records import check_keys, inflate, keys_and_values, timestamps


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_every_codec_gives_offsets_and_times(compression: str) -> None:
    stamps = [1_000_000 + 17 * at % 91 - at for at in range(500)]
    batch = make_batch(stamps, b"some value", compression=compression)
    assign_offset(batch, 70, 0)
    assert list(timestamps(batch)) == list(enumerate(stamps, 70))
    assert list(timestamps(memoryview(batch))) == list(enumerate(stamps, 70))


def test_times_before_1970_and_far_apart() -> None:
    stamps = [-(2**40), 2**62, -1, 0]
    assert [at for _, at in timestamps(make_batch(stamps))] == stamps


def test_log_append_time_is_the_headers() -> None:
    batch = make_batch([1, 2, 3], compression="gzip")
    set_log_append_time(batch, 1, 999)
    assert list(timestamps(batch)) == [(0, 999), (1, 999), (2, 999)]


def test_a_large_value_is_stepped_over() -> None:
    assert len(list(timestamps(make_batch([1, 2], bytes(100_000), compression="zstd")))) == 2


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("cut", [1, 7, 20])
def test_a_body_that_was_cut_is_corrupt(compression: str, cut: int) -> None:
    whole = make_batch([1, 2, 3], compression=compression)[61:]
    with pytest.raises(DataCorrupt):
        list(timestamps(make_batch([1, 2, 3], compression=compression, body=bytes(whole[:-cut]))))


@pytest.mark.parametrize("compression", [name for name in COMPRESSIONS if name != "none"])
@pytest.mark.parametrize("body", [b"", b"\xff" * 40, b"\0" * 40, b"\x82SNAPPY\0", b"\x82SNAPPY\0" + b"\xff" * 20])
def test_a_body_that_is_something_else_is_corrupt(compression: str, body: bytes) -> None:
    with pytest.raises(DataCorrupt):
        list(timestamps(make_batch([1, 2, 3], compression=compression, body=body)))


@pytest.mark.parametrize(
    "body",
    [
        record(0, 0, b"v")[:-1],
        varint(-5) + b"\0" * 20,
        varint(1) + b"\0" * 20,
        varint(1 << 30) + b"\0" * 20,
        b"\xff" * 30,
        b"\x01",
    ],
)
def test_a_record_that_leaves_its_batch_is_corrupt(body: bytes) -> None:
    batch = make_batch([1, 1], body=body)
    with pytest.raises(DataCorrupt):
        list(timestamps(batch))
    with pytest.raises(DataCorrupt):
        list(keys_and_values(batch, read_header(batch)))


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_keys_and_values_are_those_of_the_records(compression: str) -> None:
    batch = make_batch([1, 1 << 40, 3], bytes(200), compression=compression)
    assert list(keys_and_values(batch, read_header(batch))) == [(None, bytes(200))] * 3


@pytest.mark.parametrize("at", range(2, 14))
def test_a_byte_that_is_another_is_corrupt_or_gives_other_bytes(at: int) -> None:
    for byte in range(256):
        body = bytearray(record(0, 0, b"value") + record(1, 0, b"value"))
        body[at] = byte
        batch = make_batch([1, 1], body=bytes(body))
        try:
            found = list(keys_and_values(batch, read_header(batch)))
        except DataCorrupt:
            continue
        assert len(found) == 2
        assert all(len(key or b"") + len(value or b"") <= len(body) for key, value in found)


def bombs() -> list[tuple[int, bytes]]:
    zeros = bytes(1 << 20)
    lz4 = cramjam.lz4.Compressor()
    zstd = cramjam.zstd.Compressor()
    lz4_body, zstd_body = bytearray(), bytearray()
    for _ in range(4):
        for compressor, body in ((lz4, lz4_body), (zstd, zstd_body)):
            compressor.compress(zeros)
            body += bytes(compressor.flush())
    lz4_body += bytes(lz4.finish())
    zstd_body += bytes(zstd.finish())
    snappy = bytes(cramjam.snappy.compress_raw(zeros * 4))
    framed = b"\x82SNAPPY\0" + bytes(8) + (len(snappy).to_bytes(4, "big") + snappy)
    return [(1, gzip.compress(zeros * 4)), (2, snappy), (2, framed), (3, bytes(lz4_body)), (4, bytes(zstd_body))]


@pytest.mark.parametrize("place", range(5))
def test_a_batch_that_inflates_beyond_the_bound_is_refused(place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    codec, body = bombs()[place]
    assert len(inflate(codec, memoryview(body))) == 4 << 20
    monkeypatch.setattr(records, "INFLATED_BYTES_MAX", 3 << 20)
    with pytest.raises(DataCorrupt):
        inflate(codec, memoryview(body))


def test_a_snappy_block_that_lies_about_its_size_allocates_nothing() -> None:
    huge = b"\xff\xff\xff\xff\x0f" + b"\0" * 20
    with pytest.raises(DataCorrupt):
        inflate(2, memoryview(huge))


def keyed(*keys: bytes | None) -> bytes:
    """Records with these keys, and a value, headers and deltas of several bytes."""
    made = []
    for at, key in enumerate(keys):
        body = b"\0" + varint(at * 1000) + varint(at * 100)
        body += varint(-1) if key is None else varint(len(key)) + key
        body += varint(200) + b"v" * 200 + varint(1) + varint(1) + b"h" + varint(-1)
        made.append(varint(len(body)) + body)
    return b"".join(made)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_records_without_a_key_are_told_by_their_places(compression: str) -> None:
    compress = COMPRESSIONS[compression][1]
    fine = make_batch([1] * 3, compression=compression, body=compress(keyed(b"", b"k" * 300, b"k")))
    check_keys(fine, "t-0", 10_000)
    without = make_batch([1] * 5, compression=compression, body=compress(keyed(b"k", None, None, b"", None)))
    with pytest.raises(RecordsRefused, match=r"due to 3 record errors .*batchIndex=1, .*batchIndex=2, ") as refused:
        check_keys(without, "t-0", 10_000)
    assert [index for index, _ in refused.value.records] == [1, 2, 4]
    assert {reason for _, reason in refused.value.records} == {
        "Compacted topic cannot accept message without key in topic partition t-0"
    }


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("cut", [1, 30, 250])
def test_keys_in_a_body_that_was_cut_are_invalid(compression: str, cut: int) -> None:
    body = COMPRESSIONS[compression][1](keyed(b"k", b"k")[:-cut])
    with pytest.raises(InvalidRecord):
        check_keys(make_batch([1, 1], compression=compression, body=body), "t-0", 10_000)


@pytest.mark.parametrize("compression", [name for name in COMPRESSIONS if name != "none"])
def test_keys_are_not_looked_for_in_a_decompression_bomb(compression: str) -> None:
    with pytest.raises(MessageTooLarge):
        check_keys(make_batch([1], bytes(100_000), compression=compression), "t-0", 50_000)
