"""What the tests of the engine share: record batches of every kind, and a whole broker's storage without its gateway.

A Node is the real engine over the real WAL, tier reader, uploader and controller. It stops and starts over the same
folder and metadata, as a broker does.
"""

import asyncio
import gzip
import struct
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import cramjam
from crc32c import crc32c

from tailrace_controller.runtime.active import LocalController
from tailrace_controller.store.memory import MemoryStore
from tailrace_core.batch import HEADER, BatchHeader, Buffer, batch_spans, read_header
from tailrace_core.errors import TailraceError
from tailrace_core.membership import CreatedTopic, NewTopic, Topic, TopicDefaults
from tailrace_core.ports import ObjectStore
from tailrace_engine.objects.local import LocalStore
from tailrace_engine.runtime.engine import Engine
from tailrace_engine.runtime.partition import Partition
from tailrace_engine.runtime.retention import Retention, RetentionOptions
from tailrace_engine.runtime.start import EngineStart
from tailrace_engine.sim.disk import SimDisk
from tailrace_engine.tier.reader import TierReader, TierReaderOptions
from tailrace_engine.tier.uploader import Uploader, UploadOptions
from tailrace_engine.wal.writer import Wal, WalOptions

NOW_MS = 1_800_000_000_000
GRACE_MS = 1_000


def varint(value: int) -> bytes:
    value = (value << 1) ^ (value >> 63)
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def record(offset_delta: int, timestamp_delta: int, value: bytes, key: bytes | None = None) -> bytes:
    body = b"\0" + varint(timestamp_delta) + varint(offset_delta)
    body += varint(-1) if key is None else varint(len(key)) + key
    body += varint(len(value)) + value + b"\0"
    return varint(len(body)) + body


def xerial(body: bytes) -> bytes:
    blocks = [bytes(cramjam.snappy.compress_raw(body[at : at + 300])) for at in range(0, len(body), 300)]
    head = b"\x82SNAPPY\0" + struct.pack(">ii", 1, 1)
    return head + b"".join(struct.pack(">I", len(block)) + block for block in blocks)


COMPRESSIONS = {
    "none": (0, bytes),
    "gzip": (1, gzip.compress),
    "snappy": (2, lambda body: bytes(cramjam.snappy.compress_raw(body))),
    "xerial": (2, xerial),
    "lz4": (3, lambda body: bytes(cramjam.lz4.compress(body))),
    "zstd": (4, lambda body: bytes(cramjam.zstd.compress(body))),
}


def make_batch(
    timestamps: Sequence[int] = (NOW_MS,),
    value: bytes = b"value",
    *,
    producer: tuple[int, int, int] = (-1, -1, -1),
    compression: str = "none",
    body: bytes | None = None,
    **header_fields: Any,
) -> bytearray:
    """A batch as a producer sends it, a record per timestamp; producer is (id, epoch, base sequence)."""
    base = timestamps[0]
    codec, compress = COMPRESSIONS[compression]
    if body is None:
        body = compress(b"".join(record(at, each - base, value) for at, each in enumerate(timestamps)))
    count = len(timestamps)
    header = BatchHeader(0, 49 + len(body), -1, 2, 0, codec, count - 1, base, max(timestamps), *producer, count)
    return sealed(bytearray(HEADER.pack(*header._replace(**header_fields)) + body))


def sealed(batch: bytearray) -> bytearray:
    """With the right CRC."""
    struct.pack_into(">I", batch, 17, crc32c(memoryview(batch)[21:]))
    return batch


def offsets_of(buffers: Sequence[Buffer]) -> list[int]:
    """The base offsets of the batches in what was read."""
    return [base for buffer in buffers for _, _, base in batch_spans(buffer)]


def values_of(buffers: Sequence[Buffer]) -> dict[int, bytes]:
    """Every batch in what was read, by base offset, without the 21 bytes that a broker writes in."""
    return {
        base: bytes(memoryview(buffer)[start + 21 : start + size])
        for buffer in buffers
        for start, size, base in batch_spans(buffer)
    }


class TestClock:
    """Wall clock by hand."""

    __test__ = False

    def __init__(self) -> None:
        self.ms = NOW_MS

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


class SeededEntropy:
    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)


class Acks:
    """An AppendWaiter, or many: notes what it was told, in order."""

    def __init__(self, name: object = None, told: list[object] | None = None) -> None:
        self.name = name
        self.told: list[object] = [] if told is None else told
        self.durable = 0
        self.failures: list[tuple[int, TailraceError]] = []
        self.appended: list[tuple[int, int, int]] = []
        """Of appends that were put off: ordinal, base offset, append time."""

    def on_appended(self, ordinal: int, base_offset: int, log_append_time_ms: int) -> None:
        self.appended.append((ordinal, base_offset, log_append_time_ms))

    def on_durable(self) -> None:
        self.durable += 1
        self.told.append(self.name)

    def on_append_failed(self, ordinal: int, error: TailraceError) -> None:
        self.failures.append((ordinal, error))


