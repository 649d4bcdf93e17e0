"""Metadata, topics and the cluster (protocol.md items 18-27)."""

from __future__ import annotations

import uuid

import pytest
from harness import wire
from harness.process import Broker, poll

UNKNOWN_ID = uuid.UUID("00000000-0000-4000-8000-00000000abcd")


@pytest.mark.parametrize("version", range(14))
def test_metadata_of_every_version_names_leader_and_broker(
    broker: Broker, connection: wire.Connection, topic: str, version: int
) -> None:
    answer = connection.metadata([topic], version=version)
    (found,) = answer.topics
    (partition,) = found.partitions
    assert (found.error_code, found.name, partition.error_code) == (0, topic, 0)
    assert {each.node_id: (each.host, each.port) for each in answer.brokers} == {
        partition.leader_id: (broker.host, broker.port)
    }
    assert list(partition.replica_nodes) == list(partition.isr_nodes) == [partition.leader_id]
    if version >= 7:
        assert partition.leader_epoch >= 0
    if version >= 10:
        assert found.topic_id not in (None, wire.NO_TOPIC_ID)


def test_an_empty_topic_list_means_all_in_v0_and_none_later(connection: wire.Connection, topic: str) -> None:
    assert topic in {each.name for each in connection.call("metadata", 0, topics=[]).topics}
    for version in (1, 9, 12):
        assert not connection.metadata([], version=version).topics
        assert topic in {each.name for each in connection.metadata(None, version=version).topics}


def test_metadata_by_id(connection: wire.Connection, topic: str) -> None:
    topic_id = connection.topic_id(topic)
    known, unknown = connection.call(
        "metadata", 12, topics=[{"name": None, "topic_id": topic_id}, {"name": None, "topic_id": UNKNOWN_ID}]
    ).topics
    if known.topic_id == UNKNOWN_ID:
        known, unknown = unknown, known
    assert (known.error_code, known.name, known.topic_id) == (0, topic, topic_id)
    assert (unknown.error_code, unknown.name) == (100, None)


@pytest.mark.parametrize("version", [10, 11])
def test_metadata_by_id_before_v12_is_an_invalid_request(connection: wire.Connection, topic: str, version: int) -> None:
    topic_id = connection.topic_id(topic)
    # The name is not nullable in kio's v10 and v11; an empty one with an id asks by id as well.
    answer = connection.call("metadata", version, topics=[{"name": topic, "topic_id": topic_id}])
    assert answer.topics[0].error_code == 42


def test_an_unknown_topic_is_created_on_demand_only_when_the_request_says_so(
    connection: wire.Connection, topic_name: str
) -> None:
    assert connection.metadata([topic_name], create=False).topics[0].error_code == 3
    assert connection.metadata([topic_name], create=False).topics[0].error_code == 3, "it was created"
    connection.metadata([topic_name], create=True)
    poll("the topic", lambda: connection.metadata([topic_name]).topics[0].error_code == 0)


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "a/b", "x" * 250, "ä"])
def test_a_bad_name_is_an_invalid_topic(connection: wire.Connection, name: str) -> None:
    assert connection.create_topic(name).error_code == 17
    if name:
        assert connection.metadata([name], create=True).topics[0].error_code == 17


@pytest.mark.parametrize("version", range(2, 8))
def test_create_topics_of_every_version(connection: wire.Connection, topic_name: str, version: int) -> None:
    answer = connection.create_topic(topic_name, 3, configs={"retention.ms": "1000000"}, version=version)
    assert (answer.error_code, answer.name) == (0, topic_name)
    if version >= 5:
        assert (answer.num_partitions, answer.replication_factor) == (3, 1)
        assert {each.name: each.value for each in answer.configs}["retention.ms"] == "1000000"
    if version >= 7:
        assert answer.topic_id == connection.topic_id(topic_name)


def test_create_topics_takes_the_brokers_defaults(connection: wire.Connection, topic_name: str) -> None:
    answer = connection.create_topic(topic_name, -1, replication_factor=-1)
    assert answer.error_code == 0
    assert answer.num_partitions >= 1
    assert answer.replication_factor == 1


@pytest.mark.parametrize(
    ("partitions", "factor", "more", "code"),
    [
        (0, 1, {}, 37),
        (-2, 1, {}, 37),
        (1, 0, {}, 38),
        (1, -2, {}, 38),
        (1, 2, {}, 38),
        (1, -1, {"assignments": [{"partition_index": 0, "broker_ids": [1]}]}, 42),
        (1, 1, {"configs": {"no.such.config": "1"}}, 40),
        (1, 1, {"configs": {"retention.ms": "abc"}}, 40),
        (1, 1, {"configs": {"cleanup.policy": "burn"}}, 40),
        (1, 1, {"configs": {"message.timestamp.type": "Never"}}, 40),
    ],
)
def test_create_topics_refuses(
    connection: wire.Connection, topic_name: str, partitions: int, factor: int, more: dict[str, object], code: int
) -> None:
    answer = connection.create_topic(topic_name, partitions, replication_factor=factor, **more)  # type: ignore[arg-type]
    assert answer.error_code == code
    assert connection.metadata([topic_name]).topics[0].error_code == 3


