"""The owner of a partition's state: where its batches are, and what each move of them costs."""

from typing import Any

import pytest
from engine_support import NOW_MS, make_batch, offsets_of

from tailrace_controller.metadata.configs import ConfigRules
from tailrace_core.batch import check_batch, is_intact, read_header, set_log_append_time
from tailrace_core.errors import InvalidTimestamp, MessageTooLarge, RecordListTooLarge
from tailrace_engine.log.entry import BatchEntry
from tailrace_engine.runtime.partition import Partition


def made(**configs: str) -> Partition:
    overrides: dict[str, Any] = {name.replace("_", "."): text for name, text in configs.items()}
    rules = ConfigRules({})
    return Partition("t", b"t" * 16, 3, rules.effective(rules.overrides_of(overrides)), 5)


def append(partition: Partition, count: int = 1, size: int = 10, **options: Any) -> BatchEntry:
    batch = make_batch([NOW_MS] * count, bytes(size), **options)
    entry = partition.append(memoryview(batch), check_batch(batch), NOW_MS)
    entry.wal_segment, entry.wal_position = entry.base_offset // 10, 100 * entry.base_offset
    return entry


def durable(partition: Partition) -> None:
    partition.state.on_durable(partition.state.log_end_offset)


def test_an_append_takes_offsets_epoch_and_a_copy() -> None:
    partition = made()
    batch = make_batch([NOW_MS, NOW_MS + 1], producer=(4, 0, 0))
    entry = partition.append(memoryview(batch), check_batch(batch), NOW_MS)
    assert (entry.base_offset, entry.end_offset, entry.leader_epoch) == (0, 2, 5)
    assert entry.max_timestamp_ms == NOW_MS + 1
    batch[:] = bytes(len(batch))
    assert entry.data is not None
    assert is_intact(entry.data)
    assert read_header(entry.data).leader_epoch == 5
    assert append(partition).base_offset == 2
    assert partition.epochs.entries == [(5, 0)]
    assert partition.name == "t-3"


def test_log_append_time_is_what_a_duplicate_is_told() -> None:
    partition = made(message_timestamp_type="LogAppendTime")
    entry = append(partition, producer=(4, 0, 0))
    assert entry.max_timestamp_ms == NOW_MS
    original = partition.find_duplicate(read_header(make_batch([1], producer=(4, 0, 0))))
    assert original is not None
    assert original.max_timestamp_ms == NOW_MS


def test_a_producers_log_append_time_bit_is_cleared_where_the_topic_keeps_create_time() -> None:
    partition = made()
    batch = make_batch([NOW_MS])
    set_log_append_time(batch, 0, NOW_MS)
    entry = partition.append(memoryview(batch), check_batch(batch), NOW_MS)
    assert entry.data is not None
    assert read_header(entry.data).attributes == 0
    assert is_intact(entry.data)


def test_limits_are_the_topics() -> None:
    partition = made(max_message_bytes="100", segment_bytes="1048576")
    partition.check_limits(read_header(make_batch([NOW_MS], bytes(20))), NOW_MS)
    with pytest.raises(MessageTooLarge):
        partition.check_limits(read_header(make_batch([NOW_MS], bytes(100))), NOW_MS)
    with pytest.raises(InvalidTimestamp):
        partition.check_limits(read_header(make_batch([NOW_MS + 10**10])), NOW_MS)
    large = made(max_message_bytes="2097152", segment_bytes="1048576")
    with pytest.raises(RecordListTooLarge):
        large.check_limits(read_header(make_batch([NOW_MS], bytes(1_048_600))), NOW_MS)


@pytest.mark.parametrize(
    ("offset", "max_bytes", "at_least_one", "bases"),
    [
        (0, 10_000, True, [0, 2, 4, 6]),
        (1, 10_000, True, [0, 2, 4, 6]),
        (5, 10_000, True, [4, 6]),
        (4, 0, True, [4]),
        (4, 0, False, []),
        (4, 159, False, [4]),
        (4, 158, True, [4]),
        (4, 318, True, [4, 6]),
        (8, 10_000, True, []),
        (9, 10_000, True, []),
    ],
)
def test_memory_gives_whole_batches_below_the_watermark(
    offset: int, max_bytes: int, at_least_one: bool, bases: list[int]
) -> None:
    partition = made()
    entries = [append(partition, 2, 42) for _ in range(4)]
    assert entries[0].size == 159
    durable(partition)
    append(partition, 2)
    found, size = partition.read_hot(offset, max_bytes, at_least_one)
    assert offsets_of(found) == bases
    assert size == 159 * len(bases)


