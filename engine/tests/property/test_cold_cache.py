"""The cold cache against a model: it never exceeds its budget, and never gives another value than the last one put."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tailrace_engine.cache.cold import ColdCache

STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "get", "discard"]), st.integers(0, 15), st.integers(0, 60)), max_size=300
)


@settings(max_examples=200, deadline=None)
@given(STEPS, st.integers(0, 200))
def test_the_cache_keeps_its_budget_and_tells_the_truth(steps: list[tuple[str, int, int]], budget: int) -> None:
    cache: ColdCache[int, int] = ColdCache(budget)
    last: dict[int, tuple[int, int]] = {}
    for number, (step, key, size) in enumerate(steps):
        if step == "put":
            cache.put(key, number, size)
            last[key] = (number, size)
            assert (key in cache) == (size <= budget)
        elif step == "discard":
            cache.discard(key)
            assert key not in cache
        else:
            assert cache.get(key) == (last[key][0] if key in cache else None)
        assert cache.bytes_used == sum(size for key, (_, size) in last.items() if key in cache) <= budget
        assert len(cache) == sum(key in cache for key in range(16))
