"""Every expected failure has a Kafka code, and every code its number."""

from collections.abc import Iterator

import pytest

from tailrace_core.errors import RetriableError, TailraceError
from tailrace_gateway.errors import KAFKA_CODES, ErrorCode, kafka_code

RETRIABLE_FOR_CLIENTS = {
    2,
    3,
    5,
    6,
    7,
    13,
    14,
    15,
    16,
    19,
    20,
    51,
    56,
    70,
    71,
    72,
    74,
    75,
    78,
    80,
    88,
    89,
    97,
    98,
    100,
    106,
}
"""Kafka's codes of RetriableException, as far as they may be ours (Errors.java)."""


def leaves(cls: type[TailraceError] = TailraceError) -> Iterator[type[TailraceError]]:
    below = [sub for sub in cls.__subclasses__() if sub.__module__ == TailraceError.__module__]
    if not below:
        yield cls
    for sub in below:
        yield from leaves(sub)


def test_the_table_has_every_leaf_and_nothing_else() -> None:
    assert set(KAFKA_CODES) == set(leaves())


@pytest.mark.parametrize(
    "cls", [cls for cls in leaves() if issubclass(cls, RetriableError)], ids=lambda cls: cls.__name__
)
def test_what_may_be_retried_is_retried_by_clients(cls: type[TailraceError]) -> None:
    assert kafka_code(cls("why")) in RETRIABLE_FOR_CLIENTS


def test_no_error_is_success() -> None:
    assert ErrorCode.NONE not in KAFKA_CODES.values()
    assert all(-1 <= code <= 133 for code in ErrorCode)
