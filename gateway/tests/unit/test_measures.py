"""Every metric has a source, and moves when what it counts happens: a whole broker in this process."""

import asyncio
import gc
import re
import struct
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest

from tailrace_core.membership import CreatedTopic, NewTopic, TopicDefaults
from tailrace_core.settings_load import load
from tailrace_engine.coordinator.group_messages import CommitOffsets, JoinGroup, OffsetToCommit
from tailrace_engine.log.batch_builder import BatchBuilder, bytes_max
from tailrace_engine.runtime.shard_owner import ShardOwner
from tailrace_gateway.broker import Broker
from tailrace_gateway.kafka import schema
from tailrace_gateway.kafka.schema import Message
from tailrace_gateway.kafka.schema.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from tailrace_gateway.kafka.schema.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from tailrace_gateway.observability.exporter import Exporter
from tailrace_gateway.observability.measures import WalLeft

SETTINGS = (
    "kafka.listeners=PLAINTEXT://127.0.0.1:0",
    "http.listen=127.0.0.1:0",
    "wal.backend=buffered",
    "wal.segment_bytes=4194304",
    "wal.capacity_bytes=67108864",
    "engine.hot_bytes=8388608",
    "upload.interval_ms=50",
)
DEADLINE_SECONDS = 20.0
YEAR_SECONDS = 365 * 86_400

RecordBatch = Callable[[Sequence[int]], bytes]
Case = Callable[["Node"], Awaitable[None]]


class Node:
    """The broker and its client's side."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self._exporter = Exporter(broker.registry)

    async def metrics(self) -> dict[str, float]:
        """Samples by name and labels, as they are written."""
        lines = (await self._exporter.scrape()).splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}

    async def moved(self, name: str, least: float = 1) -> dict[str, float]:
        """The metrics, once the named one is at least so much."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while (found := await self.metrics()).get(name, 0) < least:
            assert time.monotonic() < deadline, f"{name} stayed at {found.get(name)}"
            await asyncio.sleep(0.02)
        return found

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.broker.listeners[0].port)

    async def send_raw(self, frame: bytes) -> bytes:
        """What comes until the broker closes the connection."""
        reader, writer = await self.connect()
        writer.write(frame)
        came = await reader.read()
        writer.close()
        return came

    async def ask(self, request: Message, version: int) -> Any:
        reader, writer = await self.connect()
        key = request.api_key
        flexible = b"\0" if schema.request_header_version(key, version) == 2 else b""
        body = struct.pack(">hhih", key, version, 7, -1) + flexible + request.encoder(version)(request)
        writer.write(struct.pack(">i", len(body)) + body)
        frame = await reader.readexactly(struct.unpack(">i", await reader.readexactly(4))[0])
        writer.close()
        start = 5 if schema.response_header_version(key, version) else 4
        return schema.response(key).decoder(version)(memoryview(frame), start)[0]

    async def create_topic(self, name: str) -> None:
        (created,) = await self.broker.membership.create_topics([NewTopic(name, 1)], TopicDefaults())
        assert isinstance(created, CreatedTopic), created

    async def produce(self, topic: str, batch: bytes) -> int:
        data = [TopicProduceData(name=topic, partition_data=[PartitionProduceData(index=0, records=batch)])]
        response = await self.ask(ProduceRequest(acks=-1, timeout_ms=5000, topic_data=data), 9)
        code: int = response.responses[0].partition_responses[0].error_code
        return code

    async def fetch(self, topic: str, offset: int) -> tuple[int, int]:
        """Error code and bytes of records."""
        asked = FetchPartition(partition=0, fetch_offset=offset, partition_max_bytes=1 << 20)
        request = FetchRequest(
            max_wait_ms=100, min_bytes=1, max_bytes=1 << 20, topics=[FetchTopic(topic=topic, partitions=[asked])]
        )
        (data,) = (await self.ask(request, 11)).responses[0].partitions
        return data.error_code, len(data.records or b"")