async def until(condition: Any, seconds: float = 10.0) -> None:
    """Let the loop run until condition() holds."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "what is waited for did not come"
        await asyncio.sleep(0.0005)


class Node:
    """One broker's storage. `start` and `stop` as often as you like."""

    engine: Engine
    wal: Wal
    uploader: Uploader
    retention: Retention
    controller: LocalController
    tier: TierReader
    leader_epoch: int

    def __init__(
        self,
        folder: Path,
        *,
        hot_bytes: int = 64 << 20,
        segment_bytes: int = 64 << 10,
        capacity_bytes: int = 16 << 20,
        object_bytes: int = 64 << 20,
        sync: str = "always",
        check_interval_ms: int = 20,
        store: ObjectStore | None = None,
        sim_seed: int | None = None,
    ) -> None:
        self.folder = folder
        self.check_interval_ms = check_interval_ms
        self.hot_bytes = hot_bytes
        self.options = WalOptions("buffered", sync, segment_bytes=segment_bytes, capacity_bytes=capacity_bytes)
        self.upload_options = UploadOptions(object_bytes, 60_000, 0.75)
        self.store: ObjectStore = store or LocalStore(folder / "objects")
        self.clock = TestClock()
        self.entropy = SeededEntropy(5)
        self.metadata: dict[str, bytes] = {}
        self.sim_seed = sim_seed
        self.disk: SimDisk | None = None

    async def start(self) -> "Node":
        loop = asyncio.get_running_loop()
        self.metadata_store = MemoryStore(loop)
        self.metadata_store.values = self.metadata
        self.controller = await LocalController.open(self.metadata_store, self.entropy, {})
        self.tier = TierReader(self.store, self.clock, TierReaderOptions(cache_bytes=4 << 20))
        self.engine = Engine(self.hot_bytes, self.tier, self.controller, self.clock)
        starting = EngineStart(self.engine, self.controller, self.clock)
        await starting.load()
        starting.keep_offline(self.folder / "quarantine")
        if self.sim_seed is None:
            starting.recover(self.folder / "wal", self.options)
        else:
            disk = self.disk = self.disk or SimDisk(loop, Random(self.sim_seed), self.options.sync == "interval")
            starting.recover(self.folder / "wal", self.options, lambda *_: disk)
        self.wal = starting.open_wal(int.from_bytes(self.entropy.bytes(4), "big"))
        await starting.quarantine(self.wal, self.folder / "quarantine")
        begun = await self.controller.start_broker(1, None, {"PLAINTEXT": ("127.0.0.1", 9092)})
        self.leader_epoch = begun.leader_epoch
        self.engine.start(self.wal, begun.leader_epoch)
        self.uploader = Uploader(
            self.engine, self.store, self.controller, self.upload_options, self.clock, 1, begun.broker_epoch
        )
        self.retention = Retention(
            self.engine,
            self.store,
            self.controller,
            RetentionOptions(self.check_interval_ms, self.check_interval_ms, GRACE_MS, 86_400_000),
            self.clock,
        )
        return self

    async def stop(self) -> None:
        """As a broker stops; after a kill of the disk, as one that is killed."""
        await self.wal.close()
        await self.tier.close()
        await self.controller.close()

    async def restart(self) -> None:
        await self.stop()
        if self.disk is not None:
            self.disk = self.disk.kill(asyncio.get_running_loop())
        await self.start()

    async def __aenter__(self) -> "Node":
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def topic(self, name: str, partition_count: int = 1, **configs: str) -> Topic:
        new = NewTopic(name, partition_count, configs={key.replace("_", "."): text for key, text in configs.items()})
        (created,) = await self.controller.create_topics([new], TopicDefaults())
        assert isinstance(created, CreatedTopic), created
        return created.topic

    async def partition(self, name: str = "t", **configs: str) -> Partition:
        await self.topic(name, **configs)
        return self.engine.partition(name, 0)

    def append(self, partition: Partition, batch: bytearray | None = None, waiter: Acks | None = None) -> int:
        made = batch if batch is not None else make_batch()
        return self.engine.append(partition, memoryview(made), waiter, 0)[0]

    async def produce(self, partition: Partition, *batches: bytearray) -> list[int]:
        """Append, and wait until all is durable."""
        bases = [self.append(partition, batch) for batch in batches]
        await self.durable(partition)
        return bases

    async def durable(self, partition: Partition) -> None:
        await until(lambda: partition.state.high_watermark == partition.state.log_end_offset)

    async def read_all(self, partition: Partition, offset: int | None = None, max_bytes: int = 1 << 20) -> list[Buffer]:
        """Everything from the log start to the high watermark, as one consumer reads it."""
        position = partition.state.log_start_offset if offset is None else offset
        found: list[Buffer] = []
        while position < partition.state.high_watermark:
            buffers, size = await self.engine.read_cold(partition, position, max_bytes)
            assert size == sum(map(len, buffers))
            assert size > 0
            found += buffers
            last = memoryview(buffers[-1])
            position = read_header(last, batch_spans(last)[-1][0]).end_offset
        return found

    def forget_hot(self) -> None:
        """Memory is short: everything durable leaves it."""
        budget, self.engine.hot.budget_bytes = self.engine.hot.budget_bytes, -1
        self.engine.hot.evict()
        self.engine.hot.budget_bytes = budget

    def live_records(self) -> int:
        """What keeps WAL segments from being used again."""
        return sum(segment.live for segment in self.wal.ring.used.values())


@contextmanager
def failing(store: object, method: str, error: Exception) -> Any:
    """Every call of the store's method raises."""

    async def fail(*_: object, **__: object) -> None:
        raise error

    with patch.object(store, method, fail):
        yield
