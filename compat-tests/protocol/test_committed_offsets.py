"""OffsetCommit, OffsetFetch, OffsetDelete (protocol.md items 79-83)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from harness import wire
from harness.groups import Group, subscription
from harness.process import Broker, poll
from kio.schema.errors import ErrorCode

NOTHING = (-1, "")
NO_TOPIC = uuid.UUID(int=5)
OK = ErrorCode.none
COMMIT_VERSIONS = range(2, 11)
FETCH_VERSIONS = range(1, 11)


@pytest.fixture
def group(connection: wire.Connection, topic_name: str) -> Group:
    found = Group(connection, topic_name)
    found.find()
    return found


@pytest.fixture
def other(broker: Broker, group: Group) -> Iterator[Group]:
    """The same group on another connection."""
    with broker.connect() as opened:
        yield Group(opened, group.group_id)


@pytest.fixture
def topic(connection: wire.Connection, topic_name: str) -> str:
    """An existing topic of three partitions."""
    return connection.create_usable_topic(topic_name, 3)


def named(group: Group, topic: str, version: int) -> str | uuid.UUID:
    """How a version names a topic."""
    return group.connection.topic_id(topic) if version >= 10 else topic


@pytest.mark.parametrize("version", COMMIT_VERSIONS)
def test_a_member_commits(group: Group, topic: str, version: int) -> None:
    group.become_stable()
    name = named(group, topic, version)
    assert group.commit(name, {0: (7, "seven", 0), 2: (0, "", -1)}, version=version) == {0: OK, 2: OK}
    assert group.fetch({topic: [0, 1, 2]}) == {(topic, 0): (7, "seven"), (topic, 1): NOTHING, (topic, 2): (0, "")}
    (found,) = group.fetch_answer({topic: [0]}).topics
    assert found.partitions[0].committed_leader_epoch == (0 if version >= 6 else -1)


@pytest.mark.parametrize("version", COMMIT_VERSIONS)
def test_a_consumer_outside_of_any_group_commits(group: Group, topic: str, version: int) -> None:
    name = named(group, topic, version)
    assert group.commit(name, {1: (3, "simple")}, version=version) == {1: OK}
    assert group.commit(name, {1: 4}, version=version, member_id="whoever") == {1: OK}
    assert group.fetch({topic: [1]}) == {(topic, 1): (4, "")}
    described = group.describe()
    assert (described.group_state, described.protocol_type, described.members) == ("Empty", "", ())
    listed = group.listed(states=["Empty"])
    assert (listed.protocol_type, listed.group_type) == ("", "classic")


@pytest.mark.parametrize("version", FETCH_VERSIONS)
def test_every_version_fetches(group: Group, topic: str, version: int) -> None:
    group.commit(topic, {0: (11, "eleven"), 2: 12})
    name = named(group, topic, version)
    both = {(name, 0): (11, "eleven"), (name, 2): (12, "")}
    assert group.fetch({name: [2, 0, 1, 77]}, version=version) == {**both, (name, 1): NOTHING, (name, 77): NOTHING}
    assert group.fetch({}, version=version) == {}
    if version >= 2:
        assert group.fetch(None, version=version) == both


@pytest.mark.parametrize("version", FETCH_VERSIONS)
def test_nothing_was_committed(group: Group, topic: str, version: int) -> None:
    name = named(group, topic, version)
    assert group.fetch({name: [0]}, version=version) == {(name, 0): NOTHING}
    if version < 10:
        unknown = f"{topic}-not-there"
        assert group.fetch({unknown: [0, 3]}, version=version) == {(unknown, 0): NOTHING, (unknown, 3): NOTHING}
    if version >= 2:
        assert group.fetch(None, version=version) == {}


def test_a_topic_id_that_nobody_has(group: Group, topic: str) -> None:
    topic_id = group.connection.topic_id(topic)
    known, unknown = {0: 1}, {0: 1, 1: 2}
    for topic_less in (NO_TOPIC, uuid.UUID(int=0)):
        committed = group.commit_all({topic_id: known, topic_less: unknown}, version=10)
        codes = sorted((len(errors), set(errors.values())) for errors in committed.values())
        assert codes == [(1, {OK}), (2, {ErrorCode.unknown_topic_id})]
    (found,) = group.fetch_answer({NO_TOPIC: [0]}, version=10).topics
    (partition,) = found.partitions
    assert (partition.error_code, partition.committed_offset) == (ErrorCode.unknown_topic_id, -1)


@pytest.mark.parametrize("version", COMMIT_VERSIONS)
def test_what_is_not_there_does_not_keep_the_others(group: Group, topic: str, version: int) -> None:
    name = named(group, topic, version)
    no_partition = ErrorCode.unknown_topic_or_partition
    assert group.commit(name, {0: 5, 3: 5, -1: 5}, version=version) == {0: OK, 3: no_partition, -1: no_partition}
    if version < 10:
        unknown = f"{topic}-not-there"
        committed = group.commit_all({unknown: {0: 1}, topic: {1: 6}}, version=version)
        assert committed == {unknown: {0: no_partition}, topic: {1: OK}}
    assert group.fetch({topic: [0]}) == {(topic, 0): (5, "")}


def test_a_commit_of_nothing(group: Group, topic: str) -> None:
    assert group.commit_all({}) == {}
    # Nothing is left to ask the group about, so a stranger hears of the topic alone.
    unknown = f"{topic}-not-there"
    assert group.commit(unknown, {0: 1}, generation=3, member_id="stranger") == {
        0: ErrorCode.unknown_topic_or_partition
    }
    assert group.state() == "Dead"


@pytest.mark.parametrize("version", COMMIT_VERSIONS)
def test_a_group_that_is_not_there_has_no_generation(group: Group, topic: str, version: int) -> None:
    code = ErrorCode.group_id_not_found if version >= 9 else ErrorCode.illegal_generation
    name = named(group, topic, version)
    assert group.commit(name, {0: 1}, version=version, generation=1, member_id="m") == {0: code}


@pytest.mark.parametrize("version", COMMIT_VERSIONS)
def test_a_commit_knows_member_and_generation(group: Group, topic: str, version: int) -> None:
    name = named(group, topic, version)
    group.join_twice()
    assert group.commit(name, {0: 1}, version=version) == {0: ErrorCode.rebalance_in_progress}
    group.sync({group.member_id: b"a"})
    assert group.commit(name, {0: 1}, version=version) == {0: OK}
    wrong = group.generation + 1
    assert group.commit(name, {0: 2}, version=version, generation=wrong) == {0: ErrorCode.illegal_generation}
    unknown = {0: ErrorCode.unknown_member_id}
    assert group.commit(name, {0: 2}, version=version, member_id="stranger") == unknown
    assert group.commit(name, {0: 2}, version=version, generation=-1, member_id="") == unknown
    assert group.fetch({topic: [0]}) == {(topic, 0): (1, "")}
    group.leave()
    assert group.commit(name, {0: 2}, version=version) == unknown
    assert group.commit(name, {0: 3}, version=version, generation=-1, member_id="") == {0: OK}


def test_members_may_commit_while_the_group_is_joining(group: Group, other: Group, topic: str) -> None:
    group.become_stable()
    waiting = other.send_join(version=3)
    poll("the group rebalances", lambda: group.heartbeat() == ErrorCode.rebalance_in_progress)
    assert group.commit(topic, {0: 9}) == {0: OK}
    group.join()
    waiting()
    assert other.fetch({topic: [0]}) == {(topic, 0): (9, "")}


@pytest.mark.parametrize("version", [2, 8, 10])
def test_long_metadata_does_not_keep_the_others(group: Group, topic: str, version: int) -> None:
    name = named(group, topic, version)
    committed = group.commit(name, {0: (1, "m" * 4096), 1: (2, "m" * 4097), 2: 3}, version=version)
    assert committed == {0: OK, 1: ErrorCode.offset_metadata_too_large, 2: OK}
    assert group.fetch({topic: [0, 1, 2]}) == {(topic, 0): (1, "m" * 4096), (topic, 1): NOTHING, (topic, 2): (3, "")}


def test_metadata_may_be_null(group: Group, topic: str) -> None:
    fields = {
        "group_id": group.group_id,
        "generation_id_or_member_epoch": -1,
        "member_id": "",
        "topics": [
            {
                "name": topic,
                "partitions": [{"partition_index": 0, "committed_offset": 1, "committed_metadata": None}],
            }
        ],
    }
    assert group.call("offset_commit", 8, fields).topics[0].partitions[0].error_code == OK
    assert group.fetch({topic: [0]}) == {(topic, 0): (1, "")}


def test_the_last_commit_counts(group: Group, topic: str) -> None:
    for offset in (5, 9, 2, 1 << 40):
        assert group.commit(topic, {0: offset}) == {0: OK}
        assert group.fetch({topic: [0]}) == {(topic, 0): (offset, "")}


def test_offsets_outlive_the_members(group: Group, topic: str) -> None:
    group.become_stable()
    group.commit(topic, {0: (4, "four")})
    group.leave()
    assert group.fetch(None) == {(topic, 0): (4, "four")}
    group.member_id = ""
    group.become_stable()
    assert group.fetch(None) == {(topic, 0): (4, "four")}


@pytest.mark.parametrize("version", [8, 9, 10])
def test_several_groups_are_fetched_at_once(group: Group, topic: str, version: int) -> None:
    group.commit(topic, {0: 4})
    name = named(group, topic, version)
    of_topic = {"topic_id" if version >= 10 else "name": name, "partition_indexes": [0]}
    asked = [
        {"group_id": group.group_id, "topics": None},
        {"group_id": f"{group.group_id}-not-there", "topics": [of_topic]},
        {"group_id": "", "topics": None},
        {"group_id": group.group_id, "topics": [of_topic]},
    ]
    groups = group.call("offset_fetch", version, {"groups": asked, "require_stable": True}).groups
    found = sorted(
        (each.group_id, each.error_code, [part.committed_offset for found in each.topics for part in found.partitions])
        for each in groups
    )
    assert found == [
        ("", OK, []),
        (group.group_id, OK, [4]),
        (group.group_id, OK, [4]),
        (f"{group.group_id}-not-there", OK, [-1]),
    ]
    assert group.call("offset_fetch", version, {"groups": []}).groups == ()


@pytest.mark.parametrize("version", [9, 10])
def test_members_of_classic_groups_need_no_epoch_to_fetch(group: Group, topic: str, version: int) -> None:
    group.become_stable()
    group.commit(topic, {0: 4})
    name = named(group, topic, version)
    for member_id, epoch in ((group.member_id, 1), ("stranger", 1), (None, 3), ("", 0)):
        found = group.fetch({name: [0]}, version=version, member_id=member_id, member_epoch=epoch)
        assert found == {(name, 0): (4, "")}


def test_an_empty_group_id_keeps_offsets_too(connection: wire.Connection, topic: str) -> None:
    nameless = Group(connection, "")
    nameless.find()
    assert nameless.commit(topic, {0: 1}) == {0: OK}
    assert nameless.fetch({topic: [0]}) == {(topic, 0): (1, "")}
    assert nameless.delete_offsets({topic: [0]}).error_code == ErrorCode.invalid_group_id
    assert nameless.delete() == OK


# --- deletion


def test_offsets_of_an_empty_group_are_deleted(group: Group, topic: str) -> None:
    group.commit(topic, {0: 1, 1: 2})
    unknown = f"{topic}-not-there"
    answer = group.delete_offsets({topic: [0, 2, 9], unknown: [0]})
    no_partition = ErrorCode.unknown_topic_or_partition
    assert answer.error_code == OK
    assert {
        (found.name, part.partition_index): part.error_code for found in answer.topics for part in found.partitions
    } == {(topic, 0): OK, (topic, 2): OK, (topic, 9): no_partition, (unknown, 0): no_partition}
    assert group.fetch(None) == {(topic, 1): (2, "")}


def test_offsets_of_a_topic_that_members_read_are_theirs(group: Group, topic: str) -> None:
    subscribed = group.connection.create_usable_topic(f"{topic}-subscribed")
    group.become_stable(protocols=(("range", subscription(subscribed)),))
    group.commit_all({topic: {0: 1}, subscribed: {0: 1}})
    answer = group.delete_offsets({topic: [0], subscribed: [0]})
    assert answer.error_code == OK
    assert {found.name: found.partitions[0].error_code for found in answer.topics} == {
        topic: OK,
        subscribed: ErrorCode.group_subscribed_to_topic,
    }
    assert group.fetch(None) == {(subscribed, 0): (1, "")}


def test_offsets_of_a_group_of_another_type_are_deleted_only_without_members(group: Group, topic: str) -> None:
    group.become_stable(protocol_type="connect")
    group.commit(topic, {0: 1})
    refused = group.delete_offsets({topic: [0]})
    assert (refused.error_code, refused.topics) == (ErrorCode.non_empty_group, ())
    group.leave()
    assert group.delete_offsets({topic: [0]}).topics[0].partitions[0].error_code == OK


def test_without_a_group_no_offsets_are_deleted(group: Group, topic: str) -> None:
    refused = group.delete_offsets({topic: [0]})
    assert (refused.error_code, refused.topics) == (ErrorCode.group_id_not_found, ())


def test_a_deleted_group_has_no_offsets(group: Group, topic: str) -> None:
    group.commit(topic, {0: 1})
    assert group.delete() == OK
    assert group.fetch(None) == {}
    assert group.fetch({topic: [0]}) == {(topic, 0): NOTHING}


# --- topics that go and come


def test_a_recreated_topic_does_not_inherit(group: Group, topic: str) -> None:
    connection = group.connection
    group.commit(topic, {0: (5, "of the old one")})
    before = connection.topic_id(topic)
    deleted = group.call("delete_topics", 5, {"topic_names": [topic], "timeout": 15_000, "timeout_ms": 15_000})
    assert deleted.responses[0].error_code == OK
    poll("it is gone", lambda: connection.metadata([topic]).topics[0].error_code != OK)
    assert group.commit(before, {0: 6}, version=10) == {0: ErrorCode.unknown_topic_id}
    connection.create_usable_topic(topic)
    assert connection.topic_id(topic) != before
    poll("nothing is committed", lambda: group.fetch({topic: [0]}) == {(topic, 0): NOTHING})
    assert group.fetch({connection.topic_id(topic): [0]}, version=10) == {(connection.topic_id(topic), 0): NOTHING}
    assert group.commit(topic, {0: 1}) == {0: OK}
    assert group.fetch({topic: [0]}) == {(topic, 0): (1, "")}
