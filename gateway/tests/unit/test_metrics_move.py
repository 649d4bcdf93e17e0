"""Every metric of the table moves when what it counts happens: one broker in this process, driven through all of it."""

import asyncio
import gc
import re
import struct
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from tailrace_core.errors import DataCorrupt
from tailrace_core.membership import (
    ConfigChange,
    ConfigOperation,
    ConfigResource,
    CreatedTopic,
    NewTopic,
    ResourceType,
    TopicDefaults,
)
from tailrace_core.monitoring.alerts import ALERTS
from tailrace_core.monitoring.dashboard import ROWS
from tailrace_core.settings_load import load
from tailrace_core.telemetry import METRICS, Kind
from tailrace_engine.coordinator.group_messages import CommitOffsets, JoinGroup, OffsetToCommit
from tailrace_engine.log.batch_builder import BatchBuilder, bytes_max
from tailrace_engine.runtime.shard_owner import ShardOwner
from tailrace_gateway.broker import Broker
from tailrace_gateway.kafka import schema
from tailrace_gateway.kafka.schema import Message
from tailrace_gateway.kafka.schema.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from tailrace_gateway.kafka.schema.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData

SETTINGS = (
    "kafka.listeners=PLAINTEXT://127.0.0.1:0",
    "http.listen=127.0.0.1:0",
    "wal.backend=buffered",
    "wal.segment_bytes=4194304",
    "wal.capacity_bytes=33554432",
    "engine.hot_bytes=8388608",
    "upload.interval_ms=50",
    "object_store.sweep_interval_ms=20",
    "object_store.delete_grace_ms=0",
    "max.incremental.fetch.session.cache.slots=1",
)
DEADLINE_SECONDS = 30.0
RecordBatch = Callable[..., bytes]

Samples = dict[str, float]


