"""Topic settings (metadata/configs.py)."""

import pytest

from tailrace_controller.metadata.configs import ConfigRules
from tailrace_core.errors import InvalidConfig
from tailrace_core.kafka_configs import definitions
from tailrace_core.membership import ConfigSource, ResourceType

RULES = ConfigRules({})


def test_the_defaults_are_kafkas():
    configs = RULES.without_overrides
    assert configs.cleanup_policy == ("delete",)
    assert configs.max_message_bytes == 1_048_588
    assert configs.message_timestamp_after_max_ms == 3_600_000
    assert configs.message_timestamp_before_max_ms == 2**63 - 1
    assert configs.retention_bytes == -1
    assert configs.retention_ms == 7 * 86_400_000
    assert configs.segment_bytes == 2**30
    assert configs.durability == "local"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cleanup.policy", "compact,delete"),
        ("cleanup.policy", ""),
        ("compression.type", "zstd"),
        ("compression.gzip.level", "-1"),
        ("leader.replication.throttled.replicas", "*"),
        ("leader.replication.throttled.replicas", "0:1,1:2"),
        ("local.retention.ms", "-2"),
        ("message.timestamp.type", "LogAppendTime"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("preallocate", "TRUE"),
        ("remote.storage.enable", "true"),
        ("retention.ms", " -1 "),
        ("segment.bytes", "1048576"),
        ("tailrace.durability", "local"),
    ],
)
def test_kafkas_values_are_allowed(name, text):
    assert RULES.overrides_of({name: text}) == {name: text}


@pytest.mark.parametrize(
    ("name", "text", "because"),
    [
        ("cleanup.policy", "remove", "must be one of: compact, delete"),
        ("cleanup.policy", "delete,delete", "Duplicate"),
        ("compression.gzip.level", "0", "between 1 and 9"),
        ("compression.lz4.level", "18", "no more than 17"),
        ("compression.type", "lzma", "String must be one of"),
        ("follower.replication.throttled.replicas", "1", "partition:broker"),
        ("max.message.bytes", "2147483648", "Not a number of type INT"),
        ("message.timestamp.type", "createtime", "String must be one of: CreateTime, LogAppendTime"),
        ("min.cleanable.dirty.ratio", "1.5", "no more than 1"),
        ("min.cleanable.dirty.ratio", "nan", "at least 0"),
        ("min.insync.replicas", "0", "at least 1"),
        ("preallocate", "yes", "true or false"),
        ("retention.ms", "-2", "at least -1"),
        ("retention.ms", "1d", "Not a number of type LONG"),
        ("retention.ms", "1_000", "Not a number of type LONG"),
        ("segment.bytes", "1048575", "at least 1048576"),
        ("tailrace.durability", "object", "not built yet"),
        ("tailrace.durability", "none", "String must be one of: local"),
    ],
)
def test_a_bad_value_is_refused_with_name_value_and_what_is_allowed(name, text, because):
    with pytest.raises(InvalidConfig, match="Invalid value") as raised:
        RULES.overrides_of({name: text})
    assert name in str(raised.value)
    assert text in str(raised.value)
    assert because in str(raised.value)


def test_an_unknown_name_is_refused():
    with pytest.raises(InvalidConfig, match=r"Unknown topic config name: retention\.msec"):
        RULES.overrides_of({"retention.msec": "1"})


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(InvalidConfig, match="conflict"):
        RULES.overrides_of({"min.compaction.lag.ms": "10", "max.compaction.lag.ms": "9"})


def entry(entries, name):
    (found,) = [entry for entry in entries if entry.name == name]
    return found


def test_the_layers_go_before_each_other_and_all_of_them_are_told():
    rules = ConfigRules(
        {"log.retention.ms": "1", "log.roll.ms": "2"}, {"log.retention.ms": "4"}, {"log.retention.ms": "5"}
    )
    assert rules.effective({"retention.ms": "3"}).retention_ms == 3
    assert rules.effective({}).retention_ms == 4
    assert rules.effective({}).segment_ms == 2
    entries = rules.topic_entries({"retention.ms": "3"})
    found = entry(entries, "retention.ms")
    assert (found.value, found.source) == ("3", ConfigSource.TOPIC)
    assert [(one.name, one.value, one.source.value) for one in found.synonyms] == [
        ("retention.ms", "3", 1),
        ("log.retention.ms", "4", 2),
        ("log.retention.ms", "5", 3),
        ("log.retention.ms", "1", 4),
        ("log.retention.hours", "168", 5),
    ]
    assert entry(entries, "segment.ms").source is ConfigSource.STATIC_BROKER
    assert entry(entries, "preallocate").source is ConfigSource.DEFAULT
    assert entry(entries, "remote.storage.enable").synonyms == ()
    assert [entry.name for entry in entries] == sorted(definitions(ResourceType.TOPIC))


@pytest.mark.parametrize(
    ("static", "retention_ms"),
    [
        ({"log.retention.hours": "2"}, 7_200_000),
        ({"log.retention.hours": "2", "log.retention.minutes": "3"}, 180_000),
        ({"log.retention.hours": "2", "log.retention.minutes": "3", "log.retention.ms": "4"}, 4),
        ({"log.retention.minutes": "-1"}, -1),
        ({"log.retention.hours": "-1"}, -1),
    ],
)
def test_milliseconds_go_before_minutes_before_hours(static, retention_ms):
    rules = ConfigRules(static)
    assert rules.without_overrides.retention_ms == retention_ms
    assert entry(rules.topic_entries({}), "retention.ms").value == str(retention_ms)


def test_a_topics_config_tells_what_the_brokers_first_name_says():
    rules = ConfigRules({"log.retention.hours": "2"})
    found = entry(rules.topic_entries({}), "retention.ms")
    assert (found.value, found.source, found.synonyms) == ("7200000", ConfigSource.DEFAULT, ())
    for name in ("flush.ms", "segment.ms", "segment.jitter.ms"):
        assert entry(rules.topic_entries({}), name).synonyms == ()
    own = entry(rules.topic_entries({"retention.ms": "3"}), "retention.ms")
    assert [(one.name, one.value) for one in own.synonyms] == [("retention.ms", "3")]


def test_a_brokers_config_tells_only_what_its_own_name_says_first():
    rules = ConfigRules({"log.roll.hours": "1"})
    assert rules.without_overrides.segment_ms == 3_600_000
    unset = entry(rules.broker_entries(), "log.roll.ms")
    assert (unset.value, unset.source, unset.synonyms) == (None, ConfigSource.DEFAULT, ())
    given = entry(rules.broker_entries(), "log.roll.hours")
    assert (given.value, given.source) == ("1", ConfigSource.STATIC_BROKER)


def test_values_are_shown_as_kafka_writes_them():
    entries = ConfigRules({}).topic_entries(
        {"retention.ms": " +5 ", "preallocate": " TRUE", "cleanup.policy": "compact , delete"}
    )
    assert [entry(entries, name).value for name in ("retention.ms", "preallocate", "cleanup.policy")] == [
        "5",
        "true",
        "compact,delete",
    ]


def test_a_bad_default_of_the_broker_is_refused_at_once():
    with pytest.raises(InvalidConfig, match=r"log\.retention\.ms"):
        ConfigRules({"log.retention.ms": "soon"})
