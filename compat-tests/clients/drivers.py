"""Four clients behind one small interface, so that each test runs with each of them.

All of them produce to, and consume from, one partition that the test names: no groups, no partitioners. A client that
cannot do a thing says so in `lacks`.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import Coroutine, Sequence
from typing import Any, ClassVar, TypeVar

import aiokafka
import aiokafka.admin
import confluent_kafka
import confluent_kafka.admin
import kafka
import kafka.admin
from harness.batches import Record

T = TypeVar("T")
TIMEOUT = 40
"""Seconds after which a client's call has failed."""
OFFSET_UNKNOWN = -1


class Driver:
    """One client library. Offsets come back per record; OFFSET_UNKNOWN where the client does not tell."""

    name: ClassVar[str]
    lacks: ClassVar[frozenset[str]] = frozenset()

    def produce(
        self,
        bootstrap: str,
        topic: str,
        partition: int,
        records: Sequence[Record],
        *,
        codec: str = "none",
        acks: str = "all",
        idempotent: bool = False,
    ) -> list[int]:
        """Produce the records, in order, and wait for all acknowledgements. Raises the client's error."""
        raise NotImplementedError

    def consume(self, bootstrap: str, topic: str, partition: int, count: int, offset: int = 0) -> list[Record]:
        """`count` records from `offset`."""
        raise NotImplementedError

    def offset_at(self, bootstrap: str, topic: str, partition: int, timestamp: int) -> int | None:
        """The first offset with a timestamp at or after this one; None if there is none."""
        raise NotImplementedError

    def create_topic(self, bootstrap: str, topic: str, partitions: int, configs: dict[str, str]) -> None:
        raise NotImplementedError

    def create_partitions(self, bootstrap: str, topic: str, total: int) -> None:
        raise NotImplementedError

    def delete_topic(self, bootstrap: str, topic: str) -> None:
        raise NotImplementedError

    def partition_count(self, bootstrap: str, topic: str) -> int | None:
        """How many partitions the client sees; None if it sees no such topic."""
        raise NotImplementedError


class Kcat(Driver):
    """kcat 1.7 with the librdkafka that Debian ships, years older than confluent-kafka's."""

    name = "kcat"
    lacks = frozenset({"timestamps", "admin", "binary", "produced offsets"})

    def _run(self, *words: str, data: bytes | None = None) -> bytes:
        done = subprocess.run(["kcat", *words], input=data, capture_output=True, timeout=TIMEOUT)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.decode(errors="replace"))
        return done.stdout

    def produce(
        self,
        bootstrap: str,
        topic: str,
        partition: int,
        records: Sequence[Record],
        *,
        codec: str = "none",
        acks: str = "all",
        idempotent: bool = False,
    ) -> list[int]:
        # Headers are per run of the program, so records are sent in runs of equal headers.
        base = ["-P", "-b", bootstrap, "-t", topic, "-p", str(partition), "-z", codec, "-Z", "-K", "\t", "-D", "\n"]
        base += ["-X", f"acks={acks}", "-X", f"enable.idempotence={str(idempotent).lower()}", "-X", "linger.ms=50"]
        start = 0
        while start < len(records):
            headers = records[start].headers
            end = start
            while end < len(records) and records[end].headers == headers:
                end += 1
            flags = [
                word
                for name, value in headers
                for word in ("-H", name if value is None else f"{name}={value.decode()}")
            ]
            lines = [(record.key or b"") + b"\t" + (record.value or b"") for record in records[start:end]]
            self._run(*base, *flags, data=b"\n".join(lines))
            start = end
        return [OFFSET_UNKNOWN] * len(records)

    def consume(self, bootstrap: str, topic: str, partition: int, count: int, offset: int = 0) -> list[Record]:
        words = ["-C", "-b", bootstrap, "-t", topic, "-p", str(partition), "-o", str(offset), "-c", str(count), "-q"]
        output = self._run(*words, "-f", "%o %T %K %S %h\n%k%s\n")
        records, at = [], 0
        while at < len(output):
            line_end = output.index(b"\n", at)
            found, stamp, key_size, value_size, headers = output[at:line_end].split(b" ", 4)
            at = line_end + 1
            key_end = at + max(0, int(key_size))
            value_end = key_end + max(0, int(value_size))
            key = None if int(key_size) < 0 else output[at:key_end]
            value = None if int(value_size) < 0 else output[key_end:value_end]
            pairs = [pair.partition(b"=") for pair in headers.split(b",")] if headers else []
            named = tuple((name.decode(), None if content == b"NULL" else content) for name, _, content in pairs)
            records.append(Record(value, key, named, int(stamp), int(found)))
            at = value_end + 1
        return records

    def offset_at(self, bootstrap: str, topic: str, partition: int, timestamp: int) -> int | None:
        output = self._run("-Q", "-b", bootstrap, "-t", f"{topic}:{partition}:{timestamp}").decode()
        found = re.search(r"offset (-?\d+)", output)
        assert found, output
        return None if int(found[1]) < 0 else int(found[1])

    def partition_count(self, bootstrap: str, topic: str) -> int | None:
        output = self._run("-L", "-b", bootstrap).decode()
        found = re.search(rf'topic "{re.escape(topic)}" with (\d+) partitions', output)
        return int(found[1]) if found else None


