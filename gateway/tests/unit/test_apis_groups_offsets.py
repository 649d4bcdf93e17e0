"""The APIs of committed offsets over sockets, on the real coordinator."""

from typing import Any

import pytest

from tailrace_core.errors import CoordinatorLoadInProgress, UnstableOffsetCommit
from tailrace_core.ids import NO_TOPIC_ID
from tailrace_engine.coordinator.group_messages import FetchedOffset, FetchedOffsets
from tailrace_gateway.errors import ErrorCode
from tailrace_gateway.kafka.schema.messages.find_coordinator import FindCoordinatorRequest
from tailrace_gateway.kafka.schema.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from tailrace_gateway.kafka.schema.messages.offset_delete import (
    OffsetDeleteRequest,
    OffsetDeleteRequestPartition,
    OffsetDeleteRequestTopic,
)
from tailrace_gateway.kafka.schema.messages.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopic,
    OffsetFetchRequestTopics,
)

GROUP = "g"
UNKNOWN_ID = b"\7" * 16


@pytest.fixture
def ready(broker: Any) -> Any:
    """The broker, with a topic x of two partitions and a coordinator."""
    broker.topic("x", 2)
    assert broker.ask(FindCoordinatorRequest(key=GROUP), 3).error_code == 0
    return broker


def commit(
    broker: Any, version: int, offsets: dict[int, tuple[int, str | None]], topic: str = "x", **options: Any
) -> dict[int, int]:
    """Partition -> error code; from outside of the group, if not said otherwise."""
    known = broker.membership.image.topic(topic)
    partitions = [
        OffsetCommitRequestPartition(
            partition_index=partition,
            committed_offset=offset,
            committed_leader_epoch=0 if version >= 6 else -1,
            committed_metadata=metadata,
        )
        for partition, (offset, metadata) in offsets.items()
    ]
    by_id = known.topic_id if known is not None else UNKNOWN_ID
    named = OffsetCommitRequestTopic(
        name=topic if version < 10 else "", topic_id=by_id if version >= 10 else NO_TOPIC_ID, partitions=partitions
    )
    response = broker.ask(OffsetCommitRequest(group_id=GROUP, topics=[named], **options), version)
    (answer,) = response.topics
    assert (answer.name, answer.topic_id) == (named.name, named.topic_id)
    return {each.partition_index: each.error_code for each in answer.partitions}


def fetch(broker: Any, version: int, partitions: list[int] | None, topic: str = "x") -> Any:
    """The group's part of the answer."""
    if version < 8:
        topics = None if partitions is None else [OffsetFetchRequestTopic(name=topic, partition_indexes=partitions)]
        return broker.ask(OffsetFetchRequest(group_id=GROUP, topics=topics), version)
    known = broker.membership.image.topic(topic)
    named = OffsetFetchRequestTopics(
        name=topic if version < 10 else "",
        topic_id=NO_TOPIC_ID if version < 10 else known.topic_id if known is not None else UNKNOWN_ID,
        partition_indexes=partitions or [],
    )
    group = OffsetFetchRequestGroup(group_id=GROUP, topics=None if partitions is None else [named])
    (answer,) = broker.ask(OffsetFetchRequest(groups=[group]), version).groups
    assert answer.group_id == GROUP
    return answer


def offsets_of(answer: Any) -> list[tuple[int, int, str]]:
    """(partition, offset, metadata); there must be no error."""
    assert answer.error_code == 0
    assert all(part.error_code == 0 for topic in answer.topics for part in topic.partitions)
    return [
        (part.partition_index, part.committed_offset, part.metadata)
        for topic in answer.topics
        for part in topic.partitions
    ]


@pytest.mark.parametrize("version", range(2, 11))
def test_commit_in_every_version(ready: Any, version: int) -> None:
    codes = commit(ready, version, {0: (5, "five"), 2: (1, ""), -1: (1, ""), 1: (6, None)})
    unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert codes == {0: 0, 2: unknown, -1: unknown, 1: 0}
    found = fetch(ready, 8, [0, 1])
    assert offsets_of(found) == [(0, 5, "five"), (1, 6, "")]
    assert found.topics[0].partitions[0].committed_leader_epoch == (0 if version >= 6 else -1)


