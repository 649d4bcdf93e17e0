"""When free memory is given back to the system."""

import ctypes
from collections.abc import Callable

import pytest

from tailrace_gateway.memory_policy import MemoryPolicy
from tailrace_gateway.system import malloc_trim, resident_memory_bytes

MIB = 1 << 20


class World:
    """A loop whose seconds pass on demand, a process of so many bytes, and work."""

    def __init__(self) -> None:
        self.resident = 50 * MIB
        self.work = 0
        self.given_back = 0
        self.floor = 50 * MIB
        self._next: Callable[[], None]
        MemoryPolicy(self, lambda: self.work, lambda: self.resident, self._give_back).start()  # type: ignore[arg-type]

    def _give_back(self) -> None:
        self.given_back += 1
        self.resident = self.floor

    def call_later(self, _: float, callback: Callable[[], None]) -> None:
        self._next = callback

    def second(self, resident: int, work: bool) -> None:
        self.resident = resident
        self.work += work
        self._next()


def test_an_idle_process_gives_back_after_little_growth() -> None:
    world = World()
    world.second(60 * MIB, work=False)
    assert world.given_back == 0
    world.second(70 * MIB, work=False)
    assert world.given_back == 1


def test_a_busy_process_gives_back_only_after_much_growth_and_the_rest_when_it_is_idle() -> None:
    world = World()
    world.second(140 * MIB, work=True)
    assert world.given_back == 0
    world.second(150 * MIB, work=True)
    assert world.given_back == 1
    world.second(90 * MIB, work=True)
    assert world.given_back == 1
    world.second(90 * MIB, work=False)
    assert world.given_back == 2


def test_what_is_in_use_is_asked_for_once() -> None:
    world = World()
    world.floor = 300 * MIB
    for _ in range(5):
        world.second(300 * MIB, work=False)
    assert world.given_back == 1


def test_growth_counts_from_the_least_that_was_seen() -> None:
    world = World()
    world.floor = 300 * MIB
    world.second(300 * MIB, work=False)
    world.second(100 * MIB, work=False)
    world.floor = 100 * MIB
    world.second(120 * MIB, work=False)
    assert world.given_back == 2


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library has no malloc_trim")
def test_holes_in_the_heap_go_back_to_the_system() -> None:
    parts = [[bytearray(100_000), bytearray(1_000)] for _ in range(1000)]
    full = resident_memory_bytes()
    for part in parts:
        part.pop(0)
    malloc_trim()
    assert resident_memory_bytes() < full - (50 << 20)
