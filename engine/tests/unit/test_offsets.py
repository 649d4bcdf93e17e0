"""Committed offsets: who may commit, what is fetched, when they go."""

import pytest
from group_support import GROUP, TOPIC, TOPIC_ID, Groups, subscription

from tailrace_core.errors import (
    CoordinatorLoadInProgress,
    FencedInstanceId,
    GroupIdNotFound,
    GroupSubscribedToTopic,
    IllegalGeneration,
    NonEmptyGroup,
    OffsetMetadataTooLarge,
    RebalanceInProgress,
    UnknownMemberId,
)
from tailrace_core.ids import NO_TOPIC_ID
from tailrace_engine.coordinator.decision import Now, Record
from tailrace_engine.coordinator.group_messages import (
    CommitOffsets,
    CommittedOffsets,
    DeleteGroup,
    DeleteOffsets,
    FetchedOffset,
    FetchedOffsets,
    FetchOffsets,
    ListGroups,
    OffsetToCommit,
    TopicsDeleted,
)
from tailrace_engine.coordinator.groups import FORGOTTEN_AT_ONCE, RECORDS_PER_EXPIRY_MAX, WALL_CLOCK_CHECK_MS
from tailrace_engine.coordinator.records import (
    OffsetCommitValue,
    group_metadata_key,
    offset_commit_key,
    offset_commit_value,
)

OTHER_ID = b"another-topic-id"
RETENTION_MS = 10_080 * 60_000
CHECK_MS = 600_000


@pytest.fixture
def groups() -> Groups:
    return Groups(initial_rebalance_delay_ms=0)


def fetch_all(groups: Groups) -> FetchedOffsets:
    fetched = groups.call(FetchOffsets(GROUP, None, -1, None))
    assert isinstance(fetched, FetchedOffsets)
    return fetched


def test_a_simple_consumer_commits_to_a_group_that_is_not_there(groups: Groups) -> None:
    assert groups.commit(42, metadata="here") is None
    assert groups.fetch() == FetchedOffset(TOPIC, TOPIC_ID, 0, 42, 3, "here")
    assert groups.state() == "Empty"


def test_a_commit_of_a_generation_needs_its_group(groups: Groups) -> None:
    assert isinstance(groups.commit(1, generation_id=0, member_id="m"), GroupIdNotFound)
    offsets = (OffsetToCommit(TOPIC, TOPIC_ID, 0, 1, -1, ""),)
    old = CommitOffsets(GROUP, 0, "m", None, offsets, missing_group_is_illegal_generation=True)
    assert isinstance(groups.call(old), IllegalGeneration)
    assert groups.call(ListGroups()) == ()


def test_members_commit_with_their_id_and_generation(groups: Groups) -> None:
    [member] = groups.stable(1)
    id_ = member.member_id
    assert groups.commit(1, generation_id=1, member_id=id_) is None
    assert isinstance(groups.commit(2, generation_id=0, member_id=id_), IllegalGeneration)
    assert isinstance(groups.commit(2, generation_id=-1, member_id=id_), IllegalGeneration)
    assert isinstance(groups.commit(2, generation_id=1, member_id="nobody"), UnknownMemberId)
    assert isinstance(groups.commit(2, generation_id=1, member_id=id_, instance_id="one"), UnknownMemberId)
    assert isinstance(groups.commit(2), UnknownMemberId)
    assert groups.fetch().offset == 1


def test_a_fenced_instance_does_not_commit(groups: Groups) -> None:
    [member] = groups.settle([groups.join(instance_id="one")])
    groups.join(instance_id="one")
    refused = groups.commit(1, generation_id=1, member_id=member.member_id, instance_id="one")
    assert isinstance(refused, FencedInstanceId)


def test_members_may_commit_before_they_rejoin_but_not_before_they_sync(groups: Groups) -> None:
    [leader] = groups.stable(1)
    groups.join()
    assert groups.state() == "PreparingRebalance"
    assert groups.commit(1, generation_id=1, member_id=leader.member_id) is None
    groups.join(leader.member_id)
    assert groups.state() == "CompletingRebalance"
    assert isinstance(groups.commit(2, generation_id=2, member_id=leader.member_id), RebalanceInProgress)


