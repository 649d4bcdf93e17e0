"""Deletes what retention and topic deletion leave behind: log starts move, then unreferenced objects go.

A topic whose settings change is looked at without delay. What is not uploaded counts as the last segment.
Also forgets idempotent producers that have not written for long. Runs in the background, in small steps.
"""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from tailrace_core.errors import TailraceError, UnknownTopicId, UnknownTopicOrPartition
from tailrace_core.ids import TopicId
from tailrace_core.membership import ChangeEvent, ConfigChanged, Membership
from tailrace_core.ports import Clock, ObjectStore
from tailrace_engine.log.retention import plan_log_start
from tailrace_engine.runtime.engine import Engine
from tailrace_engine.runtime.partition import Partition

logger = logging.getLogger(__name__)

_PARTITIONS_A_STEP: Final = 64
_PRODUCER_ID_EXPIRATION: Final = "producer.id.expiration.ms"


@dataclass(frozen=True, slots=True)
class RetentionOptions:
    """How often, and how long an object that nothing refers to is kept for those who still read it."""

    check_interval_ms: int
    sweep_interval_ms: int
    delete_grace_ms: int
    producer_id_expiration_ms: int


class Retention:
    """One per broker: a background job of the broker's task group."""

    def __init__(
        self, engine: Engine, store: ObjectStore, membership: Membership, options: RetentionOptions, clock: Clock
    ) -> None:
        self._engine = engine
        self._store = store
        self._membership = membership
        self._options = options
        self._clock = clock
        self.objects_deleted = 0
        self.bytes_deleted = 0
        self._wanted = asyncio.Event()
        self._changed: dict[TopicId, None] = {}
        """Topics whose settings changed since the last look."""
        membership.subscribe(self._on_change)

    def _on_change(self, event: ChangeEvent) -> None:
        if isinstance(event, ConfigChanged):
            self._changed[event.topic.topic_id] = None
            self._wanted.set()

    async def run(self) -> None:
        """Check and sweep, each in its interval, for ever."""
        options = self._options
        next_check = self._clock.monotonic() + options.check_interval_ms / 1000
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(options.sweep_interval_ms, options.check_interval_ms) / 1000):
                    await self._wanted.wait()
            self._wanted.clear()
            try:
                await self._check_changed()
                if self._clock.monotonic() >= next_check:
                    next_check = self._clock.monotonic() + options.check_interval_ms / 1000
                    await self.check()
                await self.sweep()
            except (TailraceError, OSError) as error:
                logger.warning("deleting old data failed, trying again: %s", error)
            except Exception:
                # A bug must not end retention for good: the store would fill up.
                logger.exception("deleting old data failed, trying again")

    async def check(self) -> None:
        """Move the log start of each partition past what its topic's retention lets go."""
        now_ms = self._clock.now_ms()
        changed = self._membership.image.dynamic_broker_configs.get(_PRODUCER_ID_EXPIRATION)
        expiration_ms = self._options.producer_id_expiration_ms if changed is None else int(changed)
        for step, partition in enumerate(self._engine.partitions()):
            if step % _PARTITIONS_A_STEP == 0:
                await asyncio.sleep(0)
            if partition.producers is not None:
                for some in partition.producers.in_steps():
                    partition.producers.expire(some, now_ms, expiration_ms)
                    await asyncio.sleep(0)
            if "delete" in partition.configs.cleanup_policy:
                await self._trim(partition, now_ms)

    async def _check_changed(self) -> None:
        """Look at the topics whose settings changed."""
        changed, self._changed = self._changed, {}
        for topic_id in changed:
            topic = self._membership.image.topic_by_id(topic_id)
            if topic is None or "delete" not in topic.configs.cleanup_policy:
                continue
            for index in range(topic.partition_count):
                if index % _PARTITIONS_A_STEP == 0:
                    await asyncio.sleep(0)
                partition = self._engine.find(topic_id, index)
                if partition is not None:
                    await self._trim(partition, self._clock.now_ms())

    async def _trim(self, partition: Partition, now_ms: int) -> None:
        extents = self._membership.extents(partition.topic_id, partition.partition)
        log_start_offset = plan_log_start(
            (extents[place].extent for place in range(len(extents))),
            extents.log_start_offset,
            extents.data_bytes + partition.unuploaded_bytes,
            now_ms,
            partition.configs.retention_ms,
            partition.configs.retention_bytes,
        )
        if partition.unuploaded_bytes and log_start_offset >= partition.tier_end_offset:
            log_start_offset = await self._past_the_tail(partition, log_start_offset, now_ms)
        if log_start_offset > extents.log_start_offset:
            try:
                await self._membership.trim(partition.topic_id, partition.partition, log_start_offset)
            except (UnknownTopicId, UnknownTopicOrPartition):
                return  # deleted meanwhile
            except TailraceError as error:
                logger.warning("retention could not move the log start of %s: %s", partition.name, error)
                return
            logger.info("retention moved the log start of %s to %d", partition.name, log_start_offset)

    async def _past_the_tail(self, partition: Partition, log_start_offset: int, now_ms: int) -> int:
        """The log start after retention where all extents are gone: what waits for its upload goes as a whole."""
        newest_ms, end_offset = await self._engine.newest_unuploaded(partition)
        configs = partition.configs
        expired = 0 <= configs.retention_ms < now_ms - newest_ms and newest_ms >= 0
        return end_offset if expired or configs.retention_bytes == 0 else log_start_offset

    async def sweep(self) -> None:
        """Delete the objects that nothing refers to any more."""
        now_ms = self._clock.now_ms()
        await self._membership.expire_registrations(now_ms)
        while unreferenced := await self._membership.objects_to_delete(now_ms, self._options.delete_grace_ms):
            deleted = []
            for stored in unreferenced:
                try:
                    await self._store.delete(stored.key)
                except (TailraceError, OSError) as error:
                    logger.warning("object %s could not be deleted, trying again: %s", stored.key, error)
                else:
                    deleted.append(stored)
            await self._membership.forget_objects([stored.object_id for stored in deleted])
            self.objects_deleted += len(deleted)
            self.bytes_deleted += sum(stored.size for stored in deleted)
            if len(deleted) < len(unreferenced):
                return
