"""Whatever bytes a client sends as a batch: an answer, or an expected error."""

import contextlib

from engine_support import COMPRESSIONS, make_batch, offsets_of
from hypothesis import given
from hypothesis import strategies as st

from tailrace_core.batch import check_batch
from tailrace_core.errors import CorruptBatch, DataCorrupt, InvalidRecord
from tailrace_engine.log.records import timestamps

TIMES = st.lists(st.integers(-1, 2**45), min_size=1, max_size=40)


@given(TIMES, st.sampled_from(sorted(COMPRESSIONS)), st.binary(max_size=300))
def test_times_come_back(stamps: list[int], compression: str, value: bytes) -> None:
    batch = make_batch(stamps, value, compression=compression)
    check_batch(batch)
    assert list(timestamps(batch)) == list(enumerate(stamps))


@given(st.binary(max_size=200))
def test_any_bytes_are_checked(data: bytes) -> None:
    try:
        check_batch(data)
    except (CorruptBatch, InvalidRecord):
        return
    raise AssertionError("random bytes with a right CRC")


@given(TIMES, st.sampled_from(sorted(COMPRESSIONS)), st.data())
def test_a_damaged_body_ends_in_an_expected_error(stamps: list[int], compression: str, data: st.DataObject) -> None:
    body = bytearray(make_batch(stamps, compression=compression)[61:])
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    body = body[: data.draw(st.integers(0, len(body)))]
    with contextlib.suppress(DataCorrupt):
        list(timestamps(make_batch(stamps, compression=compression, body=bytes(body))))


@given(st.binary(max_size=120), st.sampled_from(sorted(COMPRESSIONS)))
def test_any_body_ends_in_an_expected_error(body: bytes, compression: str) -> None:
    with contextlib.suppress(DataCorrupt):
        list(timestamps(make_batch([1, 2], compression=compression, body=body)))


@given(st.binary(max_size=200))
def test_any_bytes_are_walked_batch_by_batch(data: bytes) -> None:
    with contextlib.suppress(CorruptBatch):
        offsets_of([data])
