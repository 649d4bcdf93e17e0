"""Produce to topics that compress anew: what the gateway does while batches are away from the loop."""

import asyncio
import struct
import threading
from typing import Any
from unittest.mock import patch

import pytest

from tailrace_engine.runtime import recompression
from tailrace_gateway.errors import ErrorCode
from tailrace_gateway.kafka import schema
from tailrace_gateway.kafka.schema.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData

T0 = 1_700_000_000_000
MANY = [T0] * 2_000
"""Records that are too many for the loop."""


def request(batches: list[tuple[str, int, bytes]], acks: int = -1, timeout_ms: int = 20_000) -> ProduceRequest:
    topics = [
        TopicProduceData(name=name, partition_data=[PartitionProduceData(index=index, records=batch)])
        for name, index, batch in batches
    ]
    return ProduceRequest(acks=acks, timeout_ms=timeout_ms, topic_data=topics)


def frame(message: ProduceRequest, correlation_id: int) -> bytes:
    body = struct.pack(">hhihb", 0, 9, correlation_id, -1, 0) + message.encoder(9)(message)
    return struct.pack(">i", len(body)) + body


async def answers(broker: Any, *requests: ProduceRequest) -> list[tuple[int, list[tuple[int, int]]]]:
    """Send all at once on one connection; (correlation id, error codes and base offsets) of each response."""
    reader, writer = await asyncio.open_connection("127.0.0.1", broker.ports["PLAINTEXT"])
    writer.write(b"".join(frame(each, number) for number, each in enumerate(requests)))
    found = []
    for each in requests:
        if not each.acks:
            continue
        body = await reader.readexactly(struct.unpack(">i", await reader.readexactly(4))[0])
        response, _ = schema.response(0).decoder(9)(memoryview(body), 5)
        parts = [part for topic in response.responses for part in topic.partition_responses]
        found.append((struct.unpack(">i", body[:4])[0], [(part.error_code, part.base_offset) for part in parts]))
    writer.close()
    await writer.wait_closed()
    return found


def test_answers_tell_each_partitions_own_offset(broker: Any, record_batch: Any) -> None:
    broker.topic("z", 2, {"compression.type": "zstd"})
    broker.topic("plain")
    many, one = record_batch(MANY), record_batch([T0])
    damaged = many[:-1] + b"\xff"
    mixed = request([("z", 0, many), ("plain", 0, one), ("z", 1, one), ("z", 1, damaged), ("z", 0, one)])
    found = broker.run(answers(broker, mixed, request([("z", 0, one)])))
    assert found == [
        (0, [(0, 0), (0, 0), (0, 0), (ErrorCode.CORRUPT_MESSAGE, -1), (0, 2_000)]),
        (1, [(0, 2_001)]),
    ]


def test_a_request_waits_for_the_batches_of_the_one_before(broker: Any, record_batch: Any) -> None:
    broker.topic("z", 1, {"compression.type": "gzip"})
    broker.topic("plain")
    opened, made = threading.Event(), recompression.recompress

    def wait(*arguments: Any) -> bytearray:
        assert opened.wait(20)
        return made(*arguments)

    async def run() -> list[tuple[int, list[tuple[int, int]]]]:
        one = record_batch([T0])
        asked = (
            request([("z", 0, record_batch(MANY))]),
            request([("z", 0, one)], acks=0),
            request([("plain", 0, one)]),
        )
        task = asyncio.ensure_future(answers(broker, *asked))
        while not broker.engine.recompression.waiting_bytes:
            await asyncio.sleep(0.001)
        # Another connection is not held back.
        assert await answers(broker, request([("plain", 0, one)])) == [(0, [(0, 0)])]
        assert broker.engine.partition("plain", 0).state.log_end_offset == 1
        opened.set()
        return await task

    with patch.object(recompression, "recompress", wait):
        assert broker.run(run()) == [(0, [(0, 0)]), (2, [(0, 1)])]
    assert broker.engine.partition("z", 0).state.log_end_offset == len(MANY) + 1


@pytest.mark.parametrize("acks", [0, -1])
def test_a_connection_that_closes_meanwhile_leaves_its_batches(broker: Any, record_batch: Any, acks: int) -> None:
    broker.topic("z", 1, {"compression.type": "lz4"})

    async def run() -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", broker.ports["PLAINTEXT"])
        writer.write(frame(request([("z", 0, record_batch(MANY))], acks=acks), 1))
        await writer.drain()
        state = broker.engine.partition("z", 0).state
        while not broker.engine.recompression.waiting_bytes and not state.log_end_offset:
            await asyncio.sleep(0)
        writer.close()
        await writer.wait_closed()
        while state.high_watermark < len(MANY):
            await asyncio.sleep(0.001)

    broker.run(asyncio.wait_for(run(), 20))


def test_a_timeout_answers_what_is_still_away(broker: Any, record_batch: Any) -> None:
    broker.topic("z", 1, {"compression.type": "gzip"})
    opened, made = threading.Event(), recompression.recompress

    def wait(*arguments: Any) -> bytearray:
        assert opened.wait(20)
        return made(*arguments)

    with patch.object(recompression, "recompress", wait):
        asked = request([("z", 0, record_batch(MANY))], timeout_ms=1)
        assert broker.run(answers(broker, asked)) == [(0, [(ErrorCode.REQUEST_TIMED_OUT, -1)])]
        opened.set()
        ((_, ((code, base_offset),)),) = broker.run(answers(broker, request([("z", 0, record_batch([T0]))])))
        assert (code, base_offset) == (0, len(MANY))
