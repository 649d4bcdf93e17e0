"""Rules of changing configs (KIP-133, KIP-226, KIP-339, KIP-714, KIP-1071). The errors and their texts follow Apache
Kafka's ConfigurationControlManager and ConfigAdminManager.

A resource's configs are changed all together or not at all. Where a broker's change moves what topics inherit, the
topics change in the same commit.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from tailrace_controller.metadata import format as fmt
from tailrace_controller.metadata.configs import ConfigRules, parse, unknown_name
from tailrace_controller.metadata.decision import Decision
from tailrace_controller.metadata.image import Image
from tailrace_core.config_states import ConfigState
from tailrace_core.errors import InvalidConfig, InvalidRequest
from tailrace_core.kafka_configs import ConfigType, UpdateMode, definitions, words_of
from tailrace_core.membership import (
    BrokerConfigsChanged,
    ChangeEvent,
    ConfigChange,
    ConfigChanged,
    ConfigOperation,
    ConfigResource,
    ResourceType,
)

CONFIGS_PER_RESOURCE_MAX: Final = 1_000
"""More than there are: a bound on what one request stores."""
_INTERVAL_MS: Final = (100, 3_600_000)
_MATCH: Final = (
    "client_instance_id",
    "client_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
    "client_source_port",
)


def plan_alter_configs(
    image: Image, resource: ConfigResource, changes: Sequence[ConfigChange], replaces: bool, validate_only: bool
) -> Decision[None]:
    """See core.membership.Membership.alter_configs."""
    _check_request(changes)
    if resource == ConfigResource(ResourceType.TOPIC, ""):
        raise InvalidRequest("Default topic resources are not allowed.")
    before = image.configs_of(resource)
    after = _changed(resource.type, {} if replaces else before, before, changes)
    if len(after) > CONFIGS_PER_RESOURCE_MAX:
        raise InvalidConfig(f"{len(after)} configs; at most {CONFIGS_PER_RESOURCE_MAX} are allowed")
    match resource.type:
        case ResourceType.TOPIC:
            events = _check_topic(image, resource.name, after)
        case ResourceType.BROKER:
            events = _check_broker(image, resource.name, before, after, changes)
        case ResourceType.GROUP:
            _check_group(image.config_rules, after)
            events = ()
        case _:
            _check_client_metrics(after)
            events = ()
    if validate_only or after == before:
        return Decision(None)
    key = image.config_key_of(resource)
    if not after:
        return Decision(None, deletes=(key,), events=events)
    return Decision(None, puts=((key, fmt.encode_config(after)),), events=events)


def _check_request(changes: Sequence[ConfigChange]) -> None:
    names = [change.name for change in changes]
    if len(set(names)) != len(names):
        raise InvalidRequest("Error due to duplicate config keys")
    nulls = [
        change.name for change in changes if change.value is None and change.operation is not ConfigOperation.DELETE
    ]
    if nulls:
        raise InvalidRequest(f"Null value not supported for : {','.join(nulls)}")


def _changed(
    resource_type: ResourceType, kept: Mapping[str, str], before: Mapping[str, str], changes: Sequence[ConfigChange]
) -> dict[str, str]:
    """The resource's own values after the changes, by name."""
    after = dict(kept)
    for name, value, operation in changes:
        if operation is ConfigOperation.DELETE:
            after.pop(name, None)
            continue
        assert value is not None, "nulls were refused"
        if operation is ConfigOperation.SET:
            after[name] = value
            continue
        definition = definitions(resource_type).get(name)
        if definition is None or definition.type is not ConfigType.LIST:
            raise InvalidConfig(f"Can't {operation.name} to key {name} because its type is not LIST.")
        words = words_of(before.get(name, definition.default or ""))
        if operation is ConfigOperation.APPEND:
            words += [word for word in dict.fromkeys(words_of(value)) if word not in words]
        else:
            gone = words_of(value)
            words = [word for word in words if word not in gone]
        after[name] = ",".join(words)
    return dict(sorted(after.items()))


def _check_topic(image: Image, name: str, overrides: Mapping[str, str]) -> tuple[ChangeEvent, ...]:
    topic = image.topic(name)
    assert topic is not None, "configs_of found it"
    altered = topic._replace(overrides=overrides, configs=image.config_rules.effective(overrides))
    return (ConfigChanged(altered, topic),)


