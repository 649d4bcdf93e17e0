"""Kafka's rule for topic names."""

import pytest

from tailrace_core.errors import InvalidTopicName
from tailrace_core.topic_names import check_topic_name


@pytest.mark.parametrize("name", ["a", "A.b_c-9", "...", "__consumer_offsets", "x" * 249, "-", "0"])
def test_names_that_are_allowed(name: str) -> None:
    check_topic_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", "x" * 250, "a b", "a/b", "ä", "a\n", "a\0", "\u0661", "a:b", "a,b"])
def test_names_that_are_not(name: str) -> None:
    with pytest.raises(InvalidTopicName, match="Topic name is invalid"):
        check_topic_name(name)