@pytest.mark.parametrize("version", range(2, 11))
def test_a_topic_that_nobody_has_is_not_asked_about(ready: Any, version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("tailrace_engine.runtime.coordinator.Coordinator.ask")
    code = ErrorCode.UNKNOWN_TOPIC_ID if version >= 10 else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert commit(ready, version, {0: (5, "")}, "other") == {0: code}
    assert ready.ask(OffsetCommitRequest(group_id=GROUP), version).topics == []


@pytest.mark.parametrize("version", range(2, 11))
def test_an_error_of_the_group_is_that_of_each_partition(ready: Any, version: int) -> None:
    code = ErrorCode.GROUP_ID_NOT_FOUND if version >= 9 else ErrorCode.ILLEGAL_GENERATION
    codes = commit(ready, version, {0: (5, ""), 1: (5, "")}, generation_id_or_member_epoch=3, member_id="m")
    assert codes == {0: code, 1: code}


def test_long_metadata_does_not_keep_the_others(ready: Any) -> None:
    codes = commit(ready, 8, {0: (5, "m" * 4097), 1: (6, "m" * 4096)})
    assert codes == {0: ErrorCode.OFFSET_METADATA_TOO_LARGE, 1: 0}


@pytest.mark.parametrize("version", range(1, 11))
def test_fetch_in_every_version(ready: Any, version: int) -> None:
    commit(ready, 8, {1: (6, "six")})
    assert offsets_of(fetch(ready, version, [1, 0, 9])) == [(1, 6, "six"), (0, -1, ""), (9, -1, "")]
    if version >= 2:
        found = fetch(ready, version, None)
        assert offsets_of(found) == [(1, 6, "six")]
        (topic,) = found.topics
        known = ready.membership.image.topic("x")
        assert (topic.topic_id == known.topic_id) if version >= 10 else (topic.name == "x")


@pytest.mark.parametrize("version", range(1, 11))
def test_fetch_of_a_topic_that_nobody_has(ready: Any, version: int) -> None:
    (topic,) = fetch(ready, version, [0], "other").topics
    (partition,) = topic.partitions
    assert (partition.committed_offset, partition.metadata) == (-1, "")
    assert partition.error_code == (ErrorCode.UNKNOWN_TOPIC_ID if version >= 10 else 0)


@pytest.mark.parametrize("version", range(1, 11))
def test_an_error_of_the_group_comes_without_partitions_where_it_can(
    ready: Any, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ready.groups, "ask", lambda _, __, on_answer: on_answer(CoordinatorLoadInProgress("soon")))
    code = ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
    answer = fetch(ready, version, [0, 1])
    if version == 1:
        partitions = answer.topics[0].partitions
        assert [(part.error_code, part.committed_offset) for part in partitions] == [(code, -1), (code, -1)]
    else:
        assert (answer.error_code, answer.topics) == (code, [])


def test_an_unstable_offset_is_an_error_of_its_partition(ready: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    topic_id = ready.membership.image.topic("x").topic_id
    found = FetchedOffset("x", topic_id, 0, -1, -1, "", UnstableOffsetCommit("pending"))
    monkeypatch.setattr(ready.groups, "ask", lambda _, __, on_answer: on_answer(FetchedOffsets((found,))))
    for version in (7, 8):
        answer = fetch(ready, version, [0])
        assert answer.error_code == 0
        assert answer.topics[0].partitions[0].error_code == ErrorCode.UNSTABLE_OFFSET_COMMIT


@pytest.mark.parametrize("version", [8, 9, 10])
def test_several_groups_are_fetched_in_order(ready: Any, version: int) -> None:
    commit(ready, 8, {0: (5, "")})
    groups = [OffsetFetchRequestGroup(group_id=name, topics=None) for name in ("other", GROUP, "", GROUP)]
    found = ready.ask(OffsetFetchRequest(groups=groups), version).groups
    assert [(each.group_id, len(each.topics)) for each in found] == [("other", 0), (GROUP, 1), ("", 0), (GROUP, 1)]
    assert ready.ask(OffsetFetchRequest(), version).groups == []


def test_a_recreated_topic_does_not_inherit(ready: Any) -> None:
    commit(ready, 8, {0: (5, "")})
    ready.run(ready.membership.delete_topics(["x"]))
    assert offsets_of(fetch(ready, 8, None)) == []
    ready.topic("x", 1)
    assert offsets_of(fetch(ready, 8, None)) == []
    assert offsets_of(fetch(ready, 8, [0])) == [(0, -1, "")]


def test_offsets_are_deleted_where_they_are(ready: Any) -> None:
    commit(ready, 8, {0: (5, ""), 1: (6, "")})

    def delete(group_id: str) -> Any:
        topics = [
            OffsetDeleteRequestTopic(
                name=name, partitions=[OffsetDeleteRequestPartition(partition_index=index) for index in (7, 0)]
            )
            for name in ("x", "other")
        ]
        return ready.ask(OffsetDeleteRequest(group_id=group_id, topics=topics), 0)

    response = delete(GROUP)
    unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert response.error_code == 0
    assert {
        topic.name: [(part.partition_index, part.error_code) for part in topic.partitions] for topic in response.topics
    } == {"x": [(7, unknown), (0, 0)], "other": [(7, unknown), (0, unknown)]}
    assert offsets_of(fetch(ready, 8, None)) == [(1, 6, "")]
    for group_id, code in (("other", ErrorCode.GROUP_ID_NOT_FOUND), ("", ErrorCode.INVALID_GROUP_ID)):
        refused = delete(group_id)
        assert (refused.error_code, refused.topics) == (code, [])
