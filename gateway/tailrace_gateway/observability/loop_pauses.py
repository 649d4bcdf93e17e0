"""Measures for how long the event loop serves nobody: every callback that runs for long is a pause for all others.

While clients send anything, a timer comes back every millisecond, and how late it is goes into a histogram. A pause of
n milliseconds is seen as n - 1 to n. Nothing in the loop can be asked for more: uvloop has no hook around callbacks,
and a callback in each pass would keep the loop from sleeping. A pass of short callbacks that is long in all counts too,
as it should: who waits does not care. When nothing was done for a millisecond the timer stops until something comes, so
a quiet broker sleeps; a pause in which nobody asked for anything is nobody's pause.

To wake a core for the timer costs more than the timer. Many clients keep the loop awake anyway; with few, one request
after another, it was a tenth of all CPU time. Then only each fifth millisecond is measured: shares and quantiles are
the same, of fewer of them.
"""

from collections.abc import Callable
from typing import Final

from tailrace_core.ports import Clock, Loop
from tailrace_core.telemetry import Histogram

_PERIOD_SECONDS: Final = 0.001
_REST_SECONDS: Final = 0.004


class LoopPauses:
    """One per loop. The owner calls `start` on an event while `is_running` is false."""

    __slots__ = ("_clock", "_due", "_has_few_clients", "_loop", "_work", "_work_done", "is_running", "times")

    def __init__(
        self,
        loop: Loop,
        clock: Clock,
        work_done: Callable[[], int],
        has_few_clients: Callable[[], bool],
        times: Histogram,
    ) -> None:
        """work_done gives a number that is another one after work."""
        self.is_running = False
        self.times = times
        self._loop = loop
        self._clock = clock
        self._work_done = work_done
        self._has_few_clients = has_few_clients
        self._work = -1
        self._due = 0.0

    def start(self) -> None:
        """Something came: measure until nothing does."""
        self.is_running = True
        self._arm()

    def _arm(self) -> None:
        self._work = self._work_done()
        self._due = self._clock.monotonic() + _PERIOD_SECONDS
        self._loop.call_later(_PERIOD_SECONDS, self._on_time)

    def _on_time(self) -> None:
        self.times.observe_seconds(max(self._clock.monotonic() - self._due, 0.0))
        if self._work_done() == self._work:
            self.is_running = False
        elif self._has_few_clients():
            self._loop.call_later(_REST_SECONDS, self._arm)
        else:
            self._arm()
