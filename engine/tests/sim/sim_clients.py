"""Clients of the simulated broker: actors whose fields outlive the broker's lives, while `run` is begun in each life.

They call the engine as the gateway does: a produce request waits while the engine holds producers back, is appended in
one call and answered when its batches are durable; a fetch reads memory, then cold, and waits for what becomes visible.
A connection may break at any moment; the client then does not know what became of its request, and sends it again.
"""

import asyncio
from random import Random
from typing import TYPE_CHECKING

from engine_support import make_batch
from sim_model import PartitionModel, Sent

from tailrace_core.errors import (
    InvalidProducerEpoch,
    OffsetOutOfRange,
    OutOfOrderSequence,
    TailraceError,
    UnknownTopicId,
    UnknownTopicOrPartition,
)
from tailrace_core.membership import (
    ConfigChange,
    ConfigResource,
    CreatedTopic,
    NewPartitions,
    NewTopic,
    ResourceType,
    Topic,
    TopicDefaults,
)
from tailrace_engine.api import Partition

if TYPE_CHECKING:
    from sim_world import World

IN_FLIGHT_MAX = 5
REQUEST_SECONDS = 20.0
CONFIGS = (
    {"retention.ms": "5000"},
    {"retention.ms": "-1"},
    {"retention.bytes": "40000", "retention.ms": "-1"},
    {"retention.ms": "600000"},
    {"retention.ms": "5000", "message.timestamp.type": "LogAppendTime"},
    {"retention.ms": "600000", "compression.type": "gzip"},
    {"retention.ms": "-1", "compression.type": "lz4", "message.timestamp.type": "LogAppendTime"},
)


class Client:
    """What all of them do."""

    def __init__(self, world: "World", name: str) -> None:
        self.world = world
        self.name = name
        self.random = Random(f"{world.seed}/{name}")

    def say(self, what: str) -> None:
        self.world.trace(self.name, what)

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(self.random.random() * seconds)

    async def network(self) -> None:
        await asyncio.sleep(self.random.uniform(0.00005, 0.001))

    def some_partition(self) -> tuple[Topic, int] | None:
        """A partition as a client finds it in the metadata."""
        topics = [topic for topic in self.world.membership.image.topics if not topic.is_internal]
        if not topics:
            return None
        topic = self.random.choice(topics)
        return topic, self.random.randrange(topic.partition_count)

    async def run(self) -> None:
        raise NotImplementedError


class Reply:
    """An AppendWaiter for one batch of a request."""

    def __init__(self, waiting: "Request") -> None:
        self.waiting = waiting
        self.durable = False
        self.base = self.append_time_ms = -1

    def on_appended(self, ordinal: int, base_offset: int, log_append_time_ms: int) -> None:
        self.base, self.append_time_ms = base_offset, log_append_time_ms

    def on_durable(self) -> None:
        self.durable = True
        self.waiting.tell()

    def on_append_failed(self, ordinal: int, error: TailraceError) -> None:
        self.waiting.failed = error
        self.waiting.tell()


