"""Which partition keeps a group: what Java computes."""

import pytest

from tailrace_engine.coordinator.routing import partition_for, string_hash


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("a", 97),
        ("group", 98629247),
        ("polygenelubricants", -(1 << 31)),
        ("grüße", 98768023),
        ("\U0001f600", 1772899),
        ("x" * 200, 359357440),
        ("connect-cluster", 1440343063),
    ],
)
def test_the_hash_of_an_id_is_javas(text: str, expected: int) -> None:
    assert string_hash(text) == expected


def test_the_partition_is_the_absolute_hash_and_that_of_the_least_number_is_zero() -> None:
    assert partition_for("polygenelubricants", 50) == 0
    assert partition_for("a", 50) == 47
    assert partition_for("connect-cluster", 50) == 13
    assert partition_for("\U0001f600", 50) == 49
    assert partition_for("x" * 200, 50) == 40
