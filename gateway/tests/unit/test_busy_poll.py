"""The window in which the loop does not sleep, and when it is given up."""

from collections.abc import Callable
from typing import Any

from tailrace_gateway.kafka.busy_poll import BusyPoll


class Turns:
    """A loop and a clock: a turn takes 10 us, and runs what was called soon."""

    def __init__(self) -> None:
        self.now = 100.0
        self.soon: list[Callable[[], Any]] = []

    def monotonic(self) -> float:
        return self.now

    def call_soon(self, callback: Callable[[], Any]) -> None:
        self.soon.append(callback)

    def turn(self) -> bool:
        """Whether the loop had anything to do, and so did not sleep."""
        callbacks, self.soon = self.soon, []
        self.now += 0.00001
        for callback in callbacks:
            callback()
        return bool(callbacks)

    def turns_awake(self) -> int:
        count = 0
        while self.turn():
            count += 1
        return count


def poll(turns: Turns, window_seconds: float = 0.0001) -> BusyPoll:
    return BusyPoll(turns, turns, window_seconds)  # type: ignore[arg-type]


def test_the_loop_stays_awake_for_the_window_after_an_event() -> None:
    turns = Turns()
    poll(turns).on_event()
    assert 9 <= turns.turns_awake() <= 12


def test_events_within_the_window_keep_it_open_for_ever() -> None:
    turns = Turns()
    busy = poll(turns)
    for _ in range(1000):
        busy.on_event()
        assert turns.turn()
    assert len(turns.soon) == 1, "however many events, one look a turn"


def test_windows_in_which_nothing_comes_end_it_for_a_while() -> None:
    turns = Turns()
    busy = poll(turns)
    awake = 0
    for _ in range(1000):
        busy.on_event()
        awake += turns.turns_awake()
        turns.now += 0.001
    assert awake < 400, "of 10,000 turns that the windows would have taken"
    turns.now += 1.0
    busy.on_event()
    assert turns.turns_awake() > 0, "it is tried again"


def test_without_a_window_the_loop_sleeps() -> None:
    turns = Turns()
    poll(turns, 0.0).on_event()
    assert turns.turns_awake() == 0
