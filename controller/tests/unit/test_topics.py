"""Rules of topics (metadata/topics.py)."""

import pytest

from tailrace_controller.metadata.topics import (
    PARTITIONS_PER_REQUEST_MAX,
    PARTITIONS_PER_TOPIC_MAX,
    check_topic_name,
    plan_delete,
    plan_grow,
)
from tailrace_core.errors import (
    InvalidConfig,
    InvalidPartitions,
    InvalidReplicaAssignment,
    InvalidReplicationFactor,
    InvalidRequest,
    InvalidTopicName,
    PolicyViolation,
    TopicAlreadyExists,
    UnknownTopicId,
    UnknownTopicOrPartition,
)
from tailrace_core.ids import NO_TOPIC_ID
from tailrace_core.membership import (
    ConfigSource,
    CreatedTopic,
    NewPartitions,
    NewTopic,
    PartitionsCreated,
    Topic,
    TopicCreated,
    TopicDefaults,
    TopicDeleted,
)


@pytest.mark.parametrize("name", ["a", "A.b_c-9", "x" * 249, "...", "__consumer_offsets"])
def test_kafkas_names_are_allowed(name):
    check_topic_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", "x" * 250, "a b", "a/b", "ä", "a\n", "a:b"])
def test_other_names_are_refused(name):
    with pytest.raises(InvalidTopicName):
        check_topic_name(name)


def test_a_topic_is_one_put_whatever_its_partitions(metadata):
    before = set(metadata.values)
    topic = metadata.topic("big", 10_000)
    assert set(metadata.values) - before == {f"topic/{'AAAAAAAAAAAAAAAAAAAAAQ'}"}
    assert metadata.image.topic("big") == metadata.image.topic_by_id(topic.topic_id) == topic
    assert metadata.events == [TopicCreated(topic)]


def test_minus_one_asks_for_the_defaults(metadata):
    (created,) = metadata.create(NewTopic("a"), defaults=TopicDefaults(5, 1))
    assert (created.topic.partition_count, created.replication_factor) == (5, 1)


def test_an_existing_name_is_refused(metadata):
    metadata.topic("a")
    assert isinstance(metadata.create(NewTopic("a"))[0], TopicAlreadyExists)


@pytest.mark.parametrize(("first", "second"), [("a.b", "a_b"), ("a_b", "a.b"), ("a.b_c", "a_b.c")])
def test_names_that_differ_in_dot_and_underscore_only_collide(metadata, first, second):
    metadata.topic(first)
    (refused,) = metadata.create(NewTopic(second))
    assert isinstance(refused, InvalidTopicName)
    assert first in str(refused)


def test_names_of_one_request_collide_too(metadata):
    created, refused = metadata.create(NewTopic("a.b"), NewTopic("a_b"))
    assert isinstance(created, CreatedTopic)
    assert isinstance(refused, InvalidTopicName)


def test_a_deleted_name_no_longer_collides(metadata):
    metadata.topic("a.b")
    metadata.run(plan_delete(metadata.image, ["a.b"]))
    assert isinstance(metadata.create(NewTopic("a_b"))[0], CreatedTopic)


def test_a_name_asked_for_twice_is_refused_both_times_and_the_others_are_created(metadata):
    first, other, second = metadata.create(NewTopic("a"), NewTopic("b"), NewTopic("a"))
    assert isinstance(first, InvalidRequest)
    assert isinstance(second, InvalidRequest)
    assert isinstance(other, CreatedTopic)
    assert [topic.name for topic in metadata.image.topics] == ["b"]


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        (NewTopic("a", 0), InvalidPartitions),
        (NewTopic("a", -2), InvalidPartitions),
        (NewTopic("a", PARTITIONS_PER_TOPIC_MAX + 1), InvalidPartitions),
        (NewTopic("a", 1, 0), InvalidReplicationFactor),
        (NewTopic("a", 1, -2), InvalidReplicationFactor),
        (NewTopic("a", 1, 2), InvalidReplicationFactor),
        (NewTopic("a", 1, -1, {0: [1]}), InvalidRequest),
        (NewTopic("a", -1, 1, {0: [1]}), InvalidRequest),
        (NewTopic("a", assignments={1: [1]}), InvalidReplicaAssignment),
        (NewTopic("a", assignments={0: [1], 2: [1]}), InvalidReplicaAssignment),
        (NewTopic("a", assignments={0: []}), InvalidReplicaAssignment),
        (NewTopic("a", assignments={0: [1, 1]}), InvalidReplicaAssignment),
        (NewTopic("a", assignments={0: [9]}), InvalidReplicaAssignment),
        (NewTopic("a", configs={"no.such": "1"}), InvalidConfig),
        (NewTopic("a", configs={"retention.ms": None}), InvalidConfig),
    ],
)
def test_what_is_not_allowed_is_refused_and_nothing_is_created(metadata, asked, error):
    before = dict(metadata.values)
    assert type(metadata.create(asked)[0]) is error
    assert metadata.values == before


