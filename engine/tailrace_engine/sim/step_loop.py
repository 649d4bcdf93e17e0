"""A loop of virtual time for synchronous owners: the part of asyncio's loop in core.ports.Loop, and its clock.

Nothing runs by itself. `run_until_idle` makes every call that is due or to come, in order of time, then of scheduling.
"""

import heapq
from collections.abc import Callable
from itertools import count
from typing import Any


class _Call:
    __slots__ = ("arguments", "callback", "cancelled")

    def __init__(self, callback: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self.callback = callback
        self.arguments = arguments
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class StepLoop:
    """Loop and Clock in one."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._order = count()
        self._calls: list[tuple[float, int, _Call]] = []

    def now_ms(self) -> int:
        """Virtual wall clock."""
        return int(self._seconds * 1000)

    def time(self) -> float:
        """Virtual seconds since the start, as asyncio's loop calls it."""
        return self._seconds

    def monotonic(self) -> float:
        """Virtual seconds since the start."""
        return self._seconds

    def call_soon(self, callback: Callable[..., object], *arguments: object) -> _Call:
        return self.call_later(0.0, callback, *arguments)

    def call_soon_threadsafe(self, callback: Callable[..., object], *arguments: object) -> _Call:
        return self.call_later(0.0, callback, *arguments)

    def call_later(self, delay: float, callback: Callable[..., object], *arguments: object) -> _Call:
        call = _Call(callback, arguments)
        heapq.heappush(self._calls, (self._seconds + delay, next(self._order), call))
        return call

    def step(self) -> bool:
        """Make the next call. False when there is none."""
        while self._calls:
            self._seconds, _, call = heapq.heappop(self._calls)
            if not call.cancelled:
                call.callback(*call.arguments)
                return True
        return False

    def run_until_idle(self, steps_max: int = 100_000) -> None:
        """Make all calls. A loop that never comes to rest is an error."""
        for _ in range(steps_max):
            if not self.step():
                return
        raise RuntimeError(f"the loop did not come to rest in {steps_max} steps")

    def run_for(self, seconds: float) -> None:
        """Make the calls that are due within so many virtual seconds from now."""
        end = self._seconds + seconds
        while self._calls and self._calls[0][0] <= end:
            self.step()
        self._seconds = max(self._seconds, end)
