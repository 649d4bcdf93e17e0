"""What goes wrong in one life of the simulated broker: one thing after another, several at once."""

import asyncio
from typing import TYPE_CHECKING

from tailrace_engine.sim.disk import DELAY_SECONDS
from tailrace_engine.sim.loop import SimLoop
from tailrace_engine.sim.objects import SimObjectFaults

if TYPE_CHECKING:
    from sim_world import World

SKEW_MS_MAX = 3_000_000
"""A topic refuses timestamps that are more than an hour ahead."""


class Faults:
    """Of one life."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.random = world.random

    def at_start(self, quiet: bool) -> None:
        """Those that a start meets."""
        world = self.world
        assert world.disk is not None
        if quiet or self.random.random() < 0.5:
            world.disk.capacity_bytes = None
        bad = not quiet and self.random.random() < 0.3
        world.store.faults = SimObjectFaults(self.random.choice([0.002, 0.03]), 0.1 * bad, 0.1 * bad)
        world.metadata_store.lost_outcome = 0.005 * bad

    async def run(self) -> None:
        """One thing after another, each for a while; several may be on at once."""
        world, random = self.world, self.random
        disk, loop = world.disk, world.loop
        assert disk is not None
        assert loop is not None
        while True:
            await asyncio.sleep(random.random() * 1.5)
            what = random.randrange(9)
            seconds = random.choice([0.05, 0.5, 4.0])
            if what == 0:
                world.trace("fault", f"the disk is slow for {seconds} s")
                disk.delay_seconds = (0.001, random.choice([0.02, 0.2]))
                loop.call_later(seconds, setattr, disk, "delay_seconds", DELAY_SECONDS)
            elif what == 1:
                world.trace("fault", f"the store is down for {seconds} s")
                self._store_fault(SimObjectFaults(0.01, down=True), seconds)
            elif what == 2:
                world.trace("fault", f"the store fails, loses answers for {seconds} s")
                self._store_fault(SimObjectFaults(0.01, 0.3, 0.3), seconds)
            elif what == 3:
                world.trace("fault", f"the store is slow for {seconds} s")
                self._store_fault(SimObjectFaults(random.choice([0.5, 3.0])), seconds)
            elif what == 4:
                jump = random.choice([-1, 1]) * random.choice([50, 10_000, 1_000_000])
                world.clock.skew_ms = max(-SKEW_MS_MAX, min(SKEW_MS_MAX, world.clock.skew_ms + jump))
                world.skew_ms_most = max(world.skew_ms_most, world.clock.skew_ms)
                world.trace("fault", f"the wall clock jumps to {world.clock.skew_ms} ms ahead")
            elif what == 5:
                world.trace("fault", f"the metadata store is slow for {seconds} s")
                world.metadata_store.delay_seconds = (0.001, 0.5)
                loop.call_later(seconds, setattr, world.metadata_store, "delay_seconds", (0.0001, 0.001))
            elif what == 6 and random.random() < 0.5:
                world.trace("fault", "the disk fails writes")
                disk.write_failure = OSError(5, "the simulated disk fails")
                self._crash_soon(loop)
            elif what == 7 and random.random() < 0.5:
                world.trace("fault", "the disk is full")
                disk.capacity_bytes = sum(map(len, disk.files.values()))
                if random.random() < 0.5:
                    loop.call_later(seconds, setattr, disk, "capacity_bytes", None)
            elif what == 8 and random.random() < 0.3:
                world.trace("fault", "the metadata store loses an outcome")
                world.metadata_store.lost_outcome = 0.5
                self._crash_soon(loop)
            if world.storage.wal.fenced is not None:
                self._crash_soon(loop)

    def _store_fault(self, faults: SimObjectFaults, seconds: float) -> None:
        world = self.world
        assert world.loop is not None
        usual = SimObjectFaults(0.02)
        world.store.faults = faults
        world.loop.call_later(seconds, setattr, world.store, "faults", usual)

    def _crash_soon(self, loop: SimLoop) -> None:
        """The broker does no more; somebody will start it again."""
        crash_at = loop.steps + self.random.randint(1, 1_500)
        loop.crash_at = crash_at if loop.crash_at is None else min(crash_at, loop.crash_at)
