"""Start of the engine: from what the catalog, the objects and the WAL hold to partitions that may be led.

A partition's state is, in this order: the catalog's extents (offsets), the snapshot in its newest object (leader
epochs, producers), the WAL's batches that the catalog does not have. A batch that continues neither is a hole: the
partition goes offline, by name, instead of serving it.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from tailrace_core.errors import DataCorrupt, MissingObject, TailraceError
from tailrace_core.ids import TopicPartition, topic_id_text
from tailrace_core.membership import Membership
from tailrace_core.ports import Clock, Loop
from tailrace_engine.disk.port import Disk
from tailrace_engine.disk.probe import open_disk
from tailrace_engine.log.wal_index import ENTRY_BYTES
from tailrace_engine.runtime import snapshot
from tailrace_engine.runtime.engine import Engine
from tailrace_engine.runtime.partition import Partition
from tailrace_engine.wal.format import BATCH
from tailrace_engine.wal.recovery import Recovery, WalRecord, recover
from tailrace_engine.wal.writer import Wal, WalOptions

logger = logging.getLogger(__name__)

_PROGRESS_SECONDS: Final = 1.0
_SUSPECTS_NAMED: Final = 100
_LOST_RECORDS_MAX: Final = 1 << 24
"""More records than one group of the WAL holds: where a group is unreadable, nobody knows how many offsets it took."""
_HANDLED: Final = "handled"
"""File in the quarantine: the WAL sequence before which damage was dealt with."""
_QUARANTINE_BATCHES: Final = 1024
"""In one file: they pass through memory together."""


class EngineStart:
    """The steps of one start, in the order of the methods."""

    def __init__(self, engine: Engine, membership: Membership, clock: Clock) -> None:
        self._engine = engine
        self._membership = membership
        self._clock = clock
        self._dead: dict[int, int] = {}
        """WAL records that nobody needs, per segment."""
        self._stranded: dict[Partition, list[tuple[int, int, int]]] = {}
        """Batches in the WAL of partitions that are offline: segment, position, size."""
        self._stranded_end: dict[Partition, int] = {}
        """Where the last of them ends."""
        self._handled_sequence = 0
        """WAL damage in groups before this one was dealt with at an earlier start."""
        self._kept_offline: dict[Partition, None] = {}
        """Those with batches in quarantine since an earlier start."""
        self._unloaded: dict[Partition, None] = {}
        """Those whose newest object cannot be read."""
        self._started = clock.monotonic()
        self._told = self._started
        self._disk: Disk
        self._options: WalOptions
        self.recovery: Recovery

    async def load(self) -> None:
        """Make the partitions as the catalog knows them, with their snapshots."""
        newest: dict[tuple[str, int], list[Partition]] = {}
        for topic in self._membership.image.topics:
            for partition in self._engine.add_topic(topic, -1):
                extents = self._membership.extents(partition.topic_id, partition.partition)
                state = partition.state
                state.log_start_offset = extents.log_start_offset
                partition.tier_end_offset = extents.committed_end
                state.log_end_offset = state.high_watermark = extents.committed_end
                if len(extents):
                    stored = extents[len(extents) - 1].object
                    newest.setdefault((stored.key, stored.size), []).append(partition)
        for (key, size), partitions in newest.items():
            await self._load_snapshots(key, size, partitions)

    async def _load_snapshots(self, key: str, size: int, partitions: Iterable[Partition]) -> None:
        try:
            snapshots = await self._engine.tier.producer_snapshots(key, size)
            for partition in partitions:
                kept = snapshots.get(TopicPartition(partition.topic_id, partition.partition))
                if kept:
                    partition.epochs, partition.producers = snapshot.decode(kept)
                    partition.epochs.drop_below(partition.state.log_start_offset)
        except (DataCorrupt, MissingObject) as error:
            # The object may come back (a disk that was not mounted): nothing of these partitions is let go.
            for partition in partitions:
                self._unloaded[partition] = None
                self._take_offline(partition, DataCorrupt(f"{partition.name}: {error}"))

    def recover(
        self, directory: Path, options: WalOptions, open_disk: Callable[[Path, str, str, Loop], Disk] = open_disk
    ) -> None:
        """Read the WAL. Blocks, and says so when it takes longer than a second. open_disk: see disk/probe.py."""
        loop = asyncio.get_running_loop()
        self._options = options
        self._disk = open_disk(directory, options.backend, options.sync, loop)
        self.recovery = recovery = recover(self._disk.sources(), self._on_records, self._on_progress)
        if recovery.torn is not None:
            logger.warning("%s", recovery.torn)
        for damage in recovery.damage:
            logger.error("%s", damage)
        new_damage = [damage for damage in recovery.damage if damage.end_sequence > self._handled_sequence]
        for lost in dict.fromkeys(partition for damage in new_damage for partition in damage.partitions):
            damaged = self._engine.find(lost.topic_id, lost.partition)
            if damaged is not None:
                why = "acknowledged records in the WAL are damaged"
                self._take_offline(damaged, DataCorrupt(f"{damaged.name}: {why}"))
        self._name_suspects()
        now_ms = self._clock.now_ms()
        for partition in self._engine.partitions():
            state = partition.state
            state.log_end_offset = state.high_watermark = max(state.log_end_offset, state.log_start_offset)
            if partition.damage is not None:
                partition.unuploaded_bytes = 0
                continue
            index = partition.wal_index
            left = index.base_offset() if index is not None else state.log_end_offset
            partition.tier_end_offset = max(partition.tier_end_offset, min(left, state.log_start_offset))
            partition.epochs.drop_below(state.log_start_offset)
            if index is not None:
                self._engine.hot.charge(ENTRY_BYTES * len(index))
                self._engine.on_unuploaded(partition, partition.unuploaded_bytes, now_ms)

    def _name_suspects(self) -> None:
        """Where the WAL is unreadable, say whose last records may have been there."""
        partitions = {TopicPartition(each.topic_id, each.partition): each for each in self._engine.partitions()}
        suspects = [partitions[suspect].name for suspect in self.recovery.suspects(partitions)]
        if suspects:
            logger.error(
                "the WAL is unreadable in places; last records may be lost of %d partitions: %s",
                len(suspects),
                ", ".join(suspects[:_SUSPECTS_NAMED]),
            )

    def open_wal(self, salt: int) -> Wal:
        """Begin a fresh segment after what was recovered."""
        engine = self._engine
        wal = Wal.open(
            self._disk,
            self._options,
            asyncio.get_running_loop(),
            self._clock,
            self.recovery,
            engine.on_durable,
            engine.on_wal_failed,
            salt,
        )
        for segment, count in self._dead.items():
            wal.mark_dead(segment, count)
        return wal

    async def quarantine(self, wal: Wal, directory: Path) -> None:
        """Copy what the WAL holds of damaged partitions to files of their own, and let the WAL go.

        While such a file is there, its partition stays offline at every start: moving it away accepts the loss. The
        offsets that were given away are given up, so that none is used again, whatever becomes of the files.
        """
        for partition in self._engine.partitions():
            if partition.damage is None or partition in self._unloaded:
                continue
            spans = self._stranded.get(partition, [])
            index = partition.wal_index
            if index is not None:
                spans = [index.span(place)[2:] for place in range(len(index))] + spans
                partition.wal_index = None
            if not spans and partition in self._kept_offline:
                continue
            for part, start in enumerate(range(0, max(len(spans), 1), _QUARANTINE_BATCHES)):
                some = spans[start : start + _QUARANTINE_BATCHES]
                name = f"{_quarantine_name(partition)}.{partition.tier_end_offset:020d}.{part:06d}"
                path = await wal.quarantine(directory, name, some)
                logger.error("%s is offline: %d of its batches are in %s", partition.name, len(some), path)
            lost_end = max(partition.state.log_end_offset, self._stranded_end.get(partition, 0)) + _LOST_RECORDS_MAX
            await self._membership.skip_offsets(partition.topic_id, partition.partition, lost_end)
            for segment, _, _ in spans:
                wal.mark_dead(segment)
        self._note_handled(directory)

    def keep_offline(self, directory: Path) -> None:
        """Take the partitions offline whose batches are in quarantine since an earlier start."""
        if not directory.is_dir():
            return
        handled = directory / _HANDLED
        if handled.exists():
            self._handled_sequence = int(handled.read_text())
        held = {name.split(".", 1)[0] for name in sorted(path.name for path in directory.iterdir())}
        for partition in self._engine.partitions():
            if _quarantine_name(partition) in held:
                self._kept_offline[partition] = None
                self._take_offline(
                    partition,
                    DataCorrupt(
                        f"{partition.name}: acknowledged batches are in {directory}; "
                        f"move {_quarantine_name(partition)}.* away to serve the rest without them"
                    ),
                )

    def _note_handled(self, directory: Path) -> None:
        """Damage in groups before this start's is dealt with, and is not to be found again at the next one."""
        if not self.recovery.damage:
            return
        directory.mkdir(exist_ok=True)
        with (directory / _HANDLED).open("w") as file:
            file.write(str(self.recovery.next_sequence))
            file.flush()
            os.fsync(file.fileno())

    def _on_records(self, records: list[WalRecord]) -> None:
        find = self._engine.find
        dead = self._dead
        now_ms = self._clock.now_ms()
        for kind, topic_id, index, _, base_offset, segment, position, size, header in records:
            partition = find(topic_id, index)
            if kind != BATCH or header is None or partition is None:
                dead[segment] = dead.get(segment, 0) + 1
                continue
            state = partition.state
            # A hole is none below the log start: nobody reads there.
            continues = state.log_end_offset <= base_offset <= max(state.log_end_offset, state.log_start_offset)
            end_offset = base_offset + header[6] + 1
            if continues and partition.damage is None:
                state.log_end_offset = base_offset
                if end_offset > state.log_start_offset:
                    partition.recover(end_offset, header, segment, position, size, now_ms)
                else:
                    partition.replay(end_offset, header, now_ms)
                    dead[segment] = dead.get(segment, 0) + 1
                continue
            if end_offset <= partition.tier_end_offset and partition not in self._unloaded:
                dead[segment] = dead.get(segment, 0) + 1
                continue
            self._stranded.setdefault(partition, []).append((segment, position, size))
            self._stranded_end[partition] = end_offset
            self._take_offline(
                partition,
                DataCorrupt(
                    f"{partition.name}: the WAL continues at offset {base_offset}, "
                    f"what is known ends at {state.log_end_offset}"
                ),
            )

    def _take_offline(self, partition: Partition, error: TailraceError) -> None:
        if partition.damage is None:
            logger.error("partition offline: %s", error)
            partition.damage = error

    def _on_progress(self, done: int, total: int) -> None:
        now = self._clock.monotonic()
        if now - self._told >= _PROGRESS_SECONDS:
            self._told = now
            logger.info("recovering the WAL: %d of %d MiB", done >> 20, total >> 20)


def _quarantine_name(partition: Partition) -> str:
    return f"{topic_id_text(partition.topic_id)}-{partition.partition}"
