"""A metadata store that counts how long its commits take, around any other."""

from collections.abc import Sequence

from tailrace_controller.store import Done, MetadataStore, Snapshot
from tailrace_core.errors import StorageUnavailable
from tailrace_core.ports import Clock
from tailrace_core.telemetry import Histogram


class MeasuredStore:
    """store.MetadataStore. commit_times gets microseconds, of failed commits too."""

    def __init__(self, store: MetadataStore, clock: Clock, commit_times: Histogram) -> None:
        self._store = store
        self._clock = clock
        self._commit_times = commit_times

    async def load(self) -> Snapshot:
        return await self._store.load()

    def commit(self, puts: Sequence[tuple[str, bytes]], deletes: Sequence[str], done: Done) -> None:
        started = self._clock.monotonic()

        def measured(failure: StorageUnavailable | None) -> None:
            self._commit_times.observe_seconds(self._clock.monotonic() - started)
            done(failure)

        self._store.commit(puts, deletes, measured)

    async def close(self) -> None:
        await self._store.close()
