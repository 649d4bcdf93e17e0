"""CreateTopics, DeleteTopics, CreatePartitions, DescribeTopicPartitions and Metadata, over sockets."""

from typing import Any

import pytest

from tailrace_core.errors import StorageUnavailable
from tailrace_core.ids import NO_TOPIC_ID
from tailrace_gateway.errors import ErrorCode
from tailrace_gateway.kafka.schema.messages.create_partitions import (
    CreatePartitionsAssignment,
    CreatePartitionsRequest,
    CreatePartitionsTopic,
)
from tailrace_gateway.kafka.schema.messages.create_topics import (
    CreatableReplicaAssignment,
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
)
from tailrace_gateway.kafka.schema.messages.delete_topics import DeleteTopicsRequest, DeleteTopicState
from tailrace_gateway.kafka.schema.messages.describe_topic_partitions import (
    Cursor,
    DescribeTopicPartitionsRequest,
    TopicRequest,
)
from tailrace_gateway.kafka.schema.messages.metadata import MetadataRequest, MetadataRequestTopic


def new(name: str, partitions: int = 1, factor: int = 1, **configs: str | None) -> CreatableTopic:
    return CreatableTopic(
        name=name,
        num_partitions=partitions,
        replication_factor=factor,
        configs=[CreatableTopicConfig(name=key.replace("_", "."), value=value) for key, value in configs.items()],
    )


def assigned(name: str, *assignments: tuple[int, list[int]], partitions: int = -1, factor: int = -1) -> CreatableTopic:
    topic = new(name, partitions, factor)
    topic.assignments = [
        CreatableReplicaAssignment(partition_index=index, broker_ids=ids) for index, ids in assignments
    ]
    return topic


def create(broker: Any, *topics: CreatableTopic, version: int = 7, validate_only: bool = False) -> list[Any]:
    response = broker.ask(CreateTopicsRequest(topics=list(topics), validate_only=validate_only), version)
    found: list[Any] = response.topics
    return found


@pytest.mark.parametrize("version", range(2, 8))
def test_create_answers_what_was_made_as_far_as_the_version_can_say(broker: Any, version: int) -> None:
    (result,) = create(broker, new("orders", 3, 1, retention_ms="5000"), version=version)
    assert result.error_code == 0
    topic = broker.membership.image.topic("orders")
    assert topic.partition_count == 3
    assert topic.configs.retention_ms == 5000
    assert result.topic_id == (topic.topic_id if version >= 7 else NO_TOPIC_ID)
    if version >= 5:
        assert (result.num_partitions, result.replication_factor) == (3, 1)
        sources = {config.name: (config.value, config.config_source) for config in result.configs}
        assert sources["retention.ms"] == ("5000", 1)
        assert sources["max.message.bytes"] == ("1048588", 5)
        assert sources["index.interval.bytes"] == ("4096", 5)
        assert not any(config.is_sensitive or config.read_only for config in result.configs)
    for partition in range(3):
        assert broker.engine.partition("orders", partition).state.log_end_offset == 0


def test_create_takes_the_brokers_defaults_for_minus_one(broker: Any) -> None:
    (result,) = create(broker, new("orders", -1, -1))
    assert (result.error_code, result.num_partitions, result.replication_factor) == (0, 2, 1)


