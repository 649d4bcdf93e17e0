"""Memory that is free goes back to the system.

The hot log holds batches of a kilobyte after batches of a megabyte and the other way round. Each kind leaves holes that
the other does not fit into, and glibc gives back only what is free at the end of its heap: after a change from single
records to bulk the process had 170 MiB more than it used. `malloc_trim` gives back the whole pages of all holes. It
walks the heap with the allocator locked, 1 ms where there is little to give back and 20 ms where there are 170 MiB, and
what it gave back costs page faults when it is used again. So it is called after the process has grown: soon once there
is no work, and only after much growth while there is.

Other means were measured and are not used, with bulk produce of 1 KiB records at 1.4 CPU-s/GiB: batches in mappings of
their own (M_MMAP_THRESHOLD fixed at 128 KiB) leave no holes, but their page faults bring it to 2.1; one arena
(M_ARENA_MAX) changes nothing, as nearly all is allocated on the loop's thread.
"""

from collections.abc import Callable
from typing import Final

from tailrace_core.ports import Loop
from tailrace_gateway.system import malloc_trim, resident_memory_bytes

_LOOK_SECONDS: Final = 1.0
_GROWTH_IDLE_BYTES: Final = 16 << 20
_GROWTH_BUSY_BYTES: Final = 96 << 20


class MemoryPolicy:
    """One per process; begins with start()."""

    def __init__(
        self,
        loop: Loop,
        work_done: Callable[[], int],
        resident_bytes: Callable[[], int] = resident_memory_bytes,
        give_back: Callable[[], None] = malloc_trim,
    ) -> None:
        """work_done counts anything that grows with work."""
        self._loop = loop
        self._work_done = work_done
        self._resident_bytes = resident_bytes
        self._give_back = give_back
        self._last_work = 0
        self._floor_bytes = 0
        """Resident after the last time, or less if there was less since."""

    def start(self) -> None:
        """What is resident now is taken to be in use."""
        self._floor_bytes = self._resident_bytes()
        self._loop.call_later(_LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._loop.call_later(_LOOK_SECONDS, self._look)
        work = self._work_done()
        growth_bytes_max = _GROWTH_IDLE_BYTES if work == self._last_work else _GROWTH_BUSY_BYTES
        self._last_work = work
        resident = self._resident_bytes()
        if resident > self._floor_bytes + growth_bytes_max:
            self._give_back()
            resident = self._floor_bytes = self._resident_bytes()
        self._floor_bytes = min(self._floor_bytes, resident)
