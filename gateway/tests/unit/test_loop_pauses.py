"""What is seen of the loop's pauses, and that a quiet loop is left alone."""

from collections.abc import Callable
from typing import Any

from tailrace_core.telemetry import Histogram
from tailrace_gateway.observability.loop_pauses import LoopPauses


class OneTimer:
    """A loop and a clock with one timer."""

    def __init__(self) -> None:
        self.now = 5.0
        self.timer: tuple[float, Callable[[], Any]] | None = None

    def monotonic(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], Any]) -> None:
        assert self.timer is None
        self.timer = (self.now + delay, callback)

    def fire(self, late: float) -> None:
        assert self.timer is not None
        (due, callback), self.timer = self.timer, None
        self.now = due + late
        callback()


def test_the_lateness_is_what_is_counted() -> None:
    loop, times, work = OneTimer(), Histogram((1_000, 5_000, 10_000)), 0
    pauses = LoopPauses(loop, loop, lambda: work, lambda: False, times)  # type: ignore[arg-type]
    pauses.start()
    for late in (0.0, 0.0004, 0.0030, 0.0080, 0.5):
        work += 1
        loop.fire(late)
    assert times.counts == [2, 1, 1, 1]
    assert pauses.is_running


def test_it_stops_with_the_work_and_begins_again() -> None:
    loop, times, work = OneTimer(), Histogram((1_000,)), 0
    pauses = LoopPauses(loop, loop, lambda: work, lambda: False, times)  # type: ignore[arg-type]
    assert not pauses.is_running
    pauses.start()
    loop.fire(0)
    assert not pauses.is_running
    assert loop.timer is None
    pauses.start()
    work += 1
    loop.fire(0)
    assert pauses.is_running
    assert loop.timer is not None


def test_with_few_clients_one_millisecond_of_five_is_measured() -> None:
    loop, times, work, few = OneTimer(), Histogram((1_000, 5_000, 10_000)), 0, True
    pauses = LoopPauses(loop, loop, lambda: work, lambda: few, times)  # type: ignore[arg-type]
    pauses.start()
    began = loop.now
    for _ in range(10):
        work += 1
        loop.fire(0)  # measured
        loop.fire(0)  # the rest
    assert times.counts == [10, 0, 0, 0]
    assert round(loop.now - began, 6) == 0.05
    few = False
    for _ in range(10):
        work += 1
        loop.fire(0)
    assert times.counts == [20, 0, 0, 0]
    assert round(loop.now - began, 6) == 0.06
    few = True
    work += 1
    loop.fire(0)
    loop.fire(0)
    loop.fire(0)
    assert not pauses.is_running