class Confluent(Driver):
    """confluent-kafka on librdkafka."""

    name = "confluent-kafka"

    def produce(
        self,
        bootstrap: str,
        topic: str,
        partition: int,
        records: Sequence[Record],
        *,
        codec: str = "none",
        acks: str = "all",
        idempotent: bool = False,
    ) -> list[int]:
        producer = confluent_kafka.Producer(
            {
                "bootstrap.servers": bootstrap,
                "compression.type": codec,
                "acks": acks,
                "enable.idempotence": idempotent,
                "linger.ms": 50,
                "message.timeout.ms": TIMEOUT * 1000,
            }
        )
        results: list[tuple[Any, int]] = []
        for record in records:
            producer.produce(
                topic,
                record.value,
                record.key,
                partition,
                timestamp=record.timestamp,
                headers=list(record.headers),
                on_delivery=lambda error, message: results.append((error, message.offset())),
            )
        assert producer.flush(TIMEOUT) == 0
        for error, _ in results:
            if error is not None:
                raise confluent_kafka.KafkaException(error)
        return [OFFSET_UNKNOWN if offset is None or offset < 0 else offset for _, offset in results]

    def _consumer(self, bootstrap: str) -> confluent_kafka.Consumer:
        return confluent_kafka.Consumer(
            {"bootstrap.servers": bootstrap, "group.id": "by-assignment", "enable.auto.commit": False}
        )

    def consume(self, bootstrap: str, topic: str, partition: int, count: int, offset: int = 0) -> list[Record]:
        consumer = self._consumer(bootstrap)
        try:
            consumer.assign([confluent_kafka.TopicPartition(topic, partition, offset)])
            records: list[Record] = []
            while len(records) < count:
                messages = consumer.consume(count - len(records), TIMEOUT)
                assert messages, f"{len(records)} of {count} records"
                for message in messages:
                    if message.error():
                        raise confluent_kafka.KafkaException(message.error())
                    headers = tuple((name, value) for name, value in message.headers() or ())
                    records.append(
                        Record(message.value(), message.key(), headers, message.timestamp()[1], message.offset())
                    )
            return records
        finally:
            consumer.close()

    def offset_at(self, bootstrap: str, topic: str, partition: int, timestamp: int) -> int | None:
        consumer = self._consumer(bootstrap)
        try:
            (found,) = consumer.offsets_for_times(
                [confluent_kafka.TopicPartition(topic, partition, timestamp)], timeout=TIMEOUT
            )
            return found.offset if found.offset >= 0 else None
        finally:
            consumer.close()

    def _admin(self, bootstrap: str) -> confluent_kafka.admin.AdminClient:
        # To be kept by the caller until its answers are there: collecting it fails them.
        return confluent_kafka.admin.AdminClient({"bootstrap.servers": bootstrap})

    def create_topic(self, bootstrap: str, topic: str, partitions: int, configs: dict[str, str]) -> None:
        asked = confluent_kafka.admin.NewTopic(topic, partitions, 1, config=configs)
        admin = self._admin(bootstrap)
        admin.create_topics([asked])[topic].result(TIMEOUT)

    def create_partitions(self, bootstrap: str, topic: str, total: int) -> None:
        admin = self._admin(bootstrap)
        admin.create_partitions([confluent_kafka.admin.NewPartitions(topic, total)])[topic].result(TIMEOUT)

    def delete_topic(self, bootstrap: str, topic: str) -> None:
        admin = self._admin(bootstrap)
        admin.delete_topics([topic])[topic].result(TIMEOUT)

    def partition_count(self, bootstrap: str, topic: str) -> int | None:
        topics = self._admin(bootstrap).list_topics(timeout=TIMEOUT).topics
        return len(topics[topic].partitions) if topic in topics else None