def test_create_topics_only_validates_when_asked(connection: wire.Connection, topic: str, topic_name: str) -> None:
    name = f"{topic_name}-2"
    assert connection.create_topic(name, validate_only=True).error_code == 0
    assert connection.create_topic(name, 0, validate_only=True).error_code == 37
    assert connection.create_topic(topic, validate_only=True).error_code == 36
    assert connection.metadata([name]).topics[0].error_code == 3


def test_an_existing_or_colliding_topic_is_refused(connection: wire.Connection, topic_name: str) -> None:
    assert connection.create_topic(f"{topic_name}.dot").error_code == 0
    assert connection.create_topic(f"{topic_name}.dot").error_code == 36, "TOPIC_ALREADY_EXISTS"
    assert connection.create_topic(f"{topic_name}_dot").error_code == 17, "collides with the other"


def test_a_topic_twice_in_one_request_is_an_invalid_request(connection: wire.Connection, topic_name: str) -> None:
    asked = {"name": topic_name, "num_partitions": 1, "replication_factor": 1, "assignments": [], "configs": []}
    good = {**asked, "name": f"{topic_name}-good"}
    answer = connection.call("create_topics", 7, topics=[asked, asked, good], timeout=10_000, validate_only=False)
    codes = {each.name: each.error_code for each in answer.topics}
    assert codes == {topic_name: 42, f"{topic_name}-good": 0}


@pytest.mark.parametrize("version", range(1, 7))
def test_delete_topics_of_every_version(connection: wire.Connection, topic: str, topic_name: str, version: int) -> None:
    names = [topic, f"{topic_name}-unknown"]
    if version < 6:
        answer = connection.call("delete_topics", version, topic_names=names, timeout=10_000)
    else:
        asked = [{"name": name, "topic_id": wire.NO_TOPIC_ID} for name in names]
        answer = connection.call("delete_topics", version, topics=asked, timeout=10_000)
    assert {each.name: each.error_code for each in answer.responses} == {topic: 0, f"{topic_name}-unknown": 3}
    poll("the topic is gone", lambda: connection.metadata([topic]).topics[0].error_code == 3)


def test_a_topic_is_deleted_by_id_and_a_recreated_one_has_another(connection: wire.Connection, topic: str) -> None:
    topic_id = connection.topic_id(topic)
    asked = [{"name": None, "topic_id": topic_id}, {"name": None, "topic_id": UNKNOWN_ID}]
    answer = connection.call("delete_topics", 6, topics=asked, timeout=10_000)
    assert {each.topic_id: each.error_code for each in answer.responses} == {topic_id: 0, UNKNOWN_ID: 100}
    poll("the topic is gone", lambda: connection.metadata([topic]).topics[0].error_code == 3)
    connection.create_usable_topic(topic)
    assert connection.topic_id(topic) != topic_id
    assert connection.list_offset(topic, 0, -1).offset == 0


@pytest.mark.parametrize("version", range(4))
def test_create_partitions_of_every_version(connection: wire.Connection, topic: str, version: int) -> None:
    def ask(name: str, count: int) -> int:
        topics = [{"name": name, "count": count, "assignments": None}]
        (answer,) = connection.call(
            "create_partitions", version, topics=topics, timeout=10_000, validate_only=False
        ).results
        return int(answer.error_code)

    assert ask(topic, 4) == 0
    poll("four partitions", lambda: len(connection.metadata([topic]).topics[0].partitions) == 4)
    assert ask(topic, 4) == 37, "INVALID_PARTITIONS"
    assert ask(topic, 2) == 37
    assert ask(topic, 0) == 37
    assert ask(f"{topic}-unknown", 3) == 3
    assert connection.end_offset(topic, 3) == 0


@pytest.mark.parametrize("version", range(3))
def test_describe_cluster(broker: Broker, connection: wire.Connection, version: int) -> None:
    more = {"endpoint_type": 1} if version >= 1 else {}
    answer = connection.call("describe_cluster", version, include_cluster_authorized_operations=False, **more)
    assert answer.error_code == 0
    assert answer.cluster_id == connection.metadata([]).cluster_id
    assert [(each.host, each.port) for each in answer.brokers] == [(broker.host, broker.port)]
    assert answer.controller_id in {each.broker_id for each in answer.brokers}
    assert answer.cluster_authorized_operations == -(2**31)


def test_describe_topic_partitions_pages_by_a_cursor(connection: wire.Connection, topic_name: str) -> None:
    names = [connection.create_usable_topic(f"{topic_name}-{letter}", 5) for letter in "abc"]
    found, cursor, pages = [], None, 0
    while True:
        asked = [{"name": name} for name in reversed(names)]
        answer = connection.call(
            "describe_topic_partitions", 0, topics=asked, response_partition_limit=4, cursor=cursor
        )
        page = [(topic.name, partition.partition_index) for topic in answer.topics for partition in topic.partitions]
        assert len(page) <= 4
        found += page
        pages += 1
        if answer.next_cursor is None:
            break
        cursor = {"topic_name": answer.next_cursor.topic_name, "partition_index": answer.next_cursor.partition_index}
    assert found == [(name, partition) for name in names for partition in range(5)]
    assert pages == 4


def test_describe_topic_partitions_of_an_unknown_topic(connection: wire.Connection, topic_name: str) -> None:
    answer = connection.call("describe_topic_partitions", 0, topics=[{"name": topic_name}], response_partition_limit=10)
    assert [(topic.name, topic.error_code) for topic in answer.topics] == [(topic_name, 3)]