REFUSED = {
    "existing": (new("there"), ErrorCode.TOPIC_ALREADY_EXISTS),
    "empty name": (new(""), ErrorCode.INVALID_TOPIC_EXCEPTION),
    "bad name": (new("a b"), ErrorCode.INVALID_TOPIC_EXCEPTION),
    "dots": (new(".."), ErrorCode.INVALID_TOPIC_EXCEPTION),
    "long name": (new("x" * 250), ErrorCode.INVALID_TOPIC_EXCEPTION),
    "collision": (new("the.re_too"), ErrorCode.INVALID_TOPIC_EXCEPTION),
    "no partitions": (new("x", 0), ErrorCode.INVALID_PARTITIONS),
    "negative partitions": (new("x", -2), ErrorCode.INVALID_PARTITIONS),
    "factor 0": (new("x", 1, 0), ErrorCode.INVALID_REPLICATION_FACTOR),
    "factor beyond the brokers": (new("x", 1, 2), ErrorCode.INVALID_REPLICATION_FACTOR),
    "unknown config": (new("x", no_such="1"), ErrorCode.INVALID_CONFIG),
    "bad config": (new("x", retention_ms="soon"), ErrorCode.INVALID_CONFIG),
    "null config": (new("x", retention_ms=None), ErrorCode.INVALID_CONFIG),
    "durability that is not built": (new("x", tailrace_durability="object"), ErrorCode.INVALID_CONFIG),
    "assignment and count": (assigned("x", (0, [7]), partitions=1), ErrorCode.INVALID_REQUEST),
    "assignment and factor": (assigned("x", (0, [7]), factor=1), ErrorCode.INVALID_REQUEST),
    "assignment with a hole": (assigned("x", (0, [7]), (2, [7])), ErrorCode.INVALID_REPLICA_ASSIGNMENT),
    "assignment of a partition twice": (assigned("x", (0, [7]), (0, [7])), ErrorCode.INVALID_REPLICA_ASSIGNMENT),
    "assignment to nobody": (assigned("x", (0, [8])), ErrorCode.INVALID_REPLICA_ASSIGNMENT),
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_topic_that_is_refused_says_why_and_does_not_keep_the_others(broker: Any, why: str) -> None:
    broker.topic("there")
    broker.topic("the_re.too")
    asked, code = REFUSED[why]
    results = {result.name: result for result in create(broker, new("before"), asked, new("after"))}
    assert results[asked.name].error_code == code
    assert results[asked.name].error_message
    assert results["before"].error_code == results["after"].error_code == 0
    assert {topic.name for topic in broker.membership.image.topics} == {"there", "the_re.too", "before", "after"}


def test_a_bad_config_is_named_with_its_value(broker: Any) -> None:
    (result,) = create(broker, new("x", retention_ms="soon"))
    assert "retention.ms" in result.error_message
    assert "soon" in result.error_message


def test_a_name_that_is_there_twice_is_refused_and_answered_once(broker: Any) -> None:
    results = create(broker, new("x"), new("y"), new("x"))
    assert sorted((one.name, one.error_code) for one in results) == [("x", ErrorCode.INVALID_REQUEST), ("y", 0)]


def test_validate_only_answers_the_same_and_makes_nothing(broker: Any) -> None:
    (result,) = create(broker, new("x", 3), validate_only=True)
    assert (result.error_code, result.num_partitions, result.topic_id) == (0, 3, NO_TOPIC_ID)
    assert broker.membership.image.topic("x") is None


def test_internal_names_may_be_created(broker: Any) -> None:
    (result,) = create(broker, new("__consumer_offsets"))
    assert result.error_code == 0


def test_a_metadata_store_that_fails_is_every_topics_error(broker: Any) -> None:
    broker.topic("there")
    broker.store.failure = StorageUnavailable("no disk")
    results = create(broker, new("x"), new("y"))
    assert [one.error_code for one in results] == [ErrorCode.KAFKA_STORAGE_ERROR] * 2
    deleted = broker.ask(DeleteTopicsRequest(topic_names=["there"]), 5).responses
    assert deleted[0].error_code == ErrorCode.KAFKA_STORAGE_ERROR
    growth = CreatePartitionsTopic(name="there", count=2, assignments=None)
    grown = broker.ask(CreatePartitionsRequest(topics=[growth]), 3).results
    assert grown[0].error_code == ErrorCode.KAFKA_STORAGE_ERROR


# --- DeleteTopics


@pytest.mark.parametrize("version", range(1, 6))
def test_topics_are_deleted_by_name(broker: Any, version: int) -> None:
    broker.topic("x")
    broker.topic("kept")
    results = broker.ask(DeleteTopicsRequest(topic_names=["x", "missing"]), version).responses
    assert [(one.name, one.error_code) for one in results] == [
        ("x", 0),
        ("missing", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
    ]
    assert (results[1].error_message is not None) == (version >= 5)
    assert [topic.name for topic in broker.membership.image.topics] == ["kept"]


def test_topics_are_deleted_by_name_or_id_from_version_6(broker: Any) -> None:
    one, two = broker.topic("one"), broker.topic("two")
    unknown = b"\x05" * 16
    states = [
        DeleteTopicState(name="one"),
        DeleteTopicState(topic_id=two.topic_id),
        DeleteTopicState(topic_id=unknown),
        DeleteTopicState(name="missing"),
        DeleteTopicState(),
        DeleteTopicState(name="both", topic_id=unknown),
    ]
    results = broker.ask(DeleteTopicsRequest(topics=states), 6).responses
    assert sorted((one.name or "", one.topic_id, one.error_code) for one in results) == sorted(
        [
            ("one", one.topic_id, 0),
            ("two", two.topic_id, 0),
            ("", unknown, ErrorCode.UNKNOWN_TOPIC_ID),
            ("missing", NO_TOPIC_ID, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
            ("", NO_TOPIC_ID, ErrorCode.INVALID_REQUEST),
            ("both", unknown, ErrorCode.INVALID_REQUEST),
        ]
    )
    assert not broker.membership.image.topics


def test_a_topic_named_twice_is_not_deleted(broker: Any) -> None:
    topic = broker.topic("x")
    results = broker.ask(DeleteTopicsRequest(topic_names=["x", "x"]), 5).responses
    assert [(one.name, one.error_code) for one in results] == [("x", ErrorCode.INVALID_REQUEST)]
    states = [DeleteTopicState(name="x"), DeleteTopicState(topic_id=topic.topic_id)]
    results = broker.ask(DeleteTopicsRequest(topics=states), 6).responses
    assert [one.error_code for one in results] == [ErrorCode.INVALID_REQUEST] * 2
    assert broker.membership.image.topic("x") == topic


# --- CreatePartitions


def grow(broker: Any, *topics: CreatePartitionsTopic, version: int = 3, validate_only: bool = False) -> dict[str, Any]:
    response = broker.ask(CreatePartitionsRequest(topics=list(topics), validate_only=validate_only), version)
    return {result.name: result for result in response.results}


@pytest.mark.parametrize("version", range(4))
def test_a_topic_grows_and_others_that_cannot_say_why(broker: Any, version: int) -> None:
    for name in ("x", "same", "less"):
        broker.topic(name, 3)
    results = grow(
        broker,
        CreatePartitionsTopic(name="x", count=5, assignments=None),
        CreatePartitionsTopic(name="same", count=3, assignments=None),
        CreatePartitionsTopic(name="less", count=2, assignments=None),
        CreatePartitionsTopic(name="missing", count=2, assignments=None),
        version=version,
    )
    assert {name: result.error_code for name, result in results.items()} == {
        "x": 0,
        "same": ErrorCode.INVALID_PARTITIONS,
        "less": ErrorCode.INVALID_PARTITIONS,
        "missing": ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    }
    assert broker.engine.partition("x", 4).state.log_end_offset == 0


def test_growth_is_validated_only_and_assignments_are_checked(broker: Any) -> None:
    broker.topic("x")
    wrong = [CreatePartitionsAssignment(broker_ids=[8])]
    few = [CreatePartitionsAssignment(broker_ids=[7])]
    asked = [CreatePartitionsTopic(name="x", count=2, assignments=wrong)]
    assert grow(broker, *asked)["x"].error_code == ErrorCode.INVALID_REPLICA_ASSIGNMENT
    asked = [CreatePartitionsTopic(name="x", count=4, assignments=few)]
    assert grow(broker, *asked)["x"].error_code == ErrorCode.INVALID_REPLICA_ASSIGNMENT
    asked = [CreatePartitionsTopic(name="x", count=2, assignments=few)]
    assert grow(broker, *asked, validate_only=True)["x"].error_code == 0
    assert broker.membership.image.topic("x").partition_count == 1
    assert grow(broker, *asked)["x"].error_code == 0
    assert broker.membership.image.topic("x").partition_count == 2
    twice = [CreatePartitionsTopic(name="x", count=count, assignments=None) for count in (3, 4)]
    assert grow(broker, *twice)["x"].error_code == ErrorCode.INVALID_REQUEST


# --- DescribeTopicPartitions


def describe(broker: Any, *names: str, limit: int = 2000, cursor: Cursor | None = None) -> Any:
    topics = [TopicRequest(name=name) for name in names]
    request = DescribeTopicPartitionsRequest(topics=topics, response_partition_limit=limit, cursor=cursor)
    return broker.ask(request, 0)


def test_partitions_are_described_in_order_of_names(broker: Any) -> None:
    topic = broker.topic("b", 2)
    broker.topic("a")
    response = describe(broker, "b", "a", "missing", "not a name")
    assert [(one.name, one.error_code, len(one.partitions)) for one in response.topics] == [
        ("a", 0, 1),
        ("b", 0, 2),
        ("missing", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, 0),
        ("not a name", ErrorCode.INVALID_TOPIC_EXCEPTION, 0),
    ]
    assert response.next_cursor is None
    described = response.topics[1]
    assert described.topic_id == topic.topic_id
    second = described.partitions[1]
    assert (second.partition_index, second.leader_id, second.leader_epoch) == (1, 7, broker.leader_epoch)
    assert second.replica_nodes == second.isr_nodes == [7]
    assert second.eligible_leader_replicas == second.last_known_elr == second.offline_replicas == []


def test_pages_of_all_topics_give_every_partition_once(broker: Any) -> None:
    counts = {"a": 3, "b": 1, "c": 5, "d": 2}
    for name, count in counts.items():
        broker.topic(name, count)
    for limit in range(1, 12):
        seen: list[tuple[str, int]] = []
        cursor = None
        while True:
            response = describe(broker, limit=limit, cursor=cursor)
            page = [(one.name, part.partition_index) for one in response.topics for part in one.partitions]
            assert 0 < len(page) <= limit
            seen += page
            cursor = response.next_cursor
            if cursor is None:
                break
        assert seen == [(name, index) for name, count in counts.items() for index in range(count)]


def test_a_page_has_at_most_2000_partitions(broker: Any) -> None:
    broker.topic("x", 2500)
    response = describe(broker, limit=10_000)
    assert len(response.topics[0].partitions) == 2000
    assert response.next_cursor == Cursor(topic_name="x", partition_index=2000)
    rest = describe(broker, limit=10_000, cursor=response.next_cursor)
    assert [part.partition_index for part in rest.topics[0].partitions] == list(range(2000, 2500))


def test_a_cursor_whose_topic_is_gone_goes_on_with_the_next(broker: Any) -> None:
    broker.topic("a")
    broker.topic("c", 2)
    response = describe(broker, cursor=Cursor(topic_name="b", partition_index=1))
    assert [(one.name, len(one.partitions)) for one in response.topics] == [("c", 2)]


def test_a_negative_cursor_is_refused(broker: Any) -> None:
    response = describe(broker, "a", cursor=Cursor(topic_name="a", partition_index=-1))
    assert [one.error_code for one in response.topics] == [ErrorCode.INVALID_REQUEST]


# --- Metadata


def ask_metadata(broker: Any, version: int, *topics: MetadataRequestTopic, create: bool = False, **more: Any) -> Any:
    return broker.ask(MetadataRequest(topics=list(topics), allow_auto_topic_creation=create), version, **more)


@pytest.mark.parametrize("version", range(14))
def test_metadata_of_all_topics(broker: Any, version: int) -> None:
    topic = broker.topic("x", 2)
    response = broker.ask(MetadataRequest(topics=None if version else []), version)
    (described,) = response.topics
    assert (described.name, described.error_code, len(described.partitions)) == ("x", 0, 2)
    assert described.partitions[1].leader_id == 7
    assert described.topic_id == (topic.topic_id if version >= 10 else NO_TOPIC_ID)
    assert described.partitions[1].leader_epoch == (broker.leader_epoch if version >= 7 else -1)
    (node,) = response.brokers
    assert (node.node_id, node.host, node.port) == (7, "plaintext.example", broker.ports["PLAINTEXT"])


def test_no_topics_are_none_from_version_1(broker: Any) -> None:
    broker.topic("x")
    assert ask_metadata(broker, 1, create=True).topics == []


def test_addresses_are_those_of_the_listener_that_the_client_came_in_on(broker: Any) -> None:
    (node,) = ask_metadata(broker, 12, listener="EXTERNAL").brokers
    assert (node.host, node.port) == ("external.example", broker.ports["EXTERNAL"])


def test_topics_by_id(broker: Any) -> None:
    topic = broker.topic("x")
    unknown = b"\x05" * 16
    asked = [MetadataRequestTopic(name=None, topic_id=topic_id) for topic_id in (topic.topic_id, unknown)]
    found = {one.topic_id: one for one in ask_metadata(broker, 12, *asked).topics}
    assert (found[topic.topic_id].name, found[topic.topic_id].error_code) == ("x", 0)
    assert (found[unknown].name, found[unknown].error_code) == (None, ErrorCode.UNKNOWN_TOPIC_ID)
    for one in ask_metadata(broker, 10, *asked).topics:
        assert one.error_code == ErrorCode.INVALID_REQUEST


def test_an_unknown_topic_is_created_for_the_next_time_where_the_client_allows_it(broker: Any) -> None:
    for name, code in (("new", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION), ("a b", ErrorCode.INVALID_TOPIC_EXCEPTION)):
        (one,) = ask_metadata(broker, 9, MetadataRequestTopic(name=name), create=True).topics
        assert (one.name, one.error_code) == (name, code)
    assert broker.membership.image.topic("new").partition_count == 2
    (one,) = ask_metadata(broker, 9, MetadataRequestTopic(name="new"), create=True).topics
    assert one.error_code == 0
    (one,) = ask_metadata(broker, 9, MetadataRequestTopic(name="other")).topics
    assert one.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert broker.membership.image.topic("other") is None