def _codec_or_none(codec: str) -> str | None:
    return None if codec == "none" else codec


class Aiokafka(Driver):
    """aiokafka, one event loop per call."""

    name = "aiokafka"
    lacks = frozenset({"null key and value"})

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        async def bounded() -> T:
            return await asyncio.wait_for(work, TIMEOUT)

        return asyncio.run(bounded())

    def produce(
        self,
        bootstrap: str,
        topic: str,
        partition: int,
        records: Sequence[Record],
        *,
        codec: str = "none",
        acks: str = "all",
        idempotent: bool = False,
    ) -> list[int]:
        async def work() -> list[int]:
            async with aiokafka.AIOKafkaProducer(
                bootstrap_servers=bootstrap,
                compression_type=_codec_or_none(codec),
                acks=acks if acks == "all" else int(acks),
                enable_idempotence=idempotent,
                linger_ms=50,
            ) as producer:
                futures = [
                    await producer.send(
                        topic,
                        record.value,
                        record.key,
                        partition,
                        timestamp_ms=record.timestamp,
                        headers=list(record.headers),
                    )
                    for record in records
                ]
                answers = [await future for future in futures]
                return [OFFSET_UNKNOWN if answer is None else answer.offset for answer in answers]

        return self._run(work())

    def consume(self, bootstrap: str, topic: str, partition: int, count: int, offset: int = 0) -> list[Record]:
        async def work() -> list[Record]:
            where = aiokafka.TopicPartition(topic, partition)
            async with aiokafka.AIOKafkaConsumer(
                bootstrap_servers=bootstrap, max_partition_fetch_bytes=2 << 20
            ) as consumer:
                consumer.assign([where])
                consumer.seek(where, offset)
                records: list[Record] = []
                while len(records) < count:
                    message = await consumer.getone()
                    records.append(
                        Record(message.value, message.key, tuple(message.headers), message.timestamp, message.offset)
                    )
                return records

        return self._run(work())

    def offset_at(self, bootstrap: str, topic: str, partition: int, timestamp: int) -> int | None:
        async def work() -> int | None:
            where = aiokafka.TopicPartition(topic, partition)
            async with aiokafka.AIOKafkaConsumer(bootstrap_servers=bootstrap) as consumer:
                consumer.assign([where])
                found = (await consumer.offsets_for_times({where: timestamp}))[where]
                return None if found is None else int(found.offset)

        return self._run(work())

    def create_topic(self, bootstrap: str, topic: str, partitions: int, configs: dict[str, str]) -> None:
        asked = aiokafka.admin.NewTopic(topic, partitions, 1, topic_configs=configs)
        self._administrate(bootstrap, lambda admin: admin.create_topics([asked]))

    def create_partitions(self, bootstrap: str, topic: str, total: int) -> None:
        self._administrate(
            bootstrap, lambda admin: admin.create_partitions({topic: aiokafka.admin.NewPartitions(total)})
        )

    def delete_topic(self, bootstrap: str, topic: str) -> None:
        self._administrate(bootstrap, lambda admin: admin.delete_topics([topic]))

    def partition_count(self, bootstrap: str, topic: str) -> int | None:
        found = self._administrate(bootstrap, lambda admin: admin.describe_topics([topic]), check=False)
        return len(found[0]["partitions"]) or None

    def _administrate(self, bootstrap: str, call: Any, *, check: bool = True) -> Any:
        async def work() -> Any:
            admin = aiokafka.admin.AIOKafkaAdminClient(bootstrap_servers=bootstrap)
            await admin.start()
            try:
                answer = await call(admin)
            finally:
                await admin.close()
            if check:
                errors = getattr(answer, "topic_errors", None) or answer.topic_error_codes
                assert all(error[1] == 0 for error in errors), answer
            return answer

        return self._run(work())


