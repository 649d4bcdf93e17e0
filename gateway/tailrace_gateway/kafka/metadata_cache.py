"""Encoded metadata of topics, so that a big Metadata response is joined and not encoded.

A topic's part of the response depends on the version, the topic and the leader epoch only. It is cut out of the
encoding of a response with that one topic, once, and kept until the topic changes.
"""

from struct import Struct
from typing import Final

from tailrace_core.membership import ClusterImage, Topic
from tailrace_gateway.errors import ErrorCode
from tailrace_gateway.kafka.schema.messages.metadata import (
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)

_COUNT: Final = Struct(">i")
_FLEXIBLE_FROM: Final = 9


def _tail_bytes(version: int) -> int:
    """Bytes that follow the topics: authorized operations (v8-10), error code (v13), tag section (v9+)."""
    return 4 * (8 <= version <= 10) + 2 * (version >= 13) + (version >= _FLEXIBLE_FROM)


def _count(version: int, count: int) -> bytes:
    if version < _FLEXIBLE_FROM:
        return _COUNT.pack(count)
    encoded = bytearray()
    value = count + 1
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


class MetadataCache:
    """One per broker; `image` is the committed metadata."""

    def __init__(self, image: ClusterImage) -> None:
        self._image = image
        self._parts: dict[int, dict[bytes, tuple[Topic, bytes]]] = {}
        """By version and topic id; all of the same leader epoch."""
        self._leader_epoch = -1

    def brokers(self, listener: str) -> list[MetadataResponseBroker]:
        """All brokers, at the addresses that clients of this listener reach."""
        return [
            MetadataResponseBroker(
                node_id=broker.node_id,
                host=broker.endpoints[listener].host,
                port=broker.endpoints[listener].port,
                rack=broker.rack,
            )
            for broker in self._image.brokers
            if listener in broker.endpoints
        ]

    def topic(self, topic: Topic) -> MetadataResponseTopic:
        """A topic as Metadata tells it."""
        leader = self._image.controller_id
        epoch = self._image.leader_epoch
        return MetadataResponseTopic(
            error_code=0,
            name=topic.name,
            topic_id=topic.topic_id,
            is_internal=topic.is_internal,
            partitions=[
                MetadataResponsePartition(
                    error_code=0,
                    partition_index=index,
                    leader_id=leader,
                    leader_epoch=epoch,
                    replica_nodes=[leader],
                    isr_nodes=[leader],
                )
                for index in range(topic.partition_count)
            ],
        )

    def encode(self, version: int, response: MetadataResponse, topics: list[Topic]) -> bytes:
        """The response with these topics after its own, whose encoding is not kept (they are errors)."""
        encode = MetadataResponse.encoder(version)
        own_count = len(response.topics)
        whole = bytes(encode(response))
        tail = _tail_bytes(version)
        own = response.topics
        response.topics = []
        head = len(encode(response)) - tail - len(_count(version, 0))
        response.topics = own
        if self._leader_epoch != self._image.leader_epoch:
            self._leader_epoch = self._image.leader_epoch
            self._parts.clear()
        parts = self._parts.setdefault(version, {})
        return b"".join(
            (
                whole[:head],
                _count(version, own_count + len(topics)),
                whole[head + len(_count(version, own_count)) : len(whole) - tail],
                *[self._part(version, topic, parts) for topic in topics],
                whole[len(whole) - tail :],
            )
        )

    def _part(self, version: int, topic: Topic, parts: dict[bytes, tuple[Topic, bytes]]) -> bytes:
        kept = parts.get(topic.topic_id)
        if kept is not None and kept[0] is topic:
            return kept[1]
        encode = MetadataResponse.encoder(version)
        empty = len(encode(MetadataResponse()))
        whole = bytes(encode(MetadataResponse(topics=[self.topic(topic)])))
        tail = _tail_bytes(version)
        part = whole[empty - tail : len(whole) - tail]
        parts[topic.topic_id] = (topic, part)
        return part

    def forget(self, topic: Topic) -> None:
        """The topic is gone."""
        for parts in self._parts.values():
            parts.pop(topic.topic_id, None)


def unknown_topic(name: str | None, topic_id: bytes, error: ErrorCode) -> MetadataResponseTopic:
    """What Metadata says of a topic that it cannot describe."""
    return MetadataResponseTopic(error_code=error, name=name, topic_id=topic_id)
