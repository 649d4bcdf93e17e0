"""Configs in force: which value a topic, a broker or a group has, and where it comes from.

Kafka's layers, the first that says something going before the others: the topic's or group's own value; what was
changed at run time for this broker; for all brokers; what the broker was started with; the default. Names, types and
defaults are those of core.kafka_configs.
"""

from collections.abc import Mapping, Sequence
from itertools import dropwhile
from typing import Final

from tailrace_core.errors import InvalidConfig, InvalidRequest, TailraceError
from tailrace_core.kafka_configs import ConfigDefinition, ConfigValue, definitions
from tailrace_core.membership import (
    ConfigEntry,
    ConfigSource,
    ConfigSynonym,
    ResourceType,
    TopicConfigs,
)

_UNIT_MS: Final = {".hours": 3_600_000, ".minutes": 60_000}
_FIELDS: Final = {
    field: "tailrace.durability" if field == "durability" else field.replace("_", ".") for field in TopicConfigs._fields
}


def parse(resource_type: ResourceType, name: str, text: str) -> ConfigValue:
    """Raises InvalidConfig, with what is allowed."""
    definition = definitions(resource_type).get(name)
    if definition is None:
        raise unknown_name(resource_type, name)
    try:
        return definition.parse(text)
    except ValueError as error:
        raise InvalidConfig(f"Invalid value {text} for configuration {name}: {error}") from None


def unknown_name(resource_type: ResourceType, name: str) -> TailraceError:
    if resource_type is ResourceType.CLIENT_METRICS:
        return InvalidRequest(f"Unknown client metrics configuration: {name}")
    return InvalidConfig(f"Unknown {resource_type.name.lower()} config name: {name}")


def _in_units_of(definition: ConfigDefinition, synonym: ConfigSynonym) -> str:
    """A broker's value as the topic's or group's: some are in hours or minutes, of which a negative one is "no end"."""
    for ending, unit_ms in _UNIT_MS.items():
        if synonym.name.endswith(ending):
            return str(max(-1, int(synonym.value) * unit_ms))
    return definition.shown(synonym.value)


def _told_under(name: str, synonyms: Sequence[ConfigSynonym]) -> tuple[ConfigSynonym, ...]:
    """As in Kafka: what only other names of the broker's config say, as hours do for ms, is in force, but not told."""
    return tuple(dropwhile(lambda one: one.name != name, synonyms))


