"""The garbage collector's policy: short pauses whatever is in memory.

The hot log alone is hundreds of thousands of objects that reference counting frees; a full collection would walk them
all and stop the loop for tens of milliseconds. So full collections are never automatic. What a start leaves is frozen,
out of the collector's sight, as it is: to look through it takes 20 to 40 ms and finds a few hundred objects. Each
second the young objects are collected, and what is left is frozen. Cycles that died after they were frozen are found
when the broker has been idle for a while: then everything is thawed and collected once.
"""

import gc
from collections.abc import Callable
from typing import Final

from tailrace_core.ports import Clock, Loop
from tailrace_core.telemetry import Histogram

_YOUNG_OBJECTS: Final = 2_000
"""Few, so that a collection of what is young takes under a millisecond; more of them cost the same together."""
_YOUNG_COLLECTIONS: Final = 2
"""After which what was left by them is collected once more: 6,000 objects at most, in under a millisecond."""
_NEVER: Final = 1 << 30
_FREEZE_SECONDS: Final = 1.0
_IDLE_FREEZES: Final = 600
"""Seconds without work after which everything is collected once."""


class GcPolicy:
    """One per process; begins with start()."""

    def __init__(self, loop: Loop, clock: Clock, work_done: Callable[[], int], pauses: Histogram) -> None:
        """work_done counts anything that grows with work; pauses gets the collector's pauses in microseconds."""
        self._loop = loop
        self._clock = clock
        self._work_done = work_done
        self._pauses = pauses
        self._last_work = 0
        self._idle = 0
        self._began = 0.0

    def start(self) -> None:
        """Turn the collector on. What is there now is taken to stay."""
        gc.callbacks.append(self._on_collection)
        gc.set_threshold(_YOUNG_OBJECTS, _YOUNG_COLLECTIONS, _NEVER)
        gc.freeze()
        gc.enable()
        self._loop.call_later(_FREEZE_SECONDS, self._tick)

    def _tick(self) -> None:
        self._loop.call_later(_FREEZE_SECONDS, self._tick)
        work = self._work_done()
        self._idle = self._idle + 1 if work == self._last_work else 0
        self._last_work = work
        if self._idle == _IDLE_FREEZES:
            gc.unfreeze()
            gc.collect()
            gc.freeze()
        elif self._idle == 0:
            gc.collect(1)
            gc.freeze()

    def _on_collection(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            self._began = self._clock.monotonic()
        else:
            self._pauses.observe(int((self._clock.monotonic() - self._began) * 1_000_000))
