"""Which extents retention lets go."""

import pytest

from tailrace_core.extents import Extent
from tailrace_engine.log.retention import plan_log_start


def extent(base: int, max_timestamp_ms: int, length: int = 100) -> Extent:
    return Extent(bytes(16), 0, 1, base, base + 10, max_timestamp_ms, 0, length, length, 0)


EXTENTS = [extent(0, 1_000), extent(10, 3_000), extent(20, 2_000)]


def plan(
    now_ms: int = 0, retention_ms: int = -1, retention_bytes: int = -1, log_bytes: int = 300, log_start: int = 0
) -> int:
    return plan_log_start(EXTENTS, log_start, log_bytes, now_ms, retention_ms, retention_bytes)


def test_nothing_goes_without_a_limit() -> None:
    assert plan(10**15) == 0


@pytest.mark.parametrize(("now_ms", "start"), [(1_500, 0), (1_501, 10), (3_500, 10), (3_501, 30)])
def test_an_extent_goes_when_its_newest_record_is_too_old(now_ms: int, start: int) -> None:
    assert plan(now_ms, retention_ms=500) == start


def test_a_future_time_keeps_all_after_it() -> None:
    extents = [extent(0, 10**15), extent(10, 1)]
    assert plan_log_start(extents, 0, 200, 10**12, 1, -1) == 0


def test_an_extent_without_a_time_does_not_go_by_time() -> None:
    assert plan_log_start([extent(0, -1)], 0, 100, 10**12, 0, -1) == 0


@pytest.mark.parametrize(
    ("retention_bytes", "log_bytes", "start"),
    [(300, 300, 0), (201, 300, 0), (200, 300, 10), (100, 300, 20), (99, 300, 20), (0, 300, 30), (300, 400, 10)],
)
def test_extents_go_while_enough_is_left(retention_bytes: int, log_bytes: int, start: int) -> None:
    assert plan(retention_bytes=retention_bytes, log_bytes=log_bytes) == start


def test_either_limit_is_enough() -> None:
    assert plan(1_600, retention_ms=500, retention_bytes=100) == 20


def test_extents_below_the_log_start_do_not_count() -> None:
    assert plan(retention_bytes=100, log_bytes=200, log_start=10) == 20
    assert plan(log_start=25) == 25