def test_an_empty_group_takes_commits_from_outside(groups: Groups) -> None:
    [member] = groups.stable(1)
    groups.leave(member.member_id)
    assert groups.commit(5) is None
    assert isinstance(groups.commit(6, generation_id=1, member_id=member.member_id), UnknownMemberId)
    assert groups.fetch().offset == 5


def test_text_that_is_too_long_fails_its_partition_alone(groups: Groups) -> None:
    offsets = tuple(
        OffsetToCommit(TOPIC, TOPIC_ID, partition, 7, -1, "x" * length)
        for partition, length in enumerate((4_096, 4_097, 0))
    )
    outcome = groups.call(CommitOffsets(GROUP, -1, "", None, offsets))
    assert isinstance(outcome, CommittedOffsets)
    assert [type(error) for error in outcome.errors] == [type(None), OffsetMetadataTooLarge, type(None)]
    assert [offset.partition for offset in fetch_all(groups).offsets] == [0, 2]


def test_the_last_commit_counts_even_when_it_goes_back(groups: Groups) -> None:
    for offset in (5, 9, 2):
        groups.commit(offset)
    assert groups.fetch().offset == 2
    groups.restart()
    assert groups.fetch().offset == 2


def test_nothing_committed_is_no_error(groups: Groups) -> None:
    nothing = FetchedOffset(TOPIC, TOPIC_ID, 0, -1, -1, "")
    assert groups.fetch() == nothing
    assert fetch_all(groups) == FetchedOffsets(())
    groups.commit(1, partition=1)
    assert groups.fetch() == nothing


def test_all_offsets_are_fetched_without_naming_them(groups: Groups) -> None:
    groups.commit(1)
    groups.commit(2, partition=1)
    groups.commit(3, topic="other", topic_id=OTHER_ID)
    assert [(each.topic_name, each.topic_id, each.partition, each.offset) for each in fetch_all(groups).offsets] == [
        (TOPIC, TOPIC_ID, 0, 1),
        (TOPIC, TOPIC_ID, 1, 2),
        ("other", OTHER_ID, 0, 3),
    ]


def test_a_recreated_topic_has_no_offsets(groups: Groups) -> None:
    groups.commit(5)
    assert groups.fetch(topic_id=OTHER_ID) == FetchedOffset(TOPIC, OTHER_ID, 0, -1, -1, "")
    groups.restart()
    assert groups.fetch(topic_id=OTHER_ID).offset == -1
    assert groups.fetch().offset == 5
    groups.commit(1, topic_id=OTHER_ID)
    assert groups.fetch(topic_id=OTHER_ID).offset == 1
    assert groups.fetch().offset == -1


def test_an_offset_without_a_topic_id_is_of_whichever_topic_has_the_name(groups: Groups) -> None:
    groups.commit(5, topic_id=NO_TOPIC_ID)
    assert groups.fetch().offset == 5
    groups.commit(6)
    assert groups.fetch(topic_id=NO_TOPIC_ID).offset == 6


def test_offsets_of_deleted_topics_are_forgotten(groups: Groups) -> None:
    groups.commit(5)
    groups.commit(6, topic_id=OTHER_ID, partition=1)
    groups.commit(7, topic="other", topic_id=OTHER_ID)
    assert groups.call(TopicsDeleted(((TOPIC, TOPIC_ID), ("never", TOPIC_ID)))) is None
    kept = [(each.topic_name, each.partition) for each in fetch_all(groups).offsets]
    assert kept == [(TOPIC, 1), ("other", 0)]
    groups.restart()
    assert [(each.topic_name, each.partition) for each in fetch_all(groups).offsets] == kept


def test_offsets_are_deleted_unless_members_read_the_topic(groups: Groups) -> None:
    [member] = groups.stable(1)
    for topic in (TOPIC, "other"):
        groups.commit(5, topic=topic, generation_id=1, member_id=member.member_id)
    deleted = groups.call(DeleteOffsets(GROUP, ((TOPIC, 0), ("other", 0), ("other", 9))))
    assert [type(error) for error in deleted.errors] == [GroupSubscribedToTopic, type(None), type(None)]
    assert groups.fetch().offset == 5
    assert groups.fetch("other").offset == -1
    groups.leave(member.member_id)
    assert groups.call(DeleteOffsets(GROUP, ((TOPIC, 0),))).errors == (None,)
    assert groups.fetch().offset == -1


