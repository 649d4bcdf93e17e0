"""DescribeConfigs, AlterConfigs, IncrementalAlterConfigs, ListConfigResources (protocol.md items 108 and 109), and that
what is changed while the broker runs takes effect at once and outlives a kill -9.

The tests that change a broker's configs have a broker of their own. Apache Kafka takes a change before each part of it
has heard of it, so what is described after one is waited for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import wire
from harness.batches import Record, make_batch, simple_batch
from harness.process import Broker, Setting, poll
from kio.schema.errors import ErrorCode

TOPIC, BROKER, LOGGER, CLIENT_METRICS, GROUP = 2, 4, 8, 16, 32
SET, DELETE, APPEND, SUBTRACT = range(4)
DEFAULT = 5
HOUR_MS = 3_600_000

StartBroker = Callable[..., Broker]
Change = tuple[str, int, "str | None"]


def describe(
    connection: wire.Connection,
    kind: int,
    name: str,
    *keys: str,
    version: int = 4,
    synonyms: bool = True,
    documentation: bool = False,
) -> Any:
    """The result for one resource; no keys ask for all."""
    asked = {"resource_type": kind, "resource_name": name, "configuration_keys": list(keys) or None}
    fields = {"resources": [asked], "include_synonyms": synonyms, "include_documentation": documentation}
    (result,) = connection.receive(
        "describe_configs", version, connection.send("describe_configs", version, fields, lenient=True)
    ).results
    assert (result.resource_type, result.resource_name) == (kind, name)
    return result


def config(connection: wire.Connection, kind: int, name: str, key: str, **more: Any) -> Any:
    result = describe(connection, kind, name, key, **more)
    assert result.error_code == ErrorCode.none, result
    (found,) = result.configs
    assert found.name == key
    return found


def said(connection: wire.Connection, kind: int, name: str, key: str) -> list[tuple[str, str | None, int]]:
    """The synonyms of a config, after checking that the first of them is in force."""
    found = config(connection, kind, name, key)
    listed = [(one.name, one.value, one.source) for one in found.synonyms]
    assert not listed or (found.value, found.config_source) == (listed[0][1], listed[0][2])
    return listed


def alter(
    connection: wire.Connection, kind: int, name: str, *changes: Change, validate_only: bool = False, version: int = 1
) -> tuple[ErrorCode, str | None]:
    configs = [{"name": key, "config_operation": operation, "value": value} for key, operation, value in changes]
    asked = {"resource_type": kind, "resource_name": name, "configs": configs}
    (answer,) = connection.call(
        "incremental_alter_configs", version, resources=[asked], validate_only=validate_only
    ).responses
    assert (answer.resource_type, answer.resource_name) == (kind, name)
    return answer.error_code, answer.error_message


def replace(
    connection: wire.Connection,
    kind: int,
    name: str,
    *configs: tuple[str, str | None],
    validate_only: bool = False,
    version: int = 2,
) -> tuple[ErrorCode, str | None]:
    listed = [{"name": key, "value": value} for key, value in configs]
    asked = {"resource_type": kind, "resource_name": name, "configs": listed}
    (answer,) = connection.call("alter_configs", version, resources=[asked], validate_only=validate_only).responses
    return answer.error_code, answer.error_message


def altered(connection: wire.Connection, kind: int, name: str, *changes: Change) -> None:
    assert alter(connection, kind, name, *changes) == (ErrorCode.none, None)


def until_value(connection: wire.Connection, kind: int, name: str, key: str, value: str | None) -> Any:
    """The config once it has the value."""

    def look() -> Any:
        found = describe(connection, kind, name, key).configs
        return found[0] if found and found[0].value == value else None

    return poll(f"{key} of {name!r} is {value}", look)


@pytest.fixture
def own(tmp_path: Path, start_broker: StartBroker) -> Iterator[Broker]:
    broker = start_broker(tmp_path)
    yield broker
    broker.close()


def node_id(connection: wire.Connection) -> str:
    return str(connection.metadata([]).brokers[0].node_id)


# --- describing


@pytest.mark.parametrize("version", range(1, 5))
def test_a_topic_is_described_in_every_version(connection: wire.Connection, topic_name: str, version: int) -> None:
    topic = connection.create_usable_topic(topic_name, configs={"max.message.bytes": "7000"})
    result = describe(connection, TOPIC, topic, version=version, documentation=True)
    assert (result.error_code, result.error_message or "") == (ErrorCode.none, "")
    found = {one.name: one for one in result.configs}
    assert len(found) == len(result.configs) >= 33
    own = found["max.message.bytes"]
    assert (own.value, own.config_source, own.read_only, own.is_sensitive) == ("7000", 1, False, False)
    assert [(one.name, one.value, one.source) for one in own.synonyms] == [
        ("max.message.bytes", "7000", 1),
        ("message.max.bytes", "1048588", 5),
    ]
    assert found["retention.ms"].value == "604800000"
    if version >= 3:
        types = ("preallocate", "compression.type", "max.message.bytes", "retention.ms", "min.cleanable.dirty.ratio")
        assert [found[name].config_type for name in types] == [1, 2, 3, 5, 6]
        assert found["cleanup.policy"].config_type == 7
        assert all(one.documentation for one in result.configs)


def test_a_topics_synonyms_are_what_the_brokers_first_name_says(connection: wire.Connection, topic_name: str) -> None:
    topic = connection.create_usable_topic(topic_name, configs={"retention.ms": "9000000"})
    assert said(connection, TOPIC, topic, "retention.ms") == [("retention.ms", "9000000", 1)]
    assert said(connection, TOPIC, topic, "segment.bytes") == [("log.segment.bytes", "1073741824", 5)]
    for name in ("flush.ms", "segment.ms", "segment.jitter.ms"):
        found = config(connection, TOPIC, topic, name)
        assert (found.config_source, found.synonyms) == (DEFAULT, ())


def test_what_is_not_asked_for_is_left_out(connection: wire.Connection, topic: str) -> None:
    found = config(connection, TOPIC, topic, "retention.ms", synonyms=False)
    assert (found.synonyms, found.documentation) == ((), None)
    result = describe(connection, TOPIC, topic, "no.such", "segment.ms", "retention.ms")
    assert {one.name for one in result.configs} == {"segment.ms", "retention.ms"}
    assert describe(connection, TOPIC, topic, "no.such").configs == ()


def test_the_broker_is_described(connection: wire.Connection) -> None:
    node = node_id(connection)
    found = {one.name: one for one in describe(connection, BROKER, node).configs}
    assert len(found) >= 340
    assert found["node.id"].value == node
    for name, read_only, kind, value in (
        ("auto.create.topics.enable", True, 1, "true"),
        ("log.retention.hours", True, 3, "168"),
        ("log.retention.ms", False, 5, None),
        ("message.max.bytes", False, 3, "1048588"),
        ("log.cleanup.policy", False, 7, "delete"),
        ("offsets.topic.num.partitions", True, 3, "50"),
        ("num.io.threads", False, 3, "8"),
        ("max.connections", False, 3, "2147483647"),
        ("log.message.timestamp.type", False, 2, "CreateTime"),
        ("transaction.state.log.replication.factor", True, 4, None),
    ):
        one = found[name]
        assert (one.read_only, one.config_type, one.is_sensitive) == (read_only, kind, False), name
        if value is not None or name == "log.retention.ms":
            assert (one.value, one.config_source) == (value, DEFAULT), name
    secret = found["ssl.keystore.password"]
    assert (secret.value, secret.is_sensitive, secret.config_type) == (None, True, 9)
    assert found["listeners"].config_source == 4
    assert [(one.name, one.value, one.source) for one in found["log.retention.hours"].synonyms] == [
        ("log.retention.hours", "168", 5)
    ]


def test_groups_and_client_metrics_are_described_without_having_configs(connection: wire.Connection) -> None:
    assert said(connection, GROUP, "nobody", "consumer.heartbeat.interval.ms") == [
        ("group.consumer.heartbeat.interval.ms", "5000", 5)
    ]
    assert said(connection, GROUP, "nobody", "share.auto.offset.reset") == [("share.auto.offset.reset", "latest", 5)]
    found = {one.name: one for one in describe(connection, CLIENT_METRICS, "nobody").configs}
    assert {name: (one.value, one.config_source, one.config_type) for name, one in found.items()} == {
        "interval.ms": ("300000", 5, 3),
        "match": ("", 5, 7),
        "metrics": ("", 5, 7),
    }


@pytest.mark.parametrize(
    ("kind", "name", "error"),
    [
        (TOPIC, "no-such-topic", ErrorCode.unknown_topic_or_partition),
        (TOPIC, "not a name", ErrorCode.invalid_topic_exception),
        (TOPIC, "", ErrorCode.invalid_topic_exception),
        (BROKER, "4711", ErrorCode.invalid_request),
        (BROKER, "x", ErrorCode.invalid_request),
        (LOGGER, "4711", ErrorCode.invalid_request),
        (LOGGER, "", ErrorCode.invalid_request),
        (GROUP, "", ErrorCode.invalid_request),
        (CLIENT_METRICS, "", ErrorCode.invalid_request),
        (1, "x", ErrorCode.invalid_request),
        (99, "x", ErrorCode.invalid_request),
    ],
)
def test_what_cannot_be_described_says_why(connection: wire.Connection, kind: int, name: str, error: ErrorCode) -> None:
    result = describe(connection, kind, name)
    assert (result.error_code, result.configs) == (error, ())


# --- changing a topic


@pytest.mark.parametrize("version", range(2))
def test_a_topics_configs_are_set_and_deleted(connection: wire.Connection, topic: str, version: int) -> None:
    changes = ("retention.ms", SET, "5000"), ("segment.ms", SET, " 6000 ")
    assert alter(connection, TOPIC, topic, *changes, version=version) == (ErrorCode.none, None)
    assert until_value(connection, TOPIC, topic, "retention.ms", "5000").config_source == 1
    assert config(connection, TOPIC, topic, "segment.ms").value == "6000"
    gone = ("retention.ms", DELETE, None), ("no.such", DELETE, None)
    assert alter(connection, TOPIC, topic, *gone, version=version) == (ErrorCode.none, None)
    assert until_value(connection, TOPIC, topic, "retention.ms", "604800000").config_source == DEFAULT


def test_lists_are_appended_to_and_subtracted_from(connection: wire.Connection, topic: str) -> None:
    for operation, value, after in (
        (APPEND, "compact", "delete,compact"),
        (APPEND, "compact,delete", "delete,compact"),
        (SUBTRACT, "delete", "compact"),
        (SUBTRACT, "delete", "compact"),
        (SUBTRACT, "compact", ""),
        (APPEND, "delete", "delete"),
    ):
        altered(connection, TOPIC, topic, ("cleanup.policy", operation, value))
        until_value(connection, TOPIC, topic, "cleanup.policy", after)


@pytest.mark.parametrize(
    ("changes", "error", "because"),
    [
        ([("retention.ms", SET, "1"), ("retention.ms", DELETE, None)], ErrorCode.invalid_request, "duplicate"),
        ([("retention.ms", SET, None)], ErrorCode.invalid_request, "Null value"),
        ([("cleanup.policy", APPEND, None)], ErrorCode.invalid_request, "Null value"),
        ([("retention.ms", APPEND, "1")], ErrorCode.invalid_config, "LIST"),
        ([("retention.ms", SUBTRACT, "1")], ErrorCode.invalid_config, "LIST"),
        ([("no.such", SET, "1")], ErrorCode.invalid_config, "Unknown topic config name: no.such"),
        ([("retention.ms", SET, "soon")], ErrorCode.invalid_config, "Not a number of type LONG"),
        ([("retention.ms", SET, "")], ErrorCode.invalid_config, "Not a number of type LONG"),
        ([("segment.bytes", SET, "1")], ErrorCode.invalid_config, "at least 1048576"),
        ([("cleanup.policy", APPEND, "remove")], ErrorCode.invalid_config, "compact, delete"),
        ([("compression.type", SET, "rar")], ErrorCode.invalid_config, "gzip"),
        ([("max.message.bytes", SET, "9"), ("segment.ms", SET, "0")], ErrorCode.invalid_config, "at least 1"),
        (
            [("min.compaction.lag.ms", SET, "10"), ("max.compaction.lag.ms", SET, "5")],
            ErrorCode.invalid_config,
            "conflict",
        ),
    ],
)
def test_a_change_is_refused_as_a_whole(
    connection: wire.Connection, topic: str, changes: list[Change], error: ErrorCode, because: str
) -> None:
    code, message = alter(connection, TOPIC, topic, *changes)
    assert code == error
    assert message is not None
    assert because in message
    assert all(one.config_source != 1 for one in describe(connection, TOPIC, topic).configs)


def test_resources_that_are_not_there_are_refused(connection: wire.Connection) -> None:
    for kind, name, error in (
        (TOPIC, "no-such-topic", ErrorCode.unknown_topic_or_partition),
        (TOPIC, "not a name", ErrorCode.invalid_topic_exception),
        (TOPIC, "", ErrorCode.invalid_request),
        (GROUP, "", ErrorCode.invalid_request),
        (CLIENT_METRICS, "", ErrorCode.invalid_request),
        (99, "x", ErrorCode.invalid_request),
    ):
        assert alter(connection, kind, name, ("retention.ms", SET, "1"))[0] == error, (kind, name)


def test_a_resource_that_is_there_twice_is_refused_and_the_others_are_not(
    connection: wire.Connection, topic: str, topic_name: str
) -> None:
    other = connection.create_usable_topic(f"{topic_name}-other")
    configs = [{"name": "retention.ms", "config_operation": SET, "value": "9000"}]
    resources = [{"resource_type": TOPIC, "resource_name": name, "configs": configs} for name in (topic, topic, other)]
    answers = connection.call("incremental_alter_configs", 1, resources=resources, validate_only=False).responses
    codes = [(one.resource_name, one.error_code) for one in answers]
    assert sorted(codes, key=lambda one: one[0]) == [
        (topic, ErrorCode.invalid_request),
        (topic, ErrorCode.invalid_request),
        (other, ErrorCode.none),
    ]
    until_value(connection, TOPIC, other, "retention.ms", "9000")
    assert config(connection, TOPIC, topic, "retention.ms").config_source == DEFAULT


def test_validating_changes_nothing(connection: wire.Connection, topic: str) -> None:
    assert alter(connection, TOPIC, topic, ("retention.ms", SET, "5"), validate_only=True)[0] == ErrorCode.none
    assert (
        alter(connection, TOPIC, topic, ("retention.ms", SET, "x"), validate_only=True)[0] == ErrorCode.invalid_config
    )
    assert replace(connection, TOPIC, topic, ("retention.ms", "5"), validate_only=True)[0] == ErrorCode.none
    altered(connection, TOPIC, topic, ("segment.ms", SET, "7000"))
    until_value(connection, TOPIC, topic, "segment.ms", "7000")
    assert config(connection, TOPIC, topic, "retention.ms").config_source == DEFAULT


@pytest.mark.parametrize("version", range(3))
def test_alter_configs_drops_what_it_does_not_name(connection: wire.Connection, topic: str, version: int) -> None:
    altered(connection, TOPIC, topic, ("retention.ms", SET, "5000"), ("segment.ms", SET, "6000"))
    assert replace(connection, TOPIC, topic, ("segment.ms", "7000"), version=version) == (ErrorCode.none, None)
    until_value(connection, TOPIC, topic, "segment.ms", "7000")
    assert config(connection, TOPIC, topic, "retention.ms").config_source == DEFAULT
    assert replace(connection, TOPIC, topic, version=version) == (ErrorCode.none, None)
    until_value(connection, TOPIC, topic, "segment.ms", "604800000")
    for configs, error in (
        ([("retention.ms", None)], ErrorCode.invalid_request),
        ([("retention.ms", "1"), ("retention.ms", "2")], ErrorCode.invalid_request),
        ([("retention.ms", "x")], ErrorCode.invalid_config),
        ([("no.such", "1")], ErrorCode.invalid_config),
    ):
        assert replace(connection, TOPIC, topic, *configs, version=version)[0] == error
    assert replace(connection, TOPIC, "no-such-topic", version=version)[0] == ErrorCode.unknown_topic_or_partition
    assert replace(connection, LOGGER, node_id(connection), ("root", "INFO"), version=version)[0] == (
        ErrorCode.invalid_request
    )


# --- changing a broker


def test_sources_go_before_each_other_and_a_topic_follows(own: Broker) -> None:
    with own.connect() as connection:
        node = node_id(connection)
        topic = connection.create_usable_topic("t")
        altered(connection, BROKER, "", ("log.retention.ms", SET, "10000"), ("log.cleaner.threads", SET, "2"))
        until_value(connection, TOPIC, topic, "retention.ms", "10000")
        assert said(connection, TOPIC, topic, "retention.ms") == [
            ("log.retention.ms", "10000", 3),
            ("log.retention.hours", "168", 5),
        ]
        altered(connection, BROKER, node, ("log.retention.ms", SET, "9000"))
        until_value(connection, BROKER, node, "log.retention.ms", "9000")
        assert said(connection, BROKER, node, "log.retention.ms") == [
            ("log.retention.ms", "9000", 2),
            ("log.retention.ms", "10000", 3),
            ("log.retention.hours", "168", 5),
        ]
        assert said(connection, BROKER, node, "log.retention.hours") == [("log.retention.hours", "168", 5)]
        assert said(connection, BROKER, node, "log.cleaner.threads") == [
            ("log.cleaner.threads", "2", 3),
            ("log.cleaner.threads", "1", 5),
        ]
        altered(connection, TOPIC, topic, ("retention.ms", SET, "8000"))
        until_value(connection, TOPIC, topic, "retention.ms", "8000")
        assert said(connection, TOPIC, topic, "retention.ms") == [
            ("retention.ms", "8000", 1),
            ("log.retention.ms", "9000", 2),
            ("log.retention.ms", "10000", 3),
            ("log.retention.hours", "168", 5),
        ]
        found = {one.name: (one.value, one.config_source) for one in describe(connection, BROKER, "").configs}
        # Kafka's eligible leader replicas keep a default of min.insync.replicas there.
        found.pop("min.insync.replicas", None)
        assert found == {"log.retention.ms": ("10000", 3), "log.cleaner.threads": ("2", 3)}
        altered(connection, TOPIC, topic, ("retention.ms", DELETE, None))
        altered(connection, BROKER, node, ("log.retention.ms", DELETE, None))
        until_value(connection, TOPIC, topic, "retention.ms", "10000")
        altered(connection, BROKER, "", ("log.retention.ms", DELETE, None))
        until_value(connection, TOPIC, topic, "retention.ms", "604800000")


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("", [("log.retention.hours", SET, "1")]),
        ("node", [("auto.create.topics.enable", SET, "false")]),
        ("node", [("log.retention.ms", SET, "1"), ("num.partitions", SET, "3")]),
        ("node", [("log.retention.ms", SET, "soon")]),
        ("node", [("log.retention.ms", SET, None)]),
        ("node", [("log.segment.bytes", SET, "1")]),
        ("node", [("log.retention.ms", SET, "1"), ("log.retention.ms", DELETE, None)]),
        ("", [("max.connections.per.ip.overrides", SET, "nobody")]),
        ("", [("ssl.keystore.password", SET, "secret")]),
        ("4711", [("log.retention.ms", SET, "1")]),
        ("x", [("log.retention.ms", SET, "1")]),
    ],
)
def test_a_brokers_change_that_is_not_allowed_is_an_invalid_request(
    connection: wire.Connection, name: str, changes: list[Change]
) -> None:
    node = node_id(connection)
    code, message = alter(connection, BROKER, node if name == "node" else name, *changes)
    assert code == ErrorCode.invalid_request
    assert message
    assert config(connection, BROKER, node, "log.retention.ms").config_source == DEFAULT


def test_the_longest_unit_gives_way(tmp_path: Path, start_broker: StartBroker) -> None:
    broker = start_broker(tmp_path, {Setting.LOG_RETENTION_HOURS: 2})
    with broker.connect() as connection:
        topic = connection.create_usable_topic("t")
        assert config(connection, TOPIC, topic, "retention.ms").value == str(2 * HOUR_MS)
        node = node_id(connection)
        assert said(connection, BROKER, node, "log.retention.hours") == [
            ("log.retention.hours", "2", 4),
            ("log.retention.hours", "168", 5),
        ]
        altered(connection, BROKER, "", ("log.retention.ms", SET, "5000"))
        until_value(connection, TOPIC, topic, "retention.ms", "5000")
        assert said(connection, TOPIC, topic, "retention.ms")[1:] == [
            ("log.retention.hours", "2", 4),
            ("log.retention.hours", "168", 5),
        ]
    broker.close()


# --- groups, client metrics, loggers


def test_groups_and_client_metrics_keep_their_configs(connection: wire.Connection, topic_name: str) -> None:
    altered(connection, GROUP, topic_name, ("consumer.session.timeout.ms", SET, "50000"))
    altered(connection, CLIENT_METRICS, topic_name, ("interval.ms", SET, "1000"), ("match", SET, "client_id=x.*"))
    until_value(connection, GROUP, topic_name, "consumer.session.timeout.ms", "50000")
    assert said(connection, GROUP, topic_name, "consumer.session.timeout.ms") == [
        ("consumer.session.timeout.ms", "50000", 8),
        ("group.consumer.session.timeout.ms", "45000", 5),
    ]
    until_value(connection, CLIENT_METRICS, topic_name, "match", "client_id=x.*")
    assert said(connection, CLIENT_METRICS, topic_name, "interval.ms") == [("interval.ms", "1000", 7)]
    for kind, key, value, error in (
        (GROUP, "consumer.session.timeout.ms", "1", ErrorCode.invalid_config),
        (GROUP, "consumer.heartbeat.interval.ms", "50000", ErrorCode.invalid_config),
        (GROUP, "no.such", "1", ErrorCode.invalid_config),
        (CLIENT_METRICS, "interval.ms", "1", ErrorCode.invalid_request),
        (CLIENT_METRICS, "match", "name=x", ErrorCode.invalid_config),
        (CLIENT_METRICS, "match", "client_id=[", ErrorCode.invalid_config),
        (CLIENT_METRICS, "no.such", "1", ErrorCode.invalid_request),
    ):
        assert alter(connection, kind, topic_name, (key, SET, value))[0] == error, (key, value)
    for kind in (GROUP, CLIENT_METRICS):
        assert replace(connection, kind, topic_name) == (ErrorCode.none, None)


def test_levels_of_loggers_are_changed_by_incremental_requests_only(own: Broker) -> None:
    with own.connect() as connection:
        node = node_id(connection)
        loggers = {one.name: one for one in describe(connection, LOGGER, node).configs}
        assert loggers["root"].config_source == 6
        name = next(one for one in loggers if one != "root")
        altered(connection, LOGGER, node, (name, SET, "DEBUG"))
        assert config(connection, LOGGER, node, name).value == "DEBUG"
        for changes, error in (
            ([(name, SET, "LOUD")], ErrorCode.invalid_config),
            ([("no.such.logger", SET, "INFO")], ErrorCode.invalid_config),
            ([(name, APPEND, "INFO")], ErrorCode.invalid_request),
            ([("root", DELETE, None)], ErrorCode.invalid_request),
        ):
            assert alter(connection, LOGGER, node, *changes)[0] == error, changes
        assert alter(connection, LOGGER, "4711", ("root", SET, "INFO"))[0] == ErrorCode.invalid_request
        altered(connection, LOGGER, node, (name, DELETE, None))


def resources(connection: wire.Connection, version: int, *kinds: int) -> tuple[ErrorCode, list[tuple[int, str]]]:
    fields = {"resource_types": list(kinds)} if version else {}
    answer = connection.call("list_config_resources", version, **fields)
    listed = [(getattr(one, "resource_type", CLIENT_METRICS), one.resource_name) for one in answer.config_resources]
    return answer.error_code, listed


def test_resources_are_listed_by_type(connection: wire.Connection, topic: str) -> None:
    node = node_id(connection)
    altered(connection, GROUP, topic, ("consumer.session.timeout.ms", SET, "50000"))
    altered(connection, CLIENT_METRICS, topic, ("interval.ms", SET, "1000"))
    until_value(connection, CLIENT_METRICS, topic, "interval.ms", "1000")
    code, listed = resources(connection, 1)
    assert code == ErrorCode.none
    assert {(kind, topic) for kind in (TOPIC, GROUP, CLIENT_METRICS)} <= set(listed)
    assert {(kind, node) for kind in (BROKER, LOGGER)} <= set(listed)
    for kind in (TOPIC, GROUP, CLIENT_METRICS):
        code, listed = resources(connection, 1, kind)
        assert code == ErrorCode.none
        assert {one for one, _ in listed} == {kind}
        assert topic in {name for _, name in listed}
    assert sorted(resources(connection, 1, BROKER, LOGGER)[1]) == [(BROKER, node), (LOGGER, node)]
    assert topic in {name for _, name in resources(connection, 0)[1]}
    assert resources(connection, 1, TOPIC, 99) == (ErrorCode.unsupported_version, [])
    for kind in (GROUP, CLIENT_METRICS):
        assert replace(connection, kind, topic) == (ErrorCode.none, None)


# --- effects


def produced(connection: wire.Connection, topic: str, *values: bytes) -> ErrorCode:
    code: ErrorCode = connection.produce(topic, {0: simple_batch(*values)})[0].error_code
    return code


def test_the_size_limit_holds_from_the_change_on(connection: wire.Connection, topic: str) -> None:
    assert produced(connection, topic, b"x" * 2000) == ErrorCode.none
    altered(connection, TOPIC, topic, ("max.message.bytes", SET, "1000"))
    poll("too large", lambda: produced(connection, topic, b"x" * 2000) == ErrorCode.message_too_large)
    altered(connection, TOPIC, topic, ("max.message.bytes", DELETE, None))
    poll("not too large", lambda: produced(connection, topic, b"x" * 2000) == ErrorCode.none)


def test_a_brokers_size_limit_is_the_topics(own: Broker) -> None:
    with own.connect() as connection:
        topic = connection.create_usable_topic("t")
        altered(connection, BROKER, "", ("message.max.bytes", SET, "1000"))
        poll("too large", lambda: produced(connection, topic, b"x" * 2000) == ErrorCode.message_too_large)
        altered(connection, TOPIC, topic, ("max.message.bytes", SET, "5000"))
        poll("not too large", lambda: produced(connection, topic, b"x" * 2000) == ErrorCode.none)


def test_records_get_the_brokers_time_once_that_is_asked_for(connection: wire.Connection, topic: str) -> None:
    def has_append_time() -> bool:
        assert produced(connection, topic, b"x") == ErrorCode.none
        return bool(connection.read_all(topic)[-1].attributes & 8)

    assert not has_append_time()
    altered(connection, TOPIC, topic, ("message.timestamp.type", SET, "LogAppendTime"))
    poll("LogAppendTime", has_append_time)
    altered(connection, TOPIC, topic, ("message.timestamp.type", SET, "CreateTime"))
    poll("CreateTime", lambda: not has_append_time())


def test_times_out_of_bounds_are_refused_from_the_change_on(connection: wire.Connection, topic: str) -> None:
    assert produced(connection, topic, b"x") == ErrorCode.none
    hour_ago = make_batch([Record(b"x", timestamp=int(time.time() * 1000) - HOUR_MS)])
    altered(connection, TOPIC, topic, ("message.timestamp.before.max.ms", SET, "60000"))
    poll(
        "too old",
        lambda: connection.produce(topic, {0: hour_ago})[0].error_code == ErrorCode.invalid_timestamp,
    )


@pytest.mark.parametrize("where", ["topic by age", "topic by size", "broker by age"])
def test_retention_follows_a_change(tmp_path: Path, start_broker: StartBroker, where: str) -> None:
    settings = {
        Setting.LOG_RETENTION_CHECK_INTERVAL_MS: 200,
        Setting.UPLOAD_INTERVAL_MS: 100,
        Setting.UPLOAD_BYTES: 1 << 18,
    }
    broker = start_broker(tmp_path, settings)
    with broker.connect() as connection:
        topic = connection.create_usable_topic("t", configs={"segment.bytes": str(1 << 20)})
        for _ in range(30):
            assert produced(connection, topic, b"x" * 100_000) == ErrorCode.none
        assert connection.list_offset(topic, 0, -2).offset == 0
        kind, name, change = {
            "topic by age": (TOPIC, topic, ("retention.ms", SET, "1")),
            "topic by size": (TOPIC, topic, ("retention.bytes", SET, "1000000")),
            "broker by age": (BROKER, "", ("log.retention.ms", SET, "1")),
        }[where]
        altered(connection, kind, name, change)
        poll("a log start that moved", lambda: connection.list_offset(topic, 0, -2).offset > 0, timeout=60)
    broker.close()


def test_what_was_changed_outlives_a_kill(tmp_path: Path, start_broker: StartBroker) -> None:
    broker = start_broker(tmp_path)
    with broker.connect() as connection:
        node = node_id(connection)
        topic = connection.create_usable_topic("t")
        altered(connection, TOPIC, topic, ("segment.ms", SET, "6000"))
        altered(connection, BROKER, "", ("log.retention.ms", SET, "70000"))
        altered(connection, BROKER, node, ("message.max.bytes", SET, "1000"))
        altered(connection, GROUP, "g", ("consumer.session.timeout.ms", SET, "50000"))
        altered(connection, CLIENT_METRICS, "m", ("interval.ms", SET, "2000"))
        before = until_value(connection, CLIENT_METRICS, "m", "interval.ms", "2000")
    broker.kill()
    broker.start()
    with broker.connect() as connection:
        connection.end_offset(topic)
        until_value(connection, TOPIC, topic, "segment.ms", "6000")
        assert until_value(connection, TOPIC, topic, "retention.ms", "70000").config_source == 3
        assert until_value(connection, TOPIC, topic, "max.message.bytes", "1000").config_source == 2
        assert until_value(connection, GROUP, "g", "consumer.session.timeout.ms", "50000").config_source == 8
        assert until_value(connection, CLIENT_METRICS, "m", "interval.ms", "2000") == before
        assert produced(connection, topic, b"x" * 2000) == ErrorCode.message_too_large
    broker.close()


def test_connections_are_limited_from_the_change_on(own: Broker) -> None:
    def refused() -> bool:
        try:
            with own.connect() as further:
                further.metadata([])
        except (OSError, wire.ConnectionClosed):
            return True
        return False

    with own.connect() as connection:
        altered(connection, BROKER, "", ("max.connections.per.ip", SET, "1"))
        poll("a further connection is refused", refused, timeout=60)
        altered(connection, BROKER, "", ("max.connections.per.ip.overrides", SET, "127.0.0.1:5"))
        poll("a further connection is let in", lambda: not refused(), timeout=60)


def test_min_insync_replicas_is_at_most_what_there_is(connection: wire.Connection, topic: str) -> None:
    altered(connection, TOPIC, topic, ("min.insync.replicas", SET, "2"))
    until_value(connection, TOPIC, topic, "min.insync.replicas", "2")
    assert produced(connection, topic, b"x") == ErrorCode.none
