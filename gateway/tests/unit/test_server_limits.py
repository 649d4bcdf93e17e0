"""What the server refuses, whom it slows down, and whom it notices to be gone."""

import asyncio
import struct
from contextlib import suppress
from typing import Any

import pytest

from tailrace_gateway.kafka.schema.messages.produce import (
    PartitionProduceData,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
)

T0 = 1_700_000_000_000
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(broker: Any) -> Streams:
    return await asyncio.open_connection("127.0.0.1", broker.ports["PLAINTEXT"])


async def is_served(streams: Streams) -> bool:
    """Whether ApiVersions is answered."""
    reader, writer = streams
    try:
        writer.write(struct.pack(">ihhih", 10, 18, 0, 5, -1))
        (size,) = struct.unpack(">i", await reader.readexactly(4))
        return (await reader.readexactly(size))[:4] == struct.pack(">i", 5)
    except (asyncio.IncompleteReadError, ConnectionError):
        return False


async def close(*all_streams: Streams) -> None:
    for _, writer in all_streams:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"connections_max": 2}, "connections"),
        ({"connections_per_ip_max": 2}, "connections_per_ip"),
        ({"connections_per_ip_max": 0, "connections_per_ip_overrides": (("127.0.0.1", 2),)}, "connections_per_ip"),
    ],
)
def test_a_connection_beyond_a_limit_is_closed_and_one_less_makes_room(
    broker: Any, limits: dict[str, Any], reason: str
) -> None:
    server = broker.server
    for name, value in limits.items():
        setattr(server.services.dynamic, name, value)

    async def scenario() -> None:
        first, second, third = [await connect(broker) for _ in range(3)]
        assert [await is_served(each) for each in (first, second, third)] == [True, True, False]
        assert server.connections_refused[reason] == 1
        assert sum(server.connections_refused.values()) == 1
        assert (len(server.connections), server.connections_by_ip) == (2, {"127.0.0.1": 2})
        await close(first, third)
        await until(lambda: len(server.connections) == 1)
        fourth = await connect(broker)
        assert await is_served(fourth)
        await close(second, fourth)
        await until(lambda: not server.connections)
        assert server.connections_by_ip == {}

    broker.run(scenario())


def produce_frame(batch: bytes, correlation_id: int, acks: int = -1) -> bytes:
    data = [TopicProduceData(name="x", partition_data=[PartitionProduceData(index=0, records=batch)])]
    request = ProduceRequest(acks=acks, timeout_ms=30_000, topic_data=data)
    body = struct.pack(">hhihB", 0, 9, correlation_id, -1, 0) + request.encoder(9)(request)
    return struct.pack(">i", len(body)) + body


def test_a_held_back_connection_whose_client_leaves_is_closed(broker: Any, record_batch: Any) -> None:
    broker.topic("x")
    server = broker.server
    broker.engine.must_hold_back = True

    async def scenario() -> None:
        stays, leaves = await connect(broker), await connect(broker)
        for _, writer in (stays, leaves):
            writer.write(produce_frame(record_batch([T0]), 1))
        await until(lambda: sum(connection.held_back for connection in server.connections) == 2)
        await close(leaves)
        await until(lambda: len(server.connections) == 1)
        assert server.connections_closed["gone"] == 1
        broker.engine.must_hold_back = False
        broker.engine.on_room()
        (size,) = struct.unpack(">i", await stays[0].readexactly(4))
        assert (await stays[0].readexactly(size))[:4] == struct.pack(">i", 1)
        await close(stays)

    broker.run(scenario())
    assert broker.engine.partition("x", 0).state.log_end_offset == 1


@pytest.mark.parametrize("acks", [0, -1])
def test_producers_are_told_to_wait_and_not_read_meanwhile(
    broker: Any, record_batch: Any, monkeypatch: pytest.MonkeyPatch, acks: int
) -> None:
    broker.topic("x")
    monkeypatch.setattr(broker.engine, "maybe_hold_back", lambda: None)
    server = broker.server
    muted: list[tuple[Any, int]] = []
    monkeypatch.setattr(server, "mute", lambda connection, milliseconds: muted.append((connection, milliseconds)))

    async def scenario() -> list[int]:
        broker.engine.throttle_time_ms = 700
        reader, writer = await connect(broker)
        frames = [produce_frame(record_batch([T0]), number, acks) for number in range(3)]
        writer.write(frames[0])
        await until(lambda: muted)
        ((connection, milliseconds),) = muted
        assert milliseconds == 700
        writer.write(frames[1] + frames[2])
        await until(lambda: connection.inbox.waiting_bytes > 0)
        broker.engine.throttle_time_ms = 0
        partition = broker.engine.partition("x", 0)
        assert partition.state.log_end_offset == 1
        connection.on_mute_over()
        server.flush()
        await until(lambda: partition.state.high_watermark == 3)
        told = []
        for _ in range(3 if acks else 0):
            (size,) = struct.unpack(">i", await reader.readexactly(4))
            response, _ = ProduceResponse.decoder(9)(memoryview(await reader.readexactly(size)), 5)
            told.append(response.throttle_time_ms)
        await close((reader, writer))
        return told

    assert broker.run(scenario()) == ([700, 0, 0] if acks else [])


def test_a_wal_that_fills_up_slows_producers_down_before_it_is_full(broker: Any, record_batch: Any) -> None:
    broker.topic("x", 1)
    batch = record_batch([T0] * 20_000)
    times = []
    while not broker.engine.must_hold_back and len(times) < 100:
        assert broker.produce("x", batch).error_code == 0
        times.append(broker.engine.throttle_time_ms)
    assert times[0] == 0
    assert broker.engine.must_hold_back
    assert times == sorted(times)
    assert 0 < times[-2] <= times[-1] == 1000
    assert broker.server.throttled > 1
