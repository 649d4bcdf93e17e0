"""What the compiled codecs cost on the two paths that every record takes.

For: the price of one Produce and of one Fetch, without the engine and the sockets. Not for: throughput, or whole
requests (see the end-to-end benches). Run `python gateway/bench/bench_schema.py`; prints microseconds, the best of
several rounds, because what disturbs a loop of this kind only ever makes it slower.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from tailrace_gateway.kafka.schema import Buffer
from tailrace_gateway.kafka.schema.messages.fetch import (
    FetchableTopicResponse,
    FetchPartition,
    FetchRequest,
    FetchResponse,
    FetchTopic,
    PartitionData,
)
from tailrace_gateway.kafka.schema.messages.produce import (
    PartitionProduceData,
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
    TopicProduceResponse,
)

PRODUCE_VERSION = 9
FETCH_VERSION = 12
PARTITIONS = 8
BATCH = bytes(16 * 1024)

TARGETS_US = {"produce": 8.0, "fetch": 25.0}


def produce() -> Callable[[], tuple[ProduceRequest, Buffer]]:
    """Decode a request with one batch, encode its response."""
    topic = TopicProduceData(name="orders", partition_data=[PartitionProduceData(index=3, records=BATCH)])
    request = ProduceRequest(acks=-1, timeout_ms=30_000, topic_data=[topic])
    frame = memoryview(ProduceRequest.encoder(PRODUCE_VERSION)(request))
    partition = PartitionProduceResponse(index=3, base_offset=1_000_000, log_start_offset=0)
    response = ProduceResponse(responses=[TopicProduceResponse(name="orders", partition_responses=[partition])])
    decode, encode = ProduceRequest.decoder(PRODUCE_VERSION), ProduceResponse.encoder(PRODUCE_VERSION)

    def once() -> tuple[ProduceRequest, Buffer]:
        decoded, _ = decode(frame, 0)
        return decoded, encode(response)

    return once


def fetch() -> Callable[[], tuple[FetchRequest, list[Buffer]]]:
    """Decode a request for 8 partitions of a topic, encode a response with a batch for each."""
    asked = [
        FetchPartition(partition=index, fetch_offset=index, partition_max_bytes=1 << 20) for index in range(PARTITIONS)
    ]
    request = FetchRequest(max_wait_ms=500, min_bytes=1, topics=[FetchTopic(topic="orders", partitions=asked)])
    frame = memoryview(FetchRequest.encoder(FETCH_VERSION)(request))
    found = [PartitionData(partition_index=index, high_watermark=9, records=BATCH) for index in range(PARTITIONS)]
    response = FetchResponse(responses=[FetchableTopicResponse(topic="orders", partitions=found)])
    decode, encode = FetchRequest.decoder(FETCH_VERSION), FetchResponse.parts_encoder(FETCH_VERSION)

    def once() -> tuple[FetchRequest, list[Buffer]]:
        decoded, _ = decode(frame, 0)
        return decoded, encode(response)

    return once


BENCHES: dict[str, Callable[[], Callable[[], object]]] = {"produce": produce, "fetch": fetch}


def best_us(once: Callable[[], object], *, rounds: int, repeats: int) -> float:
    """Microseconds of one call in the fastest round."""
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(repeats):
            once()
        best = min(best, time.perf_counter() - start)
    return best / repeats * 1e6


def main() -> None:
    for name, make in BENCHES.items():
        figure = best_us(make(), rounds=20, repeats=5_000)
        print(f"{name:8} {figure:6.2f} us (target {TARGETS_US[name]:.0f} us)")


if __name__ == "__main__":
    main()
