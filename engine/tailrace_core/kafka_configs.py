"""Every config of Kafka 4.3, of topics, brokers, groups and client metrics: name, type, default, what is allowed, how
it changes at run time, and what it does here.

The facts come from `kafka_configs.tsv`, which a tool prints from Kafka's own jars. Three things are laid over them: the
defaults of our settings where they have a Kafka name, what each config does here (config_states.py), and our own
settings without a Kafka name, as broker configs `tailrace.SECTION.KEY`. Values are texts everywhere; `parse` checks one
and gives its value, `shown` gives the text that is told to clients.
"""

import re
from collections.abc import Mapping
from enum import Enum, IntEnum
from functools import cache
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple, TypeAlias, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from tailrace_core.config_states import ConfigState, state_of
from tailrace_core.membership import ResourceType
from tailrace_core.settings import INT32_MAX, INT64_MAX, Place, Section, Settings, each_field, kafka_names

if TYPE_CHECKING:
    from pydantic import TypeAdapter

ConfigValue: TypeAlias = str | int | float | bool | tuple[str, ...]

_TABLE: Final = Path(__file__).with_name("kafka_configs.tsv")
_NONE: Final = r"\N"
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,19}")
_RANGE: Final = re.compile(r"(-?[0-9.]+)\.\.(-?[0-9.]*)(?: or (-?[0-9]+))?")
_ANY_CASE: Final = "(in any case) "
_DURABILITY: Final = "local"
_REPLICA: Final = re.compile(r"[0-9]+:[0-9]+")
_DURATION: Final = re.compile(r"by_duration:P(?=.)([0-9]+D)?(T(?=.)([0-9]+H)?([0-9]+M)?([0-9]+(\.[0-9]+)?S)?)?")


class ConfigType(IntEnum):
    """The numbers are Kafka's (DescribeConfigs v3)."""

    BOOLEAN = 1
    STRING = 2
    INT = 3
    SHORT = 4
    LONG = 5
    DOUBLE = 6
    LIST = 7
    CLASS = 8
    PASSWORD = 9


class UpdateMode(Enum):
    """How a broker config may change while the broker runs."""

    READ_ONLY = "read-only"
    PER_BROKER = "per-broker"
    CLUSTER_WIDE = "cluster-wide"
    """Of one broker, or of all."""


class ConfigDefinition(NamedTuple):
    """One config of a resource type."""

    name: str
    type: ConfigType
    default: str | None
    allowed: str
    """`least..most`, `one|another`, or words; empty: whatever the type takes."""
    update_mode: UpdateMode
    """CLUSTER_WIDE where the resource is not a broker."""
    broker_names: tuple[str, ...]
    """The broker configs that it derives from where it has no value of its own, the first that is set goes first. A
    broker config's own name is among them.
    """
    state: ConfigState
    about: str
    """What it does here, for people."""
    place: Place | None = None
    """Our setting, of a broker config that is one."""

    @property
    def is_sensitive(self) -> bool:
        return self.type is ConfigType.PASSWORD

    def parse(self, text: str) -> ConfigValue:
        """Raises ValueError with what is allowed."""
        value = _typed(self, text)
        _check_allowed(self, value)
        return value

    def check_setting(self, text: str) -> None:
        """Where it is a setting of ours, hold text to the setting's own bounds, too. Raises ValueError as parse."""
        if self.place is None:
            return
        try:
            setting_type(self.place).validate_python(text.strip())
        except ValidationError as error:
            problem = error.errors(include_url=False, include_context=False, include_input=False)[0]["msg"]
            raise ValueError(problem.removeprefix("Value error, ").replace("Input should be", "Allowed:")) from None

    def shown(self, text: str) -> str:
        """A text that parse takes, as Kafka writes such a value."""
        match self.type:
            case ConfigType.LIST:
                return ",".join(words_of(text))
            case ConfigType.BOOLEAN:
                return text.strip().lower()
            case ConfigType.INT | ConfigType.SHORT | ConfigType.LONG:
                return str(int(text))
        return text.strip()


def words_of(text: str) -> list[str]:
    """A value of type LIST."""
    return [word.strip() for word in text.split(",")] if text.strip() else []


def _typed(definition: ConfigDefinition, text: str) -> ConfigValue:
    word = text.strip()
    match definition.type:
        case ConfigType.BOOLEAN:
            if word.lower() not in ("true", "false"):
                raise ValueError("Expected value to be either true or false")
            return word.lower() == "true"
        case ConfigType.INT | ConfigType.SHORT | ConfigType.LONG:
            largest = {ConfigType.SHORT: 2**15 - 1, ConfigType.INT: INT32_MAX}.get(definition.type, INT64_MAX)
            # int() alone would take underscores and digits of other scripts.
            if not _WHOLE.fullmatch(word) or not -largest - 1 <= int(word) <= largest:
                raise ValueError(f"Not a number of type {definition.type.name}")
            return int(word)
        case ConfigType.DOUBLE:
            try:
                return float(word)
            except ValueError:
                raise ValueError("Not a number of type DOUBLE") from None
        case ConfigType.LIST:
            words = words_of(text)
            if len(set(words)) != len(words):
                raise ValueError("Duplicate entries are not allowed")
            return tuple(words)
    return word