def test_members_whose_subscription_cannot_be_read_may_read_all(groups: Groups) -> None:
    [member] = groups.stable(1, protocols=(("range", b"\x00\x00\x00\x00\x00\x09what"),))
    groups.commit(5, generation_id=1, member_id=member.member_id)
    assert isinstance(groups.call(DeleteOffsets(GROUP, ((TOPIC, 0),))).errors[0], GroupSubscribedToTopic)
    groups.restart()
    assert isinstance(groups.call(DeleteOffsets(GROUP, ((TOPIC, 0),))).errors[0], GroupSubscribedToTopic)


def test_offsets_of_a_group_of_another_type_are_deleted_only_without_members(groups: Groups) -> None:
    assert isinstance(groups.call(DeleteOffsets(GROUP, ())), GroupIdNotFound)
    [member] = groups.stable(1, protocol_type="connect")
    assert isinstance(groups.call(DeleteOffsets(GROUP, ((TOPIC, 0),))), NonEmptyGroup)
    groups.leave(member.member_id)
    assert groups.call(DeleteOffsets(GROUP, ((TOPIC, 0),))).errors == (None,)


def test_offsets_of_a_simple_group_go_the_retention_after_the_commit(groups: Groups) -> None:
    groups.commit(5)
    groups.advance(RETENTION_MS - 1)
    assert groups.fetch().offset == 5
    groups.commit(6, partition=1)
    groups.advance(1)
    assert groups.fetch().offset == -1
    assert groups.fetch(partition=1).offset == 6
    groups.advance(RETENTION_MS)
    assert groups.call(ListGroups()) == ()
    groups.restart()
    assert groups.call(ListGroups()) == ()
    assert groups.next_deadline_ms() is None


