"""Topic settings (metadata/configs.py)."""

import pytest

from tailrace_controller.metadata.configs import DEFINITIONS, ConfigRules
from tailrace_core.errors import InvalidConfig
from tailrace_core.membership import ConfigEntry, ConfigSource

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
        ("min.cleanable.dirty.ratio", "1.5", "between 0 and 1"),
        ("min.cleanable.dirty.ratio", "nan", "between 0 and 1"),
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


def test_the_topics_own_value_comes_before_the_brokers_before_the_default():
    rules = ConfigRules({"retention.ms": "1", "segment.ms": "2"})
    assert rules.effective({"retention.ms": "3"}).retention_ms == 3
    assert rules.effective({}).segment_ms == 2
    entries = rules.entries({"retention.ms": "3"})
    assert ConfigEntry("retention.ms", "3", ConfigSource.TOPIC) in entries
    assert ConfigEntry("segment.ms", "2", ConfigSource.BROKER) in entries
    assert ConfigEntry("preallocate", "false", ConfigSource.DEFAULT) in entries
    assert [entry.name for entry in entries] == sorted(DEFINITIONS)


def test_a_bad_default_of_the_broker_is_refused_at_once():
    with pytest.raises(InvalidConfig, match=r"retention\.ms"):
        ConfigRules({"retention.ms": "soon"})
