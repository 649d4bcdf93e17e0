"""Changing configs (metadata/config_changes.py)."""

import pytest

from tailrace_controller.metadata.config_changes import plan_alter_configs
from tailrace_core.errors import InvalidConfig, InvalidRequest, InvalidTopicName, UnknownTopicOrPartition
from tailrace_core.membership import (
    BrokerConfigsChanged,
    ConfigChange,
    ConfigChanged,
    ConfigOperation,
    ConfigResource,
    ConfigSource,
    NewTopic,
    ResourceType,
)

SET, DELETE, APPEND, SUBTRACT = ConfigOperation
TOPIC = ConfigResource(ResourceType.TOPIC, "a")
BROKER = ConfigResource(ResourceType.BROKER, "1")
ALL_BROKERS = ConfigResource(ResourceType.BROKER, "")
GROUP = ConfigResource(ResourceType.GROUP, "g/1")
CLIENT_METRICS = ConfigResource(ResourceType.CLIENT_METRICS, "m")


def alter(metadata, resource, *changes, replaces=False, validate_only=False):
    asked = [ConfigChange(*change) for change in changes]
    metadata.run(plan_alter_configs(metadata.image, resource, asked, replaces, validate_only))


def value(metadata, resource, name):
    """Value and source, the same in the image as it is and as a start would build it."""
    found = []
    for image in (metadata.image, metadata.reloaded()):
        (entry,) = [entry for entry in image.config_entries(resource) if entry.name == name]
        found.append((entry.value, entry.source))
    assert found[0] == found[1]
    return found[0]


def test_a_topics_settings_are_set_and_removed_one_by_one(metadata):
    created = metadata.create(NewTopic("a", configs={"retention.ms": "5", "segment.ms": "9"}))[0].topic
    alter(metadata, TOPIC, ("retention.ms", None, DELETE), ("max.message.bytes", "77"))
    altered = metadata.image.topic("a")
    assert altered.overrides == {"max.message.bytes": "77", "segment.ms": "9"}
    assert altered.configs.retention_ms == 604_800_000
    assert altered == metadata.reloaded().topic("a")
    assert metadata.events[1:] == [ConfigChanged(altered, created)]
    alter(metadata, TOPIC, ("segment.ms", None, DELETE), ("max.message.bytes", None, DELETE))
    assert metadata.image.topic("a").overrides == {}
    assert not any(key.startswith("config/") for key in metadata.values)


def test_replacing_drops_what_is_not_named(metadata):
    metadata.create(NewTopic("a", configs={"retention.ms": "5", "segment.ms": "9"}))
    alter(metadata, TOPIC, ("max.message.bytes", "77"), replaces=True)
    assert metadata.image.topic("a").overrides == {"max.message.bytes": "77"}
    alter(metadata, TOPIC, replaces=True)
    assert metadata.image.topic("a").overrides == {}


def test_lists_grow_without_duplicates_and_shrink(metadata):
    metadata.topic("a")
    alter(metadata, TOPIC, ("cleanup.policy", "compact", APPEND))
    assert metadata.image.topic("a").overrides == {"cleanup.policy": "delete,compact"}
    alter(metadata, TOPIC, ("cleanup.policy", "compact,delete", APPEND))
    assert metadata.image.topic("a").overrides == {"cleanup.policy": "delete,compact"}
    alter(metadata, TOPIC, ("cleanup.policy", "delete", SUBTRACT))
    assert metadata.image.topic("a").configs.cleanup_policy == ("compact",)
    alter(metadata, TOPIC, ("cleanup.policy", "compact", SUBTRACT))
    assert metadata.image.topic("a").configs.cleanup_policy == ()


