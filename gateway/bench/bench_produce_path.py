"""What one Produce request costs on the loop, from received bytes to response bytes, without socket and disk.

For: the Python of connection, decoding, checks, append, group completion and encoding, per request of one 1 KiB record.
Not for: what the kernel costs (sockets, io_uring), which the end-to-end bench in bench/ measures.

    PYTHONPATH=engine:controller:gateway python gateway/bench/bench_produce_path.py
"""

import asyncio
import struct
import tempfile
import time
from typing import Any

from crc32c import crc32c

from tailrace_core.membership import NewTopic, TopicDefaults
from tailrace_core.settings_load import load
from tailrace_gateway.broker import Broker
from tailrace_gateway.kafka.connection import Connection
from tailrace_gateway.kafka.receive import Inbox

RESPONSE_BYTES = 57
"""Produce v7 of one partition, size and header included."""
GROUP = 64
"""Requests that arrive together and become one group commit."""


class Sink:
    """A transport that counts what is written."""

    def __init__(self) -> None:
        self.responses = 0

    def write(self, data: bytes, /) -> None:
        self.responses += len(data) // RESPONSE_BYTES

    def writelines(self, parts: list[Any], /) -> None:
        self.write(b"".join(parts))

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def abort(self) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0


def one_record_batch(value: bytes) -> bytes:
    """A batch of one record with this value (magic 2)."""
    record = b"\0\0\0\1" + _varint(len(value)) + value + b"\0"
    body = _varint(len(record)) + record
    now_ms = int(time.time() * 1000)
    checked = struct.pack(">hiqqqhii", 0, 0, now_ms, now_ms, -1, -1, -1, 1) + body
    return struct.pack(">qiibI", 0, 9 + len(checked), -1, 2, crc32c(checked)) + checked


def _varint(value: int) -> bytes:
    value <<= 1
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def produce_frame(topic: bytes, partition: int, batch: bytes) -> bytes:
    """Produce v7, acks=all."""
    body = struct.pack(">hhih4s", 0, 7, 1, 4, b"test") + struct.pack(">hhii", -1, -1, 30000, 1)
    body += struct.pack(">h", len(topic)) + topic + struct.pack(">iii", 1, partition, len(batch)) + batch
    return struct.pack(">i", len(body)) + body


async def measure(requests: int = 20_000) -> dict[str, float]:
    """Microseconds a request, the best of five rounds."""
    with tempfile.TemporaryDirectory() as folder:
        broker = Broker(
            load(
                None,
                {},
                [
                    f"broker.data_dir={folder}",
                    "kafka.listeners=PLAINTEXT://127.0.0.1:0",
                    "http.listen=127.0.0.1:0",
                    "wal.sync=interval",
                    "engine.hot_bytes=268435456",
                    "upload.bytes=1073741824",
                    "upload.pressure_ratio=1",
                ],
            )
        )
        await broker.start()
        await broker.membership.create_topics([NewTopic("bench", 16)], TopicDefaults())
        wal = broker.wal
        wal._kicked = True  # groups are completed by hand below: no disk in what is measured
        sink = Sink()
        inbox = Inbox(bytearray(256 << 10), broker.server.pool, 100 << 20)
        connection = Connection(broker.server, sink, inbox, "PLAINTEXT", "bench")
        batch = one_record_batch(bytes(1024))
        frames = b"".join(produce_frame(b"bench", number % 16, batch) for number in range(GROUP))
        best = {"start": 1e9, "complete": 1e9, "flush": 1e9}
        for _ in range(5):
            spent = dict.fromkeys(best, 0.0)
            for _ in range(requests // GROUP):
                inbox.writable()[: len(frames)] = frames
                began = time.thread_time()
                connection.on_received(len(frames))
                started = time.thread_time()
                entries = list(wal._pending)
                wal._pending.clear()
                wal.queued_bytes = 0
                for entry in entries:
                    entry.wal_segment, entry.wal_position = 0, 0
                completed = time.thread_time()
                broker.engine.on_durable(entries)
                done = time.thread_time()
                spent["start"] += started - began
                spent["complete"] += done - completed
            for name, seconds in spent.items():
                best[name] = min(best[name], seconds / (requests // GROUP * GROUP) * 1e6)
        assert sink.responses >= requests // GROUP * GROUP * 5, "every request is answered"
        wal._kicked = False
        broker.engine.unuploaded.clear()
        await broker.stop()
    return best


def test_a_produce_request_is_answered_on_the_bench_path() -> None:
    assert asyncio.run(measure(640))["start"] > 0


if __name__ == "__main__":
    for name, microseconds in asyncio.run(measure()).items():
        print(f"{name:10} {microseconds:6.2f} us a request")