class Driven:
    """The broker, what does something to it, and every figure that was ever scraped of it."""

    def __init__(self, broker: Broker, record_batch: RecordBatch) -> None:
        self.broker = broker
        self.record_batch = record_batch
        self.scraped: list[Samples] = []

    async def scrape(self) -> Samples:
        """/metrics, as Prometheus asks for it."""

        def ask() -> str:
            connection = HTTPConnection("127.0.0.1", self.broker.http.port, timeout=DEADLINE_SECONDS)
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
            connection.close()
            return text

        lines = [line for line in (await asyncio.to_thread(ask)).splitlines() if line[0] != "#"]
        self.scraped.append({name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)})
        return self.scraped[-1]

    async def until(self, is_so: Callable[[Samples], bool]) -> None:
        """Scrape until it is so."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not is_so(await self.scrape()):
            assert time.monotonic() < deadline, self.scraped[-1]
            await asyncio.sleep(0.01)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.broker.listeners[0].port)

    def frame(self, request: Message, version: int) -> bytes:
        flexible = b"\0" if schema.request_header_version(request.api_key, version) == 2 else b""
        body = struct.pack(">hhih", request.api_key, version, 7, -1) + flexible + request.encoder(version)(request)
        return struct.pack(">i", len(body)) + body

    async def ask(self, request: Message, version: int) -> Any:
        reader, writer = await self.connect()
        key = request.api_key
        writer.write(self.frame(request, version))
        frame = await reader.readexactly(struct.unpack(">i", await reader.readexactly(4))[0])
        writer.close()
        start = 5 if schema.response_header_version(key, version) else 4
        return schema.response(key).decoder(version)(memoryview(frame), start)[0]

    async def topic(self, name: str, **configs: str) -> None:
        new = NewTopic(name, 1, configs={key.replace("_", "."): value for key, value in configs.items()})
        (created,) = await self.broker.membership.create_topics([new], TopicDefaults())
        assert isinstance(created, CreatedTopic), created

    async def produce(self, topic: str, batch: bytes) -> int:
        data = [TopicProduceData(name=topic, partition_data=[PartitionProduceData(index=0, records=batch)])]
        response = await self.ask(ProduceRequest(acks=-1, timeout_ms=30_000, topic_data=data), 9)
        code: int = response.responses[0].partition_responses[0].error_code
        return code

    def fetch_request(self, topic: str, offset: int, size: int, session_epoch: int = -1) -> FetchRequest:
        asked = FetchPartition(partition=0, fetch_offset=offset, partition_max_bytes=size)
        topics = [FetchTopic(topic=topic, partitions=[asked])]
        return FetchRequest(max_wait_ms=100, min_bytes=1, max_bytes=size, topics=topics, session_epoch=session_epoch)

    async def fetch(self, topic: str, offset: int, session_epoch: int = -1) -> Any:
        return await self.ask(self.fetch_request(topic, offset, 1 << 20, session_epoch), 11)

    def error_of(self, response: Any) -> int:
        code: int = response.responses[0].partitions[0].error_code
        return code

    def note(self, name: str) -> None:
        """What a scrape at this very moment would tell of a gauge."""
        self.scraped.append({name: float(sum(read() for _, read in self.broker.registry.reads[name]))})


async def processes(driven: Driven) -> None:
    gc.collect()
    await driven.scrape()


async def clients(driven: Driven) -> None:
    await driven.topic("plain")
    batch = driven.record_batch([1, 2, 3], (5, 0, 0))
    assert await driven.produce("plain", batch) == 0
    assert await driven.produce("absent", batch) == 3
    reader, writer = await driven.connect()
    writer.write(struct.pack(">i", -1))
    assert await reader.read() == b""
    writer.close()
    all_brokers = ConfigResource(ResourceType.BROKER, "")
    await driven.until(lambda found: found["tailrace_connections"] == 0)
    await driven.broker.membership.alter_configs(all_brokers, [ConfigChange("max.connections", "1")])
    _, kept = await driven.connect()
    await driven.until(lambda found: found["tailrace_connections"] == 1)
    beyond, other = await driven.connect()
    assert await beyond.read() == b""
    other.close()
    kept.close()
    change = ConfigChange("max.connections", None, ConfigOperation.DELETE)
    await driven.broker.membership.alter_configs(all_brokers, [change])


async def fetch_sessions(driven: Driven) -> None:
    sessions = driven.broker.services.fetch_sessions
    sessions._eviction_ms = -1  # two minutes else
    for _ in range(2):
        assert (await driven.fetch("plain", 0, session_epoch=0)).session_id != 0
    await driven.scrape()


async def recompression(driven: Driven) -> None:
    await driven.topic("gzipped", compression_type="gzip")
    assert await driven.produce("gzipped", driven.record_batch([1_700_000_000_000] * 2_000)) == 0
    await driven.scrape()


async def a_store_that_is_away(driven: Driven) -> None:
    objects = driven.broker.settings.broker.data_dir / "objects"
    await driven.until(lambda found: found["tailrace_uploaded_objects_total"] > 0)
    (objects / "data").rename(objects / "elsewhere")
    (objects / "data").write_bytes(b"a file where the folder belongs: every put fails")
    await driven.topic("tiered")
    batch = driven.record_batch(range(60_000))
    while not driven.broker.engine.throttle_time_ms:
        assert await driven.produce("tiered", batch) == 0
    assert await driven.produce("tiered", batch) == 0
    await driven.until(lambda found: found['tailrace_object_errors_total{operation="put"}'] > 0)
    assert driven.error_of(await driven.fetch("tiered", 0)) == 0
    _, writer = await driven.connect()
    writer.write(driven.frame(driven.fetch_request("tiered", 0, 16 << 20), 11))
    await driven.until(lambda found: found["tailrace_response_pending_bytes"] > 0)
    writer.close()
    (objects / "data").unlink()
    (objects / "elsewhere").rename(objects / "data")
    await driven.until(lambda found: found["tailrace_upload_pending_bytes"] == 0)


async def old_data(driven: Driven) -> None:
    data = driven.broker.settings.broker.data_dir / "objects" / "data"
    path = max(data.iterdir(), key=lambda one: one.stat().st_size)
    intact = path.read_bytes()
    path.write_bytes(intact[:1_000] + bytes([intact[1_000] ^ 1]) + intact[1_001:])
    assert driven.error_of(await driven.fetch("tiered", 0)) == 56
    path.write_bytes(intact)
    for _ in range(2):
        assert driven.error_of(await driven.fetch("tiered", 60_000)) == 0
    await driven.scrape()
    await driven.broker.membership.delete_topics(["tiered"])
    await driven.until(lambda found: found["tailrace_deleted_objects_total"] > 0)


async def groups(driven: Driven) -> None:
    coordinator = driven.broker.groups
    await coordinator.ensure_topic()
    outcomes: list[Any] = []
    coordinator.ask(
        "g", CommitOffsets("g", -1, "", None, (OffsetToCommit("t", bytes(16), 0, 5, -1, ""),)), outcomes.append
    )
    joining = JoinGroup("h", "", None, "c", "/1", 10_000, 10_000, "consumer", (("range", b""),), False, False)
    coordinator.ask("h", joining, outcomes.append)
    coordinator.ask("h", joining._replace(requires_known_member_id=True), outcomes.append)
    await driven.until(lambda found: found["tailrace_group_offsets"] == 1)
    owner = coordinator._places[coordinator.partition_for("g")]
    assert isinstance(owner, ShardOwner)
    owner.close("to see it read anew")
    driven.note("tailrace_coordinator_loading")
    loads = 'tailrace_coordinator_loads_total{topic="__consumer_offsets"}'
    await driven.until(lambda found: found[loads] > 0)


async def compaction(driven: Driven) -> None:
    engine, coordinator = driven.broker.engine, driven.broker.groups
    used = {coordinator.partition_for("g"), coordinator.partition_for("h")}
    partition = engine.partition("__consumer_offsets", min(set(range(50)) - used))
    record = [(b"the same key", bytes(10_000))]

    async def write() -> None:
        for _ in range(120):
            batch = BatchBuilder()
            batch.add(record, bytes_max(record))
            engine.append(partition, memoryview(batch.finish(driven.broker.clock.now_ms())), None, 0)
        driven.note("tailrace_produce_in_flight_bytes")

    await write()
    await driven.until(lambda found: found["tailrace_compaction_runs_total"] > 0)
    await driven.broker.uploader.flush()
    for name in await driven.broker.store.list_keys("data/"):
        await driven.broker.store.delete(name)
    await write()
    await driven.until(lambda found: found["tailrace_compaction_failures_total"] > 0)


async def faults(driven: Driven) -> None:
    engine, wal = driven.broker.engine, driven.broker.wal
    engine.take_offline(engine.partition("plain", 0), DataCorrupt("planted"))
    wal._fence(OSError("planted"))
    await driven.scrape()


DRIVES = (processes, clients, fetch_sessions, recompression, a_store_that_is_away, old_data, groups, compaction, faults)


def row_of(sample: str) -> str:
    """The metric's name in the table."""
    name = sample.partition("{")[0]
    for ending in ("_bucket", "_sum", "_count"):
        if name.endswith(ending) and name.removesuffix(ending) in HISTOGRAMS:
            return name.removesuffix(ending)
    return name


