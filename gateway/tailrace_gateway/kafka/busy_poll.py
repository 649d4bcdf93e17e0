"""Looks for the next event for a moment before the loop goes to sleep.

A core that sleeps takes tens of microseconds to wake, on a virtual machine most of the latency of a client that sends
one request after another. So after an event (bytes from a client, a group that became durable) the loop keeps asking
for a short window, while few connections are open (many keep it awake by themselves) and as long as that pays. After
windows in which nothing came it stops for a while: a quiet broker sleeps, and a client with pauses costs little.
"""

from typing import Final

from tailrace_core.ports import Clock, Loop

CONNECTIONS_MAX: Final = 8
_PATIENCE: Final = 8
"""Windows in a row without an event before a pause."""
_RETRY_PATIENCE: Final = 2
_PAUSE_SECONDS: Final = 0.1


class BusyPoll:
    """One per server. window_seconds 0 switches it off."""

    __slots__ = ("_again_at", "_clock", "_loop", "_patience", "_polling", "_until", "_window")

    def __init__(self, loop: Loop, clock: Clock, window_seconds: float) -> None:
        self._loop = loop
        self._clock = clock
        self._window = window_seconds
        self._polling = False
        self._until = 0.0
        self._patience = _PATIENCE
        self._again_at = 0.0

    def on_event(self) -> None:
        """Something came, and more may come soon."""
        now = self._clock.monotonic()
        self._until = now + self._window
        if self._polling:
            self._patience = _PATIENCE
        elif self._window and now >= self._again_at:
            self._polling = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        now = self._clock.monotonic()
        if now < self._until:
            self._loop.call_soon(self._turn)
            return
        self._polling = False
        self._patience -= 1
        if not self._patience:
            self._patience = _RETRY_PATIENCE
            self._again_at = now + _PAUSE_SECONDS
