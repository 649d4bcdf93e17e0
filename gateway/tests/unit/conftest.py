"""A broker without SQLite and signals: the real engine on a WAL in a temporary folder, the real controller over the
store in memory, served on loopback sockets on two listeners.
"""

import asyncio
import struct
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import pytest
from crc32c import crc32c

from tailrace_controller.runtime.active import LocalController
from tailrace_controller.store.memory import MemoryStore
from tailrace_core.addresses import Listener
from tailrace_core.kafka_configs import static_broker_configs
from tailrace_core.membership import CreatedTopic, NewTopic, Topic, TopicDefaults, TopicDeleted
from tailrace_core.settings_load import load
from tailrace_engine.runtime.engine import Engine
from tailrace_engine.runtime.internal_topics import group_coordinator
from tailrace_engine.runtime.start import EngineStart
from tailrace_engine.sim.objects import SimObjectStore
from tailrace_engine.tier.reader import TierReader
from tailrace_engine.wal.writer import WalOptions
from tailrace_gateway.kafka import schema
from tailrace_gateway.kafka.apis import APIS
from tailrace_gateway.kafka.context import Services
from tailrace_gateway.kafka.metadata_cache import MetadataCache
from tailrace_gateway.kafka.routes import Routes
from tailrace_gateway.kafka.schema import Message
from tailrace_gateway.kafka.schema.messages.produce import (
    PartitionProduceData,
    PartitionProduceResponse,
    ProduceRequest,
    TopicProduceData,
)
from tailrace_gateway.kafka.server import KafkaServer
from tailrace_gateway.system import SystemClock, SystemEntropy

T = TypeVar("T")

LISTENERS = (Listener("PLAINTEXT", "127.0.0.1", 0), Listener("EXTERNAL", "127.0.0.1", 0))
SETTINGS = [
    "kafka.listeners=PLAINTEXT://127.0.0.1:0,EXTERNAL://127.0.0.1:0",
    "kafka.num_partitions=2",
    "groups.initial_rebalance_delay_ms=0",
]


def _varint(value: int) -> bytes:
    value = (value << 1) ^ (value >> 63)
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def record_batch(timestamps: Sequence[int], producer: tuple[int, int, int] = (-1, -1, -1)) -> bytes:
    """A batch as a client sends it, one record for each timestamp; producer is id, epoch and base sequence."""
    records = b""
    for delta, timestamp in enumerate(timestamps):
        body = (
            b"\0" + _varint(timestamp - timestamps[0]) + _varint(delta) + _varint(-1) + _varint(1) + b"v" + _varint(0)
        )
        records += _varint(len(body)) + body
    fields = (0, len(timestamps) - 1, timestamps[0], max(timestamps), *producer, len(timestamps))
    covered = struct.pack(">hiqqqhii", *fields) + records
    return struct.pack(">qiibI", 0, 9 + len(covered), -1, 2, crc32c(covered)) + covered


class BrokerInParts:
    """See the module. Methods are synchronous: each runs the loop until it is done."""

    def __init__(self, folder: Path) -> None:
        self._runner = asyncio.Runner()
        self.run(self._start(folder))

    def run(self, awaitable: Awaitable[T]) -> T:
        async def wait() -> T:
            return await awaitable

        return self._runner.run(wait())

    async def _start(self, folder: Path) -> None:
        loop = asyncio.get_running_loop()
        self.settings = load(None, {}, SETTINGS)
        self.store = MemoryStore(loop)
        self.membership = await LocalController.open(self.store, SystemEntropy(), static_broker_configs(self.settings))
        clock = SystemClock()
        tier = TierReader(SimObjectStore(Random(1)), clock)
        self.engine = Engine(16 << 20, tier, self.membership, clock)
        start = EngineStart(self.engine, self.membership, clock)
        await start.load()
        start.recover(folder, WalOptions("buffered", "interval", 50, 1 << 20, 8 << 20))
        self.wal = start.open_wal(1)
        self.server = KafkaServer(self.settings.kafka, 16 << 20)
        self.server.routes = Routes(APIS, self.server.bind)
        self.ports = {one.name: await self.server.listen(one) for one in LISTENERS}
        endpoints = {name: (f"{name.lower()}.example", port) for name, port in self.ports.items()}
        begun = await self.membership.start_broker(7, "rack-a", endpoints)
        self.leader_epoch = begun.leader_epoch
        self.engine.start(self.wal, begun.leader_epoch)
        self.metadata = MetadataCache(self.membership.image)
        self.membership.subscribe(
            lambda event: self.metadata.forget(event.topic) if isinstance(event, TopicDeleted) else None
        )
        self.groups = group_coordinator(
            self.settings.groups, self.engine, self.membership, clock, SystemEntropy(), loop, self.server.spawn
        )
        self.groups.on_answers = self.server.flush
        self.groups.start()
        await self.server.start(
            Services(
                settings=self.settings,
                engine=self.engine,
                membership=self.membership,
                clock=clock,
                entropy=SystemEntropy(),
                loop=loop,
                metadata=self.metadata,
                routes=self.server.routes,
                spawn=self.server.spawn,
                flush=self.server.flush,
                groups=self.groups,
            )
        )

    async def _stop(self) -> None:
        await self.server.stop_accepting()
        self.groups.stop()
        await self.server.close()
        await self.wal.close()
        await self.engine.tier.close()
        await self.membership.close()

    def stop(self) -> None:
        self.run(self._stop())
        self._runner.close()

    # --- the client's side

    def ask(self, request: Message, version: int, listener: str = "PLAINTEXT") -> Any:
        """Send one request on a connection of its own; its decoded response."""
        return self.run(self._ask(request, version, listener))

    async def _ask(self, request: Message, version: int, listener: str) -> Message:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports[listener])
        key = request.api_key
        header = struct.pack(">hhih", key, version, 11, -1)
        if schema.request_header_version(key, version) == 2:
            header += b"\0"
        body = header + request.encoder(version)(request)
        try:
            writer.write(struct.pack(">i", len(body)) + body)
            frame = await reader.readexactly(struct.unpack(">i", await reader.readexactly(4))[0])
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
        assert frame[:4] == struct.pack(">i", 11)
        start = 5 if schema.response_header_version(key, version) else 4
        response, end = schema.response(key).decoder(version)(memoryview(frame), start)
        assert end == len(frame)
        return response

    def topic(self, name: str, partition_count: int = 1, configs: dict[str, str | None] | None = None) -> Topic:
        """Create a topic."""
        new = NewTopic(name, partition_count, configs=configs or {})
        (created,) = self.run(self.membership.create_topics([new], TopicDefaults()))
        assert isinstance(created, CreatedTopic), created
        return created.topic

    def produce(self, topic: str, batch: bytes, partition: int = 0) -> PartitionProduceResponse:
        """Send one batch with acks=all."""
        data = [TopicProduceData(name=topic, partition_data=[PartitionProduceData(index=partition, records=batch)])]
        response = self.ask(ProduceRequest(acks=-1, timeout_ms=5000, topic_data=data), 9)
        answer: PartitionProduceResponse = response.responses[0].partition_responses[0]
        return answer


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerInParts]:
    running = BrokerInParts(tmp_path / "wal")
    yield running
    running.stop()


@pytest.fixture(name="record_batch")
def record_batch_fixture() -> object:
    return record_batch
