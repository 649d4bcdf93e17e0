"""Topic settings: Kafka's names, types, defaults and checks (org.apache.kafka.storage.internals.log.LogConfig, 4.3).

All of Kafka's are accepted, so that tools which set them work; those that have no meaning here are kept and change
nothing. A setting in force is the topic's own, else the broker's, else the default. `tailrace.durability` is ours.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, TypeAlias

from tailrace_core.errors import InvalidConfig
from tailrace_core.membership import ConfigEntry, ConfigSource, TopicConfigs

ConfigValue: TypeAlias = str | int | float | bool | tuple[str, ...]

_INT_MAX: Final = 2**31 - 1
_LONG_MAX: Final = 2**63 - 1
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,19}")
_REPLICA: Final = re.compile(r"[0-9]+:[0-9]+")


class ConfigDefinition(NamedTuple):
    """One setting; parse raises ValueError with what is allowed."""

    default: str
    parse: Callable[[str], ConfigValue]


def _whole(kind: str, largest: int, at_least: int, at_most: int | None = None) -> Callable[[str], int]:
    def parse(text: str) -> int:
        word = text.strip()
        # int() alone would take underscores and digits of other scripts.
        if not _WHOLE.fullmatch(word) or not -largest - 1 <= int(word) <= largest:
            raise ValueError(f"Not a number of type {kind}")
        value = int(word)
        if value < at_least:
            raise ValueError(f"Value must be at least {at_least}")
        if at_most is not None and value > at_most:
            raise ValueError(f"Value must be no more than {at_most}")
        return value

    return parse


def _int(at_least: int, at_most: int | None = None) -> Callable[[str], int]:
    return _whole("INT", _INT_MAX, at_least, at_most)


def _long(at_least: int) -> Callable[[str], int]:
    return _whole("LONG", _LONG_MAX, at_least)


def _ratio(text: str) -> float:
    try:
        value = float(text.strip())
    except ValueError:
        raise ValueError("Not a number of type DOUBLE") from None
    if not 0 <= value <= 1:
        raise ValueError("Value must be between 0 and 1")
    return value


def _boolean(text: str) -> bool:
    word = text.strip().lower()
    if word not in ("true", "false"):
        raise ValueError("Expected value to be either true or false")
    return word == "true"


def _one_of(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        word = text.strip()
        if word not in allowed:
            raise ValueError(f"String must be one of: {', '.join(allowed)}")
        return word

    return parse


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")] if text.strip() else []


def _cleanup_policy(text: str) -> tuple[str, ...]:
    words = _words(text)
    for word in words:
        if word not in ("compact", "delete"):
            raise ValueError("Every entry must be one of: compact, delete")
    if len(set(words)) != len(words):
        raise ValueError("Duplicate entries are not allowed")
    return tuple(sorted(words))


def _throttled_replicas(text: str) -> tuple[str, ...]:
    words = _words(text)
    if words != ["*"]:
        for word in words:
            if not _REPLICA.fullmatch(word):
                raise ValueError("Must be the literal '*' or a list of replicas as partition:broker,...")
    return tuple(words)


def _gzip_level(text: str) -> int:
    value = _int(-1, 9)(text)
    if value == 0:
        raise ValueError("Value must be between 1 and 9, or -1")
    return value


def _durability(text: str) -> str:
    word = text.strip()
    if word == "object":
        raise ValueError("object durability is not built yet; the only value is: local")
    return _one_of("local")(word)


DEFINITIONS: Final[Mapping[str, ConfigDefinition]] = {
    "cleanup.policy": ConfigDefinition("delete", _cleanup_policy),
    "compression.gzip.level": ConfigDefinition("-1", _gzip_level),
    "compression.lz4.level": ConfigDefinition("9", _int(1, 17)),
    "compression.type": ConfigDefinition(
        "producer", _one_of("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer")
    ),
    "compression.zstd.level": ConfigDefinition("3", _int(-131072, 22)),
    "delete.retention.ms": ConfigDefinition("86400000", _long(0)),
    "file.delete.delay.ms": ConfigDefinition("60000", _long(0)),
    "flush.messages": ConfigDefinition(str(_LONG_MAX), _long(1)),
    "flush.ms": ConfigDefinition(str(_LONG_MAX), _long(0)),
    "follower.replication.throttled.replicas": ConfigDefinition("", _throttled_replicas),
    "index.interval.bytes": ConfigDefinition("4096", _int(0)),
    "leader.replication.throttled.replicas": ConfigDefinition("", _throttled_replicas),
    "local.retention.bytes": ConfigDefinition("-2", _long(-2)),
    "local.retention.ms": ConfigDefinition("-2", _long(-2)),
    "max.compaction.lag.ms": ConfigDefinition(str(_LONG_MAX), _long(1)),
    "max.message.bytes": ConfigDefinition("1048588", _int(0)),
    "message.timestamp.after.max.ms": ConfigDefinition("3600000", _long(0)),
    "message.timestamp.before.max.ms": ConfigDefinition(str(_LONG_MAX), _long(0)),
    "message.timestamp.type": ConfigDefinition("CreateTime", _one_of("CreateTime", "LogAppendTime")),
    "min.cleanable.dirty.ratio": ConfigDefinition("0.5", _ratio),
    "min.compaction.lag.ms": ConfigDefinition("0", _long(0)),
    "min.insync.replicas": ConfigDefinition("1", _int(1)),
    "preallocate": ConfigDefinition("false", _boolean),
    "remote.log.copy.disable": ConfigDefinition("false", _boolean),
    "remote.log.delete.on.disable": ConfigDefinition("false", _boolean),
    "remote.storage.enable": ConfigDefinition("false", _boolean),
    "retention.bytes": ConfigDefinition("-1", _long(-1)),
    "retention.ms": ConfigDefinition("604800000", _long(-1)),
    "segment.bytes": ConfigDefinition("1073741824", _int(1048576)),
    "segment.index.bytes": ConfigDefinition("10485760", _int(4)),
    "segment.jitter.ms": ConfigDefinition("0", _long(0)),
    "segment.ms": ConfigDefinition("604800000", _long(1)),
    "tailrace.durability": ConfigDefinition("local", _durability),
    "unclean.leader.election.enable": ConfigDefinition("false", _boolean),
}


def _parse(name: str, text: str) -> ConfigValue:
    definition = DEFINITIONS.get(name)
    if definition is None:
        raise InvalidConfig(f"Unknown topic config name: {name}")
    try:
        return definition.parse(text)
    except ValueError as error:
        raise InvalidConfig(f"Invalid value {text} for configuration {name}: {error}") from None


_FIELDS: Final = {name.removeprefix("tailrace.").replace(".", "_"): name for name in DEFINITIONS}


class ConfigRules:
    """Topic settings above the broker's own defaults, which have the topic settings' names.

    Raises InvalidConfig for a default that is not allowed.
    """

    def __init__(self, broker_defaults: Mapping[str, str]) -> None:
        self._broker_defaults = dict(broker_defaults)
        self.without_overrides: TopicConfigs = self.effective({})
        """Shared by all topics that have no settings of their own."""

    def effective(self, overrides: Mapping[str, str]) -> TopicConfigs:
        """The settings in force. Raises InvalidConfig for a name or a value that is not allowed, or a contradiction."""
        texts = {name: definition.default for name, definition in DEFINITIONS.items()}
        texts |= self._broker_defaults
        texts |= overrides
        values = {name: _parse(name, text) for name, text in texts.items()}
        _check_together(values)
        # mypy cannot see the types through the names; every field is of the setting its name says.
        return TopicConfigs(**{field: values[_FIELDS[field]] for field in TopicConfigs._fields})  # type: ignore[arg-type]

    def entries(self, overrides: Mapping[str, str]) -> tuple[ConfigEntry, ...]:
        """All settings in force, by name, and where each comes from."""
        entries = []
        for name, definition in DEFINITIONS.items():
            if name in overrides:
                entries.append(ConfigEntry(name, overrides[name], ConfigSource.TOPIC))
            elif name in self._broker_defaults:
                entries.append(ConfigEntry(name, self._broker_defaults[name], ConfigSource.BROKER))
            else:
                entries.append(ConfigEntry(name, definition.default, ConfigSource.DEFAULT))
        return tuple(entries)

    def overrides_of(self, configs: Mapping[str, str | None]) -> dict[str, str]:
        """The settings of a new topic, checked. Raises InvalidConfig."""
        nulls = sorted(name for name, text in configs.items() if text is None)
        if nulls:
            raise InvalidConfig(f"Null value not supported for topic configs: {','.join(nulls)}")
        overrides = {name: text for name, text in sorted(configs.items()) if text is not None}
        self.effective(overrides)
        return overrides


def _check_together(values: Mapping[str, ConfigValue]) -> None:
    least, most = values["min.compaction.lag.ms"], values["max.compaction.lag.ms"]
    assert isinstance(least, int)
    assert isinstance(most, int)
    if least > most:
        raise InvalidConfig(
            f"conflict topic config setting min.compaction.lag.ms ({least}) > max.compaction.lag.ms ({most})"
        )
