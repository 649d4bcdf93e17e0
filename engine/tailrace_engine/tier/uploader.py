"""Moves what is durable in the WAL into the object store, and then releases the WAL.

    plan (which partitions, up to which offset) → collect batches → build one object → register → PUT → commit → release

Never in another order: until the catalog has an object, its batches count as un-uploaded and keep their WAL segments.
Only what lies below the high watermark is uploaded. Uploads of a broker follow one another, so the commits of a
partition are in order; one object holds many partitions, and a partition with much to upload gets an object of its own.
A failed upload is tried again, with back-off, as long as the broker runs. The plan is made anew each time, and where
the catalog refuses an extent because it has more than this broker knows, the broker catches up with it.
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import Final

from tailrace_core.errors import DataCorrupt, TailraceError
from tailrace_core.extents import StoredObject
from tailrace_core.membership import EXTENTS_PER_OBJECT_MAX, INTERNAL_TOPICS, Membership, RefusalReason
from tailrace_core.ports import Clock, ObjectStore
from tailrace_engine.runtime import snapshot
from tailrace_engine.runtime.engine import Engine
from tailrace_engine.runtime.partition import Partition
from tailrace_engine.tier.registrar import BACK_OFF_SECONDS, NewObject, Registrar, until_known
from tailrace_engine.tier.writer import BuiltObject, SectionWriter, build_in_steps

logger = logging.getLogger(__name__)

_OWN_OBJECT_BYTES: Final = 8 << 20
"""A partition with so much to upload gets an object of its own."""
_INTERNAL_BYTES: Final = 8 << 20
"""So much of internal topics does not wait for the rest: until it is uploaded it is not compacted, and a coordinator
replays it. About 60,000 commits of offsets."""
_CHECK_SECONDS: Final = 1.0
"""How often is looked whether what does not wait for the rest is due, while there is any."""
_SLICE_BATCHES: Final = 128
_SLICE_BYTES: Final = 512 << 10
"""What is collected before the loop gets its turn."""
_STEP_EXTENTS: Final = 64
"""What is released before it gets its turn."""


@dataclass(frozen=True, slots=True)
class UploadOptions:
    """When to upload."""

    object_bytes: int
    interval_ms: int
    pressure_ratio: float


class Uploader:
    """One per broker: a background job of the broker's task group."""

    def __init__(
        self,
        engine: Engine,
        store: ObjectStore,
        membership: Membership,
        options: UploadOptions,
        clock: Clock,
        broker_id: int,
        broker_epoch: int,
    ) -> None:
        self._engine = engine
        self._store = store
        self._membership = membership
        self._options = options
        self._clock = clock
        self.registrar = Registrar(membership, clock, broker_id, broker_epoch)
        self._wanted = asyncio.Event()
        self.objects = 0
        self.bytes = 0
        self.failures = 0
        engine.upload_due_bytes = int(min(options.object_bytes, options.pressure_ratio * engine.hot.budget_bytes))
        engine.upload_interval_ms = options.interval_ms
        engine.on_upload_due = self._wanted.set
        for partition in engine.unuploaded:
            engine.note_sealing(partition)

    async def run(self) -> None:
        """Upload what is due, for ever."""
        engine = self._engine
        failures = 0
        while True:
            self._wanted.clear()
            if not self._due():
                seconds = self._seconds_until_due()
                looks = engine.sealing or self._internal()
                await self._wait(min(seconds, _CHECK_SECONDS) if looks else seconds)
                continue
            seconds = BACK_OFF_SECONDS[min(failures, len(BACK_OFF_SECONDS) - 1)]
            try:
                if await self.upload_once():
                    failures = 0
                    continue
            except (TailraceError, OSError) as error:
                logger.warning("an upload failed, trying again in %.1f s: %s", seconds, error)
            except Exception:
                # A bug must not end uploads for good: the WAL would fill up.
                logger.exception("an upload failed, trying again in %.1f s", seconds)
            failures += 1
            self.failures += 1
            await asyncio.sleep(seconds)

    async def flush(self) -> None:
        """Upload everything that is durable now. Raises what an upload raises."""
        while await self.upload_once():
            pass

    def _due(self) -> bool:
        engine = self._engine
        if not engine.unuploaded:
            return False
        ratio = self._options.pressure_ratio
        return (
            engine.unuploaded_bytes >= self._options.object_bytes
            or engine.unuploaded_bytes >= ratio * engine.hot.budget_bytes
            or engine.wal.bytes_used >= ratio * engine.wal.capacity_bytes
            or self._seconds_until_due() <= 0
            or self._is_internal_due()
            or bool(self._sealed())
        )

    def _sealed(self) -> list[Partition]:
        """The partitions that have as much, or as old, to upload as segment.bytes and segment.ms of their topic say."""
        now_ms = self._clock.now_ms()
        return [
            partition
            for partition in self._engine.sealing
            if partition.unuploaded_bytes >= partition.configs.segment_bytes
            or now_ms - partition.first_unuploaded_ms >= partition.configs.segment_ms
        ]

    def _internal(self) -> list[Partition]:
        """The partitions of internal topics that wait for an upload."""
        topics = [self._membership.image.topic(name) for name in sorted(INTERNAL_TOPICS)]
        partitions = [
            self._engine.find(topic.topic_id, index)
            for topic in topics
            if topic is not None
            for index in range(topic.partition_count)
        ]
        return [partition for partition in partitions if partition in self._engine.unuploaded]

    def _is_internal_due(self) -> bool:
        return sum(partition.unuploaded_bytes for partition in self._internal()) >= _INTERNAL_BYTES

    def _seconds_until_due(self) -> float:
        oldest = next(iter(self._engine.unuploaded), None)
        if oldest is None:
            return self._options.interval_ms / 1000
        return (oldest.first_unuploaded_ms + self._options.interval_ms - self._clock.now_ms()) / 1000

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(max(seconds, 0.01)):
                await self._wanted.wait()
        except TimeoutError:
            pass

    # --- one object

    async def upload_once(self) -> bool:
        """Plan, build, put and commit one object; False where that did not bring any partition on.

        A partition whose batches are damaged in the WAL goes offline, so that it does not stop the others. Raises
        StorageUnavailable.
        """
        sections = []
        progress = False
        for partition, end_offset in self._plan():
            try:
                section = await self._section(partition, end_offset)
            except DataCorrupt as error:
                self._engine.take_offline(partition, error)
                progress = True
                continue
            if section.length:
                sections.append(section)
            else:
                progress |= partition.tier_end_offset >= end_offset
        if not sections:
            return progress
        new = await self.registrar.new_object()
        built = None
        for built in build_in_steps(new.header, sections):
            if built is None:
                await asyncio.sleep(0)
        assert built is not None
        await self.registrar.put(new, lambda: self._store.put(new.key, built.parts))
        return await self._commit(new, built)

    def _plan(self) -> list[tuple[Partition, int]]:
        """Which partitions, and up to which offset (exclusive): those that are sealed, then the longest waiting."""
        plan: list[tuple[Partition, int]] = []
        total = 0
        sealed = self._sealed()
        waiting = dict.fromkeys([*sealed, *self._engine.unuploaded]) if sealed else self._engine.unuploaded
        for partition in self._internal() if self._is_internal_due() else waiting:
            size = partition.unuploaded_bytes
            if size >= _OWN_OBJECT_BYTES:
                if not plan:
                    return [(partition, partition.state.high_watermark)]
                continue
            if plan and (total + size > self._options.object_bytes or len(plan) == EXTENTS_PER_OBJECT_MAX):
                break
            plan.append((partition, partition.state.high_watermark))
            total += size
        return plan

    async def _section(self, partition: Partition, end_offset: int) -> SectionWriter:
        """The partition's batches from the tier's end on, up to end_offset or to what one object takes."""
        start_offset = partition.tier_end_offset
        section = SectionWriter(
            partition.topic_id,
            partition.partition,
            partition.state.leader_epoch,
            partition.epochs.within(start_offset, end_offset),
            b"",
        )
        offset = start_offset
        while offset < end_offset and section.length < self._options.object_bytes:
            if offset < partition.tier_end_offset:
                # The log start has passed all that was collected, and what was to come next.
                return await self._section(partition, end_offset)
            index = partition.wal_index
            if index is not None and offset < index.end_offset:
                spans = index.spans(offset, _SLICE_BYTES)[:_SLICE_BATCHES]
                place = index.find(offset)
                ends = [index.batch_end_offset(place + step) for step in range(len(spans))]
                batches = await self._engine.cold.read_wal(partition, spans)
                if batches is None:
                    continue
                section.add(
                    (data, span.base_offset, end, span.max_timestamp_ms)
                    for data, span, end in zip(batches, spans, ends, strict=True)
                )
            else:
                slice_ = partition.hot_batches(offset, end_offset, _SLICE_BATCHES, _SLICE_BYTES)
                if not slice_:
                    break
                section.add(slice_)
            offset = section.end_offset
            await asyncio.sleep(0)
        if section.length:
            section.untimed_ms = self._clock.now_ms()
            section.leader_epochs = partition.epochs.within(start_offset, section.end_offset)
            section.producer_snapshot = await snapshot.encode(partition.epochs, partition.producers, section.end_offset)
        return section

    async def _commit(self, new: NewObject, built: BuiltObject) -> bool:
        """Whether less waits for an upload now."""
        stored = StoredObject(new.object_id, new.key, built.size, built.extents)
        result = await until_known(lambda: self._membership.commit_object(stored, self._clock.now_ms()))
        progress = False
        refused = {(each.extent.topic_id, each.extent.partition): each.reason for each in result.refused}
        for number, extent in enumerate(built.extents):
            if number % _STEP_EXTENTS == _STEP_EXTENTS - 1:
                await asyncio.sleep(0)
            reason = refused.get((extent.topic_id, extent.partition))
            if reason is None or reason is RefusalReason.UNKNOWN_PARTITION:
                progress = True
            if reason is None:
                self._engine.on_committed(extent)
            else:
                progress |= self._engine.catch_up(extent.topic_id, extent.partition)
                logger.warning(
                    "the catalog refused offsets %d to %d of an upload: %s",
                    extent.base_offset,
                    extent.end_offset,
                    reason.value,
                )
        self.objects += 1
        self.bytes += built.size
        return progress
