"""The budget of the tail in memory, and who leaves first."""

from tailrace_engine.cache.hot import HotLog
from tailrace_engine.log.entry import BatchEntry


class Owner:
    topic_id = bytes(16)
    partition = 0


def entry(at: int, size: int = 100) -> BatchEntry:
    return BatchEntry(Owner(), 1, at, at + 1, 0, bytes(size))


class Bench:
    def __init__(self, budget: int) -> None:
        self.durable = 0
        self.left: list[int] = []
        self.hot = HotLog(budget, self._let_go)
        self.entries: list[BatchEntry] = []

    def _let_go(self, entry: BatchEntry) -> bool:
        assert entry.data is not None
        if entry.end_offset > self.durable:
            return False
        self.left.append(entry.base_offset)
        return True

    def append(self, count: int) -> None:
        for _ in range(count):
            self.entries.append(entry(len(self.entries)))
            self.hot.append(self.entries[-1])


def test_the_oldest_leave_first_and_only_as_many_as_must() -> None:
    bench = Bench(350)
    bench.durable = 100
    bench.append(6)
    bench.hot.evict()
    assert bench.left == [0, 1, 2]
    assert bench.hot.bytes_used == 300
    assert [each.data is None for each in bench.entries] == [True] * 3 + [False] * 3
    assert bench.entries[0].size == 100


def test_what_is_not_durable_stays_and_so_does_what_came_after() -> None:
    bench = Bench(0)
    bench.append(5)
    bench.durable = 2
    bench.hot.evict()
    assert bench.left == [0, 1]
    bench.hot.evict()
    assert bench.left == [0, 1]
    bench.durable = 5
    bench.hot.evict()
    assert bench.left == [0, 1, 2, 3, 4]
    assert bench.hot.bytes_used == len(bench.hot) == 0


def test_charges_count_against_the_budget() -> None:
    bench = Bench(350)
    bench.durable = 100
    bench.append(3)
    bench.hot.charge(150)
    bench.hot.evict()
    assert bench.left == [0]
    bench.hot.charge(-150)
    assert bench.hot.bytes_used == 200


def test_what_is_discarded_is_not_asked_for_and_counts_once() -> None:
    bench = Bench(0)
    bench.durable = 100
    bench.append(4)
    for _ in range(2):
        bench.hot.discard(bench.entries[0])
        bench.hot.discard(bench.entries[2])
    assert bench.hot.bytes_used == 200
    bench.hot.evict()
    assert bench.left == [1, 3]
    assert bench.hot.bytes_used == 0


def test_discarded_entries_do_not_pile_up_behind_one_that_stays() -> None:
    bench = Bench(1 << 30)
    bench.append(1)
    for _ in range(100):
        bench.append(10)
        for each in bench.entries[-10:]:
            bench.hot.discard(each)
    assert len(bench.hot) < 200
    assert bench.hot.bytes_used == 100
    bench.durable = 10_000
    bench.hot.budget_bytes = 0
    bench.hot.evict()
    assert bench.left == [0]