def _check_allowed(definition: ConfigDefinition, value: ConfigValue) -> None:
    allowed = definition.allowed
    if (bounds := _RANGE.fullmatch(allowed)) is not None:
        assert isinstance(value, int | float)
        least, most, also = bounds.groups()
        if also is not None and value != int(also) and not float(least) <= value <= float(most):
            raise ValueError(f"Value must be between {least} and {most}, or {also}")
        if also is None and not value >= float(least):
            raise ValueError(f"Value must be at least {least}")
        if also is None and most and not value <= float(most):
            raise ValueError(f"Value must be no more than {most}")
    elif "|" in allowed:
        words = allowed.removeprefix(_ANY_CASE).split("|")
        for word in value if isinstance(value, tuple) else (str(value),):
            if (word.upper() if allowed.startswith(_ANY_CASE) else word) not in words:
                raise ValueError(f"String must be one of: {', '.join(words)}")
    elif allowed == _DURABILITY:
        if value != _DURABILITY:
            raise ValueError(f"String must be one of: {_DURABILITY} (object is not built yet)")
    elif allowed.startswith("[partitionId]"):
        assert isinstance(value, tuple)
        if value != ("*",) and not all(_REPLICA.fullmatch(word) for word in value):
            raise ValueError("Must be the literal '*' or a list of replicas as partition:broker,...")
    elif "by_duration" in allowed and value not in ("latest", "earliest") and not _DURATION.fullmatch(str(value)):
        raise ValueError("Value must be one of: latest, earliest, by_duration:PnDTnHnMn.nS")


@cache
def definitions(resource_type: ResourceType) -> Mapping[str, ConfigDefinition]:
    """All configs of a resource type, by name, in the order of names. Loggers have none."""
    found = {definition.name: definition for kind, definition in _table() if kind is resource_type}
    if resource_type is ResourceType.BROKER:
        found |= {definition.name: definition for definition in _own_broker_configs(found)}
    if resource_type is ResourceType.TOPIC:
        state, about = state_of("topic", "tailrace.durability")
        found["tailrace.durability"] = ConfigDefinition(
            "tailrace.durability",
            ConfigType.STRING,
            _DURABILITY,
            _DURABILITY,
            UpdateMode.CLUSTER_WIDE,
            (),
            state,
            about,
        )
    return dict(sorted(found.items()))


@cache
def _table() -> list[tuple[ResourceType, ConfigDefinition]]:
    rows = []
    for line in _TABLE.read_text(encoding="utf-8").splitlines()[1:]:
        kind, name, type_name, default, allowed, mode, derived = line.split("\t")
        resource_type = ResourceType[kind.upper()]
        names = tuple(derived.split(",")) if derived else (name,) if resource_type is ResourceType.BROKER else ()
        definition = ConfigDefinition(
            name,
            ConfigType[type_name],
            None if default == _NONE else default,
            allowed,
            UpdateMode(mode) if mode else UpdateMode.CLUSTER_WIDE,
            names,
            *state_of(kind, name),
        )
        rows.append((resource_type, definition))
    return rows


def _own_broker_configs(kafka: Mapping[str, ConfigDefinition]) -> list[ConfigDefinition]:
    """Our settings: Kafka's where they have a name of Kafka's, with our default; and the others."""
    found = []
    for place, field in each_field():
        name = broker_config_name(place, field)
        default = config_text(field.default)
        known = kafka.get(name)
        if known is None:
            about = field.description or ""
            config_type = _type_of(field.annotation)
            found.append(
                ConfigDefinition(
                    name, config_type, default, "", UpdateMode.READ_ONLY, (name,), ConfigState.WORKS, about, place
                )
            )
            continue
        if known.state is ConfigState.UNSAID:
            known = known._replace(state=ConfigState.WORKS, about=field.description or "")
        if name == "listeners":
            # Kafka can bind others while it runs.
            known = known._replace(update_mode=UpdateMode.READ_ONLY)
        found.append(known._replace(default=default, place=place))
    return found


def broker_config_name(place: Place, field: FieldInfo) -> str:
    """What a setting is called among the broker configs."""
    return kafka_names(field).broker or f"tailrace.{place.section}.{place.key}"


def _type_of(annotation: Any) -> ConfigType:
    plain = [one for one in get_args(annotation) if one is not type(None)]
    if get_origin(annotation) in (Union, UnionType) and len(plain) == 1:
        annotation = plain[0]
    if get_origin(annotation) is Literal or not isinstance(annotation, type):
        return ConfigType.STRING
    for python, config_type in ((bool, ConfigType.BOOLEAN), (int, ConfigType.LONG), (float, ConfigType.DOUBLE)):
        if issubclass(annotation, python):
            return config_type
    return ConfigType.STRING


def config_text(value: object) -> str | None:
    """A setting's value as configs write it; None where there is none."""
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return ",".join(":".join(map(str, one)) if type(one) is tuple else str(one) for one in value)
    return str(value)


def broker_names_without_effect() -> frozenset[str]:
    """The broker configs that are accepted and do nothing."""
    known = definitions(ResourceType.BROKER).values()
    return frozenset(one.name for one in known if one.state is ConfigState.WITHOUT_EFFECT)


def static_broker_configs(settings: Settings) -> dict[str, str]:
    """The broker configs that were given at the start, by name; what was not given is a default."""
    found = dict(settings.without_effect)
    for place, field in each_field():
        section = getattr(settings, place.section)
        if place.section in settings.model_fields_set and place.key in section.model_fields_set:
            text = config_text(getattr(section, place.key))
            if text is not None:
                found[broker_config_name(place, field)] = text
    return found


@cache
def setting_type(place: Place) -> "TypeAdapter[Any]":
    """What takes a text as the value of a setting, by the setting's own bounds."""
    # Importing it takes tens of milliseconds, which most starts need not wait for.
    from pydantic import TypeAdapter

    section = Settings.model_fields[place.section].annotation
    assert isinstance(section, type)
    assert issubclass(section, Section)
    field = section.model_fields[place.key]
    kind: Any = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
    return TypeAdapter(kind)
