"""Identifiers.

A topic id is 16 raw bytes, as on the wire; all zero means "none". Its text form is Kafka's: unpadded URL-safe base64.
Plain aliases rather than classes: identifiers are made and compared on the hot path.
"""

import base64
import binascii
from typing import NamedTuple, TypeAlias

NodeId: TypeAlias = int
ProducerId: TypeAlias = int
TopicId: TypeAlias = bytes

NO_TOPIC_ID: TopicId = bytes(16)
NO_PRODUCER_ID: ProducerId = -1


class TopicPartition(NamedTuple):
    """One partition of one incarnation of a topic: a recreated topic has another id."""

    topic_id: TopicId
    partition: int


def topic_id_text(topic_id: TopicId) -> str:
    """The form Kafka's tools print: 22 characters."""
    return base64.urlsafe_b64encode(topic_id).rstrip(b"=").decode("ascii")


def topic_id_from_text(text: str) -> TopicId:
    """The inverse of topic_id_text. Raises ValueError when text is not 22 characters of URL-safe base64."""
    if len(text) != 22:
        raise ValueError(f"a topic id has 22 characters, not {len(text)}: {text!r}")
    try:
        topic_id = base64.b64decode(text + "==", altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(f"a topic id is URL-safe base64: {text!r}") from error
    if topic_id_text(topic_id) != text:
        raise ValueError(f"a topic id is URL-safe base64, and 16 bytes have one text: {text!r}")
    return topic_id
