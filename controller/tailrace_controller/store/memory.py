"""The simulated metadata store: a dict that forgets nothing while it is referenced, and fails when told to."""

from collections.abc import Sequence

from tailrace_controller.store import Done, Snapshot
from tailrace_core.errors import StorageUnavailable
from tailrace_core.ports import Loop


class MemoryStore:
    """store.MetadataStore. Every commit is answered on a later pass of the loop."""

    def __init__(self, loop: Loop) -> None:
        self.values: dict[str, bytes] = {}
        self.revision = 0
        self.failure: StorageUnavailable | None = None
        """While set, what every commit is answered."""
        self._loop = loop
        self._closed = False

    async def load(self) -> Snapshot:
        return Snapshot(self.revision, sorted(self.values.items()))

    def commit(self, puts: Sequence[tuple[str, bytes]], deletes: Sequence[str], done: Done) -> None:
        failure = StorageUnavailable("the metadata store is closed") if self._closed else self.failure
        if failure is None:
            self.revision += 1
            self.values.update(puts)
            for key in deletes:
                self.values.pop(key, None)
        self._loop.call_soon(done, failure)

    async def close(self) -> None:
        self._closed = True
