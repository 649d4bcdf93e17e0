"""Lives of a broker's storage, at random: produce, upload, evict, stop, kill, cut the power, retain, delete.

The model is what each topic's producer sent. A producer sends a batch again when it does not know what became of it, as
clients do. Whatever happens, the log holds each batch exactly once, in order, at the offset that was acknowledged, from
the log start on; and whatever is released was released once.
"""

import asyncio
import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest
from engine_support import GRACE_MS, NOW_MS, Acks, Node, make_batch, until, values_of
from hypothesis import given
from hypothesis import strategies as st

from tailrace_core.batch import read_header
from tailrace_core.errors import OffsetOutOfRange, StorageUnavailable
from tailrace_engine.api import HIGH_WATERMARK
from tailrace_engine.cache.hot import BATCH_OVERHEAD_BYTES
from tailrace_engine.log.records import timestamps
from tailrace_engine.runtime.partition import Partition
from tailrace_engine.sim.objects import SimObjectFaults, SimObjectStore

STEPS = 30
SENT_AT_ONCE_MAX = 5
HOT_BYTES = 6_000
RETENTION_MS = 10_000


@dataclass
class Topic:
    name: str
    sent: list[bytearray] = field(default_factory=list)
    """Every batch of the producer, in order."""
    offsets: list[int] = field(default_factory=list)
    """Where the acknowledged ones are."""
    next_sequence: int = 0
    incarnation: int = 0
    deleted_to: int = 0
    """Where the log start was moved on purpose."""


