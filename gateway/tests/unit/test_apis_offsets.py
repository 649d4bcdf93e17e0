"""ListOffsets and OffsetForLeaderEpoch, over sockets, with batches in the log."""

from typing import Any

import pytest

from tailrace_core.extents import Extent
from tailrace_gateway.errors import ErrorCode
from tailrace_gateway.kafka.apis.list_offsets import (
    EARLIEST,
    EARLIEST_LOCAL,
    EARLIEST_PENDING_UPLOAD,
    LATEST,
    LATEST_TIERED,
    MAX_TIMESTAMP,
)
from tailrace_gateway.kafka.schema.messages.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsTopic,
)
from tailrace_gateway.kafka.schema.messages.offset_for_leader_epoch import (
    OffsetForLeaderEpochRequest,
    OffsetForLeaderPartition,
    OffsetForLeaderTopic,
)

T0 = 1_700_000_000_000


@pytest.fixture
def filled(broker: Any, record_batch: Any) -> Any:
    """Topic x: offsets 0 to 8 in three batches, the times out of order."""
    broker.topic("x", 2)
    for offsets in ((10, 20, 30), (25, 90, 40), (50, 60, 70)):
        assert broker.produce("x", record_batch([T0 + ms for ms in offsets])).error_code == 0
    return broker


def list_offsets(broker: Any, version: int, *asks: tuple[str, int, int], epoch: int = -1, isolation: int = 0) -> Any:
    """(topic, partition, timestamp) each; the partitions' answers in order."""
    topics = [
        ListOffsetsTopic(
            name=name,
            partitions=[ListOffsetsPartition(partition_index=index, timestamp=time, current_leader_epoch=epoch)],
        )
        for name, index, time in asks
    ]
    request = ListOffsetsRequest(replica_id=-1, isolation_level=isolation, topics=topics)
    return [part for topic in broker.ask(request, version).topics for part in topic.partitions]


def one(broker: Any, timestamp: int, version: int = 11, **more: int) -> tuple[int, int, int, int]:
    (answer,) = list_offsets(broker, version, ("x", 0, timestamp), **more)
    return answer.error_code, answer.offset, answer.timestamp, answer.leader_epoch


@pytest.mark.parametrize("version", range(1, 12))
def test_earliest_and_latest_in_every_version(filled: Any, version: int) -> None:
    epoch = filled.leader_epoch if version >= 4 else -1
    assert one(filled, EARLIEST, version) == (0, 0, -1, epoch)
    assert one(filled, LATEST, version) == (0, 9, -1, epoch)
    assert one(filled, T0, version) == (0, 0, T0 + 10, epoch)


@pytest.mark.parametrize(
    ("timestamp", "first_version"),
    [(MAX_TIMESTAMP, 7), (EARLIEST_LOCAL, 8), (LATEST_TIERED, 9), (EARLIEST_PENDING_UPLOAD, 11), (-7, 99)],
)
def test_special_timestamps_need_their_version(filled: Any, timestamp: int, first_version: int) -> None:
    for version in range(1, 12):
        code = one(filled, timestamp, version)[0]
        assert code == (0 if version >= first_version else ErrorCode.UNSUPPORTED_VERSION)


@pytest.mark.parametrize(
    ("after", "offset", "at"),
    [(0, 0, 10), (10, 0, 10), (11, 1, 20), (25, 2, 30), (31, 4, 90), (90, 4, 90)],
)
def test_by_time_the_first_record_at_or_after_it_is_found_not_its_batch(
    filled: Any, after: int, offset: int, at: int
) -> None:
    assert one(filled, T0 + after) == (0, offset, T0 + at, filled.leader_epoch)


def test_a_time_after_all_records_finds_nothing_and_is_no_error(filled: Any) -> None:
    assert one(filled, T0 + 91) == (0, -1, -1, -1)


def test_the_max_timestamp_is_that_of_the_first_record_that_has_it(filled: Any, record_batch: Any) -> None:
    filled.produce("x", record_batch([T0 + 90, T0 + 90]))
    assert one(filled, MAX_TIMESTAMP) == (0, 4, T0 + 90, filled.leader_epoch)


def test_an_empty_partition_has_offsets_and_no_times(filled: Any) -> None:
    for timestamp, offset in ((EARLIEST, 0), (LATEST, 0), (MAX_TIMESTAMP, -1), (T0, -1), (LATEST_TIERED, -1)):
        (answer,) = list_offsets(filled, 11, ("x", 1, timestamp))
        assert (answer.error_code, answer.offset, answer.timestamp) == (0, offset, -1)


