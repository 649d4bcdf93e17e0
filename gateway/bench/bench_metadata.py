"""What a Metadata response for 1,000 topics costs the loop: joined from kept parts, and encoded whole.

For: the price of a client's refresh in a cluster with many topics, which every other client waits for. Not for: the
socket, or the first response after a start, which encodes each topic once. Run
`python gateway/bench/bench_metadata.py`; prints milliseconds, the best of several rounds, because what disturbs a loop
of this kind only ever makes it slower.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from tailrace_controller.metadata import format as fmt
from tailrace_controller.metadata.configs import ConfigRules
from tailrace_controller.metadata.image import Image
from tailrace_core.membership import Broker, Endpoint
from tailrace_gateway.kafka.metadata_cache import MetadataCache
from tailrace_gateway.kafka.schema.messages.metadata import MetadataResponse

VERSION = 12
TOPICS = 1000
PARTITIONS = 3

TARGET_MS = 1.0


def image() -> Image:
    """A broker that leads 3,000 partitions of 1,000 topics."""
    image = Image(ConfigRules({}))
    image.put(fmt.CLUSTER_KEY, fmt.encode_cluster("a-cluster"))
    image.put(fmt.broker_key(1), fmt.encode_broker(Broker(1, None, {"PLAINTEXT": Endpoint("127.0.0.1", 9092)}, 3, 4)))
    for number in range(TOPICS):
        image.put(fmt.topic_key((number + 1).to_bytes(16, "big")), fmt.encode_topic(f"topic-{number:04}", PARTITIONS))
    return image


def joined() -> Callable[[], bytes]:
    """A response to "all topics", when every topic was asked for before."""
    metadata = image()
    cache = MetadataCache(metadata)

    def once() -> bytes:
        response = MetadataResponse(brokers=cache.brokers("PLAINTEXT"), cluster_id="a-cluster", controller_id=1)
        return cache.encode(VERSION, response, list(metadata.topics))

    once()
    return once


def whole() -> Callable[[], bytes]:
    """The same response by the schema's encoder alone."""
    metadata = image()
    cache = MetadataCache(metadata)
    encode = MetadataResponse.encoder(VERSION)

    def once() -> bytes:
        return bytes(
            encode(
                MetadataResponse(
                    brokers=cache.brokers("PLAINTEXT"),
                    cluster_id="a-cluster",
                    controller_id=1,
                    topics=[cache.topic(topic) for topic in metadata.topics],
                )
            )
        )

    return once


def milliseconds(work: Callable[[], object], rounds: int = 15, times: int = 10) -> float:
    """The best round's mean."""
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(times):
            work()
        best = min(best, (time.perf_counter() - start) / times)
    return best * 1e3


def main() -> None:
    print(f"Metadata v{VERSION}, {TOPICS} topics of {PARTITIONS} partitions, {len(joined()()) / 1024:.0f} KiB")
    print(f"  joined from kept parts: {milliseconds(joined()):6.3f} ms (target {TARGET_MS})")
    print(f"  encoded whole:          {milliseconds(whole(), rounds=3, times=1):6.3f} ms")


if __name__ == "__main__":
    main()
