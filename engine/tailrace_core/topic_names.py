"""Which topic names are allowed."""

import re
from typing import Final

from tailrace_core.errors import InvalidTopicName

NAME_LENGTH_MAX: Final = 249

_NAME: Final = re.compile(r"[a-zA-Z0-9._-]+", re.ASCII)


def check_topic_name(name: str) -> None:
    """Raises InvalidTopicName. Kafka's org.apache.kafka.common.internals.Topic."""
    if not name:
        raise InvalidTopicName("Topic name is invalid: the empty string is not allowed")
    if name in (".", ".."):
        raise InvalidTopicName("Topic name is invalid: '.' or '..' is not allowed")
    if len(name) > NAME_LENGTH_MAX:
        raise InvalidTopicName(
            f"Topic name is invalid: the length of '{name[:NAME_LENGTH_MAX]}...' is longer than the max allowed length"
            f" {NAME_LENGTH_MAX}"
        )
    if not _NAME.fullmatch(name):
        raise InvalidTopicName(
            f"Topic name is invalid: '{name}' contains one or more characters other than ASCII alphanumerics, '.', '_'"
            " and '-'"
        )