def _check_broker(
    image: Image, name: str, before: Mapping[str, str], after: Mapping[str, str], changes: Sequence[ConfigChange]
) -> tuple[ChangeEvent, ...]:
    known = definitions(ResourceType.BROKER)
    given = sorted(change.name for change in changes if change.operation is not ConfigOperation.DELETE)
    for config in given:
        if config not in known:
            raise InvalidRequest(f"Unknown broker config name: {config}")
        if known[config].state is ConfigState.REFUSED:
            raise InvalidRequest(f"{config} cannot be set. {known[config].about}")
    if fixed := [config for config in given if known[config].update_mode is UpdateMode.READ_ONLY]:
        raise InvalidRequest(f"Cannot update these configs dynamically: [{', '.join(fixed)}]")
    per_broker = [config for config in given if known[config].update_mode is UpdateMode.PER_BROKER]
    if not name and per_broker:
        raise InvalidRequest(
            f"Cannot update these configs at default cluster level, broker id must be specified: "
            f"[{', '.join(per_broker)}]"
        )
    try:
        rules = image.config_rules_after(name, after)
        events: list[ChangeEvent] = [BrokerConfigsChanged()] if after != before else []
        for topic in image.topics:
            configs = rules.effective(topic.overrides)
            if configs != topic.configs:
                events.append(ConfigChanged(topic._replace(configs=configs), topic))
    except InvalidConfig as error:
        raise InvalidRequest(str(error)) from None
    for config in given:
        try:
            known[config].check_setting(after[config])
        except ValueError as error:
            raise InvalidRequest(f"Invalid value {after[config]} for configuration {config}: {error}") from None
    return tuple(events)


def _check_group(rules: ConfigRules, overrides: Mapping[str, str]) -> None:
    """The bounds are configs of the broker: group.consumer.min.session.timeout.ms of consumer.session.timeout.ms."""
    values = {name: parse(ResourceType.GROUP, name, text) for name, text in overrides.items()}
    broker = definitions(ResourceType.BROKER)
    for name, value in values.items():
        protocol, _, rest = name.partition(".")
        for side in ("min", "max"):
            bound = f"group.{protocol}.{side}.{rest.removeprefix('num.')}"
            if bound not in broker:
                continue
            limit = int(rules.broker_value(bound) or 0)
            assert isinstance(value, int)
            if value < limit if side == "min" else value > limit:
                side_text = "greater" if side == "min" else "less"
                raise InvalidConfig(f"{name} must be {side_text} than or equal to {bound} ({limit})")
    in_force = {entry.name: entry.value for entry in rules.group_entries(overrides)}
    for protocol in ("consumer", "share", "streams"):
        session, heartbeat = f"{protocol}.session.timeout.ms", f"{protocol}.heartbeat.interval.ms"
        if int(in_force[session] or 0) <= int(in_force[heartbeat] or 0):
            raise InvalidConfig(f"{session} must be greater than {heartbeat}")


def _check_client_metrics(overrides: Mapping[str, str]) -> None:
    for name, text in overrides.items():
        if name not in definitions(ResourceType.CLIENT_METRICS):
            raise unknown_name(ResourceType.CLIENT_METRICS, name)
        value = parse(ResourceType.CLIENT_METRICS, name, text)
        if isinstance(value, int) and not _INTERVAL_MS[0] <= value <= _INTERVAL_MS[1]:
            raise InvalidRequest(
                f"Invalid value {text} for {name}, interval must be between {_INTERVAL_MS[0]} and {_INTERVAL_MS[1]} "
                "(1 hour)"
            )
        if name == "match":
            for pattern in words_of(text):
                _check_match(pattern)


def _check_match(pattern: str) -> None:
    parameter, equals, expression = pattern.partition("=")
    try:
        re.compile(expression)
    except re.error:
        equals = ""
    if not equals or parameter.strip() not in _MATCH:
        raise InvalidConfig(f"Illegal client matching pattern: {pattern}; allowed: NAME=PATTERN of {', '.join(_MATCH)}")