class ConfigRules:
    """Everything that is in force beside the topics' and groups' own values. Immutable.

    static: what the broker was started with, own and for_all: what was changed at run time, of this broker and of all;
    by the broker configs' names. Raises InvalidConfig for a value that is not allowed, or a contradiction.
    """

    def __init__(
        self, static: Mapping[str, str], own: Mapping[str, str] | None = None, for_all: Mapping[str, str] | None = None
    ) -> None:
        self._static = dict(static)
        self._own = dict(own or {})
        self._for_all = dict(for_all or {})
        for layer in (self._static, self._own, self._for_all):
            for name, text in layer.items():
                parse(ResourceType.BROKER, name, text)
        self._defaults = {
            name: parse(ResourceType.TOPIC, name, entry.value or "")
            for name, entry in ((entry.name, entry) for entry in self.topic_entries({}))
        }
        self.without_overrides: TopicConfigs = self.effective({})
        """Shared by all topics that have no settings of their own."""

    def changed(self, own: Mapping[str, str], for_all: Mapping[str, str]) -> "ConfigRules":
        """The rules after a change at run time."""
        return ConfigRules(self._static, own, for_all)

    @property
    def dynamic(self) -> Mapping[str, str]:
        """What was changed at run time and is in force on this broker."""
        return {**self._for_all, **self._own}

    def effective(self, overrides: Mapping[str, str]) -> TopicConfigs:
        """A topic's settings in force. Raises InvalidConfig for a name or a value that is not allowed, or a
        contradiction.
        """
        values = dict(self._defaults)
        for name, text in overrides.items():
            values[name] = parse(ResourceType.TOPIC, name, text)
        _check_together(values)
        # mypy cannot see the types through the names; every field is of the setting its name says.
        found = {field: values[name] for field, name in _FIELDS.items()}
        found["cleanup_policy"] = tuple(sorted(found["cleanup_policy"]))  # type: ignore[arg-type]
        return TopicConfigs(**found)  # type: ignore[arg-type]

    def topic_entries(self, overrides: Mapping[str, str]) -> tuple[ConfigEntry, ...]:
        """All settings of a topic in force, by name, and where each comes from."""
        return self._entries(ResourceType.TOPIC, overrides, ConfigSource.TOPIC)

    def group_entries(self, overrides: Mapping[str, str]) -> tuple[ConfigEntry, ...]:
        """All settings of a group in force, by name."""
        return self._entries(ResourceType.GROUP, overrides, ConfigSource.GROUP)

    def client_metrics_entries(self, overrides: Mapping[str, str]) -> tuple[ConfigEntry, ...]:
        """All settings of a subscription of client metrics, by name."""
        return self._entries(ResourceType.CLIENT_METRICS, overrides, ConfigSource.CLIENT_METRICS)

    def _entries(
        self, resource_type: ResourceType, overrides: Mapping[str, str], source: ConfigSource
    ) -> tuple[ConfigEntry, ...]:
        entries = []
        for name, definition in definitions(resource_type).items():
            derived = self._synonyms(definition.broker_names)
            if resource_type is ResourceType.GROUP and not derived:
                derived = (ConfigSynonym(name, definition.default or "", ConfigSource.DEFAULT),)
            told = _told_under(definition.broker_names[0], derived) if definition.broker_names else derived
            if name in overrides:
                value: str | None = definition.shown(overrides[name])
                told = (ConfigSynonym(name, value or "", source), *told)
            else:
                value = _in_units_of(definition, derived[0]) if derived else definition.default
            entries.append(ConfigEntry(name, value, told[0].source if told else ConfigSource.DEFAULT, told))
        return tuple(entries)

    def broker_entries(self) -> tuple[ConfigEntry, ...]:
        """All configs of this broker in force, by name."""
        entries = []
        for name, definition in definitions(ResourceType.BROKER).items():
            synonyms = _told_under(name, self._synonyms(definition.broker_names))
            if synonyms:
                entries.append(ConfigEntry(name, synonyms[0].value, synonyms[0].source, synonyms))
            else:
                entries.append(ConfigEntry(name, None, ConfigSource.DEFAULT))
        return tuple(entries)

    def for_all_entries(self) -> tuple[ConfigEntry, ...]:
        """What was changed at run time for all brokers, by name."""
        source = ConfigSource.DYNAMIC_DEFAULT_BROKER
        known = definitions(ResourceType.BROKER)
        shown = {name: known[name].shown(text) for name, text in sorted(self._for_all.items())}
        return tuple(
            ConfigEntry(name, text, source, (ConfigSynonym(name, text, source),)) for name, text in shown.items()
        )

    def broker_value(self, name: str) -> str | None:
        """A broker config in force."""
        synonyms = self._synonyms(definitions(ResourceType.BROKER)[name].broker_names)
        return synonyms[0].value if synonyms else None

    def _synonyms(self, names: Sequence[str]) -> tuple[ConfigSynonym, ...]:
        known = definitions(ResourceType.BROKER)
        found = []
        for layer, source in (
            (self._own, ConfigSource.DYNAMIC_BROKER),
            (self._for_all, ConfigSource.DYNAMIC_DEFAULT_BROKER),
            (self._static, ConfigSource.STATIC_BROKER),
        ):
            found += [ConfigSynonym(name, known[name].shown(layer[name]), source) for name in names if name in layer]
        defaults = ((name, known[name].default) for name in names)
        found += [ConfigSynonym(name, text, ConfigSource.DEFAULT) for name, text in defaults if text is not None]
        return tuple(found)

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