class Life:
    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        self.store = SimObjectStore(Random(seed), SimObjectFaults(failure=0.05, lost_reply=0.05))
        self.node = Node(
            Path("no such folder"),
            hot_bytes=HOT_BYTES,
            capacity_bytes=512 << 10,
            object_bytes=random.choice([64 << 10, 4 << 20]),
            sync=random.choice(["always", "interval"]),
            store=self.store,
            sim_seed=seed,
        )
        self.topics = [Topic(name) for name in ("a", "b", "c")]
        self.incarnations = 0

    def partition(self, topic: Topic) -> Partition:
        return self.node.engine.partition(topic.name, 0)

    async def run(self) -> None:
        await self.node.start()
        for topic in self.topics:
            await self.create(topic)
        steps = {
            self.produce: 10,
            self.upload: 5,
            self.evict: 2,
            self.retry_an_acknowledged_batch: 2,
            self.read_somewhere: 4,
            self.find_a_time: 2,
            self.retain: 2,
            self.delete_records: 2,
            self.delete_records_while_uploading: 1,
            self.restart: 2,
            self.crash_while_producing: 2,
            self.delete_a_topic_while_producing: 1,
        }
        for _ in range(STEPS):
            (step,) = self.random.choices(list(steps), list(steps.values()))
            await step()
            self.check_accounts()
        for _ in range(2):
            for topic in self.topics:
                await self.check_everything(topic)
            self.store.faults = SimObjectFaults()
            await self.node.uploader.flush()
            # Records of a topic that was deleted die when their group is written.
            await until(lambda: self.node.live_records() == 0)
            self.node.forget_hot()
            assert self.node.engine.hot.bytes_used == 0
        await self.node.stop()

    async def create(self, topic: Topic) -> None:
        self.incarnations += 1
        topic.sent, topic.offsets, topic.next_sequence, topic.deleted_to = [], [], 0, 0
        topic.incarnation = self.incarnations
        await self.node.topic(topic.name, retention_ms=str(RETENTION_MS), message_timestamp_after_max_ms="9" * 12)

    def some_topic(self) -> Topic:
        return self.random.choice(self.topics)

    # --- steps

    def make(self, topic: Topic) -> bytearray:
        count = self.random.choice([1, 1, 2, 7])
        value = b"%d/%d/" % (topic.incarnation, len(topic.sent)) + bytes(self.random.choice([0, 100, 3_000]))
        batch = make_batch(
            [self.node.clock.ms - self.random.randint(0, 50) for _ in range(count)],
            value,
            producer=(topic.incarnation, 0, topic.next_sequence),
            compression=self.random.choice(["none", "none", "lz4", "zstd"]),
        )
        topic.sent.append(batch)
        topic.next_sequence += count
        return batch

    async def make_room(self) -> None:
        """As the gateway holds producers back."""
        while self.node.engine.must_hold_back:
            await self.upload()

    def send(self, topic: Topic) -> list[tuple[Acks, int]]:
        """Append what is not acknowledged; a batch that is sent again is sent as it was."""
        sent = []
        for batch in topic.sent[len(topic.offsets) :]:
            waiter = Acks()
            sent.append((waiter, self.node.append(self.partition(topic), bytearray(batch), waiter)))
        return sent

    async def acknowledge(self, topic: Topic, sent: list[tuple[Acks, int]]) -> None:
        await until(lambda: all(waiter.durable for waiter, _ in sent))
        assert all(waiter.durable == 1 and not waiter.failures for waiter, _ in sent)
        topic.offsets += [offset for _, offset in sent]

    async def produce(self) -> None:
        topic = self.some_topic()
        await self.make_room()
        for _ in range(self.random.randint(1, SENT_AT_ONCE_MAX)):
            self.make(topic)
        await self.acknowledge(topic, self.send(topic))

    async def upload(self) -> None:
        self.store.faults.down = self.random.random() < 0.1
        with contextlib.suppress(StorageUnavailable):
            await self.node.uploader.upload_once()
        self.store.faults.down = False

    async def evict(self) -> None:
        self.node.forget_hot()

    async def retry_an_acknowledged_batch(self) -> None:
        topic = self.some_topic()
        back = self.random.randint(1, SENT_AT_ONCE_MAX)
        state = self.partition(topic).state
        if back > len(topic.offsets) or topic.offsets[-back] < state.log_start_offset:
            return
        waiter = Acks()
        end = state.log_end_offset
        assert self.node.append(self.partition(topic), bytearray(topic.sent[-back]), waiter) == topic.offsets[-back]
        assert (waiter.durable, state.log_end_offset) == (1, end)

    async def read_somewhere(self) -> None:
        topic = self.some_topic()
        partition = self.partition(topic)
        state = partition.state
        offset = self.random.randint(0, state.high_watermark + 1)
        max_bytes = self.random.choice([1, 2_000, 1 << 20])
        if not state.log_start_offset <= offset <= state.log_end_offset:
            with pytest.raises(OffsetOutOfRange):
                await self.node.engine.read_cold(partition, offset, max_bytes)
            return
        try:
            buffers, size = await self.node.engine.read_cold(partition, offset, max_bytes)
        except StorageUnavailable:
            return
        assert size == sum(map(len, buffers))
        found = values_of(buffers)
        assert bool(found) == (offset < state.high_watermark)
        expected = self.bodies(topic)
        assert found == {base: expected[base] for base in found}
        if found:
            first = min(found)
            index = topic.offsets.index(first)
            assert first <= offset < first + read_header(topic.sent[index]).record_count
            assert list(found) == topic.offsets[index : index + len(found)]
            assert size <= max_bytes or len(found) == 1

    async def find_a_time(self) -> None:
        topic = self.some_topic()
        partition = self.partition(topic)
        asked = self.node.clock.ms - self.random.randint(-10, RETENTION_MS)
        start = partition.state.log_start_offset
        try:
            found = await self.node.engine.find_timestamp(partition, asked)
            newest = await self.node.engine.find_max_timestamp(partition)
        except StorageUnavailable:
            return
        records = [
            (base + delta, at)
            for base, batch in zip(topic.offsets, topic.sent, strict=False)
            for delta, (_, at) in enumerate(timestamps(batch))
            if base + delta >= start
        ]
        expected = next(((offset, at) for offset, at in records if at >= asked), None)
        assert (found[:2] if found is not None else None) == expected
        expected = max(records, key=lambda record: (record[1], -record[0]), default=None)
        assert (newest[:2] if newest is not None else None) == expected

    async def retain(self) -> None:
        self.node.clock.ms += self.random.choice([100, RETENTION_MS // 2, RETENTION_MS * 2])
        before = {topic.name: self.partition(topic).state.log_start_offset for topic in self.topics}
        await self.node.retention.check()
        for topic in self.topics:
            state = self.partition(topic).state
            assert before[topic.name] <= state.log_start_offset <= state.high_watermark
            for offset, batch in zip(topic.offsets, topic.sent, strict=True):
                young = read_header(batch).max_timestamp_ms >= self.node.clock.ms - RETENTION_MS
                assert not young or offset >= state.log_start_offset or offset < topic.deleted_to
        try:
            for _ in range(2):
                await self.node.retention.sweep()
                self.node.clock.ms += GRACE_MS
        except StorageUnavailable:
            pass

    async def delete_records(self) -> None:
        """Move the log start anywhere up to the high watermark, into the midst of a batch or beyond the uploads."""
        topic = self.some_topic()
        partition = self.partition(topic)
        state = partition.state
        offset = self.random.randint(0, state.high_watermark)
        before = state.log_start_offset
        asked = HIGH_WATERMARK if offset == state.high_watermark and self.random.random() < 0.5 else offset
        assert await self.node.engine.delete_records(partition, asked) == max(before, offset)
        assert state.log_start_offset == max(before, offset)
        topic.deleted_to = max(topic.deleted_to, offset)
        for beyond in (state.high_watermark + 1, -2):
            with pytest.raises(OffsetOutOfRange):
                await self.node.engine.delete_records(partition, beyond)

    async def delete_records_while_uploading(self) -> None:
        uploading = asyncio.ensure_future(self.node.uploader.upload_once())
        for _ in range(self.random.choice([0, 1, 5, 30])):
            await asyncio.sleep(0)
        await self.delete_records()
        await asyncio.gather(uploading, return_exceptions=True)

    async def restart(self) -> None:
        await self.start_again(self.node.restart)

    async def crash_while_producing(self) -> None:
        topic = self.some_topic()
        await self.make_room()
        for _ in range(self.random.randint(1, SENT_AT_ONCE_MAX)):
            self.make(topic)
        sent = self.send(topic)
        uploading = asyncio.ensure_future(self.node.uploader.upload_once()) if self.random.random() < 0.5 else None
        for _ in range(self.random.choice([0, 1, 3, 20])):
            await asyncio.sleep(0)
        if self.random.random() < 0.5:
            await asyncio.sleep(0.0005)
        if uploading is not None:
            uploading.cancel()
            await asyncio.gather(uploading, return_exceptions=True)
        acknowledged = [offset for waiter, offset in sent if waiter.durable]
        disk = self.node.disk
        assert disk is not None
        # Under wal.sync=interval a power cut may take what is acknowledged.
        how = disk.kill if disk.immediate or self.random.random() < 0.5 else disk.power_cut

        async def begin() -> None:
            self.node.disk = how(asyncio.get_running_loop())
            self.node.wal._stop_timers()
            await self.node.tier.close()
            await self.node.controller.close()
            await self.node.start()

        await self.start_again(begin)
        topic.offsets += acknowledged
        await self.make_room()
        await self.acknowledge(topic, self.send(topic))

    async def start_again(self, begin: Any) -> None:
        # A store that is down would keep a start waiting; that is not what is looked at.
        faults, self.store.faults = self.store.faults, SimObjectFaults()
        epoch = self.node.leader_epoch
        await begin()
        self.store.faults = faults
        assert self.node.leader_epoch > epoch
        for topic in self.topics:
            state = self.partition(topic).state
            assert state.high_watermark == state.log_end_offset
            if topic.offsets:
                assert state.log_end_offset > topic.offsets[-1]

    async def delete_a_topic_while_producing(self) -> None:
        topic = self.some_topic()
        await self.make_room()
        uploading = asyncio.ensure_future(self.node.uploader.upload_once())
        for _ in range(self.random.choice([0, 1, 5, 30])):
            await asyncio.sleep(0)
        self.make(topic)
        sent = self.send(topic)
        await self.node.controller.delete_topics([topic.name])
        await until(lambda: all(waiter.durable + len(waiter.failures) == 1 for waiter, _ in sent))
        await asyncio.gather(uploading, return_exceptions=True)
        await self.create(topic)

    # --- checks

    def bodies(self, topic: Topic) -> dict[int, bytes]:
        return {offset: bytes(batch[21:]) for offset, batch in zip(topic.offsets, topic.sent, strict=False)}

    def check_accounts(self) -> None:
        engine = self.node.engine
        waiting = 0
        for topic in self.topics:
            partition = self.partition(topic)
            assert partition.damage is None
            after = [offset for offset in topic.offsets if offset >= partition.tier_end_offset]
            waiting += len(after)
            size = sum(len(topic.sent[topic.offsets.index(offset)]) for offset in after)
            assert partition.unuploaded_bytes == size
            assert (partition in engine.unuploaded) == bool(size)
            assert len(partition.pending) == 0
        assert engine.unuploaded_bytes == sum(self.partition(topic).unuploaded_bytes for topic in self.topics)
        indexes = [self.partition(topic).wal_index for topic in self.topics]
        charged = 28 * sum(len(index) for index in indexes if index is not None)
        hot = [self.partition(topic) for topic in self.topics]
        kept = sum(entry.size + BATCH_OVERHEAD_BYTES for each in hot for entry in each.hot_entries[each.hot_head :])
        if not self.node.wal.queued_bytes and not self.node.wal._under_way:
            assert engine.hot.bytes_used == charged + kept
            assert self.node.live_records() == waiting

    async def check_everything(self, topic: Topic) -> None:
        self.store.faults = SimObjectFaults()
        partition = self.partition(topic)
        start = partition.state.log_start_offset
        bodies = self.bodies(topic)
        expected = {
            offset: bodies[offset]
            for offset, batch in zip(topic.offsets, topic.sent, strict=True)
            if offset + read_header(batch).record_count > start
        }
        assert values_of(await self.node.read_all(partition)) == expected


@given(st.integers(0, 2**32))
def test_whatever_happens_each_acknowledged_batch_is_there_once(seed: int) -> None:
    asyncio.run(Life(seed).run())


def test_lives_begin_at_the_same_time() -> None:
    assert Life(1).node.clock.ms == NOW_MS
