"""Where the values of the settings come from.

`load` merges, later ones winning: the defaults, one TOML file, the environment (`TAILRACE__SECTION__KEY`), and
`--set section.key=value`. In the file and with --set a setting may be called by Kafka's name too (`log.retention.ms`),
since a file is read as a flat list of dotted names. What Kafka's brokers have and this one does not need is taken and
does nothing (`Settings.without_effect`). Whatever is wrong raises InvalidSettings with the place, the key, the value
and what is allowed.
"""

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import ValidationError

from tailrace_core import kafka_configs
from tailrace_core.errors import InvalidSettings
from tailrace_core.settings import Place, Settings, each_field, kafka_names

ENVIRONMENT_PREFIX: Final = "TAILRACE__"


def _places() -> dict[str, Place]:
    """Every name that a person may write, ours and Kafka's."""
    places = {}
    for place, field in each_field():
        places[f"{place.section}.{place.key}"] = place
        if (kafka := kafka_names(field).broker) is not None:
            places[kafka] = place
    return places


PLACES: Final = _places()


class _Given(NamedTuple):
    """A value, and how to name it to the person who gave it."""

    value: object
    said: str


def load(file: Path | None, environ: Mapping[str, str], overrides: Sequence[str]) -> Settings:
    """The settings from the defaults, a TOML file, the environment and `section.key=value` overrides, later ones first.

    Raises InvalidSettings naming file, variable or flag, key, value, and what is allowed.
    """
    given: dict[Place, _Given] = {}
    without_effect: dict[str, str] = {}
    if file is not None:
        given |= _from_file(file, without_effect)
    given |= _from_environment(environ)
    for override in overrides:
        name, equals, text = override.partition("=")
        if not equals:
            raise InvalidSettings(f"--set {override}: allowed: section.key=value")
        if (place := _place(name.strip(), "--set", text.strip(), without_effect)) is not None:
            given[place] = _Given(text.strip(), f"--set {name.strip()}={text.strip()}")
    sections: dict[str, dict[str, object]] = {}
    for place, (value, _) in given.items():
        sections.setdefault(place.section, {})[place.key] = value
    try:
        settings = Settings.model_validate(sections)
        settings._without_effect.update(without_effect)
        return settings
    except ValidationError as error:
        raise InvalidSettings("\n".join(_explained(error, given))) from error


def _from_file(file: Path, without_effect: dict[str, str]) -> dict[Place, _Given]:
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidSettings(f"{file}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"{file}: not a TOML file: {error}") from error
    given: dict[Place, _Given] = {}
    names: dict[Place, str] = {}
    for name, value in _flat(document):
        place = _place(name, str(file), value, without_effect)
        if place is None:
            continue
        if place in given:
            raise InvalidSettings(f"{file}: {names[place]} and {name} are the same setting; say it once")
        names[place] = name
        given[place] = _Given(value, f"{file}: {name} = {json.dumps(value, default=str)}")
    return given


def _flat(table: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _from_environment(environ: Mapping[str, str]) -> dict[Place, _Given]:
    given = {}
    for variable in sorted(environ):
        if variable.startswith(ENVIRONMENT_PREFIX):
            name = variable.removeprefix(ENVIRONMENT_PREFIX).lower().replace("__", ".")
            value = environ[variable]
            place = _place(name, f"environment variable {variable}", value, {})
            if place is not None:
                given[place] = _Given(value, f"{variable}={value}")
    return given


def _place(name: str, source: str, value: object, without_effect: dict[str, str]) -> Place | None:
    """Where the setting stands; None, and noted in without_effect, for one of Kafka's that does nothing here."""
    place = PLACES.get(name)
    if place is None:
        # It imports this module, and most starts do not need it here.
        if name in kafka_configs.broker_names_without_effect():
            without_effect[name] = kafka_configs.config_text(tuple(value) if isinstance(value, list) else value) or ""
            return None
        # Only when a start fails anyway: the import costs more than all look-ups.
        from difflib import get_close_matches

        near = get_close_matches(name, PLACES, n=3, cutoff=0.6)
        section = name.partition(".")[0]
        if not near:
            near = [known for known in PLACES if known.startswith(f"{section}.")]
        allowed = ", ".join(near) if near else "the sections " + ", ".join(Settings.model_fields)
        raise InvalidSettings(
            f"{source}: there is no setting {name!r}; near it: {allowed} (config/REFERENCE.md has all)"
        )
    return place


def _explained(error: ValidationError, given: Mapping[Place, _Given]) -> Iterator[str]:
    """A line for each thing that is wrong."""
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        text = problem["msg"].removeprefix("Value error, ").replace("Input should be", "allowed:")
        section = str(problem["loc"][0])
        said = given.get(Place(section, str(problem["loc"][1]))) if len(problem["loc"]) > 1 else None
        if said is not None:
            yield f"{said.said}: {text}"
        else:
            parts = ", ".join(other.said for place, other in given.items() if place.section == section)
            yield f"[{section}] {text} (given: {parts})"
