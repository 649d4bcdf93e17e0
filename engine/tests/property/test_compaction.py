"""Compaction beside a plain map: whatever batches, in whatever passes, the last value of every key is what is left."""

from engine_support import COMPRESSIONS, NOW_MS, make_batch, varint
from hypothesis import given, settings
from hypothesis import strategies as st

from tailrace_core.batch import assign_offset, batch_spans, is_intact, read_header
from tailrace_engine.log.compaction import Horizon, Keys, compact, note_keys
from tailrace_engine.log.records import keys_and_values, timestamps

RETENTION_MS = 1_000
KEYS = [b"a", b"b", b"c", b"dd" * 40, b""]
RECORDS = st.tuples(st.sampled_from(KEYS), st.none() | st.binary(max_size=70), st.integers(-200, 200))
BATCHES = st.tuples(st.lists(RECORDS, min_size=1, max_size=6), st.sampled_from(["none", "none", "zstd"]))
PASSES = st.tuples(
    st.integers(0, 9),
    st.integers(1, 10),
    st.sampled_from([0, 150, 400, 1 << 20]),
    st.integers(0, RETENTION_MS),
)
"""First extent, extents, bytes of keys, milliseconds since the pass before."""


def encoded(base_offset, records, compression):
    parts = []
    for delta, (key, value, timestamp_delta) in enumerate(records):
        body = b"\0" + varint(timestamp_delta) + varint(delta) + varint(len(key)) + key
        body += varint(-1) if value is None else varint(len(value)) + value
        parts += (varint(len(body) + 1), body, b"\0")
    codec, compress = COMPRESSIONS[compression]
    made = make_batch(
        [NOW_MS + delta for _, _, delta in records],
        body=compress(b"".join(parts)),
        attributes=codec,
        base_timestamp_ms=NOW_MS,
    )
    assign_offset(made, base_offset, 1)
    return bytes(made)


def walked(data):
    """[(offset, key, value, timestamp)] and [(base offset, end offset)]; checks that each batch says the truth."""
    records, bounds = [], []
    for start, size, _ in batch_spans(data):
        each = data[start : start + size]
        assert is_intact(each)
        header = read_header(each)
        bounds.append((header.base_offset, header.end_offset))
        pairs = list(keys_and_values(each, header))
        times = list(timestamps(each))
        assert len(pairs) == len(times) == header.record_count
        assert header.max_timestamp_ms == max((at for _, at in times), default=-1)
        records += [(offset, key, value, at) for (key, value), (offset, at) in zip(pairs, times, strict=True)]
    assert sum(size for _, size, _ in batch_spans(data)) == len(data)
    return records, bounds


def last_records(records):
    return {key: (offset, value, at) for offset, key, value, at in records}


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.lists(BATCHES, min_size=1, max_size=4), min_size=1, max_size=6), st.lists(PASSES, max_size=8))
def test_any_passes_over_any_log_keep_the_last_value_of_every_key(extents, passes):
    offset, log, ends = 0, [], []
    for batches in extents:
        data = b""
        for records, compression in batches:
            data += encoded(offset, records, compression)
            offset += len(records)
        log.append(data)
        ends.append(offset)
    original, original_bounds = walked(b"".join(log))
    truth = last_records(original)
    now_ms = NOW_MS
    for first, count, keys_bytes, passing_ms in passes:
        now_ms += passing_ms
        first %= len(log)
        end = min(first + count, len(log))
        keys = Keys(keys_bytes)
        for later in reversed(log[end:]):
            note_keys(later, len(later), keys)
        horizon = Horizon(now_ms, RETENTION_MS) if first == 0 else None
        run = b""
        for place in range(end - 1, first - 1, -1):
            pieces = compact(log[place], len(log[place]), keys, horizon, place == end - 1)
            run = b"".join(piece.data for piece in pieces) + run
            assert all(piece.base_offset < piece.end_offset for piece in pieces)
        log[first:end] = [run]
        ends[first:end] = [ends[end - 1]]
        left, bounds = walked(b"".join(log))
        found = last_records(left)
        for key, (at, value, timestamp_ms) in truth.items():
            if value is not None:
                assert found[key] == (at, value, timestamp_ms)
            else:
                assert found.get(key) in (None, (at, value, timestamp_ms))
        assert set(left) <= set(original)
        assert set(bounds) <= set(original_bounds)
        assert [walked(data)[1][-1][1] for data in log] == ends
    whole = b"".join(log)
    keys = Keys(1 << 20)
    once = b"".join(piece.data for piece in compact(whole, len(whole), keys, Horizon(now_ms, RETENTION_MS), True))
    left, _ = walked(once)
    assert len({key for _, key, _, _ in left}) == len(left)
    again = b"".join(
        piece.data for piece in compact(once, len(once), Keys(1 << 20), Horizon(now_ms, RETENTION_MS), True)
    )
    assert again == once
    late = Horizon(now_ms + RETENTION_MS, RETENTION_MS)
    last = b"".join(piece.data for piece in compact(once, len(once), Keys(1 << 20), late, True))
    assert {key: value for _, key, value, _ in walked(last)[0]} == {
        key: value for key, (_, value, _) in truth.items() if value is not None
    }