def test_batches_leave_for_the_index_and_the_hot_part_shrinks() -> None:
    partition = made()
    entries = [append(partition, 2) for _ in range(300)]
    durable(partition)
    for at, entry in enumerate(entries[:290]):
        assert partition.on_evicted(entry) == 1
        assert partition.hot_start_offset() == 2 * at + 2
    assert len(partition.hot_entries) < 150
    assert partition.wal_index is not None
    assert (partition.wal_index.base_offset(), partition.wal_index.end_offset) == (0, 580)
    assert partition.read_hot(581, 1, True)[0] == [entries[290].data]
    assert partition.wal_index.span(7) == (14, NOW_MS, 1, 1400, entries[7].size)
    for entry in entries[290:]:
        partition.on_evicted(entry)
    assert partition.hot_start_offset() == 600


def test_a_commit_gives_back_what_lay_in_index_and_memory() -> None:
    partition = made()
    entries = [append(partition) for _ in range(40)]
    durable(partition)
    for entry in entries[:15]:
        partition.on_evicted(entry)
    assert partition.wal_records() == {0: 10, 1: 10, 2: 10, 3: 10}
    assert partition.on_committed(12) == ({0: 10, 1: 2}, 12)
    assert partition.wal_records() == {1: 8, 2: 10, 3: 10}
    assert partition.on_committed(25) == ({1: 8, 2: 5}, 3)
    assert partition.wal_index is None
    assert partition.wal_records() == {2: 5, 3: 10}
    for entry in entries[15:30]:
        assert partition.on_evicted(entry) == (entry.base_offset >= 25)
    assert partition.on_committed(40) == ({2: 5, 3: 10}, 5)
    assert partition.wal_records() == {}
    assert partition.on_committed(40) == ({}, 0)


def test_what_is_not_durable_is_not_counted_as_the_wals() -> None:
    partition = made()
    append(partition)
    durable(partition)
    append(partition)
    assert partition.wal_records() == {0: 1}


def test_slices_for_an_upload_end_at_its_bounds() -> None:
    partition = made()
    for _ in range(10):
        append(partition, 3)
    durable(partition)
    size = partition.hot_entries[0].size

    def bases(offset: int, end_offset: int, batches_max: int, bytes_max: int) -> list[int]:
        return [base for _, base, _, _ in partition.hot_batches(offset, end_offset, batches_max, bytes_max)]

    assert bases(3, 30, 100, 1 << 20) == list(range(3, 30, 3))
    assert bases(3, 30, 2, 1 << 20) == [3, 6]
    assert bases(3, 30, 100, 2 * size) == [3, 6]
    assert bases(3, 30, 100, 0) == [3]
    assert bases(3, 12, 100, 1 << 20) == [3, 6, 9]
    assert bases(30, 30, 100, 1 << 20) == []


def test_recovered_batches_continue_the_log_and_its_producers() -> None:
    partition = made()
    for at in range(3):
        batch = make_batch([-1, -1], producer=(4, 0, 2 * at), leader_epoch=at // 2)
        partition.recover(2 * at + 2, tuple(read_header(batch)), 6, 4096 + at, len(batch), NOW_MS)
    state = partition.state
    assert (state.log_start_offset, state.high_watermark, state.log_end_offset) == (0, 6, 6)
    assert partition.hot_start_offset() == 6
    assert partition.epochs.entries == [(0, 0), (1, 4)]
    assert partition.wal_records() == {6: 3}
    assert partition.unuploaded_bytes == 3 * len(batch)
    original = partition.find_duplicate(read_header(make_batch([1, 1], producer=(4, 0, 4))))
    assert original is not None
    assert original.base_offset == 4
    assert partition.producers is not None
    assert partition.producers.expire(partition.producers.items(), NOW_MS + 99, 100) == 0
