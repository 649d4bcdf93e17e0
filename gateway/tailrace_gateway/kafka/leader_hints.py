"""Who leads a partition, told with the error of a client that asked the wrong broker or in an old epoch (KIP-951)."""

from typing import TYPE_CHECKING, Final, NamedTuple

from tailrace_core.membership import ClusterImage
from tailrace_gateway.errors import ErrorCode

if TYPE_CHECKING:
    from tailrace_gateway.kafka.metadata_cache import MetadataCache
    from tailrace_gateway.kafka.schema.messages.metadata import MetadataResponseBroker

PRODUCE_HINTS_FROM: Final = 10
FETCH_HINTS_FROM: Final = 16
PRODUCE_HINTED: Final = (ErrorCode.NOT_LEADER_OR_FOLLOWER,)
FETCH_HINTED: Final = (ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.FENCED_LEADER_EPOCH)
"""The errors that Kafka tells the leader with (KafkaApis)."""


class Leader(NamedTuple):
    """Of a partition."""

    leader_id: int
    leader_epoch: int


def leader(image: ClusterImage) -> Leader:
    """The leader of every partition: there is one broker."""
    return Leader(image.controller_id, image.leader_epoch)


def endpoints(metadata: "MetadataCache", listener: str, leader_id: int) -> "list[MetadataResponseBroker]":
    """Where clients of the listener reach the leader."""
    return [broker for broker in metadata.brokers(listener) if broker.node_id == leader_id]
