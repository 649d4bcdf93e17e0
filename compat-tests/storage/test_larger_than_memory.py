"""Far more data than the hot log may hold: written, tailed while it is written, and read again from the start.

Checksums are per partition over keys and values in order, so a record lost, twice, or in another place is found.
"""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import confluent_kafka
import pytest
from harness.process import Broker, Setting, poll

MIB = 1 << 20
HOT_BYTES = 64 * MIB
RESIDENT_BYTES_MAX = 420 * MIB
PARTITIONS = 4
VALUE_BYTES = 8192


class Checksums:
    """A digest and a count per partition."""

    def __init__(self) -> None:
        self._digests = [hashlib.blake2b(digest_size=16) for _ in range(PARTITIONS)]
        self.count = 0

    def add(self, partition: int, key: bytes, value: bytes) -> None:
        self._digests[partition].update(key)
        self._digests[partition].update(value)
        self.count += 1

    def result(self) -> list[str]:
        return [digest.hexdigest() for digest in self._digests]


class Memory:
    """The largest resident size of the broker while the block runs, looked at often."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.largest = 0

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.05):
            self.largest = max(self.largest, self._broker.resident_bytes())


def consume(bootstrap: str, topic: str, count: int, sums: Checksums, timeout: float) -> None:
    """Add `count` records from the start of all partitions; stops short, for the caller to notice, after `timeout`
    seconds."""
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "by-assignment",
            "enable.auto.commit": False,
            "queued.max.messages.kbytes": 32 * 1024,
            "fetch.message.max.bytes": 4 * MIB,
        }
    )
    consumer.assign([confluent_kafka.TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
    deadline = time.monotonic() + timeout
    while sums.count < count and time.monotonic() < deadline:
        for message in consumer.consume(500, 1.0):
            assert message.error() is None, message.error()
            sums.add(message.partition(), message.key(), message.value())
    consumer.close()


def produce(bootstrap: str, topic: str, total_bytes: int, sums: Checksums) -> None:
    failed: list[Any] = []
    producer = confluent_kafka.Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "linger.ms": 5,
            "queue.buffering.max.kbytes": 64 * 1024,
        }
    )
    pool = random.Random(1).randbytes(4 * MIB)
    for number in range(total_bytes // VALUE_BYTES):
        key, start = b"%d" % number, (number * 7919) % (len(pool) - VALUE_BYTES)
        value, partition = pool[start : start + VALUE_BYTES], number % PARTITIONS
        while True:
            try:
                producer.produce(
                    topic, value, key, partition, on_delivery=lambda error, _: error and failed.append(error)
                )
                break
            except BufferError:
                producer.poll(0.05)
        sums.add(partition, key, value)
        producer.poll(0)
    assert producer.flush(120) == 0
    assert not failed, failed[:3]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("total_mib", [256, pytest.param(2048, marks=pytest.mark.full)])
def test_a_late_and_a_tailing_consumer_read_all_that_was_written(
    start_broker: Callable[..., Broker], tmp_path: Path, total_mib: int
) -> None:
    broker = start_broker(tmp_path, {Setting.HOT_BYTES: HOT_BYTES, Setting.UPLOAD_BYTES: 32 * MIB})
    with broker.connect() as connection:
        topic = connection.create_usable_topic("large", PARTITIONS)
    count, timeout = total_mib * MIB // VALUE_BYTES, 60 + total_mib / 4
    written, tailed, late = Checksums(), Checksums(), Checksums()
    tailing = threading.Thread(target=consume, args=(broker.bootstrap, topic, count, tailed, timeout))
    catching_up = threading.Thread(target=consume, args=(broker.bootstrap, topic, count, late, timeout))
    started = time.monotonic()
    with Memory(broker) as memory:
        tailing.start()
        writing = threading.Thread(target=produce, args=(broker.bootstrap, topic, total_mib * MIB, written))
        writing.start()
        poll(
            "three quarters are written",
            lambda: written.count > count * 3 // 4 or not writing.is_alive(),
            timeout=timeout,
        )
        catching_up.start()
        for thread in (writing, tailing, catching_up):
            thread.join(timeout)
    print(
        f"{total_mib} MiB in {time.monotonic() - started:.1f} s, largest resident size {memory.largest / MIB:.0f} MiB"
    )
    assert (written.count, tailed.count, late.count) == (count, count, count)
    assert tailed.result() == written.result()
    assert late.result() == written.result()
    if broker.bounds_memory:
        assert memory.largest <= RESIDENT_BYTES_MAX

    broker.kill()
    broker.start()
    again = Checksums()
    consume(broker.bootstrap, topic, count, again, timeout)
    assert again.result() == written.result(), "after a restart"
