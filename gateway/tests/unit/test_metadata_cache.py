"""A Metadata response that is joined from kept parts is, byte for byte, the one that the schema encodes."""

import runpy
from collections.abc import Sequence
from pathlib import Path

import pytest

from tailrace_controller.metadata import format as fmt
from tailrace_controller.metadata.configs import ConfigRules
from tailrace_controller.metadata.image import Image
from tailrace_core.membership import Broker, Endpoint, Topic
from tailrace_gateway.errors import ErrorCode
from tailrace_gateway.kafka.metadata_cache import MetadataCache, unknown_topic
from tailrace_gateway.kafka.schema.messages.metadata import MetadataResponse, MetadataResponseTopic

ENDPOINTS = {"PLAINTEXT": Endpoint("one.example", 9092), "EXTERNAL": Endpoint("two.example", 19092)}


def image_of(*counts: int, leader_epoch: int = 4) -> Image:
    """Topics t-0000, t-0001 … with so many partitions, led by broker 7."""
    image = Image(ConfigRules({}))
    image.put(fmt.CLUSTER_KEY, fmt.encode_cluster("a-cluster"))
    image.put(fmt.broker_key(7), fmt.encode_broker(Broker(7, "rack", ENDPOINTS, 3, leader_epoch)))
    for number, count in enumerate(counts):
        put(image, number, count)
    return image


def put(image: Image, number: int, count: int) -> None:
    image.put(fmt.topic_key((number + 1).to_bytes(16, "big")), fmt.encode_topic(f"t-{number:04}", count))


def response_of(cache: MetadataCache, *own: MetadataResponseTopic) -> MetadataResponse:
    return MetadataResponse(
        brokers=cache.brokers("PLAINTEXT"), cluster_id="a-cluster", controller_id=7, topics=list(own)
    )


def encoded(cache: MetadataCache, version: int, topics: Sequence[Topic], *own: MetadataResponseTopic) -> bytes:
    """What the schema's own encoder makes of it."""
    whole = response_of(cache, *own, *[cache.topic(topic) for topic in topics])
    return bytes(MetadataResponse.encoder(version)(whole))


@pytest.mark.parametrize("version", MetadataResponse.versions)
def test_the_joined_response_is_what_the_schema_encodes(version: int) -> None:
    image = image_of(*[1 + number % 7 for number in range(1000)], 200)
    cache = MetadataCache(image)
    errors = [
        unknown_topic("missing", bytes(16), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        unknown_topic("a b", bytes(16), ErrorCode.INVALID_TOPIC_EXCEPTION),
    ]
    for topics in (image.topics, image.topics[:0], image.topics[:1], image.topics[:127], image.topics[5:133]):
        for own in ((), errors[:1], errors):
            expected = encoded(cache, version, topics, *own)
            response = response_of(cache, *own)
            assert cache.encode(version, response, list(topics)) == expected
            assert response.topics == list(own)
            assert cache.encode(version, response, list(topics)) == expected, "again, from kept parts"


def test_a_topic_that_changed_is_encoded_again() -> None:
    image = image_of(2, 3)
    cache = MetadataCache(image)
    for change in (lambda: None, lambda: put(image, 0, 9)):
        change()
        topics = list(image.topics)
        assert cache.encode(12, response_of(cache), topics) == encoded(cache, 12, topics)


def test_a_new_leader_epoch_is_told() -> None:
    image = image_of(2)
    cache = MetadataCache(image)
    before = cache.encode(12, response_of(cache), list(image.topics))
    image.put(fmt.broker_key(7), fmt.encode_broker(Broker(7, "rack", ENDPOINTS, 4, 5)))
    after = cache.encode(12, response_of(cache), list(image.topics))
    assert after != before
    assert after == encoded(cache, 12, image.topics)


def test_a_recreated_topic_of_the_same_name_has_its_new_id() -> None:
    image = image_of(2)
    cache = MetadataCache(image)
    (old,) = image.topics
    cache.encode(12, response_of(cache), [old])
    image.delete(fmt.topic_key(old.topic_id))
    cache.forget(old)
    image.put(fmt.topic_key(b"\x09" * 16), fmt.encode_topic(old.name, 2))
    assert b"\x09" * 16 in cache.encode(12, response_of(cache), list(image.topics))


def test_brokers_are_told_at_the_addresses_of_a_listener_and_left_out_without_one() -> None:
    cache = MetadataCache(image_of())
    (node,) = cache.brokers("EXTERNAL")
    assert (node.node_id, node.host, node.port, node.rack) == (7, "two.example", 19092, "rack")
    assert cache.brokers("INTERNAL") == []


def test_the_bench_joins_the_response_that_it_compares_with() -> None:
    bench = runpy.run_path(str(Path(__file__).parents[2] / "bench" / "bench_metadata.py"))
    assert bench["joined"]()() == bench["whole"]()()
