"""Members of groups in this process, by three clients: each polls on a thread of its own, so that rebalances go on.

A test sees what a member was assigned, how often, and what it read; `do` lets the thread do something in between two
polls and gives its result.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any, ClassVar, Self

import aiokafka
import confluent_kafka
import kafka
from aiokafka.coordinator.assignors.range import RangePartitionAssignor as AiokafkaRange
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor as AiokafkaSticky
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.structs import OffsetAndMetadata

SESSION_TIMEOUT_MS = 10_000
HEARTBEAT_MS = 300
POLL_SECONDS = 0.1


class Member:
    """One consumer of one topic, from its start to `close`. Strategies are "range" and, where known, others."""

    name: ClassVar[str]
    strategies: ClassVar[tuple[str, ...]]

    def __init__(
        self, bootstrap: str, group: str, topic: str, *, strategy: str = "range", instance: str | None = None
    ) -> None:
        self.bootstrap, self.group, self.topic = bootstrap, group, topic
        self.strategy, self.instance = strategy, instance
        self.assigned: frozenset[int] = frozenset()
        self.kept: frozenset[int] = frozenset()
        """Of what was assigned at `keep`, what was never taken away since."""
        self.assignments = 0
        """How often the group's leader gave this member something."""
        self.read: list[tuple[int, int]] = []
        """(partition, offset), in the order in which they came."""
        self._todo: queue.Queue[tuple[Callable[[], Any], Future[Any]]] = queue.Queue()
        self._ended = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"{self.name} of {group}", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the group as this client does it, and wait for that."""
        self._ended.set()
        self._thread.join(30)
        assert not self._thread.is_alive(), f"{self.name} does not end"
        if self._failure is not None:
            raise self._failure

    def do(self, what: Callable[[], Any]) -> Any:
        """Run on the member's thread, between two polls."""
        done: Future[Any] = Future()
        self._todo.put((what, done))
        return done.result(30)

    def keep(self) -> None:
        """Begin to watch what is taken away."""
        self.kept = self.assigned

    def offsets(self, partition: int) -> list[int]:
        """Those read of a partition, in the order in which they came."""
        return [offset for found, offset in list(self.read) if found == partition]

    def commit(self, partition: int, offset: int, metadata: str = "") -> None:
        self.do(lambda: self.commit_sync(partition, offset, metadata))

    def commit_without_waiting(self, partition: int, offset: int) -> None:
        self.do(lambda: self.commit_async(partition, offset))

    def go_to(self, partition: int, offset: int) -> None:
        def seek() -> None:
            self.seek(partition, offset)
            self.read.clear()

        self.do(seek)

    def _run(self) -> None:
        try:
            self.open()
            try:
                while not self._ended.is_set():
                    self.read += self.poll()
                    self.assigned = frozenset(self.assignment())
                    self.kept &= self.assigned
                    while not self._todo.empty():
                        what, done = self._todo.get()
                        try:
                            done.set_result(what())
                        except BaseException as error:
                            done.set_exception(error)
            finally:
                self.assigned = frozenset()
                self.shut()
        except BaseException as error:
            self._failure = error

    # What each client does its own way, on the member's thread:

    def open(self) -> None:
        raise NotImplementedError

    def poll(self) -> Iterable[tuple[int, int]]:
        raise NotImplementedError

    def assignment(self) -> Iterable[int]:
        raise NotImplementedError

    def commit_sync(self, partition: int, offset: int, metadata: str) -> None:
        raise NotImplementedError

    def commit_async(self, partition: int, offset: int) -> None:
        raise NotImplementedError

    def seek(self, partition: int, offset: int) -> None:
        raise NotImplementedError

    def shut(self) -> None:
        raise NotImplementedError


class ConfluentMember(Member):
    name = "confluent-kafka"
    strategies = ("range", "cooperative-sticky")

    def open(self) -> None:
        self._consumer = confluent_kafka.Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": self.group,
                **({"group.instance.id": self.instance} if self.instance else {}),
                "partition.assignment.strategy": self.strategy,
                "session.timeout.ms": SESSION_TIMEOUT_MS,
                "heartbeat.interval.ms": HEARTBEAT_MS,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
            }
        )
        self._consumer.subscribe([self.topic], on_assign=self._on_assign)

    def _on_assign(self, _: object, __: object) -> None:
        self.assignments += 1

    def poll(self) -> list[tuple[int, int]]:
        messages = self._consumer.consume(100, POLL_SECONDS)
        return [(each.partition(), each.offset()) for each in messages if each.error() is None]

    def assignment(self) -> list[int]:
        return [each.partition for each in self._consumer.assignment()]

    def _at(self, partition: int, offset: int, metadata: str = "") -> confluent_kafka.TopicPartition:
        return confluent_kafka.TopicPartition(self.topic, partition, offset, metadata)

    def commit_sync(self, partition: int, offset: int, metadata: str) -> None:
        (done,) = self._consumer.commit(offsets=[self._at(partition, offset, metadata)], asynchronous=False)
        assert done.error is None, done.error

    def commit_async(self, partition: int, offset: int) -> None:
        self._consumer.commit(offsets=[self._at(partition, offset)], asynchronous=True)

    def seek(self, partition: int, offset: int) -> None:
        self._consumer.seek(self._at(partition, offset))

    def shut(self) -> None:
        self._consumer.close()


