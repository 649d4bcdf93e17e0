"""DescribeLogDirs."""

from __future__ import annotations

from typing import Any

import pytest
from harness import wire
from harness.batches import simple_batch


def describe(connection: wire.Connection, version: int, topics: dict[str, list[int]] | None) -> Any:
    asked = None if topics is None else [{"topic": name, "partitions": parts} for name, parts in topics.items()]
    answer = connection.call("describe_log_dirs", version, topics=asked)
    (folder,) = answer.results
    assert folder.error_code == 0
    return folder


def partitions_of(folder: Any) -> dict[tuple[str, int], Any]:
    return {(topic.name, each.partition_index): each for topic in folder.topics for each in topic.partitions}


@pytest.mark.parametrize("version", range(1, 5))
def test_a_partition_and_its_bytes(connection: wire.Connection, topic_name: str, version: int) -> None:
    connection.create_usable_topic(topic_name, 2)
    batch = simple_batch(b"v" * 10_000)
    for _ in range(3):
        connection.produce(topic_name, {0: batch})
    folder = describe(connection, version, {topic_name: [0, 1]})
    found = partitions_of(folder)
    assert set(found) == {(topic_name, 0), (topic_name, 1)}
    assert found[topic_name, 0].partition_size == 3 * len(batch)
    assert found[topic_name, 1].partition_size == 0
    assert [(each.offset_lag, each.is_future_key) for each in found.values()] == [(0, False)] * 2
    assert folder.log_dir.startswith("/")
    if version >= 4:
        assert 0 < folder.usable_bytes < folder.total_bytes


def test_null_asks_for_all(connection: wire.Connection, topic_name: str) -> None:
    connection.create_usable_topic(topic_name, 3)
    found = partitions_of(describe(connection, 4, None))
    assert {(topic_name, partition) for partition in range(3)} <= set(found)


def test_what_is_not_there_is_left_out(connection: wire.Connection, topic: str) -> None:
    found = partitions_of(describe(connection, 4, {topic: [0, 99], f"{topic}-unknown": [0]}))
    assert set(found) == {(topic, 0)}
    assert partitions_of(describe(connection, 4, {})) == {}
