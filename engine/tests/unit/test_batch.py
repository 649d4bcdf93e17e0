"""The header checks of a produced batch, and the fields that a broker writes in place."""

import struct

import pytest
from engine_support import COMPRESSIONS, NOW_MS, make_batch, sealed

from tailrace_core.batch import (
    HEADER,
    HEADER_BYTES,
    assign_offset,
    batch_spans,
    check_batch,
    is_intact,
    read_header,
    set_log_append_time,
)
from tailrace_core.errors import CorruptBatch, InvalidRecord


def test_the_header_is_that_of_record_batch_v2() -> None:
    assert HEADER.size == HEADER_BYTES == 61
    header = check_batch(make_batch([5, 9, 7], producer=(77, 3, 11)))
    assert header == read_header(b"##" + make_batch([5, 9, 7], producer=(77, 3, 11)), 2)
    assert (header.base_timestamp_ms, header.max_timestamp_ms, header.record_count) == (5, 9, 3)
    assert (header.producer_id, header.producer_epoch, header.base_sequence, header.last_sequence) == (77, 3, 11, 13)
    assert header.end_offset == 3
    assert header.size == len(make_batch([5, 9, 7]))


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_every_codec_is_taken(compression: str) -> None:
    assert check_batch(make_batch([1, 2, 3], compression=compression)).codec == COMPRESSIONS[compression][0]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"magic": 1}, "magic 1"),
        ({"base_offset": 1}, "base offset"),
        ({"record_count": 0, "last_offset_delta": -1}, "counts 0"),
        ({"record_count": -1, "last_offset_delta": -2}, "counts -1"),
        ({"last_offset_delta": 2}, "last offset delta"),
        ({"record_count": 500, "last_offset_delta": 499}, "do not fit"),
        ({"attributes": 5}, "codecs"),
        ({"attributes": 0x20}, "control"),
        ({"attributes": 0x10}, "producer id"),
        ({"producer_id": 4, "producer_epoch": 0, "base_sequence": -1}, "base_sequence"),
        ({"producer_id": 4, "producer_epoch": -1, "base_sequence": 0}, "producer_epoch"),
        ({"max_timestamp_ms": -2}, "timestamp"),
    ],
)
def test_a_header_that_breaks_a_rule_is_refused(fields: dict[str, int], text: str) -> None:
    with pytest.raises(InvalidRecord, match=text):
        check_batch(make_batch([NOW_MS], **fields))


def test_lengths_that_contradict_the_bytes() -> None:
    batch = make_batch()
    with pytest.raises(InvalidRecord, match="at least 61"):
        check_batch(batch[:60])
    with pytest.raises(InvalidRecord, match="at least 61"):
        check_batch(b"")
    with pytest.raises(InvalidRecord, match="exactly one"):
        check_batch(batch + batch)
    for length in (-(2**31), -1, 0, 48, len(batch), 2**31 - 1):
        with pytest.raises(CorruptBatch, match="the batch says"):
            check_batch(make_batch(batch_length=length))


def test_every_flipped_bit_from_the_attributes_on_is_seen() -> None:
    batch = make_batch([1, 2], b"abc", compression="lz4")
    for position in range(17, len(batch)):
        broken = bytearray(batch)
        broken[position] ^= 0x10
        with pytest.raises(CorruptBatch):
            check_batch(broken)
        assert not is_intact(broken)


def test_offset_and_epoch_are_written_outside_of_the_crc() -> None:
    batch = make_batch([1, 2])
    assign_offset(memoryview(batch), 2**40, 17)
    assert is_intact(batch)
    header = read_header(batch)
    assert (header.base_offset, header.leader_epoch, header.end_offset) == (2**40, 17, 2**40 + 2)


def test_log_append_time_keeps_the_codec_and_mends_the_crc() -> None:
    batch = make_batch([1, 2], compression="zstd", producer=(3, 0, 0))
    set_log_append_time(memoryview(batch), read_header(batch).attributes, NOW_MS)
    header = read_header(batch)
    assert is_intact(batch)
    assert (header.attributes, header.max_timestamp_ms, header.base_timestamp_ms) == (0x08 | 4, NOW_MS, 1)


def test_sequences_wrap_from_the_largest_to_zero() -> None:
    wrapped = check_batch(make_batch([1, 2, 3], producer=(1, 0, 2**31 - 2)))
    assert wrapped.last_sequence == 0
    assert check_batch(make_batch([1, 2], producer=(1, 0, 2**31 - 2))).last_sequence == 2**31 - 1


def test_intact_is_whole_and_as_long_as_it_says() -> None:
    batch = make_batch()
    assert is_intact(memoryview(batch))
    assert not is_intact(batch[:-1])
    assert not is_intact(batch + b"\0")
    assert not is_intact(b"")


def test_spans_are_those_of_whole_batches() -> None:
    first, second = make_batch(value=b"a"), make_batch([1, 2], b"bc")
    assign_offset(first, 7, 0)
    assign_offset(second, 8, 0)
    both = bytes(first + second)
    expected = [(0, len(first), 7), (len(first), len(second), 8)]
    assert batch_spans(both) == expected
    assert batch_spans(memoryview(both)[:-1]) == expected[:1]
    assert batch_spans(both, len(first)) == expected[1:]
    assert batch_spans(b"") == []
    for length in (-13, 0, 48):
        broken = sealed(bytearray(both))
        struct.pack_into(">i", broken, 8, length)
        with pytest.raises(CorruptBatch):
            batch_spans(broken)
