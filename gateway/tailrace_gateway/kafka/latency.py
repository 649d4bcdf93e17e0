"""How long Produce requests take, at the price of two comparisons a request.

One request is timed at a time: the first that begins when none is. So every request of a client that waits for its
answers is timed, and of thousands that are under way together one in each group commit.
"""

from tailrace_core.ports import Clock
from tailrace_core.telemetry import histogram


class ProduceLatency:
    """One per server. `timed` is the request that is under way, for the comparisons of its owners."""

    __slots__ = ("_clock", "_started", "timed", "times")

    def __init__(self, clock: Clock) -> None:
        self.timed: object | None = None
        self.times = histogram("tailrace_produce_seconds")
        self._clock = clock
        self._started = 0.0

    def begin(self, request: object) -> None:
        """Time request. Call it when timed is None."""
        self.timed = request
        self._started = self._clock.monotonic()

    def end(self) -> None:
        """The timed request is answered."""
        self.timed = None
        self.times.observe_seconds(self._clock.monotonic() - self._started)

    def forget(self) -> None:
        """The timed request will not be answered."""
        self.timed = None