def test_a_request_adds_no_more_partitions_than_kafka_takes_in_one(metadata):
    half = PARTITIONS_PER_REQUEST_MAX // 2
    counts = {"a": half, "b": half + 1, "c": half, "d": 1}
    created = metadata.create(*(NewTopic(name, count) for name, count in counts.items()))
    assert [type(each) for each in created] == [CreatedTopic, PolicyViolation, CreatedTopic, PolicyViolation]
    metadata.topic("d")
    asked = [NewPartitions("a", 2 * half), NewPartitions("c", 2 * half), NewPartitions("d", 2)]
    grown = metadata.run(plan_grow(metadata.image, asked, False))
    assert [type(reply) for reply in grown] == [Topic, Topic, PolicyViolation]


def test_a_manual_assignment_gives_the_size(metadata):
    (created,) = metadata.create(NewTopic("a", assignments={1: [1], 0: [1]}))
    assert (created.topic.partition_count, created.replication_factor) == (2, 1)


def test_validate_only_answers_like_a_creation_and_changes_nothing(metadata):
    before = dict(metadata.values)
    (created,) = metadata.create(NewTopic("a", 3, configs={"retention.ms": "5"}), validate_only=True)
    assert (created.topic.topic_id, created.topic.partition_count) == (NO_TOPIC_ID, 3)
    assert created.topic.configs.retention_ms == 5
    assert metadata.values == before
    assert metadata.events == []
    assert metadata.image.topic("a") is None


def test_a_creation_tells_all_settings_in_force_and_their_sources(metadata):
    (created,) = metadata.create(NewTopic("a", configs={"retention.ms": "5"}))
    entries = {entry.name: entry for entry in created.config_entries}
    assert entries["retention.ms"].source is ConfigSource.TOPIC
    assert entries["retention.ms"].value == "5"
    assert entries["segment.bytes"].source is ConfigSource.DEFAULT
    assert metadata.image.topic("a").configs.retention_ms == 5


def test_topics_are_deleted_by_name_or_id(metadata):
    a, b = metadata.topic("a"), metadata.topic("b")
    assert metadata.run(plan_delete(metadata.image, ["a", b.topic_id])) == [a, b]
    assert metadata.image.topics == ()
    assert metadata.events[2:] == [TopicDeleted(a), TopicDeleted(b)]
    assert not any(key.startswith("topic/") for key in metadata.values)


def test_an_unknown_topic_is_not_deleted(metadata):
    by_name, by_id = metadata.run(plan_delete(metadata.image, ["a", bytes(15) + b"x"]))
    assert isinstance(by_name, UnknownTopicOrPartition)
    assert isinstance(by_id, UnknownTopicId)


def test_a_topic_named_twice_in_a_request_is_not_deleted(metadata):
    a = metadata.topic("a")
    replies = metadata.run(plan_delete(metadata.image, ["a", a.topic_id]))
    assert [type(reply) for reply in replies] == [InvalidRequest, InvalidRequest]
    assert metadata.image.topic("a") == a


def test_deleting_takes_the_settings_along(metadata):
    metadata.create(NewTopic("a", configs={"retention.ms": "5"}))
    metadata.run(plan_delete(metadata.image, ["a"]))
    assert not any(key.startswith("config/") for key in metadata.values)


def test_a_topic_grows(metadata):
    topic = metadata.topic("a", 2)
    (grown,) = metadata.run(plan_grow(metadata.image, [NewPartitions("a", 5, [[1], [1], [1]])], False))
    assert grown == topic._replace(partition_count=5) == metadata.image.topic("a")
    assert metadata.events[1:] == [PartitionsCreated(grown, 2)]


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        (NewPartitions("b", 5), UnknownTopicOrPartition),
        (NewPartitions("a", 2), InvalidPartitions),
        (NewPartitions("a", 1), InvalidPartitions),
        (NewPartitions("a", -1), InvalidPartitions),
        (NewPartitions("a", PARTITIONS_PER_TOPIC_MAX + 1), InvalidPartitions),
        (NewPartitions("a", 4, [[1]]), InvalidReplicaAssignment),
        (NewPartitions("a", 3, [[2]]), InvalidReplicaAssignment),
    ],
)
def test_a_growth_that_is_not_one_is_refused(metadata, asked, error):
    metadata.topic("a", 2)
    assert type(metadata.run(plan_grow(metadata.image, [asked], False))[0]) is error
    assert metadata.image.topic("a").partition_count == 2


def test_growing_may_be_only_validated(metadata):
    metadata.topic("a", 2)
    (grown,) = metadata.run(plan_grow(metadata.image, [NewPartitions("a", 5)], True))
    assert grown.partition_count == 5
    assert metadata.image.topic("a").partition_count == 2


def test_growing_keeps_the_settings(metadata):
    metadata.create(NewTopic("a", 1, configs={"retention.ms": "5"}))
    metadata.run(plan_grow(metadata.image, [NewPartitions("a", 2)], False))
    assert metadata.image.topic("a").configs.retention_ms == 5


def test_what_the_store_has_builds_the_same_image(metadata):
    metadata.create(NewTopic("b", 3, configs={"cleanup.policy": "compact"}), NewTopic("a"), NewTopic("gone"))
    metadata.run(plan_delete(metadata.image, ["gone"]))
    loaded = metadata.reloaded()
    assert loaded.topics == metadata.image.topics
    assert [topic.name for topic in loaded.topics] == ["a", "b"]
    assert loaded.brokers == metadata.image.brokers
    assert loaded.leader_epoch == 7
