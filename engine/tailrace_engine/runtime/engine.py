"""The storage engine of one broker: it owns the partitions and wires log, WAL, memory and tier together.

State changes in synchronous methods on the loop's thread. An append checks, plans, applies and submits in one call; the
WAL reports groups of durable batches, whose partitions then release what waited. Reads of the tail are answered from
memory in the same call; everything older goes through `read_cold`, off the tail's path.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, cast

from tailrace_core.batch import NO_TIMESTAMP, Buffer, check_batch
from tailrace_core.errors import (
    OffsetOutOfRange,
    PolicyViolation,
    StorageUnavailable,
    TailraceError,
    UnknownTopicId,
    UnknownTopicOrPartition,
)
from tailrace_core.extents import Extent
from tailrace_core.ids import TopicId, topic_id_text
from tailrace_core.membership import (
    DELETE_ONLY,
    INTERNAL_TOPICS,
    LOG_APPEND_TIME,
    ChangeEvent,
    ConfigChanged,
    LogStartMoved,
    Membership,
    PartitionsCreated,
    Topic,
    TopicCreated,
    TopicDeleted,
)
from tailrace_core.ports import Clock
from tailrace_engine.api import APPENDED_LATER, HIGH_WATERMARK, OffsetFound
from tailrace_engine.cache.hot import BATCH_OVERHEAD_BYTES, HotLog
from tailrace_engine.log.entry import BatchEntry
from tailrace_engine.log.producers import AppendedBatch
from tailrace_engine.log.recompress import PRODUCER
from tailrace_engine.log.throttle import throttle_time_ms
from tailrace_engine.log.wal_index import ENTRY_BYTES
from tailrace_engine.runtime.cold_reads import ColdReads
from tailrace_engine.runtime.partition import AppendWaiter, Partition
from tailrace_engine.runtime.recompression import Recompression
from tailrace_engine.runtime.time_search import TimeSearch
from tailrace_engine.tier.reader import TierReader
from tailrace_engine.wal.writer import Wal

logger = logging.getLogger(__name__)

_COLD_READ_TRIES: Final = 8
"""Data may move between WAL, memory and tier while it is looked for; more moves than this in one read are a fault."""
_RELEASED_AT_ONCE: Final = 1_000
"""Batches that are let go of before the loop gets its turn."""
_UNSYNCED_RATIO: Final = 0.25
"""Part of the hot budget that may wait for the WAL: what is not durable cannot leave memory."""


def _nothing() -> None:
    """Until the gateway says whom to tell."""


class Engine:
    """Implements api.StorageEngine. Made by runtime/start.py, which recovers the partitions first."""

    def __init__(self, hot_bytes: int, tier: TierReader, membership: Membership, clock: Clock) -> None:
        self.on_completions: Callable[[], None] = _nothing
        self.on_room: Callable[[], None] = _nothing
        self.on_upload_due: Callable[[], None] = _nothing
        self.upload_due_bytes = 64 << 20
        self.wal: Wal
        self.cold: ColdReads
        self.hot = HotLog(hot_bytes, self._let_go, BATCH_OVERHEAD_BYTES)
        self.tier = tier
        self.membership = membership
        self._time_search = TimeSearch(membership, tier, self.read_cold)
        self.recompression = Recompression(self, clock)
        self._clock = clock
        self._by_name: dict[str, list[Partition]] = {}
        self._by_id: dict[TopicId, list[Partition]] = {}
        self.must_hold_back = False
        """See api.StorageEngine. Kept as a value: it is asked for each request."""
        self.throttle_time_ms = 0
        """As must_hold_back."""
        self._unsynced_bytes = 0
        self._unsynced_bytes_max = max(int(hot_bytes * _UNSYNCED_RATIO), 16 << 20)
        self._held_above_bytes = self._unsynced_bytes_max
        """With so much unsynced, the WAL's room is used or memory waits for too much: as of the last look."""
        self._discarding: list[tuple[list[BatchEntry], int, int]] = []
        """Of deleted partitions: batches in memory from a place on, and the high watermark."""
        self._discards_later = False
        self.unuploaded: dict[Partition, None] = {}
        """Partitions with durable data that the catalog does not have, longest waiting first."""
        self.sealing: dict[Partition, None] = {}
        """Those of them whose topic asks for an upload by less bytes or age than the broker's own."""
        self.upload_interval_ms = 60_000
        self.unuploaded_bytes = 0
        self.appended_batches = 0
        self.appended_records = 0
        self.appended_bytes = 0
        self.duplicate_batches = 0
        self.hot_bytes_read = 0
        self.spilled_batches = 0
        """Batches that left memory before they were uploaded."""

    def start(self, wal: Wal, leader_epoch: int) -> None:
        """Lead all partitions in a new leader epoch, and append to wal."""
        self.wal = wal
        self.cold = ColdReads(wal, self.tier, self.membership)
        for partition in self.partitions():
            partition.state.leader_epoch = leader_epoch
        self.membership.subscribe(self._on_change)
        self.maybe_hold_back()

    # --- partitions

    def add_topic(self, topic: Topic, leader_epoch: int) -> list[Partition]:
        """Take a topic's partitions as empty ones; recovery fills them."""
        partitions = [
            Partition(topic.name, topic.topic_id, index, topic.configs, leader_epoch)
            for index in range(topic.partition_count)
        ]
        self._by_name[topic.name] = self._by_id[topic.topic_id] = partitions
        return partitions

    def partitions(self) -> list[Partition]:
        """All of them, by topic."""
        return [partition for partitions in self._by_id.values() for partition in partitions]

    def find(self, topic_id: TopicId, partition: int) -> Partition | None:
        """The partition, offline or not; None when there is none."""
        partitions = self._by_id.get(topic_id)
        return partitions[partition] if partitions is not None and 0 <= partition < len(partitions) else None

    def partition(self, topic_name: str, partition: int) -> Partition:
        partitions = self._by_name.get(topic_name)
        if partitions is None or not 0 <= partition < len(partitions):
            raise UnknownTopicOrPartition(f"there is no partition {partition} of a topic {topic_name!r}")
        return self._online(partitions[partition])

    def partition_by_id(self, topic_id: TopicId, partition: int) -> Partition:
        partitions = self._by_id.get(topic_id)
        if partitions is None:
            raise UnknownTopicId(f"no topic has the id {topic_id_text(topic_id)}")
        if not 0 <= partition < len(partitions):
            raise UnknownTopicOrPartition(f"there is no partition {partition} of topic {partitions[0].topic_name!r}")
        return self._online(partitions[partition])

    def _online(self, partition: Partition) -> Partition:
        if partition.damage is not None:
            raise partition.damage.with_traceback(None)
        return partition

    def _on_change(self, event: ChangeEvent) -> None:
        match event:
            case TopicCreated(topic):
                self.add_topic(topic, self.membership.image.leader_epoch)
            case PartitionsCreated(topic, previous_count):
                partitions = self._by_id[topic.topic_id]
                epoch = self.membership.image.leader_epoch
                partitions += [
                    Partition(topic.name, topic.topic_id, index, topic.configs, epoch)
                    for index in range(previous_count, topic.partition_count)
                ]
            case TopicDeleted(topic):
                self._delete_topic(topic)
            case ConfigChanged(topic, _):
                for partition in self._by_id[topic.topic_id]:
                    partition.configs = topic.configs
                    if partition in self.unuploaded:
                        self.note_sealing(partition)
            case LogStartMoved(topic_id, index, log_start_offset):
                found = self.find(topic_id, index)
                if found is not None and found.state.advance_log_start(log_start_offset):
                    found.epochs.drop_below(log_start_offset)
                    self._release_below(found, log_start_offset)
                    for reader in list(found.visibility_waiters):
                        reader.on_visible(0)

    def _delete_topic(self, topic: Topic) -> None:
        partitions = self._by_id.pop(topic.topic_id)
        del self._by_name[topic.name]
        error = UnknownTopicOrPartition(f"topic {topic.name!r} was deleted")
        for partition in partitions:
            partition.damage = error
            partition.deleted = True
            for segment, count in partition.wal_records().items():
                self.wal.mark_dead(segment, count)
            if partition.wal_index is not None:
                self.hot.charge(-ENTRY_BYTES * len(partition.wal_index))
                partition.wal_index = None
            self._discarding.append((partition.hot_entries, partition.hot_head, partition.state.high_watermark))
            partition.hot_entries, partition.hot_bases, partition.hot_head = [], [], 0
            self._forget_unuploaded(partition)
            for waiter, ordinal in partition.pending.fail_all():
                waiter.on_append_failed(ordinal, error)
            for reader in list(partition.visibility_waiters):
                reader.on_partition_gone()
        self._discard_some()
        self.on_completions()

    def _discard_some(self) -> None:
        """Free the memory of deleted partitions in steps: there may be a million batches.

        What is not durable yet is freed by on_durable, when the WAL has written it.
        """
        left = _RELEASED_AT_ONCE
        while self._discarding and left > 0:
            entries, head, high_watermark = self._discarding[-1]
            count = min(left, len(entries) - head)
            for _ in range(count):
                entry = entries.pop()
                if entry.end_offset <= high_watermark:
                    self.hot.discard(entry)
            left -= count + 1
            if len(entries) == head:
                self._discarding.pop()
        if self._discarding and not self._discards_later:
            self._discards_later = True
            asyncio.get_running_loop().call_soon(self._discard_more)
        self.maybe_hold_back()

    def _discard_more(self) -> None:
        self._discards_later = False
        self._discard_some()

    # --- log start

    async def delete_records(self, partition: Partition, offset: int) -> int:
        """See api.StorageEngine. Rules: Partition.deleteRecordsOnLeader of Apache Kafka."""
        if partition.configs.cleanup_policy == ("compact",):
            raise PolicyViolation(f"{partition.topic_name} is compacted only: its records are not deleted by offset")
        high_watermark = partition.state.high_watermark
        if offset == HIGH_WATERMARK:
            offset = high_watermark
        if not 0 <= offset <= high_watermark:
            raise OffsetOutOfRange(f"{offset} is not within 0 to the high watermark {high_watermark}")
        return await self.membership.trim(partition.topic_id, partition.partition, offset)

    def _release_below(self, partition: Partition, log_start_offset: int) -> None:
        """Free what the log start has passed, in steps; between them the partition is whole."""
        if partition.damage is not None:
            return
        released = partition.release_below(min(log_start_offset, partition.state.high_watermark), _RELEASED_AT_ONCE)
        for segment, count in released.dead.items():
            self.wal.mark_dead(segment, count)
        self.hot.charge(-ENTRY_BYTES * released.index_entries)
        for entry in released.hot_entries:
            self.hot.discard(entry)
        if released.unuploaded_bytes:
            partition.unuploaded_bytes -= released.unuploaded_bytes
            self.unuploaded_bytes -= released.unuploaded_bytes
            if not partition.unuploaded_bytes:
                self._waits_no_more(partition)
        if not released.is_all:
            asyncio.get_running_loop().call_soon(self._release_below, partition, log_start_offset)
        self.maybe_hold_back()

    # --- append

    @property
    def unsynced_bytes(self) -> int:
        """Bytes of batches that are appended and not durable."""
        return self._unsynced_bytes

    def maybe_hold_back(self) -> None:
        """Look whether the WAL and the memory take more; tell the gateway when they do again."""
        room = self.wal.room_bytes()
        # What is appended until the next look must not take what is reserved for internal topics.
        self._held_above_bytes = min(self._unsynced_bytes_max, self._unsynced_bytes + room)
        coming_bytes = self._unsynced_bytes + self.recompression.waiting_bytes
        held = self.wal.fenced is None and (
            coming_bytes > self._held_above_bytes
            or self.hot.bytes_used > self.hot.budget_bytes + self._unsynced_bytes_max
        )
        self.throttle_time_ms = throttle_time_ms(
            max(coming_bytes / self._unsynced_bytes_max, 1 - room / self.wal.usable_bytes)
        )
        if held:
            self.on_upload_due()
        if held != self.must_hold_back:
            self.must_hold_back = held
            if not held:
                self.on_room()

    def append(
        self,
        partition: Partition,
        batch: memoryview,
        waiter: AppendWaiter | None,
        ordinal: int,
        is_recompressed: bool = False,
    ) -> tuple[int, int]:
        header = check_batch(batch)
        if partition.damage is not None:
            raise partition.damage.with_traceback(None)
        wal = self.wal
        wal.check_append(len(batch))
        now_ms = self._clock.now_ms()
        partition.check_limits(header, now_ms)
        configs = partition.configs
        if (
            configs.compression_type != PRODUCER or configs.cleanup_policy != DELETE_ONLY or self.recompression.queues
        ) and not is_recompressed:
            made = self.recompression.take(partition, header, batch, waiter, ordinal)
            if made is None:
                return APPENDED_LATER
            if made is not batch:
                return self.append(partition, memoryview(made), waiter, ordinal, is_recompressed=True)
        if header.producer_id >= 0:
            original = partition.find_duplicate(header)
            if original is not None:
                return self._answer_duplicate(partition, original, waiter, ordinal)
        entry = partition.append(batch, header, now_ms)
        wal.append(entry)
        size = entry.size
        self.appended_batches += 1
        self.appended_records += header.record_count
        self.appended_bytes += size
        self._unsynced_bytes += size
        if self._unsynced_bytes > self._held_above_bytes:
            self.must_hold_back = True
        hot = self.hot
        hot.append(entry)
        if hot.bytes_used > hot.budget_bytes:
            hot.evict()
        if waiter is not None:
            partition.pending.add(entry.end_offset, (waiter, ordinal))
        if configs.message_timestamp_type == LOG_APPEND_TIME:
            return entry.base_offset, now_ms
        return entry.base_offset, NO_TIMESTAMP

    def _answer_duplicate(
        self, partition: Partition, original: AppendedBatch, waiter: AppendWaiter | None, ordinal: int
    ) -> tuple[int, int]:
        """A batch that is in the log already: its waiter waits for the original."""
        self.duplicate_batches += 1
        if waiter is not None:
            if original.end_offset <= partition.state.high_watermark:
                waiter.on_durable()
            else:
                partition.pending.add(original.end_offset, (waiter, ordinal))
        if partition.configs.message_timestamp_type == LOG_APPEND_TIME:
            return original.base_offset, original.max_timestamp_ms
        return original.base_offset, NO_TIMESTAMP

    def on_durable(self, entries: list[BatchEntry]) -> None:
        """A group is in the WAL: watermarks move, waiters are told."""
        now_ms = self._clock.now_ms()
        told: list[AppendWaiter] = []
        readable: dict[Partition, int] = {}
        for entry in entries:
            partition = cast(Partition, entry.owner)
            size = entry.size
            self._unsynced_bytes -= size
            if partition.deleted:
                self.hot.discard(entry)
                self.wal.mark_dead(entry.wal_segment)
                continue
            end_offset = entry.end_offset
            partition.state.on_durable(end_offset)
            if not partition.unuploaded_bytes:
                self.on_unuploaded(partition, 0, now_ms)
            partition.unuploaded_bytes += size
            self.unuploaded_bytes += size
            waiting = partition.pending.queue
            while waiting and waiting[0][0] <= end_offset:
                told.append(waiting.popleft()[1][0])
            if partition.visibility_waiters:
                readable[partition] = readable.get(partition, 0) + size
        for waiter in told:
            try:
                waiter.on_durable()
            except Exception:
                logger.exception("an answer failed")  # its bug is not the others'
        for partition, size in readable.items():
            for reader in list(partition.visibility_waiters):
                try:
                    reader.on_visible(size)
                except Exception:
                    logger.exception("an answer failed")
        if self.hot.bytes_used > self.hot.budget_bytes:
            self.hot.evict()
        if self.unuploaded_bytes >= self.upload_due_bytes:
            self.on_upload_due()
        self.maybe_hold_back()
        self.on_completions()

    def on_wal_failed(self, entries: list[BatchEntry], error: TailraceError) -> None:
        """The WAL has fenced itself: nothing that waits becomes durable, reads of what is durable go on."""
        logger.error("the WAL is fenced: %s; restart the broker to recover", error)
        failed = dict.fromkeys(cast(Partition, entry.owner) for entry in entries)
        for partition in failed:
            for waiter, ordinal in partition.pending.fail_all():
                waiter.on_append_failed(ordinal, error)
        self.maybe_hold_back()
        self.on_completions()

    def _let_go(self, entry: BatchEntry) -> bool:
        partition = cast(Partition, entry.owner)
        if partition.deleted:
            return entry.wal_segment >= 0  # until then the WAL has yet to copy its bytes
        if entry.end_offset > partition.state.high_watermark:
            return False
        spilled = partition.on_evicted(entry)
        self.spilled_batches += spilled
        self.hot.charge(ENTRY_BYTES * spilled)
        return True

    # --- read

    def read(
        self, partition: Partition, offset: int, max_bytes: int, at_least_one: bool
    ) -> tuple[list[Buffer], int] | None:
        partition.state.check_fetch_offset(offset)
        if offset >= partition.state.high_watermark:
            return [], 0
        if offset < partition.hot_start_offset():
            return None
        found = partition.read_hot(offset, max_bytes, at_least_one)
        self.hot_bytes_read += found[1]
        return found

    async def read_cold(self, partition: Partition, offset: int, max_bytes: int) -> tuple[list[Buffer], int]:
        partition.state.check_fetch_offset(offset)
        for _ in range(_COLD_READ_TRIES):
            self._online(partition)
            begin = self.cold.next_offset(partition, offset)
            now = self.read(partition, begin, max_bytes, True)
            if now is not None:
                return now
            try:
                found = await self.cold.read(partition, begin, max_bytes)
            finally:
                if self.must_hold_back:
                    self.maybe_hold_back()  # the read may have been the last use of a WAL segment
            if found is not None:
                return found
            await asyncio.sleep(0)
        raise StorageUnavailable(f"offset {offset} of {partition.name} cannot be read now")

    async def find_timestamp(self, partition: Partition, timestamp_ms: int) -> OffsetFound | None:
        return await self._time_search.first_at_or_after(partition, timestamp_ms)

    async def find_max_timestamp(self, partition: Partition) -> OffsetFound | None:
        return await self._time_search.newest(partition)

    async def newest_unuploaded(self, partition: Partition) -> tuple[int, int]:
        """The largest timestamp that a durable batch claims which the tier does not have, -1 where none has one, and
        the end offset of what was looked at.
        """
        return await self._time_search.newest_local(partition)

    def stored_bytes(self, topic_id: TopicId, index: int) -> int:
        partition = self.find(topic_id, index)
        local_bytes = partition.unuploaded_bytes if partition is not None else 0
        return self.membership.extents(topic_id, index).data_bytes + local_bytes

    # --- upload

    def on_unuploaded(self, partition: Partition, size: int, now_ms: int) -> None:
        """The partition begins to wait for an upload, with size bytes at once."""
        partition.first_unuploaded_ms = now_ms
        self.unuploaded[partition] = None
        self.unuploaded_bytes += size
        self.note_sealing(partition)
        if partition.topic_name in INTERNAL_TOPICS:
            self.on_upload_due()  # what is due of these, the uploader looks for itself while they wait

    def note_sealing(self, partition: Partition) -> None:
        """Look whether the settings of a partition that waits for its upload ask for an early one."""
        configs = partition.configs
        if configs.segment_bytes < self.upload_due_bytes or configs.segment_ms < self.upload_interval_ms:
            if not self.sealing:
                self.on_upload_due()  # while there are such, the uploader looks for what is due of them
            self.sealing[partition] = None
        else:
            self.sealing.pop(partition, None)

    def _waits_no_more(self, partition: Partition) -> None:
        self.unuploaded.pop(partition, None)
        self.sealing.pop(partition, None)

    def _forget_unuploaded(self, partition: Partition) -> None:
        self._waits_no_more(partition)
        self.unuploaded_bytes -= partition.unuploaded_bytes
        partition.unuploaded_bytes = 0

    def take_offline(self, partition: Partition, error: TailraceError) -> None:
        """Serve a partition no more: what only this broker has of it is damaged. Its WAL records stay as they are."""
        if partition.deleted:
            return
        logger.error("partition offline: %s", error)
        partition.damage = error
        self._forget_unuploaded(partition)
        for reader in list(partition.visibility_waiters):
            reader.on_partition_gone()

    def on_committed(self, extent: Extent) -> None:
        """The catalog has taken the extent; the log start may have passed some of it meanwhile, or all."""
        partition = self.find(extent.topic_id, extent.partition)
        if partition is None or extent.end_offset <= partition.tier_end_offset:
            return
        untouched = partition.tier_end_offset <= extent.base_offset
        size = extent.length if untouched else partition.local_bytes_below(extent.end_offset)
        self._take_over(partition, extent.end_offset, size)

    def _take_over(self, partition: Partition, end_offset: int, size: int) -> None:
        """The tier has the partition's data below end_offset, size bytes of it were waiting for that."""
        dead, given_back = partition.on_committed(end_offset)
        for segment, count in dead.items():
            self.wal.mark_dead(segment, count)
        self.hot.charge(-ENTRY_BYTES * given_back)
        partition.unuploaded_bytes -= size
        self.unuploaded_bytes -= size
        self._waits_no_more(partition)
        if partition.unuploaded_bytes > 0:
            self.on_unuploaded(partition, 0, self._clock.now_ms())
        self.maybe_hold_back()

    def catch_up(self, topic_id: TopicId, index: int) -> bool:
        """Take over what the catalog has of the partition and this broker does not know of; whether there was any."""
        partition = self.find(topic_id, index)
        end_offset = self.membership.extents(topic_id, index).committed_end
        if partition is None or end_offset <= partition.tier_end_offset:
            return False
        self._take_over(partition, end_offset, partition.local_bytes_below(end_offset))
        return True