def test_offsets_go_the_retention_after_the_group_became_empty(groups: Groups) -> None:
    [member] = groups.stable(1, session_timeout_ms=1_800_000)
    groups.commit(5, generation_id=1, member_id=member.member_id)
    for _ in range(20):
        groups.advance(RETENTION_MS // 10 // 1_000)
        groups.heartbeat(member.member_id, 1)
    groups.leave(member.member_id)
    groups.advance(RETENTION_MS - 1)
    assert groups.fetch().offset == 5
    groups.restart()
    assert groups.fetch().offset == 5
    groups.advance(CHECK_MS + 1)
    assert groups.fetch().offset == -1
    assert groups.call(ListGroups()) == ()


def test_members_keep_the_offsets_of_topics_that_they_subscribe_to(groups: Groups) -> None:
    [member] = groups.stable(1, session_timeout_ms=1_800_000)
    for topic in (TOPIC, "other"):
        groups.commit(5, topic=topic, generation_id=1, member_id=member.member_id)
    for _ in range(RETENTION_MS // 1_000_000 + 2):
        groups.advance(1_000_000)
        groups.heartbeat(member.member_id, 1)
    assert groups.fetch().offset == 5
    assert groups.fetch("other").offset == -1


@pytest.mark.parametrize(
    ("protocol_type", "metadata"), [("connect", subscription("else")), ("consumer", b"\x00\x00\x00\x00\x00\x09")]
)
def test_members_whose_topics_are_not_known_keep_all_offsets(
    groups: Groups, protocol_type: str, metadata: bytes
) -> None:
    [member] = groups.stable(
        1, protocol_type=protocol_type, protocols=(("only", metadata),), session_timeout_ms=1_800_000
    )
    groups.commit(5, generation_id=1, member_id=member.member_id)
    for _ in range(RETENTION_MS // 1_000_000 + 2):
        groups.advance(1_000_000)
        groups.heartbeat(member.member_id, 1)
    assert groups.fetch().offset == 5


def test_an_offset_goes_at_the_time_that_its_commit_asked_for(groups: Groups) -> None:
    groups.commit(5)
    groups.commit(6, partition=1, retention_time_ms=700_000)
    groups.advance(699_999)
    assert groups.fetch(partition=1).offset == 6
    groups.restart()
    groups.advance(1)
    assert groups.fetch(partition=1).offset == -1
    assert groups.fetch().offset == 5


def test_an_offset_may_ask_to_stay_beyond_the_end_of_time(groups: Groups) -> None:
    groups.commit(5)
    groups.commit(6, partition=1, retention_time_ms=(1 << 63) - 1)
    groups.advance(RETENTION_MS + CHECK_MS)
    groups.restart()
    assert groups.fetch(partition=1).offset == 6


def test_a_group_with_nothing_left_is_forgotten(groups: Groups) -> None:
    [member] = groups.stable(1)
    groups.leave(member.member_id)
    groups.advance(CHECK_MS - 1)
    assert groups.state() == "Empty"
    groups.advance(1)
    assert groups.call(ListGroups()) == ()
    groups.restart()
    assert groups.call(ListGroups()) == ()


def test_a_group_that_only_gave_out_an_id_is_forgotten(groups: Groups) -> None:
    groups.join(requires_known_member_id=True)
    assert groups.call(ListGroups()) != ()
    groups.advance(CHECK_MS)
    assert groups.call(ListGroups()) == ()
    assert groups.next_deadline_ms() is None


def test_many_offsets_go_in_several_decisions(groups: Groups) -> None:
    count = RECORDS_PER_EXPIRY_MAX * 2 + 500
    value = offset_commit_value(OffsetCommitValue(offset=1, metadata="", commit_timestamp=groups.wall_ms))
    groups.log = [Record(offset_commit_key(GROUP, TOPIC, partition), value) for partition in range(count)]
    groups.restart()
    assert groups.shard.counts.offsets == count
    decision = groups.shard.expire(Now(groups.steady_ms, groups.wall_ms + RETENTION_MS))
    assert len(decision.records) == RECORDS_PER_EXPIRY_MAX
    groups.restart()
    groups.advance(RETENTION_MS)
    assert groups.shard.counts == Groups().shard.counts


def test_offsets_go_by_the_wall_clock(groups: Groups) -> None:
    groups.commit(5)
    groups.advance(1_000)
    groups.wall_ms += RETENTION_MS - 1_001
    groups.advance(0)
    assert groups.fetch().offset == 5
    groups.wall_ms -= RETENTION_MS // 2
    groups.advance(RETENTION_MS // 2)
    assert groups.fetch().offset == 5
    groups.advance(1)
    assert groups.fetch().offset == -1


def test_a_jump_of_the_wall_clock_is_noticed_without_a_request(groups: Groups) -> None:
    groups.commit(5)
    asleep_until_ms = groups.next_deadline_ms()
    assert asleep_until_ms is not None
    assert asleep_until_ms - groups.steady_ms == WALL_CLOCK_CHECK_MS
    groups.wall_ms += RETENTION_MS
    groups.steady_ms = asleep_until_ms
    deadline_ms = groups.next_deadline_ms()
    assert deadline_ms is not None
    assert deadline_ms <= groups.steady_ms
    groups.advance(0)
    assert groups.fetch().offset == -1


def test_a_commit_after_the_wall_clock_was_set_back_goes_its_own_retention_after(groups: Groups) -> None:
    groups.commit(4)
    groups.wall_ms += 100 * RETENTION_MS
    groups.advance(0)
    groups.commit(5)
    groups.wall_ms -= 100 * RETENTION_MS
    groups.commit(6, partition=1)
    groups.advance(RETENTION_MS - 1)
    assert groups.fetch(partition=1).offset == 6
    groups.advance(1)
    assert groups.fetch(partition=1).offset == -1
    assert groups.fetch().offset == 5


def with_offsets(groups: Groups, *keys: tuple[str, str, int]) -> None:
    """A log with these (group id, topic, partition)."""
    value = offset_commit_value(
        OffsetCommitValue(offset=1, metadata="", commit_timestamp=groups.wall_ms, topic_id=TOPIC_ID)
    )
    groups.log = [Record(offset_commit_key(*key), value) for key in keys]
    groups.restart()
    assert groups.shard.counts.offsets == len(keys)


def decisions(groups: Groups) -> list[int]:
    """Runs what is left to do, and gives the number of records of each decision that it took."""
    sizes: list[int] = []
    seen = len(groups.log)

    def look() -> None:
        nonlocal seen
        sizes.append(len(groups.log) - seen)
        seen = len(groups.log)

    groups.after_decision = look
    groups.advance(0)
    groups.after_decision = lambda: None
    return sizes


def test_a_group_of_many_offsets_is_deleted_step_by_step(groups: Groups) -> None:
    count = 20_000
    with_offsets(groups, *((GROUP, f"topic{number % 7}", number) for number in range(count)))
    groups.commit(9, topic="kept", group_id="other")
    ticket = groups.ask(DeleteGroup(GROUP))
    assert ticket in groups.waiting
    sizes = decisions(groups)
    assert groups.answers[ticket] is None
    assert max(sizes) <= FORGOTTEN_AT_ONCE + 1
    assert sum(sizes) == count - FORGOTTEN_AT_ONCE + 1
    for _ in range(2):
        assert [listed.group_id for listed in groups.call(ListGroups())] == ["other"]
        assert groups.shard.counts.offsets == 1
        groups.restart()


def test_a_group_that_is_being_deleted_takes_neither_members_nor_commits(groups: Groups) -> None:
    with_offsets(groups, *((GROUP, TOPIC, number) for number in range(1_000)))
    groups.ask(DeleteGroup(GROUP))
    refusals = [groups.commit(7), groups.answers[groups.join()], groups.call(DeleteGroup(GROUP))]
    assert [type(error) for error in refusals] == [CoordinatorLoadInProgress] * 3
    assert groups.fetch(partition=999).offset == 1
    groups.advance(0)
    assert groups.fetch(partition=999).offset == -1
    assert groups.commit(7) is None
    [member] = groups.stable(1)
    assert member.generation_id == 1
    assert groups.fetch().offset == 7


def test_a_deletion_that_was_not_finished_is_asked_for_again(groups: Groups) -> None:
    with_offsets(groups, *((GROUP, TOPIC, number) for number in range(1_000)))
    groups.ask(DeleteGroup(GROUP))
    groups.restart()
    assert groups.shard.counts.offsets == 1_000 - FORGOTTEN_AT_ONCE
    ticket = groups.ask(DeleteGroup(GROUP))
    groups.advance(0)
    assert groups.answers[ticket] is None
    assert groups.shard.counts == Groups().shard.counts
    assert groups.next_deadline_ms() is None


@pytest.mark.parametrize("groups_of_many", [1, 700])
def test_many_offsets_of_a_deleted_topic_are_forgotten_step_by_step(groups: Groups, groups_of_many: int) -> None:
    ids = [f"group{number % groups_of_many}" for number in range(1_400)]
    with_offsets(groups, *((group_id, TOPIC, number) for number, group_id in enumerate(ids)))
    groups.commit(5, topic="other")
    deleted = groups.ask(TopicsDeleted(((TOPIC, TOPIC_ID),)))
    gone = groups.ask(DeleteGroup("group0"))
    groups.commit(6, topic_id=OTHER_ID)
    sizes = decisions(groups)
    assert groups.answers[deleted] is None
    assert groups.answers[gone] is None
    assert max(sizes) <= FORGOTTEN_AT_ONCE + 1
    assert [(each.topic_name, each.offset) for each in fetch_all(groups).offsets] == [("other", 5), (TOPIC, 6)]
    assert groups.shard.counts.offsets == 2


def test_tombstones_of_what_is_not_there_are_no_matter(groups: Groups) -> None:
    for key in (offset_commit_key(GROUP, TOPIC, 0), group_metadata_key(GROUP)):
        groups.shard.replay(Record(key, None))
    groups.commit(5)
    groups.shard.replay(Record(offset_commit_key(GROUP, TOPIC, 1), None))
    groups.shard.replay(Record(offset_commit_key(GROUP, "other", 0), None))
    assert groups.fetch().offset == 5
    assert groups.shard.counts.offsets == 1


def test_a_deleted_group_takes_its_deadlines_along(groups: Groups) -> None:
    groups.commit(5)
    groups.call(DeleteGroup(GROUP))
    assert groups.next_deadline_ms() is None


def test_the_tombstone_of_a_group_takes_its_offsets_along(groups: Groups) -> None:
    groups.commit(5)
    groups.shard.replay(Record(group_metadata_key(GROUP), None))
    assert groups.shard.counts == Groups().shard.counts
    assert groups.fetch().offset == -1