class Request:
    """Told when the last of its batches is."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.told = 0
        self.failed: TailraceError | None = None
        self.answered = asyncio.get_running_loop().create_future()
        self.is_sent = False

    def tell(self) -> None:
        self.told += 1
        if self.is_sent and self.told == len(self.replies) and not self.answered.done():
            self.answered.set_result(None)


class Producer(Client):
    """Sends batches of one partition in order, up to five at once."""

    def __init__(self, world: "World", name: str, idempotent: bool) -> None:
        super().__init__(world, name)
        self.idempotent = idempotent
        self.model: PartitionModel | None = None
        self.topic: Topic | None = None
        self.partition = 0
        self.producer_id = -1
        self.next_sequence = 0
        self.acknowledged_end = 0
        self.outstanding: list[Sent] = []
        self.count = 0

    async def run(self) -> None:
        while self.world.producing or self.outstanding:
            if self.topic is None or (not self.outstanding and self.random.random() < 0.03):
                await self.choose()
            if self.topic is not None:
                await self.request()
            await self.pause(self.random.choice([0.0, 0.002, 0.02, 0.3]))

    async def choose(self) -> None:
        found = self.some_partition()
        if found is None:
            await self.pause(0.2)
            return
        if self.idempotent:
            try:
                self.producer_id = await self.world.membership.allocate_producer_ids(1)
            except TailraceError:
                return
        self.topic, self.partition = found
        self.next_sequence = self.acknowledged_end = 0
        self.model = self.world.models[self.topic.topic_id].partitions[self.partition]

    def make(self) -> None:
        assert self.model is not None
        count = self.random.choice([1, 1, 1, 3])
        now_ms = self.world.clock.true_ms()
        self.count += 1
        value = b"%s/%d/" % (self.name.encode(), self.count) + bytes(self.random.choice([0, 100, 1_000, 4_000]))
        producer = (self.producer_id, 0, self.next_sequence) if self.idempotent else (-1, -1, -1)
        data = bytes(make_batch([now_ms] * count, value, producer=producer))
        sent = Sent(data, self.idempotent, now_ms, count)
        self.next_sequence += count
        self.outstanding.append(sent)
        self.model.send(sent)

    async def request(self) -> None:
        """One request, and what came back of it."""
        assert self.topic is not None
        if self.world.producing:
            for _ in range(self.random.randint(1, IN_FLIGHT_MAX) - len(self.outstanding)):
                self.make()
        batches = self.outstanding[:IN_FLIGHT_MAX]
        request = Request()
        await self.network()
        await self.world.room()
        engine = self.world.engine
        error: TailraceError | None = None
        for sent in batches:
            reply = Reply(request)
            request.replies.append(reply)
            try:
                partition = engine.partition_by_id(self.topic.topic_id, self.partition)
                data = memoryview(bytearray(sent.data))
                reply.base, reply.append_time_ms = engine.append(partition, data, reply, len(request.replies))
            except TailraceError as refused:
                request.replies.pop()
                error = refused
                break
        request.is_sent = True
        if request.told >= len(request.replies) and not request.answered.done():
            request.answered.set_result(None)
        if isinstance(error, UnknownTopicId | UnknownTopicOrPartition):
            self.say(f"{self.topic.name} is gone")
            self.topic, self.outstanding = None, []
            return
        breaks = self.random.random() < 0.15
        try:
            async with asyncio.timeout(self.random.random() * 0.003 if breaks else REQUEST_SECONDS):
                await request.answered
                await self.network()
        except TimeoutError:
            self.say(f"lost the connection, {len(batches)} batches are in doubt")
            return
        if self.random.random() < 0.05:
            self.say(f"lost the answer for {len(batches)} batches")
            return
        acknowledged = 0
        for sent, reply in zip(batches, request.replies, strict=False):
            if not reply.durable:
                break
            assert self.model is not None
            self.model.acknowledge(reply.base, reply.append_time_ms, sent, self.name)
            self.acknowledged_end = reply.base + sent.record_count
            acknowledged += 1
        del self.outstanding[:acknowledged]
        where = f"{self.topic.name}-{self.partition}"
        if acknowledged:
            self.say(
                f"{acknowledged} batches are acknowledged in {where} up to {request.replies[acknowledged - 1].base}"
            )
        problem = error or request.failed
        if problem is not None:
            self.say(f"{where}: {type(problem).__name__}")
            if isinstance(problem, OutOfOrderSequence | InvalidProducerEpoch):
                assert self.model is not None
                if not self.model.may_be_forgotten(self.acknowledged_end):
                    self.world.fail(f"{self.name} sends its batches in order and is told {problem!r}")
                self.topic, self.outstanding = None, []  # as Kafka's clients: a new epoch
                return
            await self.pause(0.3)
        elif not self.idempotent:
            # It does not send again what may be there: the rest is given up.
            self.outstanding.clear()


class Consumer(Client):
    """Follows a partition, and now and then jumps back to where it was or to another one."""

    def __init__(self, world: "World", name: str) -> None:
        super().__init__(world, name)
        self.topic: Topic | None = None
        self.partition = 0
        self.position = 0

    async def run(self) -> None:
        while True:
            if self.topic is None or self.random.random() < 0.02:
                found = self.some_partition()
                if found is None:
                    await self.pause(0.2)
                    continue
                self.topic, self.partition = found
                self.position = 0
            try:
                await self.fetch()
            except (UnknownTopicId, UnknownTopicOrPartition):
                self.topic = None
            except OffsetOutOfRange:
                pass  # the log start has moved meanwhile
            except TailraceError as error:
                self.say(f"cannot read: {type(error).__name__}")
                await self.pause(0.5)
            await self.pause(self.random.choice([0.0, 0.005, 0.1]))

    async def fetch(self) -> None:
        assert self.topic is not None
        engine = self.world.engine
        await self.network()
        partition = engine.partition_by_id(self.topic.topic_id, self.partition)
        model = self.world.models[self.topic.topic_id].partitions[self.partition]
        state = partition.state
        if self.random.random() < 0.05:
            self.position = self.random.randint(state.log_start_offset, state.high_watermark)
        if model.has_lost:
            self.position = min(self.position, state.high_watermark)
        if self.position > state.log_end_offset:
            self.world.fail(
                f"{self.name} read {partition.name} up to {self.position}, now it ends at {state.log_end_offset}"
            )
        if self.position < state.log_start_offset:
            self.position = state.log_start_offset
        max_bytes = self.random.choice([1, 3_000, 1 << 20])
        found = engine.read(partition, self.position, max_bytes, True)
        if found is None:
            found = await engine.read_cold(partition, self.position, max_bytes)
        elif not found[0]:
            await self.wait(partition)
            return
        if found[0]:
            before, self.position = self.position, model.check_read(self.position, found[0], self.name)
            self.say(f"read {partition.name} from {before} to {self.position}")

    async def wait(self, partition: Partition) -> None:
        waiter = Visible()
        partition.visibility_waiters[waiter] = None
        try:
            async with asyncio.timeout(0.5):
                await waiter.seen.wait()
        except TimeoutError:
            pass
        finally:
            partition.visibility_waiters.pop(waiter, None)


class Visible:
    """A VisibilityWaiter."""

    def __init__(self) -> None:
        self.seen = asyncio.Event()

    def on_visible(self, size: int) -> None:
        self.seen.set()

    def on_partition_gone(self) -> None:
        self.seen.set()


class Auditor(Client):
    """Reads everything once, from the log start to the high watermark that stood at the beginning."""

    async def run(self) -> None:
        for topic in list(self.world.membership.image.topics):
            if not topic.is_internal:
                for index in range(topic.partition_count):
                    await self.audit(topic, index)

    async def audit(self, topic: Topic, index: int) -> None:
        engine = self.world.engine
        model = self.world.models[topic.topic_id].partitions[index]
        position, end = -1, -1
        batches = 0
        while position < end or end < 0:
            try:
                partition = engine.partition_by_id(topic.topic_id, index)
                state = partition.state
                end = state.high_watermark if end < 0 else end
                position = max(position, state.log_start_offset)
                if position >= end:
                    break
                buffers, _ = await engine.read_cold(partition, position, self.random.choice([3_000, 1 << 20]))
                if not buffers:
                    self.world.fail(f"{partition.name}: nothing is at offset {position}, below {end}")
                position = model.check_read(position, buffers, self.name)
                batches += len(buffers)
            except (UnknownTopicId, UnknownTopicOrPartition):
                return
            except OffsetOutOfRange:
                continue
            except TailraceError as error:
                self.say(f"cannot read: {type(error).__name__}")
                await self.pause(0.5)
        self.say(f"read all of {topic.name}-{index} up to {end}")


class Admin(Client):
    """Makes, changes, grows and deletes topics, and deletes records."""

    def __init__(self, world: "World", name: str, topic_names: list[str]) -> None:
        super().__init__(world, name)
        self.topic_names = topic_names

    async def run(self) -> None:
        while True:
            try:
                await self.act()
            except TailraceError as error:
                self.say(f"is told {type(error).__name__}")
            await self.pause(1.5 if self.world.membership.image.topics else 0.01)

    async def act(self) -> None:
        membership = self.world.membership
        missing = [name for name in self.topic_names if membership.image.topic(name) is None]
        if missing:
            configs = self.random.choice(CONFIGS)
            new = NewTopic(missing[0], self.random.choice([1, 1, 2]), configs=configs)
            self.world.configs_asked(missing[0], configs)
            (created,) = await membership.create_topics([new], TopicDefaults())
            self.say(f"created {missing[0]}: {type(created).__name__}")
            if isinstance(created, CreatedTopic):
                self.world.model_of(created.topic)
            return
        topic = self.random.choice([topic for topic in membership.image.topics if not topic.is_internal])
        model = self.world.model_of(topic)
        what = self.random.random()
        if what < 0.15:
            model.deletion_asked = True
            (answer,) = await membership.delete_topics([topic.topic_id])
            self.say(f"deleted {topic.name}: {type(answer).__name__}")
        elif what < 0.3:
            (answer,) = await membership.create_partitions([NewPartitions(topic.name, topic.partition_count + 1)])
            self.say(f"grew {topic.name}: {type(answer).__name__}")
        elif what < 0.6:
            configs = self.random.choice(CONFIGS)
            self.world.configs_asked(topic.name, configs)
            changes = [ConfigChange(key, value) for key, value in configs.items()]
            await membership.alter_configs(ConfigResource(ResourceType.TOPIC, topic.name), changes, replaces=True)
            self.say(f"set {topic.name} to {configs}")
        else:
            index = self.random.randrange(topic.partition_count)
            partition = self.world.engine.partition_by_id(topic.topic_id, index)
            high_watermark = partition.state.high_watermark
            asked = self.random.randint(partition.state.log_start_offset, high_watermark)
            each = model.partitions[index]
            each.deletable_end = max(each.deletable_end, asked)
            await self.world.engine.delete_records(partition, asked)
            self.say(f"deleted records of {partition.name} below {asked}")
            if partition.state.log_start_offset < asked and not partition.deleted:
                self.world.fail(f"{partition.name}: records below {asked} were deleted, the log starts before")