class KafkaPython(Driver):
    """kafka-python."""

    name = "kafka-python"
    lacks = frozenset({"null key and value"})

    def produce(
        self,
        bootstrap: str,
        topic: str,
        partition: int,
        records: Sequence[Record],
        *,
        codec: str = "none",
        acks: str = "all",
        idempotent: bool = False,
    ) -> list[int]:
        producer = kafka.KafkaProducer(
            bootstrap_servers=bootstrap,
            compression_type=_codec_or_none(codec),
            acks=acks if acks == "all" else int(acks),
            enable_idempotence=idempotent,
            linger_ms=50,
        )
        try:
            futures = [
                producer.send(
                    topic,
                    record.value,
                    record.key,
                    list(record.headers),
                    partition=partition,
                    timestamp_ms=record.timestamp,
                )
                for record in records
            ]
            producer.flush(TIMEOUT)
            return [future.get(TIMEOUT).offset for future in futures]
        finally:
            producer.close(TIMEOUT)

    def consume(self, bootstrap: str, topic: str, partition: int, count: int, offset: int = 0) -> list[Record]:
        where = kafka.TopicPartition(topic, partition)
        consumer = kafka.KafkaConsumer(
            bootstrap_servers=bootstrap,
            group_id=None,
            max_partition_fetch_bytes=2 << 20,
            consumer_timeout_ms=TIMEOUT * 1000,
        )
        try:
            consumer.assign([where])
            consumer.seek(where, offset)
            records: list[Record] = []
            for message in consumer:
                records.append(
                    Record(message.value, message.key, tuple(message.headers), message.timestamp, message.offset)
                )
                if len(records) == count:
                    break
            return records
        finally:
            consumer.close()

    def offset_at(self, bootstrap: str, topic: str, partition: int, timestamp: int) -> int | None:
        where = kafka.TopicPartition(topic, partition)
        consumer = kafka.KafkaConsumer(bootstrap_servers=bootstrap, group_id=None)
        try:
            consumer.assign([where])
            found = consumer.offsets_for_times({where: timestamp})[where]
            return None if found is None else int(found.offset)
        finally:
            consumer.close()

    def _administrate(self, bootstrap: str, call: Any) -> Any:
        admin = kafka.KafkaAdminClient(bootstrap_servers=bootstrap)
        try:
            return call(admin)
        finally:
            admin.close()

    def create_topic(self, bootstrap: str, topic: str, partitions: int, configs: dict[str, str]) -> None:
        asked = kafka.admin.NewTopic(topic, partitions, 1, topic_configs=configs)
        self._administrate(bootstrap, lambda admin: admin.create_topics([asked]))

    def create_partitions(self, bootstrap: str, topic: str, total: int) -> None:
        self._administrate(bootstrap, lambda admin: admin.create_partitions({topic: kafka.admin.NewPartitions(total)}))

    def delete_topic(self, bootstrap: str, topic: str) -> None:
        self._administrate(bootstrap, lambda admin: admin.delete_topics([topic]))

    def partition_count(self, bootstrap: str, topic: str) -> int | None:
        if topic not in self._administrate(bootstrap, lambda admin: admin.list_topics()):
            return None
        (found,) = self._administrate(bootstrap, lambda admin: admin.describe_topics([topic]))
        return len(found["partitions"])


DRIVERS: tuple[Driver, ...] = (Kcat(), Confluent(), Aiokafka(), KafkaPython())
"""What else the interface promises: a topic named in `create_topic` may take a moment to appear in
`partition_count`."""

SAMPLE_SIZE = 60


def sample_records(driver: Driver) -> list[Record]:
    """Records with what a client can send: null keys and values, headers that repeat or are null, other alphabets,
    old times."""
    base = Record(None).timestamp
    if "binary" in driver.lacks:
        return [
            *(Record(b"value %d " % i + b"x" * 100, b"key %d" % i, timestamp=base) for i in range(SAMPLE_SIZE)),
            Record(b"without a key"),
            Record(None, b"without a value"),
            *(Record(b"with headers %d" % i, b"k", (("name", b"content"), ("name", b"again"))) for i in range(3)),
        ]
    nothing = (
        () if "null key and value" in driver.lacks else (Record(None, None, (("only", b"a header"),), base + 102),)
    )
    return [
        *(Record(b"value %d " % i + bytes(range(256)), b"key %d" % i, timestamp=base + i) for i in range(SAMPLE_SIZE)),
        Record(b"without a key", timestamp=base + 100),
        Record(None, b"without a value", timestamp=base + 101),
        *nothing,
        Record(b"", b"", (), base + 103),
        Record("ключ".encode(), "値".encode(), (("имя", b"\x00\xff"), ("имя", b"twice"), ("empty", b"")), base + 50),
    ]