HISTOGRAMS = {row.name for row in METRICS if row.kind is Kind.HISTOGRAM}


def test_every_metric_moves_and_whatever_is_watched_is_there(tmp_path: Path, record_batch: RecordBatch) -> None:
    async def run() -> list[Samples]:
        broker = Broker(load(None, {}, [*SETTINGS, f"broker.data_dir={tmp_path / 'data'}"]))
        await broker.start()
        driven = Driven(broker, record_batch)
        await driven.scrape()
        try:
            for drive in DRIVES:
                await drive(driven)
        finally:
            await broker.stop()
        return driven.scraped

    thresholds, callbacks = gc.get_threshold(), gc.callbacks[:]
    try:
        scraped = asyncio.run(run())
    finally:
        gc.set_threshold(*thresholds)
        gc.callbacks[:] = callbacks
        gc.unfreeze()
    first, values = scraped[0], {}
    for samples in scraped:
        for sample, value in samples.items():
            values.setdefault(sample, set()).add(value)
    told = {row_of(sample) for sample, found in values.items() if found != {0}}
    grown = {row_of(sample) for sample, found in values.items() if found != {first.get(sample, 0)}}
    counted = {row.name for row in METRICS if row.kind is not Kind.GAUGE}
    assert sorted(told) == sorted(row.name for row in METRICS)
    assert sorted(counted - grown) == []

    names = {sample.partition("{")[0] for sample in values}
    expressions = [query.expression for _, panels in ROWS for panel in panels for query in panel.queries]
    expressions += [alert.expression for alert in ALERTS]
    watched = {name for one in expressions for name in re.findall(r"\b(?:tailrace|process)_\w+", one)}
    assert sorted(watched - names) == []