REFUSED = {
    "a name twice": (TOPIC, [("retention.ms", "1"), ("retention.ms", None, DELETE)], InvalidRequest, "duplicate"),
    "null": (TOPIC, [("retention.ms", None)], InvalidRequest, "Null value"),
    "no list": (TOPIC, [("retention.ms", "1", APPEND)], InvalidConfig, "not LIST"),
    "unknown": (TOPIC, [("no.such", "1")], InvalidConfig, "Unknown topic config name: no.such"),
    "bad value": (TOPIC, [("retention.ms", "x")], InvalidConfig, "Not a number of type LONG"),
    "one of two": (TOPIC, [("segment.ms", "5"), ("retention.ms", "-2")], InvalidConfig, "at least -1"),
    "durability": (TOPIC, [("tailrace.durability", "object")], InvalidConfig, "one of: local"),
    "no such topic": (TOPIC._replace(name="b"), [], UnknownTopicOrPartition, "'b' does not exist"),
    "bad topic name": (TOPIC._replace(name="a b"), [], InvalidTopicName, "a b"),
    "other broker": (BROKER._replace(name="2"), [], InvalidRequest, "expected 1 or empty string"),
    "no number": (BROKER._replace(name="x"), [], InvalidRequest, "must be an integer"),
    "odd number": (BROKER._replace(name="01"), [], InvalidRequest, "expected 1"),
    "read-only": (BROKER, [("log.dir", "/x")], InvalidRequest, r"dynamically: \[log.dir\]"),
    "ours": (BROKER, [("tailrace.wal.sync", "interval")], InvalidRequest, "dynamically"),
    "not built": (BROKER, [("ssl.keystore.type", "PEM")], InvalidRequest, "not built yet"),
    "unknown of a broker": (BROKER, [("no.such", "1")], InvalidRequest, "Unknown broker config name"),
    "bad value of a broker": (BROKER, [("log.retention.ms", "x")], InvalidRequest, "Not a number"),
    "bad value of a setting": (ALL_BROKERS, [("max.connections.per.ip.overrides", "x")], InvalidRequest, "IP:COUNT"),
    "one broker's only": (ALL_BROKERS, [("leader.replication.throttled.rate", "1")], InvalidRequest, "broker id must"),
    "contradiction": (
        BROKER,
        [("log.cleaner.min.compaction.lag.ms", "10"), ("log.cleaner.max.compaction.lag.ms", "9")],
        InvalidRequest,
        "conflict",
    ),
    "unknown of a group": (GROUP, [("no.such", "1")], InvalidConfig, "Unknown group config name"),
    "below the broker's bound": (GROUP, [("consumer.session.timeout.ms", "1")], InvalidConfig, "group.consumer.min"),
    "above the broker's bound": (GROUP, [("streams.num.standby.replicas", "3")], InvalidConfig, "max.standby"),
    "bad word of a group": (GROUP, [("share.auto.offset.reset", "by_duration:1h")], InvalidConfig, "by_duration"),
    "no group": (GROUP._replace(name=""), [], InvalidRequest, "must not be empty"),
    "no metrics": (CLIENT_METRICS._replace(name=""), [], InvalidRequest, "must not be empty"),
    "unknown of metrics": (CLIENT_METRICS, [("no.such", "1")], InvalidRequest, "Unknown client metrics"),
    "interval": (CLIENT_METRICS, [("interval.ms", "99")], InvalidRequest, "between 100 and 3600000"),
    "match": (CLIENT_METRICS, [("match", "client_id=[")], InvalidConfig, "client_software_name"),
    "match of nothing": (CLIENT_METRICS, [("match", "name=x")], InvalidConfig, "Illegal"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_change_that_is_not_allowed_says_why_and_changes_nothing(metadata, why):
    metadata.topic("a")
    before = dict(metadata.values)
    resource, changes, error, because = REFUSED[why]
    with pytest.raises(error, match=because):
        alter(metadata, resource, *changes)
    assert metadata.values == before


def test_removing_a_name_that_nobody_knows_is_nothing(metadata):
    metadata.topic("a")
    before = dict(metadata.values)
    for resource in (TOPIC, BROKER, ALL_BROKERS, GROUP, CLIENT_METRICS):
        alter(metadata, resource, ("no.such", None, DELETE))
    assert metadata.values == before
    alter(metadata, BROKER, ("log.dir", None, DELETE))


def test_validating_changes_nothing(metadata):
    metadata.topic("a")
    before = dict(metadata.values)
    alter(metadata, TOPIC, ("retention.ms", "5"), validate_only=True)
    alter(metadata, BROKER, ("log.retention.ms", "5"), validate_only=True)
    assert metadata.values == before


def test_topics_follow_a_brokers_configs_unless_they_have_their_own(metadata):
    metadata.create(NewTopic("a"), NewTopic("own", configs={"retention.ms": "7"}))
    topics = {topic.name: topic for topic in metadata.image.topics}
    metadata.events.clear()
    alter(metadata, ALL_BROKERS, ("log.retention.ms", "50"))
    assert metadata.image.topic("a").configs.retention_ms == 50
    assert metadata.image.topic("own") == topics["own"]
    assert metadata.events == [BrokerConfigsChanged(), ConfigChanged(metadata.image.topic("a"), topics["a"])]
    assert value(metadata, TOPIC, "retention.ms") == ("50", ConfigSource.DYNAMIC_DEFAULT_BROKER)
    alter(metadata, BROKER, ("log.retention.ms", "60"))
    assert value(metadata, TOPIC, "retention.ms") == ("60", ConfigSource.DYNAMIC_BROKER)
    assert metadata.reloaded().topics == metadata.image.topics
    assert metadata.image.dynamic_broker_configs == {"log.retention.ms": "60"}
    metadata.topic("later")
    assert metadata.image.topic("later").configs.retention_ms == 60
    alter(metadata, BROKER, ("log.retention.ms", None, DELETE))
    assert value(metadata, TOPIC, "retention.ms") == ("50", ConfigSource.DYNAMIC_DEFAULT_BROKER)
    alter(metadata, ALL_BROKERS, replaces=True)
    assert value(metadata, TOPIC, "retention.ms") == ("604800000", ConfigSource.DEFAULT)
    assert metadata.image.topic("a") == topics["a"]
    assert not any(key.startswith("dynamic_config/") for key in metadata.values)


def test_configs_of_all_brokers_are_those_that_were_set(metadata):
    assert metadata.image.config_entries(ALL_BROKERS) == ()
    alter(metadata, ALL_BROKERS, ("num.io.threads", " 9 "), ("log.cleanup.policy", "compact", APPEND))
    found = [(entry.name, entry.value) for entry in metadata.reloaded().config_entries(ALL_BROKERS)]
    assert found == [("log.cleanup.policy", "delete,compact"), ("num.io.threads", "9")]
    assert value(metadata, BROKER, "num.io.threads") == ("9", ConfigSource.DYNAMIC_DEFAULT_BROKER)


def test_groups_and_client_metrics_keep_theirs(metadata):
    assert value(metadata, GROUP, "consumer.session.timeout.ms") == ("45000", ConfigSource.DEFAULT)
    alter(metadata, GROUP, ("consumer.session.timeout.ms", "50000"), ("share.auto.offset.reset", "by_duration:PT1H"))
    alter(metadata, CLIENT_METRICS, ("match", "client_id=a.*,client_source_port=1"), ("metrics", "x", APPEND))
    assert value(metadata, GROUP, "consumer.session.timeout.ms") == ("50000", ConfigSource.GROUP)
    assert value(metadata, CLIENT_METRICS, "metrics") == ("x", ConfigSource.CLIENT_METRICS)
    assert value(metadata, CLIENT_METRICS, "interval.ms") == ("300000", ConfigSource.DEFAULT)
    assert metadata.reloaded().config_resources(ResourceType.GROUP) == ["g/1"]
    alter(metadata, GROUP, replaces=True)
    assert metadata.image.config_resources(ResourceType.GROUP) == metadata.reloaded().config_resources(GROUP.type) == []


def test_a_groups_session_outlasts_its_heartbeats(metadata):
    alter(metadata, ALL_BROKERS, ("num.io.threads", "1"))
    with pytest.raises(InvalidConfig, match=r"group\.consumer\.max\.heartbeat"):
        alter(metadata, GROUP, ("consumer.heartbeat.interval.ms", "45000"))
