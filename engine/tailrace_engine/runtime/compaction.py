"""Compacts the internal topics, so that a coordinator's replay stays short however long the broker runs.

log/compaction.py says when a pass is due and what stays; tier/compactor.py does a run of it in a worker process; this
job plans, commits and keeps the order: one run at a time, after an upload brought something new or in an interval.

When a partition is due: all of them share dirty_bytes. So what a replay reads of them is at most twice the bytes of
their last records, dirty_bytes, and what is not uploaded. A run reads and holds a bounded number of bytes; a partition
with more goes in several runs, newest first, each of which is committed by itself. So a pass reads what is
dirty and clean once, besides the keys of the runs it has made small before, and writes at most as much: in the long run
at most two bytes for each that was uploaded.

The order is the upload's: register → worker reads, compacts, puts → commit. A worker or broker that ends in between
leaves an object that nobody refers to, for the sweep. Where the log start has moved over one of the extents meanwhile,
or the topic was deleted, the catalog refuses, and the run is made again from what there is then.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tailrace_core.errors import TailraceError
from tailrace_core.membership import INTERNAL_TOPICS, ChangeEvent, Membership, ObjectCommitted, PlacedExtent, Topic
from tailrace_core.ports import Clock, ObjectStore
from tailrace_engine.log.compaction import Horizon, plan_runs
from tailrace_engine.runtime.engine import Engine
from tailrace_engine.runtime.partition import Partition
from tailrace_engine.runtime.workers import Workers
from tailrace_engine.tier.compactor import Compacted, CompactionJob, compact_run
from tailrace_engine.tier.registrar import Registrar, until_known

logger = logging.getLogger(__name__)

_DUE_BYTES_MIN: Final = 64 << 10
_DUE_BYTES_MAX: Final = 1 << 20
"""Of one partition, as its share of dirty_bytes."""
_DELETE_RETENTION_MS: Final = 3_600_000
"""How long tombstones of internal topics stay: a replay takes seconds, tools that read the topic have an hour."""
_PAUSE_SECONDS: Final = 60.0
"""After a failure, before the partition is tried again."""


@dataclass(frozen=True, slots=True)
class CompactionOptions:
    """When, and with how much memory."""

    dirty_bytes: int = 8 << 20
    """Uploaded since the last pass, of all internal partitions; about 60,000 commits of offsets."""
    check_interval_ms: int = 15_000
    memory_bytes: int = 128 << 20
    """Of a worker, for data: a quarter for what a run reads, as much for what is left of it, half for keys."""


class Compaction:
    """One per broker: a background job of the broker's task group."""

    def __init__(
        self,
        engine: Engine,
        store: ObjectStore,
        membership: Membership,
        registrar: Registrar,
        workers: Workers,
        options: CompactionOptions,
        clock: Clock,
    ) -> None:
        self._engine = engine
        self._store = workers.store_for_job(store)
        self._membership = membership
        self._registrar = registrar
        self._workers = workers
        self._options = options
        self._clock = clock
        self._wanted = asyncio.Event()
        self._paused: dict[Partition, float] = {}
        """Monotonic seconds until which a partition that failed is left alone."""
        self.runs = 0
        self.bytes_read = 0
        self.bytes_written = 0
        self.seconds = 0.0
        self.failures = 0
        membership.subscribe(self._on_change)

    def _on_change(self, event: ChangeEvent) -> None:
        if isinstance(event, ObjectCommitted):
            ids = {topic.topic_id: None for topic in self._topics()}
            if any(extent.topic_id in ids for extent in event.extents):
                self._wanted.set()

    async def run(self) -> None:
        """Compact what is due, for ever."""
        while True:
            self._wanted.clear()
            await self.compact_due()
            try:
                async with asyncio.timeout(self._options.check_interval_ms / 1000):
                    await self._wanted.wait()
            except TimeoutError:
                pass

    async def compact_due(self) -> None:
        """One pass over each internal partition that is due. A partition that fails is left alone for a while."""
        now = self._clock.monotonic()
        self._paused = {partition: until for partition, until in self._paused.items() if until > now}
        partitions = [partition for partition in self._partitions() if partition not in self._paused]
        due_bytes = min(max(self._options.dirty_bytes // max(len(partitions), 1), _DUE_BYTES_MIN), _DUE_BYTES_MAX)
        for partition in partitions:
            await asyncio.sleep(0)
            try:
                await self._compact(partition, due_bytes)
            except (TailraceError, OSError) as error:
                logger.warning("compaction of %s failed, trying again later: %s", partition.name, error)
            except Exception:
                # A bug, or a worker that died: neither must end compaction for good.
                logger.exception("compaction of %s failed, trying again later", partition.name)
            else:
                continue
            self.failures += 1
            self._paused[partition] = self._clock.monotonic() + _PAUSE_SECONDS

    def _partitions(self) -> list[Partition]:
        """Those of internal topics that have anything in the tier, and are whole."""
        partitions = [
            self._engine.find(topic.topic_id, index)
            for topic in self._topics()
            for index in range(topic.partition_count)
            if len(self._membership.extents(topic.topic_id, index))
        ]
        return [partition for partition in partitions if partition is not None and partition.damage is None]

    def _topics(self) -> list[Topic]:
        topics = [self._membership.image.topic(name) for name in sorted(INTERNAL_TOPICS)]
        return [topic for topic in topics if topic is not None and "compact" in topic.configs.cleanup_policy]

    async def _compact(self, partition: Partition, due_bytes: int) -> None:
        catalog = self._membership.extents(partition.topic_id, partition.partition)
        extents = [catalog[place] for place in range(len(catalog))]
        lengths = [(placed.extent.length, placed.generation) for placed in extents]
        later: list[PlacedExtent] = []
        for first, end in plan_runs(lengths, due_bytes, self._options.memory_bytes // 4):
            compacted = await self._replace(partition, extents[first:end], later, first == 0)
            if compacted is None:
                return
            later = [compacted, *later]

    async def _replace(
        self, partition: Partition, run: Sequence[PlacedExtent], later: Sequence[PlacedExtent], begins_log: bool
    ) -> PlacedExtent | None:
        """Compact the run; what is in its place then, None where the catalog has changed meanwhile."""
        started = self._clock.monotonic()
        now_ms = self._clock.now_ms()
        new = await self._registrar.new_object()
        job = CompactionJob(
            new,
            partition.state.leader_epoch,
            tuple(run),
            tuple(later),
            Horizon(now_ms, _DELETE_RETENTION_MS) if begins_log else None,
            self._options.memory_bytes // 2,
        )
        compacted: Compacted = await self._registrar.put(new, lambda: self._workers.run(compact_run, self._store, job))
        stored = compacted.stored
        result = await until_known(lambda: self._membership.replace_extents(stored, run, self._clock.now_ms()))
        self.seconds += self._clock.monotonic() - started
        if result.refused:
            logger.info("a compacted part of %s came too late: %s", partition.name, result.refused[0].reason.value)
            return None
        self.runs += 1
        self.bytes_read += compacted.bytes_read
        self.bytes_written += stored.size
        extents = self._membership.extents(partition.topic_id, partition.partition)
        place = extents.index_at(stored.extents[0].base_offset)
        placed = extents[place] if place < len(extents) else None
        # The log start may have passed it since it was committed.
        return placed if placed is not None and placed.object.key == stored.key else None
