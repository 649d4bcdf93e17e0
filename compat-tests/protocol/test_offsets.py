"""ListOffsets and OffsetForLeaderEpoch (protocol.md items 59-65)."""

from __future__ import annotations

import pytest
from harness import wire
from harness.batches import NOW, Record, make_batch, simple_batch


@pytest.fixture
def filled(connection: wire.Connection, topic: str) -> str:
    """Offsets 0-5 in three batches; times since NOW: 0 10 | 10 5 | 30 20."""
    for times in ((0, 10), (10, 5), (30, 20)):
        batch = make_batch([Record(b"v", timestamp=NOW + each) for each in times])
        assert connection.produce(topic, {0: batch})[0].error_code == 0
    return topic


@pytest.mark.parametrize("version", range(1, 12))
def test_latest_and_earliest_of_every_version(connection: wire.Connection, filled: str, version: int) -> None:
    latest, earliest = (connection.list_offset(filled, 0, which, version=version) for which in (-1, -2))
    assert (latest.error_code, latest.offset, latest.timestamp) == (0, 6, -1)
    assert (earliest.error_code, earliest.offset, earliest.timestamp) == (0, 0, -1)
    if version >= 4:
        epoch = connection.metadata([filled]).topics[0].partitions[0].leader_epoch
        assert (latest.leader_epoch, earliest.leader_epoch) == (epoch, epoch)


@pytest.mark.parametrize("version", [1, 5, 11])
@pytest.mark.parametrize(
    ("after", "offset", "found"),
    [(-5, 0, 0), (0, 0, 0), (1, 1, 10), (10, 1, 10), (11, 4, 30), (30, 4, 30), (31, -1, None)],
)
def test_by_time_the_first_record_at_or_after_is_found(
    connection: wire.Connection, filled: str, version: int, after: int, offset: int, found: int | None
) -> None:
    answer = connection.list_offset(filled, 0, NOW + after, version=version)
    assert (answer.error_code, answer.offset) == (0, offset)
    assert answer.timestamp == (-1 if found is None else NOW + found)


@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_by_time_finds_a_record_inside_of_a_batch(connection: wire.Connection, topic: str, codec: str) -> None:
    connection.produce(topic, {0: make_batch([Record(b"v", timestamp=NOW + i) for i in range(100)], codec=codec)})
    answer = connection.list_offset(topic, 0, NOW + 42)
    assert (answer.offset, answer.timestamp) == (42, NOW + 42)


def test_the_record_of_the_maximum_time(connection: wire.Connection, filled: str) -> None:
    answer = connection.list_offset(filled, 0, -3, version=7)
    assert (answer.error_code, answer.offset, answer.timestamp) == (0, 4, NOW + 30)


def test_the_maximum_time_of_an_empty_partition(connection: wire.Connection, topic: str) -> None:
    answer = connection.list_offset(topic, 0, -3, version=7)
    assert (answer.error_code, answer.offset, answer.timestamp) == (0, -1, -1)


@pytest.mark.parametrize(("which", "version"), [(-3, 6), (-4, 7), (-5, 8), (-6, 10), (-7, 11)])
def test_a_special_value_unknown_to_the_version_is_refused(
    connection: wire.Connection, filled: str, which: int, version: int
) -> None:
    assert connection.list_offset(filled, 0, which, version=version).error_code == 35


@pytest.mark.parametrize("version", [8, 9, 10, 11])
def test_the_earliest_local_offset(connection: wire.Connection, filled: str, version: int) -> None:
    answer = connection.list_offset(filled, 0, -4, version=version)
    assert answer.error_code == 0
    assert 0 <= answer.offset <= 6


def test_unknown_partitions(connection: wire.Connection, topic: str) -> None:
    assert connection.list_offset(topic, 5, -1).error_code == 3
    assert connection.list_offset(f"{topic}-unknown", 0, -1).error_code == 3


def test_a_partition_twice_is_an_invalid_request(connection: wire.Connection, filled: str) -> None:
    partition = {"partition_index": 0, "timestamp": -1}
    answer = connection.call(
        "list_offsets", 5, replica_id=-1, isolation_level=0, topics=[{"name": filled, "partitions": [partition] * 2}]
    )
    assert {each.error_code for each in answer.topics[0].partitions} == {42}


def epoch_end(
    connection: wire.Connection, topic: str, epoch: int, *, partition: int = 0, current: int = -1, version: int = 4
) -> tuple[int, ...]:
    asked = [
        {
            "topic": topic,
            "partitions": [{"partition": partition, "leader_epoch": epoch, "current_leader_epoch": current}],
        }
    ]
    more = {"replica_id": -1} if version >= 3 else {}
    answer = connection.call("offset_for_leader_epoch", version, topics=asked, **more).topics[0].partitions[0]
    return int(answer.error_code), int(answer.leader_epoch), int(answer.end_offset)


@pytest.mark.parametrize("version", [2, 3, 4])
def test_the_current_epoch_ends_at_the_log_end(connection: wire.Connection, filled: str, version: int) -> None:
    epoch = connection.metadata([filled]).topics[0].partitions[0].leader_epoch
    assert epoch_end(connection, filled, epoch, version=version) == (0, epoch, 6)
    assert epoch_end(connection, filled, epoch, current=epoch, version=version) == (0, epoch, 6)


def test_epochs_unknown_and_fenced(connection: wire.Connection, filled: str) -> None:
    epoch = connection.metadata([filled]).topics[0].partitions[0].leader_epoch
    assert epoch_end(connection, filled, epoch + 5) == (0, -1, -1)
    assert epoch_end(connection, filled, epoch, current=epoch + 1)[0] == 75
    assert epoch_end(connection, filled, epoch, partition=9)[0] == 3
    if epoch > 0:
        assert epoch_end(connection, filled, epoch, current=epoch - 1)[0] == 74


def test_an_empty_topic_has_offset_0(connection: wire.Connection, topic: str) -> None:
    assert connection.list_offset(topic, 0, -1).offset == 0
    assert connection.list_offset(topic, 0, -2).offset == 0
    assert connection.list_offset(topic, 0, NOW).offset == -1
    connection.produce(topic, {0: simple_batch(b"v")})
    assert connection.list_offset(topic, 0, -1).offset == 1
