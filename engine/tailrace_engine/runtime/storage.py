"""One broker's storage with all that works for it, wired: tier reader, engine, WAL, and the background jobs.

The broker and the simulation are built from here, so that what is simulated is what runs. In the order of the methods:
`recover` makes the partitions from catalog, objects and WAL; `start` leads them under the epochs that the controller
gave; the owner runs `jobs`, and at the end closes wal and tier.
"""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tailrace_core.ids import NodeId
from tailrace_core.membership import BrokerStart, Membership
from tailrace_core.ports import Clock, Entropy, Loop, ObjectStore
from tailrace_engine.disk.port import Disk
from tailrace_engine.disk.probe import open_disk
from tailrace_engine.runtime.compaction import Compaction, CompactionOptions
from tailrace_engine.runtime.engine import Engine
from tailrace_engine.runtime.retention import Retention, RetentionOptions
from tailrace_engine.runtime.start import EngineStart
from tailrace_engine.runtime.workers import InlineWorkers, Workers
from tailrace_engine.tier.reader import TierReader, TierReaderOptions
from tailrace_engine.tier.uploader import Uploader, UploadOptions
from tailrace_engine.wal.writer import Wal, WalOptions


@dataclass(frozen=True, slots=True)
class StorageOptions:
    """All that is set."""

    hot_bytes: int
    tier: TierReaderOptions
    wal: WalOptions
    upload: UploadOptions
    retention: RetentionOptions
    compaction: CompactionOptions = field(default_factory=CompactionOptions)


class BrokerStorage:
    """See the module. engine, tier and wal are there after `recover`, the jobs after `start`."""

    wal: Wal
    uploader: Uploader
    retention: Retention
    compaction: Compaction

    def __init__(
        self,
        folder: Path,
        options: StorageOptions,
        store: ObjectStore,
        membership: Membership,
        clock: Clock,
        entropy: Entropy,
        open_disk: Callable[[Path, str, str, Loop], Disk] = open_disk,
        workers: Workers | None = None,
    ) -> None:
        """folder: of the WAL and the quarantine. open_disk: see disk/probe.py.

        workers: without, long jobs run in this process; the owner closes what it gives.
        """
        self._folder = folder
        self._options = options
        self._store = store
        self._membership = membership
        self._clock = clock
        self._entropy = entropy
        self._open_disk = open_disk
        self._workers = workers or InlineWorkers()
        self.tier = TierReader(store, clock, options.tier)
        self.engine = Engine(options.hot_bytes, self.tier, membership, clock)
        self.wal_damage = 0
        """Damaged places in the WAL that the start found."""

    async def recover(self) -> None:
        """Make the partitions from what is kept, and begin a fresh WAL segment. Raises TailraceError and OSError."""
        start = EngineStart(self.engine, self._membership, self._clock)
        quarantine = self._folder / "quarantine"
        await start.load()
        start.keep_offline(quarantine)
        start.recover(self._folder / "wal", self._options.wal, self._open_disk)
        self.wal_damage = len(start.recovery.damage)
        self.wal = start.open_wal(int.from_bytes(self._entropy.bytes(4), "big"))
        await start.quarantine(self.wal, quarantine)

    def start(self, node_id: NodeId, begun: BrokerStart) -> None:
        """Lead all partitions, and append."""
        options = self._options
        self.engine.start(self.wal, begun.leader_epoch)
        self.uploader = Uploader(
            self.engine, self._store, self._membership, options.upload, self._clock, node_id, begun.broker_epoch
        )
        self.retention = Retention(self.engine, self._store, self._membership, options.retention, self._clock)
        self.compaction = Compaction(
            self.engine,
            self._store,
            self._membership,
            self.uploader.registrar,
            self._workers,
            options.compaction,
            self._clock,
        )

    def jobs(self) -> list[Coroutine[Any, Any, None]]:
        """What runs in the background for ever, each in a task of the owner's."""
        return [self.uploader.run(), self.retention.run(), self.compaction.run()]
