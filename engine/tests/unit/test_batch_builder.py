"""Batches that the broker writes are valid ones, and read back as they were."""

from hypothesis import given
from hypothesis import strategies as st

from tailrace_core.batch import NO_TIMESTAMP, check_batch
from tailrace_engine.log.batch_builder import BatchBuilder, bytes_max
from tailrace_engine.log.records import keys_and_values, timestamps

NOW_MS = 1_800_000_000_000

sizes = st.one_of(st.integers(0, 70), st.sampled_from([8190, 8191, 8192, 8193, 70_000]))
records = st.tuples(sizes.map(bytes), st.none() | sizes.map(bytes))


@given(st.lists(st.lists(records, max_size=4), min_size=1, max_size=6))
def test_what_was_added_is_in_the_batch(decisions: list[list[tuple[bytes, bytes | None]]]) -> None:
    builder = BatchBuilder()
    for decision in decisions:
        builder.add(decision, bytes_max(decision))
    added = [record for decision in decisions for record in decision]
    assert builder.record_count == len(added)
    if added:
        bound = builder.bytes_max
        batch = builder.finish(NOW_MS)
        header = check_batch(batch)
        assert len(batch) <= bound
        assert list(keys_and_values(batch, header)) == added
        assert list(timestamps(batch)) == [(offset, NOW_MS) for offset in range(len(added))]
        assert (header.codec, header.producer_id, header.base_timestamp_ms) == (0, -1, NOW_MS)
        assert NO_TIMESTAMP < header.max_timestamp_ms == NOW_MS
    assert (builder.record_count, builder.bytes_max) == (0, 61)


def test_a_batch_of_more_records_than_two_bytes_count() -> None:
    builder = BatchBuilder()
    added = [(b"%d" % at, b"v") for at in range(20_000)]
    builder.add(added, bytes_max(added))
    batch = builder.finish(NOW_MS)
    assert list(keys_and_values(batch, check_batch(batch))) == added
