"""DeleteRecords, over sockets, with batches in the log."""

from typing import Any

import pytest

from tailrace_gateway.errors import ErrorCode
from tailrace_gateway.kafka.schema.messages.delete_records import (
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsTopic,
)

T0 = 1_700_000_000_000
Answers = dict[tuple[str, int], tuple[int, int]]


def delete(broker: Any, version: int, *asked: tuple[str, int, int]) -> Answers:
    """(topic, partition) -> error code and low watermark."""
    topics = [
        DeleteRecordsTopic(name=name, partitions=[DeleteRecordsPartition(partition_index=index, offset=offset)])
        for name, index, offset in asked
    ]
    response = broker.ask(DeleteRecordsRequest(topics=topics, timeout_ms=1_000), version)
    return {
        (topic.name, each.partition_index): (each.error_code, each.low_watermark)
        for topic in response.topics
        for each in topic.partitions
    }


@pytest.fixture
def filled(broker: Any, record_batch: Any) -> Any:
    broker.topic("x", 2)
    assert broker.produce("x", record_batch([T0] * 5)).error_code == 0
    return broker


@pytest.mark.parametrize("version", range(3))
def test_the_low_watermark_is_told_and_in_force(filled: Any, version: int) -> None:
    assert delete(filled, version, ("x", 0, 2)) == {("x", 0): (0, 2)}
    assert filled.engine.partition("x", 0).state.log_start_offset == 2
    assert delete(filled, version, ("x", 0, -1)) == {("x", 0): (0, 5)}
    assert filled.membership.extents(filled.engine.partition("x", 0).topic_id, 0).log_start_offset == 5


def test_errors_are_the_partitions_own(filled: Any) -> None:
    filled.topic("c", configs={"cleanup.policy": "compact"})
    filled.topic("__consumer_offsets")
    answers = delete(
        filled,
        2,
        ("x", 0, 6),
        ("x", 1, 0),
        ("x", 2, 0),
        ("missing", 0, 0),
        ("c", 0, 0),
        ("__consumer_offsets", 0, 0),
        ("__transaction_state", 0, 0),
    )
    assert answers == {
        ("x", 0): (ErrorCode.OFFSET_OUT_OF_RANGE, -1),
        ("x", 1): (0, 0),
        ("x", 2): (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1),
        ("missing", 0): (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1),
        ("c", 0): (ErrorCode.POLICY_VIOLATION, -1),
        ("__consumer_offsets", 0): (ErrorCode.INVALID_TOPIC_EXCEPTION, -1),
        ("__transaction_state", 0): (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1),
    }


def test_a_partition_that_is_named_twice_is_answered_for_the_last_offset(filled: Any) -> None:
    assert delete(filled, 2, ("x", 0, 1), ("x", 0, 3)) == {("x", 0): (0, 3)}
