"""A partition's life beside a list of its batches: appended, durable, evicted, committed, trimmed, in any order.

The places that its batches are in (tier, WAL index, memory) cover every offset without a hole, waiters are released in
order and once, and each WAL record dies exactly once.
"""

from collections import Counter
from dataclasses import dataclass

from engine_support import NOW_MS, make_batch, values_of
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tailrace_controller.metadata.configs import ConfigRules
from tailrace_core.batch import check_batch
from tailrace_engine.cache.hot import HotLog
from tailrace_engine.log.entry import BatchEntry
from tailrace_engine.runtime.partition import Partition

RECORDS_A_SEGMENT = 4


@dataclass
class Batch:
    base: int
    end: int
    body: bytes
    segment: int


class Waiter:
    def __init__(self, end: int) -> None:
        self.end = end
        self.released = 0

    def on_appended(self, ordinal: int, base_offset: int, log_append_time_ms: int) -> None:
        raise AssertionError("nothing is put off here")

    def on_durable(self) -> None:
        self.released += 1

    def on_append_failed(self, ordinal: int, error: Exception) -> None:
        raise AssertionError("nothing fails here")


class LogMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.partition = Partition("t", bytes(16), 0, ConfigRules({}).effective({}), 1)
        self.hot = HotLog(1 << 40, self.let_go)
        self.batches: list[Batch] = []
        self.waiters: list[Waiter] = []
        self.released: list[Waiter] = []
        self.dead: Counter[int] = Counter()
        self.evicted_end = 0

    def let_go(self, entry: BatchEntry) -> bool:
        if entry.end_offset > self.partition.state.high_watermark:
            return False
        self.partition.on_evicted(entry)
        self.evicted_end = entry.end_offset
        return True

    def durable_batches(self) -> list[Batch]:
        return [batch for batch in self.batches if batch.end <= self.partition.state.high_watermark]

    @rule(count=st.integers(1, 3), size=st.integers(0, 300))
    def append(self, count: int, size: int) -> None:
        made = make_batch([NOW_MS] * count, bytes([len(self.batches) % 256]) * size)
        segment = len(self.batches) // RECORDS_A_SEGMENT
        expected = self.batches[-1].end if self.batches else 0
        entry = self.partition.append(memoryview(made), check_batch(made), NOW_MS)
        entry.wal_segment, entry.wal_position = segment, entry.base_offset
        self.hot.append(entry)
        assert (entry.base_offset, entry.end_offset) == (expected, expected + count)
        self.batches.append(Batch(expected, expected + count, bytes(made[21:]), segment))
        self.wait(entry.end_offset)

    def wait(self, end: int) -> None:
        waiter = Waiter(end)
        self.waiters.append(waiter)
        self.partition.pending.add(end, (waiter, 0))

    @rule(data=st.data())
    def wait_for_an_original(self, data: st.DataObject) -> None:
        high_watermark = self.partition.state.high_watermark
        waiting = [batch.end for batch in self.batches if batch.end > high_watermark]
        if waiting:
            self.wait(data.draw(st.sampled_from(waiting)))

    @rule(count=st.integers(1, 5))
    def become_durable(self, count: int) -> None:
        state = self.partition.state
        later = [batch for batch in self.batches if batch.end > state.high_watermark][:count]
        for batch in later:
            assert state.on_durable(batch.end)
            for waiter, _ in self.partition.pending.release(batch.end):
                assert isinstance(waiter, Waiter)
                waiter.on_durable()
                self.released.append(waiter)

    @rule(budget=st.integers(0, 2_000))
    def evict(self, budget: int) -> None:
        self.hot.budget_bytes = budget
        self.hot.evict()

    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        before = self.partition.tier_end_offset
        ends = [batch.end for batch in self.durable_batches() if batch.end > before]
        if not ends:
            return
        end = data.draw(st.sampled_from(ends))
        dead, given_back = self.partition.on_committed(end)
        self.dead.update(dead)
        index_bases = [batch.base for batch in self.batches if before < batch.end <= min(end, self.evicted_end)]
        assert given_back == len(index_bases)

    @rule(data=st.data())
    def trim(self, data: st.DataObject) -> None:
        state = self.partition.state
        start = data.draw(st.integers(0, state.high_watermark))
        before = state.log_start_offset
        assert state.advance_log_start(start) == (start > before)
        assert state.log_start_offset == max(before, start)

    @rule(batches_max=st.integers(1, 3))
    def release(self, batches_max: int) -> None:
        """A step of letting go; other things happen between two of them."""
        partition, start = self.partition, self.partition.state.log_start_offset
        before = partition.tier_end_offset
        released = partition.release_below(start, batches_max)
        self.dead.update(released.dead)
        for entry in released.hot_entries:
            assert entry.end_offset <= start
            self.hot.discard(entry)
        gone = [batch for batch in self.batches if batch.base >= before and batch.end <= partition.tier_end_offset]
        assert sum(released.dead.values()) == len(gone)
        assert released.unuploaded_bytes == sum(len(batch.body) + 21 for batch in gone)
        assert released.index_entries + len(released.hot_entries) <= batches_max
        left = [batch.base for batch in self.batches if batch.end > start] + [start]
        if released.is_all:
            assert partition.tier_end_offset >= min(start, left[0])
            assert partition.hot_start_offset() >= min(start, left[0])

    @invariant()
    def every_durable_batch_is_in_one_of_the_places(self) -> None:
        partition = self.partition
        hot_start, index = partition.hot_start_offset(), partition.wal_index
        for batch in self.durable_batches():
            if batch.base >= hot_start:
                found, size = partition.read_hot(batch.base, 0, True)
                assert values_of(found) == {batch.base: batch.body}
                assert size == len(found[0])
            elif batch.base >= partition.tier_end_offset:
                assert index is not None
                span = index.span(index.find(batch.base))
                assert span[:4] == (batch.base, NOW_MS, batch.segment, batch.base)
                assert span.size == len(batch.body) + 21

    @invariant()
    def nobody_reads_beyond_the_watermark(self) -> None:
        state = self.partition.state
        assert 0 <= state.log_start_offset <= state.high_watermark <= state.log_end_offset
        assert self.partition.read_hot(state.high_watermark, 1 << 30, True) == ([], 0)

    @invariant()
    def waiters_are_released_once_and_in_order(self) -> None:
        high_watermark = self.partition.state.high_watermark
        assert {waiter.released for waiter in self.released} <= {1}
        assert [waiter.end for waiter in self.released] == sorted(waiter.end for waiter in self.released)
        assert len(self.released) == sum(waiter.end <= high_watermark for waiter in self.waiters)
        assert len(self.partition.pending) == len(self.waiters) - len(self.released)

    @invariant()
    def each_wal_record_dies_once(self) -> None:
        expected = Counter(batch.segment for batch in self.durable_batches())
        assert Counter(self.partition.wal_records()) + self.dead == expected

    @invariant()
    def memory_is_counted(self) -> None:
        kept = list(self.partition.hot_entries[self.partition.hot_head :])
        assert self.hot.bytes_used == sum(entry.size for entry in kept)
        assert all(entry.data is not None for entry in kept)


TestLog = LogMachine.TestCase
