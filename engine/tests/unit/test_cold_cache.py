"""The cold cache's rules: its budget, and what a scan may and may not push out."""

from tailrace_engine.cache.cold import ColdCache


def test_values_come_back_until_the_budget_is_used() -> None:
    cache: ColdCache[int, str] = ColdCache(100)
    for key in range(10):
        cache.put(key, f"value {key}", 10)
    assert [cache.get(key) for key in range(10)] == [f"value {key}" for key in range(10)]
    cache.put(10, "value 10", 10)
    assert cache.bytes_used == 100
    assert cache.get(0) is None
    assert cache.get(10) == "value 10"


def test_hits_during_a_scan_do_not_keep_a_value() -> None:
    cache: ColdCache[int, int] = ColdCache(100)
    cache.put(0, 0, 10)
    for key in range(1, 11):
        for _ in range(20):
            assert cache.get(0) == 0
        cache.put(key, key, 10)
    assert 0 not in cache


def test_what_is_asked_for_again_after_it_left_survives_scans() -> None:
    cache: ColdCache[int, int] = ColdCache(100)
    for key in range(12):
        cache.put(key, key, 10)
    assert cache.keeps(1)
    cache.put(1, 1, 10)
    for key in range(1000, 2000):
        cache.put(key, key, 10)
        assert cache.get(1) == 1


def test_a_key_that_left_long_ago_is_forgotten() -> None:
    cache: ColdCache[int, int] = ColdCache(100)
    for key in range(100):
        cache.put(key, key, 10)
    assert not cache.keeps(0)
    assert cache.keeps(89)


def test_a_value_larger_than_the_budget_is_not_kept() -> None:
    cache: ColdCache[int, int] = ColdCache(100)
    cache.put(1, 1, 60)
    cache.put(2, 2, 101)
    assert 2 not in cache
    assert cache.get(1) == 1


def test_a_new_value_replaces_the_old_one_and_its_size() -> None:
    cache: ColdCache[int, str] = ColdCache(100)
    cache.put(1, "old", 90)
    cache.put(1, "new", 20)
    assert (cache.get(1), cache.bytes_used, len(cache)) == ("new", 20, 1)


def test_a_discarded_key_is_gone() -> None:
    cache: ColdCache[int, int] = ColdCache(100)
    cache.put(1, 1, 20)
    cache.discard(1)
    cache.discard(1)
    assert (cache.get(1), cache.bytes_used, len(cache)) == (None, 0, 0)
