"""The metadata store of the simulation: durable exactly when it says so, slow, and able to lose a commit's outcome.

As SQLite in its thread: commits that wait while one is under way are made durable together, whole and in order. After
an outcome was lost, nothing is taken any more until the store is opened again.
"""

from collections.abc import Callable, Sequence
from random import Random

from tailrace_controller.store import Done, Snapshot
from tailrace_core.errors import StorageUnavailable
from tailrace_core.ports import Loop

Commit = tuple[Sequence[tuple[str, bytes]], Sequence[str], Done]


class SimMetadataStore:
    """store.MetadataStore over values, which outlive it."""

    def __init__(self, loop: Loop, random: Random, values: dict[str, bytes], on_event: Callable[[str], object]) -> None:
        self.delay_seconds = (0.0001, 0.001)
        self.lost_outcome = 0.0
        """Chance per group."""
        self.fenced: StorageUnavailable | None = None
        self._loop = loop
        self._random = random
        self._values = values
        self._on_event = on_event
        self._waiting: list[Commit] = []
        self._under_way: list[Commit] = []
        self._revision = 0
        self._is_cut_off = False

    async def load(self) -> Snapshot:
        return Snapshot(self._revision, sorted(self._values.items()))

    def commit(self, puts: Sequence[tuple[str, bytes]], deletes: Sequence[str], done: Done) -> None:
        if self._is_cut_off:
            return
        if self.fenced is not None:
            self._loop.call_soon(done, self.fenced)
            return
        self._waiting.append((puts, deletes, done))
        if not self._under_way:
            self._begin()

    def _begin(self) -> None:
        self._under_way, self._waiting = self._waiting, []
        self._loop.call_later(self._random.uniform(*self.delay_seconds), self._finish)

    def _finish(self) -> None:
        group, self._under_way = self._under_way, []
        failure = None
        if self.lost_outcome and self._random.random() < self.lost_outcome:
            failure = self.fenced = StorageUnavailable("the simulated metadata store lost an outcome")
            group, self._waiting = group + self._waiting, []
            self._apply(group[: self._random.randint(0, len(group))])
        else:
            self._apply(group)
        for _, _, done in group:
            done(failure)
        if self._waiting and not self._under_way:
            self._begin()

    def _apply(self, group: Sequence[Commit]) -> None:
        for puts, deletes, _ in group:
            self._revision += 1
            self._values.update(puts)
            for key in deletes:
                self._values.pop(key, None)
            self._on_event(f"committed {', '.join([*(key for key, _ in puts), *(f'-{key}' for key in deletes)])}")

    def cut_off(self) -> None:
        """The process ends: what is under way is made durable, or not."""
        self._is_cut_off = True
        if self._random.random() < 0.5:
            self._apply(self._under_way)

    async def close(self) -> None:
        self.fenced = StorageUnavailable("the metadata store is closed")
