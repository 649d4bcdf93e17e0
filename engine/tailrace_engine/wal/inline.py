"""Whether the loop's thread may write a small group itself. Pure.

A durable write of a fast device takes less than waking anybody for it: handing it to the kernel or to a thread, and
being woken, costs the latency of a request as much again, and more processor time than the loop loses by waiting. So a
small group that nothing is under way before is written where it was formed, for as long as the device is quick. A write
that took longer than the loop may be held up puts an end to that for a while, longer each time it happens again soon.
"""

from typing import Final

SLOW_SECONDS: Final = 0.001
"""What the loop may be held up by one write."""
_PAUSE_SECONDS_MIN: Final = 0.05
_PAUSE_SECONDS_MAX: Final = 5.0
_QUICK_TO_FORGIVE: Final = 200
"""So many quick writes in a row, and a slow one counts as the first again."""


class InlineWrites:
    """One per WAL. Times are monotonic seconds."""

    __slots__ = ("_again_at", "_pause", "_quick")

    def __init__(self) -> None:
        self._again_at = 0.0
        self._pause = _PAUSE_SECONDS_MIN
        self._quick = 0

    def allowed(self, now: float) -> bool:
        """Whether the next small group may be written on the loop."""
        return now >= self._again_at

    def on_written(self, began: float, ended: float) -> None:
        """A write on the loop took from began to ended."""
        if ended - began <= SLOW_SECONDS:
            self._quick += 1
            if self._quick == _QUICK_TO_FORGIVE:
                self._pause = _PAUSE_SECONDS_MIN
            return
        self._quick = 0
        self._again_at = ended + self._pause
        self._pause = min(2 * self._pause, _PAUSE_SECONDS_MAX)