class AiokafkaMember(Member):
    name = "aiokafka"
    strategies = ("range", "sticky")

    def open(self) -> None:
        self._runner = asyncio.Runner()
        self._pending: list[asyncio.Task[None]] = []
        self._runner.run(self._open())

    async def _open(self) -> None:
        member = self

        class Listener(aiokafka.ConsumerRebalanceListener):  # type: ignore[misc]
            def on_partitions_revoked(self, revoked: object) -> None:
                """Nothing is to be kept."""

            def on_partitions_assigned(self, assigned: object) -> None:
                member.assignments += 1

        self._consumer = aiokafka.AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap,
            group_id=self.group,
            group_instance_id=self.instance,
            partition_assignment_strategy=(AiokafkaSticky if self.strategy == "sticky" else AiokafkaRange,),
            session_timeout_ms=SESSION_TIMEOUT_MS,
            heartbeat_interval_ms=HEARTBEAT_MS,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        self._consumer.subscribe([self.topic], listener=Listener())
        await self._consumer.start()

    def poll(self) -> list[tuple[int, int]]:
        found = self._runner.run(self._consumer.getmany(timeout_ms=int(POLL_SECONDS * 1000)))
        return [(each.partition, each.offset) for records in found.values() for each in records]

    def assignment(self) -> list[int]:
        return [each.partition for each in self._consumer.assignment()]

    async def _commit(self, partition: int, offset: int, metadata: str = "") -> None:
        await self._consumer.commit({aiokafka.TopicPartition(self.topic, partition): (offset, metadata)})

    def commit_sync(self, partition: int, offset: int, metadata: str) -> None:
        self._runner.run(self._commit(partition, offset, metadata))

    def commit_async(self, partition: int, offset: int) -> None:
        self._pending.append(self._runner.get_loop().create_task(self._commit(partition, offset)))

    def seek(self, partition: int, offset: int) -> None:
        self._consumer.seek(aiokafka.TopicPartition(self.topic, partition), offset)

    def shut(self) -> None:
        async def end() -> None:
            await asyncio.gather(*self._pending)
            await self._consumer.stop()

        self._runner.run(end())
        self._runner.close()


class KafkaPythonMember(Member):
    name = "kafka-python"
    strategies = ("range", "cooperative-sticky")

    def open(self) -> None:
        member = self

        class Listener(kafka.ConsumerRebalanceListener):  # type: ignore[misc]
            def on_partitions_revoked(self, revoked: object) -> None:
                """Nothing is to be kept."""

            def on_partitions_assigned(self, assigned: object) -> None:
                member.assignments += 1

        cooperative = self.strategy == "cooperative-sticky"
        self._consumer = kafka.KafkaConsumer(
            bootstrap_servers=self.bootstrap,
            group_id=self.group,
            group_instance_id=self.instance,
            partition_assignment_strategy=(CooperativeStickyAssignor if cooperative else RangePartitionAssignor,),
            session_timeout_ms=SESSION_TIMEOUT_MS,
            heartbeat_interval_ms=HEARTBEAT_MS,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            # One that joins before it has heard of the topic is assigned nothing, until it asks again.
            metadata_max_age_ms=2_000,
        )
        self._consumer.subscribe([self.topic], listener=Listener())

    def poll(self) -> list[tuple[int, int]]:
        found = self._consumer.poll(timeout_ms=int(POLL_SECONDS * 1000))
        return [(each.partition, each.offset) for records in found.values() for each in records]

    def assignment(self) -> list[int]:
        return [each.partition for each in self._consumer.assignment()]

    def _at(self, partition: int, offset: int, metadata: str = "") -> dict[Any, OffsetAndMetadata]:
        return {kafka.TopicPartition(self.topic, partition): OffsetAndMetadata(offset, metadata, -1)}

    def commit_sync(self, partition: int, offset: int, metadata: str) -> None:
        self._consumer.commit(self._at(partition, offset, metadata))

    def commit_async(self, partition: int, offset: int) -> None:
        self._consumer.commit_async(self._at(partition, offset))

    def seek(self, partition: int, offset: int) -> None:
        self._consumer.seek(kafka.TopicPartition(self.topic, partition), offset)

    def shut(self) -> None:
        self._consumer.close()


MEMBERS: tuple[type[Member], ...] = (ConfluentMember, AiokafkaMember, KafkaPythonMember)