def test_the_border_between_tier_and_local_data(filled: Any) -> None:
    partition = filled.engine.partition("x", 0)
    epoch = filled.leader_epoch
    assert one(filled, LATEST_TIERED) == (0, -1, -1, -1)
    assert one(filled, EARLIEST_LOCAL) == (0, 0, -1, epoch)
    assert one(filled, EARLIEST_PENDING_UPLOAD) == (0, 0, -1, epoch)
    filled.engine.on_committed(Extent(partition.topic_id, 0, epoch, 0, 6, 0, 0, 0, 0, 0))
    assert one(filled, LATEST_TIERED) == (0, 5, -1, epoch)
    assert one(filled, EARLIEST_LOCAL) == (0, 6, -1, epoch)
    assert one(filled, EARLIEST_PENDING_UPLOAD) == (0, 6, -1, epoch)
    assert one(filled, EARLIEST) == (0, 0, -1, epoch)
    filled.run(filled.membership.trim(partition.topic_id, 0, 6))
    assert one(filled, EARLIEST) == (0, 6, -1, epoch)
    assert one(filled, LATEST_TIERED) == (0, -1, -1, -1)


def test_read_committed_ends_at_the_high_watermark(filled: Any) -> None:
    assert one(filled, LATEST, isolation=1) == one(filled, LATEST, isolation=0)


def test_a_leader_epoch_that_is_not_the_partitions_is_fenced(filled: Any) -> None:
    epoch = filled.leader_epoch
    assert one(filled, LATEST, epoch=epoch)[0] == 0
    assert one(filled, LATEST, epoch=epoch + 1) == (ErrorCode.UNKNOWN_LEADER_EPOCH, -1, -1, -1)
    filled.engine.partition("x", 0).state.leader_epoch = epoch + 1
    assert one(filled, LATEST, epoch=epoch) == (ErrorCode.FENCED_LEADER_EPOCH, -1, -1, -1)


def test_errors_are_the_partitions_own_and_duplicates_are_refused(filled: Any) -> None:
    answers = list_offsets(
        filled,
        11,
        ("x", 0, LATEST),
        ("missing", 0, LATEST),
        ("x", 2, T0),
        ("x", 1, LATEST),
        ("x", 1, T0),
        ("x", -1, T0),
    )
    assert [(answer.error_code, answer.offset) for answer in answers] == [
        (0, 9),
        (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1),
        (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1),
        (ErrorCode.INVALID_REQUEST, -1),
        (ErrorCode.INVALID_REQUEST, -1),
        (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1),
    ]


def test_what_retention_removed_is_not_found_by_time(filled: Any) -> None:
    partition = filled.engine.partition("x", 0)
    filled.engine.on_committed(Extent(partition.topic_id, 0, 0, 0, 6, 0, 0, 0, 0, 0))
    filled.run(filled.membership.trim(partition.topic_id, 0, 6))
    assert one(filled, T0) == (0, 6, T0 + 50, filled.leader_epoch)


# --- OffsetForLeaderEpoch


def end_of(broker: Any, leader_epoch: int, version: int = 4, current: int = -1, index: int = 0) -> tuple[int, int, int]:
    ask = OffsetForLeaderPartition(partition=index, current_leader_epoch=current, leader_epoch=leader_epoch)
    topics = [OffsetForLeaderTopic(topic="x", partitions=[ask])]
    (topic,) = broker.ask(OffsetForLeaderEpochRequest(replica_id=-1, topics=topics), version).topics
    answer = topic.partitions[0]
    return answer.error_code, answer.leader_epoch, answer.end_offset


@pytest.mark.parametrize("version", range(2, 5))
def test_the_current_epoch_ends_at_the_log_end(filled: Any, version: int) -> None:
    assert end_of(filled, filled.leader_epoch, version) == (0, filled.leader_epoch, 9)


def test_an_older_epoch_ends_where_the_next_one_began(filled: Any, record_batch: Any) -> None:
    old = filled.leader_epoch
    filled.engine.partition("x", 0).state.leader_epoch = old + 5
    filled.produce("x", record_batch([T0 + 100]))
    assert end_of(filled, old) == (0, old, 9)
    assert end_of(filled, old + 3) == (0, old, 9)
    assert end_of(filled, old + 5) == (0, old + 5, 10)


def test_an_epoch_of_the_future_is_unknown(filled: Any) -> None:
    assert end_of(filled, filled.leader_epoch + 1) == (0, -1, -1)


def test_an_older_epoch_of_an_empty_log_ends_at_its_end(filled: Any) -> None:
    """As Kafka's leader enters its epoch when it begins to lead: a client at the log's end is told that it is right."""
    old = filled.leader_epoch
    filled.engine.partition("x", 1).state.leader_epoch = old + 1
    assert end_of(filled, old, index=1) == (0, old, 0)


def test_a_fenced_or_unknown_asker_gets_the_error(filled: Any) -> None:
    epoch = filled.leader_epoch
    assert end_of(filled, epoch, current=epoch + 1) == (ErrorCode.UNKNOWN_LEADER_EPOCH, -1, -1)
    assert end_of(filled, epoch, index=5) == (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1, -1)
    filled.engine.partition("x", 0).state.leader_epoch = epoch + 1
    assert end_of(filled, epoch, current=epoch) == (ErrorCode.FENCED_LEADER_EPOCH, -1, -1)
