"""The hot log against a list: what leaves is the oldest that is left, whatever was discarded and swept in between."""

from hypothesis import given
from hypothesis import strategies as st

from tailrace_engine.cache.hot import HotLog
from tailrace_engine.log.entry import BatchEntry

steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 60)),
        st.tuples(st.just("discard"), st.integers(0, 10_000)),
        st.tuples(st.just("discard all but one in"), st.integers(2, 40)),
        st.tuples(st.just("evict to"), st.integers(0, 60)),
    ),
    max_size=40,
)


@given(steps)
def test_the_queue_stays_in_order_through_sweeps(steps: list[tuple[str, int]]) -> None:
    left: list[int] = []

    def let_go(entry: BatchEntry) -> bool:
        left.append(entry.base_offset)
        return True

    hot = HotLog(0, let_go)
    model: list[BatchEntry] = []
    appended = 0
    for step, number in steps:
        if step == "append":
            for _ in range(number):
                entry = BatchEntry(None, 0, appended, appended + 1, 0, b"x")
                appended += 1
                model.append(entry)
                hot.append(entry)
        elif step == "discard" and model:
            hot.discard(model.pop(number % len(model)))
        elif step == "discard all but one in":
            for entry in model:
                if entry.base_offset % number:
                    hot.discard(entry)
            model = [entry for entry in model if entry.data is not None]
        elif step == "evict to":
            gone = [entry.base_offset for entry in model[: max(len(model) - number, 0)]]
            model = model[len(gone) :]
            hot.budget_bytes = number
            left.clear()
            hot.evict()
            assert left == gone
        assert hot.bytes_used == len(model)
        assert len(hot) >= len(model)


def test_what_is_dead_is_at_most_about_half_once_appends_go_on() -> None:
    hot = HotLog(1 << 40, lambda entry: True)
    entries = [BatchEntry(None, 0, place, place + 1, 0, b"x") for place in range(10_000)]
    for entry in entries:
        hot.append(entry)
    for entry in entries[:9_000]:
        hot.discard(entry)
    for place in range(2_000):
        hot.append(BatchEntry(None, 0, 20_000 + place, 20_001 + place, 0, b"x"))
    assert len(hot) <= 2 * 3_000