class Run(Protocol):
    def __call__(self, case: Case, *settings: str) -> None: ...


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Runs a case on a broker with the settings above, and its own. The collector is left as it was."""

    async def main(case: Case, settings: Sequence[str]) -> None:
        broker = Broker(load(None, {}, [*SETTINGS, f"broker.data_dir={tmp_path / 'data'}", *settings]))
        await broker.start()
        try:
            await case(Node(broker))
        finally:
            await broker.stop()

    thresholds, callbacks = gc.get_threshold(), gc.callbacks[:]
    yield lambda case, *settings: asyncio.run(main(case, settings))
    gc.set_threshold(*thresholds)
    gc.callbacks[:] = callbacks
    gc.unfreeze()


def test_every_metric_of_the_table_has_a_source(run: Run) -> None:
    async def case(node: Node) -> None:
        assert node.broker.registry.missing() == []

    run(case)


def test_compaction_of_internal_topics_is_counted(run: Run) -> None:
    async def case(node: Node) -> None:
        broker = node.broker
        new = NewTopic("__consumer_offsets", 1, configs={"cleanup.policy": "compact"})
        (created,) = await broker.membership.create_topics([new], TopicDefaults())
        assert isinstance(created, CreatedTopic), created
        partition = broker.engine.partition(new.name, 0)
        record = [(b"a group's offset", bytes(10_000))]

        async def commit_much() -> None:
            for _ in range(120):
                batch = BatchBuilder()
                batch.add(record, bytes_max(record))
                broker.engine.append(partition, memoryview(batch.finish(broker.clock.now_ms())), None, 0)

        await commit_much()
        found = await node.moved("tailrace_compaction_runs_total")
        assert found["tailrace_compaction_read_bytes_total"] > 10_000
        assert found["tailrace_compaction_written_bytes_total"] > 10_000
        assert found["tailrace_compaction_seconds_total"] > 0
        assert found["tailrace_workers_started_total"] == 1
        if Path("/proc/self/statm").exists():
            assert found["tailrace_worker_memory_bytes"] > 1 << 20
        await broker.uploader.flush()
        for name in await broker.store.list_keys("data/"):
            await broker.store.delete(name)
        await commit_much()
        await node.moved("tailrace_compaction_failures_total")

    run(case)


def test_the_process_tells_what_runs_how_it_started_and_what_it_takes(run: Run) -> None:
    async def case(node: Node) -> None:
        found = await node.metrics()
        (info,) = [name for name in found if name.startswith("tailrace_info")]
        said = r'tailrace_info\{version="[^"]+",wal_backend="buffered",wal_sync="always",durability="local"\}'
        assert re.fullmatch(said, info)
        assert found["tailrace_ready"] == 1
        assert 0 < found["tailrace_start_seconds"] < 86_400
        assert found["process_cpu_seconds_total"] > 0
        assert found["process_resident_memory_bytes"] > 10 << 20
        assert 0 < found["tailrace_disk_free_bytes"] < found["tailrace_disk_bytes"]
        gc.collect()
        assert (await node.metrics())["tailrace_gc_pause_seconds_count"] >= 1

    run(case)


def test_connections_requests_and_errors_are_counted(run: Run, record_batch: RecordBatch) -> None:
    async def case(node: Node) -> None:
        before = await node.metrics()
        await node.create_topic("counted")
        batch = record_batch([1])
        assert await node.produce("counted", batch) == 0
        assert await node.produce("absent", batch) == 3
        after = await node.moved('tailrace_connections_closed_total{reason="client"}', 2)
        assert after["tailrace_connections_accepted_total"] == 2
        assert after['tailrace_requests_total{api="Produce"}'] == 2
        error = 'tailrace_request_errors_total{error="UNKNOWN_TOPIC_OR_PARTITION"}'
        assert after[error] == before.get(error, 0) + 1
        assert after["tailrace_received_bytes_total"] > 2 * len(batch)
        assert after["tailrace_sent_bytes_total"] > 2 * 40
        assert after["tailrace_produce_seconds_count"] == 2
        assert 0 < after["tailrace_produce_seconds_sum"] < DEADLINE_SECONDS
        assert after["tailrace_produce_in_flight_bytes"] == after["tailrace_response_pending_bytes"] == 0

    run(case)


@pytest.mark.parametrize(
    ("part", "frame"),
    [
        ("size", struct.pack(">i", -1)),
        ("api", struct.pack(">ihhih", 10, 999, 0, 1, -1)),
        ("version", struct.pack(">ihhih", 10, 0, 99, 1, -1)),
        ("body", struct.pack(">ihhihh", 12, 0, 9, 1, -1, -1)),
    ],
)
def test_malformed_requests_are_counted_by_what_is_wrong(run: Run, part: str, frame: bytes) -> None:
    async def case(node: Node) -> None:
        assert await node.send_raw(frame) == b""
        found = await node.metrics()
        counts = {
            reason: found[f'tailrace_malformed_requests_total{{reason="{reason}"}}']
            for reason in ("size", "api", "version", "body")
        }
        assert counts == {reason: int(reason == part) for reason in counts}
        assert found['tailrace_connections_closed_total{reason="malformed"}'] == 1
        assert found["tailrace_connections"] == 0

    run(case)


def test_the_log_and_the_wal_are_counted(run: Run, record_batch: RecordBatch) -> None:
    async def case(node: Node) -> None:
        assert (await node.metrics())["tailrace_wal_left_seconds"] == YEAR_SECONDS
        await node.create_topic("logged")
        batch = record_batch([1, 2, 3])
        assert await node.produce("logged", batch) == 0
        assert await node.fetch("logged", 0) == (0, len(batch))
        found = await node.metrics()
        assert found["tailrace_topics"] == found["tailrace_partitions"] == 1
        assert found["tailrace_partitions_offline"] == found["tailrace_producer_ids"] == 0
        assert found["tailrace_appended_batches_total"] == 1
        assert found["tailrace_appended_records_total"] == 3
        assert found["tailrace_appended_bytes_total"] == len(batch)
        assert found["tailrace_hot_bytes"] >= len(batch)
        assert found["tailrace_hot_budget_bytes"] == 8 << 20
        assert found['tailrace_fetched_bytes_total{source="hot"}'] == len(batch)
        assert found["tailrace_wal_group_bytes_count"] == found["tailrace_wal_write_seconds_count"] == 1
        assert found["tailrace_wal_group_bytes_sum"] == found["tailrace_wal_written_bytes_total"] == 4096
        assert 0 < found["tailrace_wal_used_bytes"] <= 4 << 20
        assert found["tailrace_wal_capacity_bytes"] == 64 << 20
        assert found["tailrace_wal_fenced"] == 0
        assert 0 < found["tailrace_wal_left_seconds"] < YEAR_SECONDS
        assert found["tailrace_metadata_commit_seconds_count"] >= 1

    run(case)


def test_the_tier_is_counted_through_an_outage_of_the_store(run: Run, record_batch: RecordBatch) -> None:
    async def case(node: Node) -> None:
        objects = node.broker.settings.broker.data_dir / "objects"
        (objects / "data").write_bytes(b"a file where the folder belongs: every put fails")
        await node.create_topic("tiered")
        batch = record_batch(range(60_000))
        count = (9 << 20) // len(batch) + 1
        for _ in range(count):
            assert await node.produce("tiered", batch) == 0
        found = await node.moved('tailrace_object_errors_total{operation="put"}')
        assert found["tailrace_hot_evicted_batches_total"] >= 1
        assert found["tailrace_upload_pending_bytes"] == count * len(batch)
        assert found["tailrace_upload_oldest_seconds"] > 0
        assert await node.fetch("tiered", 0) == (0, len(batch))
        assert (await node.metrics())['tailrace_fetched_bytes_total{source="wal"}'] == len(batch)

        (objects / "data").unlink()
        (objects / "data").mkdir()
        found = await node.moved("tailrace_uploaded_objects_total")
        assert found["tailrace_uploaded_bytes_total"] >= count * len(batch)
        assert found["tailrace_upload_pending_bytes"] == found["tailrace_upload_oldest_seconds"] == 0
        assert found['tailrace_object_request_seconds_count{operation="put"}'] >= 2
        (path,) = (objects / "data").iterdir()
        data = bytearray(path.read_bytes())
        intact = bytes(data)
        data[len(batch) // 2] ^= 1
        path.write_bytes(data)
        assert (await node.fetch("tiered", 0))[0] == 56
        assert (await node.metrics())['tailrace_corrupt_total{place="object"}'] >= 1

        path.write_bytes(intact)
        assert await node.fetch("tiered", 60_000) == (0, len(batch))
        found = await node.metrics()
        assert found['tailrace_fetched_bytes_total{source="object"}'] == len(batch)
        assert found['tailrace_object_request_seconds_count{operation="get"}'] >= 1
        assert found["tailrace_cold_cache_misses_total"] >= 1
        assert found["tailrace_cold_cache_bytes"] >= len(batch)
        hits = found["tailrace_cold_cache_hits_total"]
        assert await node.fetch("tiered", 60_000) == (0, len(batch))
        assert (await node.metrics())["tailrace_cold_cache_hits_total"] > hits

    run(case)


def test_the_rate_behind_the_seconds_left_is_of_the_last_minute(run: Run) -> None:
    class Clock:
        now = 1000.0

        def monotonic(self) -> float:
            return self.now

        def now_ms(self) -> int:
            raise NotImplementedError

    class Written:
        bytes = 0

        def room_bytes(self) -> int:
            return 1_000_000

    clock, wal = Clock(), Written()
    left = WalLeft(wal, clock)  # type: ignore[arg-type]
    clock.now, wal.bytes = 1010.0, 1_000_000
    assert left.seconds() == 10
    clock.now = 1070.0
    assert left.seconds() == YEAR_SECONDS
    clock.now, wal.bytes = 1130.0, 1_600_000
    assert left.seconds() == 100


def test_groups_and_their_coordinators(run: Run) -> None:
    async def case(node: Node) -> None:
        groups = node.broker.groups
        await groups.ensure_topic()
        outcomes: list[Any] = []
        offsets = tuple(OffsetToCommit("t", bytes(16), at, 5, -1, "") for at in range(3))
        groups.ask("g", CommitOffsets("g", -1, "", None, offsets), outcomes.append)
        joining = JoinGroup("h", "", None, "c", "/1", 10_000, 10_000, "consumer", (("range", b""),), False, False)
        groups.ask("h", joining, outcomes.append)
        found = await node.moved("tailrace_group_offsets", 3)
        topic = '{topic="__consumer_offsets"}'
        assert found['tailrace_groups{state="Empty"}'] == 1
        assert found['tailrace_groups{state="PreparingRebalance"}'] == 1
        assert found["tailrace_group_members"] == 1
        assert found[f"tailrace_coordinator_appended_records_total{topic}"] == 3
        assert found[f"tailrace_coordinator_loading{topic}"] == 0
        owner = groups._places[groups.partition_for("g")]
        assert isinstance(owner, ShardOwner)
        owner.close("to see it counted")
        found = await node.moved(f"tailrace_coordinator_loads_total{topic}")
        assert found[f"tailrace_coordinator_lost_total{topic}"] == 1
        assert found[f"tailrace_coordinator_loaded_records_total{topic}"] == 3
        assert found[f"tailrace_coordinator_load_seconds_total{topic}"] > 0
        assert found["tailrace_group_offsets"] == 3

    run(case)


def test_a_start_does_not_import_what_it_can_do_without(tmp_path: Path) -> None:
    program = """
import asyncio, sys
from tailrace_core.settings_load import load
from tailrace_gateway.broker import Broker

async def main() -> None:
    broker = Broker(load(None, {}, sys.argv[1:]))
    await broker.start()
    await broker.stop()

asyncio.run(main())
print(sorted(sys.modules.keys() & {"opentelemetry", "construct", "tailrace_gateway.admin.routes", "tailrace_admin"}))
"""
    arguments = [*SETTINGS, f"broker.data_dir={tmp_path / 'data'}"]
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
