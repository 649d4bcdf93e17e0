"""What one OffsetCommit costs on the loop, from received bytes to response bytes, without socket and disk.

For: the Python of connection, decoding, deciding, records, batches, append, replay and answer, per commit of one offset
by one of 64 consumers of 8 groups, whose commits arrive together.
Not for: what the kernel costs (sockets, io_uring), which the end-to-end bench in bench/ measures.

    PYTHONPATH=engine:controller:gateway python gateway/bench/bench_commit_path.py [profile]
"""

import asyncio
import cProfile
import pstats
import struct
import sys
import tempfile
import time
from typing import Any

from tailrace_core.membership import NewTopic, TopicDefaults
from tailrace_core.settings_load import load
from tailrace_gateway.broker import Broker
from tailrace_gateway.kafka.connection import Connection
from tailrace_gateway.kafka.receive import Inbox

CONNECTIONS = 64
GROUPS = 8
RESPONSE_BYTES = 32
"""OffsetCommit v7 of one partition of the topic "bench", size and header included."""


class Sink:
    """A transport that counts what is written."""

    def __init__(self) -> None:
        self.responses = 0

    def write(self, data: bytes | bytearray | memoryview, /) -> None:
        assert bytes(data[-2:]) == b"\0\0", "no error"
        self.responses += len(data) // RESPONSE_BYTES

    def writelines(self, parts: list[Any], /) -> None:
        self.write(b"".join(parts))

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def abort(self) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0


def commit_frame(group: bytes, topic: bytes, partition: int, offset: int) -> bytes:
    """OffsetCommit v7 from outside of the group."""
    body = struct.pack(">hhih4s", 8, 7, 1, 4, b"test") + struct.pack(">h", len(group)) + group
    body += struct.pack(">ihhi", -1, 0, -1, 1) + struct.pack(">h", len(topic)) + topic
    body += struct.pack(">iiqih", 1, partition, offset, -1, -1)
    return struct.pack(">i", len(body)) + body


async def measure(rounds: int = 200, profile: cProfile.Profile | None = None) -> dict[str, float]:
    """Microseconds a commit, the best of five times as many rounds."""
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
        await broker.membership.create_topics([NewTopic("bench", CONNECTIONS)], TopicDefaults())
        await broker.groups.ensure_topic()
        wal = broker.wal
        wal._kicked = True  # groups are completed by hand below: no disk in what is measured
        sink = Sink()
        connections = []
        for number in range(CONNECTIONS):
            inbox = Inbox(bytearray(64 << 10), broker.server.pool, 100 << 20)
            frame = commit_frame(b"group-%d" % (number % GROUPS), b"bench", number, 1)
            connections.append((Connection(broker.server, sink, inbox, "PLAINTEXT", "bench"), inbox, frame))
        best = {"start": 1e9, "append": 1e9, "complete": 1e9}
        for _ in range(5):
            spent = dict.fromkeys(best, 0.0)
            for _ in range(rounds):
                if profile is not None:
                    profile.enable()
                began = time.thread_time()
                for connection, inbox, frame in connections:
                    inbox.writable()[: len(frame)] = frame
                    connection.on_received(len(frame))
                started = time.thread_time()
                if profile is not None:
                    profile.disable()
                await asyncio.sleep(0)  # the owners put their batches into the log
                if profile is not None:
                    profile.enable()
                appended = time.thread_time()
                entries: list[Any] = list(wal._pending)
                wal._pending.clear()
                wal.queued_bytes = 0
                for entry in entries:
                    entry.wal_segment, entry.wal_position = 0, 0
                completed = time.thread_time()
                broker.engine.on_durable(entries)
                done = time.thread_time()
                if profile is not None:
                    profile.disable()
                spent["start"] += started - began
                spent["append"] += appended - started
                spent["complete"] += done - completed
            for name, seconds in spent.items():
                best[name] = min(best[name], seconds / (rounds * CONNECTIONS) * 1e6)
        assert sink.responses == rounds * CONNECTIONS * 5, "every request is answered"
        wal._kicked = False
        broker.engine.unuploaded.clear()
        await broker.stop()
    return best


def test_a_commit_is_answered_on_the_bench_path() -> None:
    assert asyncio.run(measure(4))["start"] > 0


if __name__ == "__main__":
    profile = cProfile.Profile() if sys.argv[1:] == ["profile"] else None
    for name, microseconds in asyncio.run(measure(100 if profile else 200, profile)).items():
        print(f"{name:10} {microseconds:6.2f} us a commit")
    if profile is not None:
        pstats.Stats(profile).sort_stats("tottime").print_stats(35)
