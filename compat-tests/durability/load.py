"""Idempotent producers under load, a ledger of what was acknowledged where, and the audit of a log against it.

Every record carries its producer's number and a counter. The ledger is written by delivery reports only, so it holds
nothing that the broker did not acknowledge, with the partition and offset that it said.
"""

from __future__ import annotations

import random
import struct
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import confluent_kafka
from harness import wire
from harness.process import Broker

MARK = struct.Struct(">IQ")
Name = tuple[int, int]
"""Which record: producer number and counter."""
Place = tuple[int, int]
"""Where it is: partition and offset."""


class Load:
    """Producers that send at a steady rate until the block ends, over restarts of the broker; then they finish what
    is sent."""

    def __init__(
        self,
        broker: Broker,
        topic: str,
        partitions: int,
        *,
        producers: int = 3,
        per_second: int = 800,
        acks: str = "all",
    ) -> None:
        self._bootstrap = broker.bootstrap
        self._topic = topic
        self._partitions = partitions
        self._per_second = per_second
        self._acks = acks
        self._acknowledged: dict[Name, Place] = {}
        self._errors: list[str] = []
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._produce, args=(number,)) for number in range(producers)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(90)
        if kind is None:
            assert not any(thread.is_alive() for thread in self._threads)
            assert not self._errors, self._errors[:5]

    @property
    def acknowledged_count(self) -> int:
        return len(self._acknowledged)

    def acknowledged(self) -> dict[Name, Place]:
        """The ledger as it is now."""
        return self._acknowledged.copy()

    def _produce(self, number: int) -> None:
        producer = confluent_kafka.Producer(
            {
                "bootstrap.servers": self._bootstrap,
                "enable.idempotence": True,
                "acks": self._acks,
                "linger.ms": 1,
                "message.timeout.ms": 80_000,
                "reconnect.backoff.ms": 20,
                "reconnect.backoff.max.ms": 100,
                "retry.backoff.ms": 20,
                "retry.backoff.max.ms": 200,
                "socket.timeout.ms": 10_000,
                "log_level": 0,
            }
        )
        chance = random.Random(number)
        filler = chance.randbytes(4096)
        started, counter = time.monotonic(), 0
        while not self._stopping.is_set():
            while counter < (time.monotonic() - started) * self._per_second:
                name = (number, counter)
                value = MARK.pack(*name) + filler[: chance.choice((0, 100, 1000, 4000))]
                try:
                    producer.produce(
                        self._topic, value, partition=counter % self._partitions, on_delivery=self._report(name)
                    )
                except BufferError:
                    break
                counter += 1
            producer.poll(0.005)
        if unsent := producer.flush(80):
            self._errors.append(f"producer {number}: {unsent} records neither acknowledged nor failed")

    def _report(self, name: Name) -> Any:
        def on_delivery(error: Any, message: Any) -> None:
            if error is not None:
                self._errors.append(f"{name}: {error}")
            else:
                self._acknowledged[name] = (message.partition(), message.offset())

        return on_delivery


@dataclass
class Audit:
    """A reader of the whole topic, which may go on where it stopped, and what it found."""

    topic: str
    partitions: int
    found: dict[Name, Place] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    """Records twice, holes in the offsets, producers out of order: never excused, whatever was lost."""

    def __post_init__(self) -> None:
        self._next_offset = [0] * self.partitions
        self._last_counter: dict[tuple[int, int], int] = {}

    def read(self, broker: Broker) -> Audit:
        """Read from where the last reading stopped to the high watermarks."""
        with broker.connect() as connection:
            for partition in range(self.partitions):
                for name, offset in self._records(connection, partition):
                    self._note(name, (partition, offset))
        return self

    def _records(self, connection: wire.Connection, partition: int) -> Iterator[tuple[Name, int]]:
        for batch in connection.read_all(self.topic, partition, self._next_offset[partition]):
            for record in batch.records():
                assert record.value is not None
                yield MARK.unpack_from(record.value), record.offset

    def _note(self, name: Name, place: Place) -> None:
        partition, offset = place
        if name in self.found:
            self.faults.append(f"record {name} at {place} and at {self.found[name]}")
        if offset != self._next_offset[partition]:
            self.faults.append(f"offset {offset} after {self._next_offset[partition] - 1} in partition {partition}")
        if self._last_counter.get((name[0], partition), -1) >= name[1]:
            self.faults.append(f"record {name} at {place} behind {self._last_counter[name[0], partition]}")
        self.found[name] = place
        self._next_offset[partition] = offset + 1
        self._last_counter[name[0], partition] = name[1]

    def missing(self, acknowledged: Mapping[Name, Place]) -> Sequence[str]:
        """What was acknowledged and is not there, or is at another place."""
        return [
            f"record {name} acknowledged at {place}, found at {self.found.get(name)}"
            for name, place in acknowledged.items()
            if self.found.get(name) != place
        ]
