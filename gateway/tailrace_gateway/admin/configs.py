"""/v1/configs: describe with sources, synonyms and documentation; set, delete, append, subtract.

Types are Kafka's kinds of resources; loggers are the process's own, their levels hold until it ends. The name
"default" of a broker stands for all brokers; it is empty in Kafka.
"""

from enum import Enum
from typing import Any, Final

from pydantic import Field

from tailrace_core.config_states import ConfigState
from tailrace_core.errors import InvalidConfig, InvalidRequest
from tailrace_core.kafka_configs import ConfigDefinition, ConfigType, UpdateMode, definitions
from tailrace_core.membership import (
    ClusterImage,
    ConfigChange,
    ConfigEntry,
    ConfigOperation,
    ConfigResource,
    ConfigSource,
    ResourceType,
)
from tailrace_gateway.admin.context import AdminContext, Asked, Body
from tailrace_gateway.kafka import broker_loggers

ALL_BROKERS: Final = "default"
_TYPES: Final = {
    "topics": ResourceType.TOPIC,
    "brokers": ResourceType.BROKER,
    "groups": ResourceType.GROUP,
    "client-metrics": ResourceType.CLIENT_METRICS,
    "broker-loggers": ResourceType.BROKER_LOGGER,
}
_SOURCES: Final = {
    ConfigSource.TOPIC: "DYNAMIC_TOPIC_CONFIG",
    ConfigSource.DYNAMIC_BROKER: "DYNAMIC_BROKER_CONFIG",
    ConfigSource.DYNAMIC_DEFAULT_BROKER: "DYNAMIC_DEFAULT_BROKER_CONFIG",
    ConfigSource.STATIC_BROKER: "STATIC_BROKER_CONFIG",
    ConfigSource.DEFAULT: "DEFAULT_CONFIG",
    ConfigSource.CLIENT_METRICS: "DYNAMIC_CLIENT_METRICS_CONFIG",
    ConfigSource.GROUP: "DYNAMIC_GROUP_CONFIG",
    ConfigSource.BROKER_LOGGER: "DYNAMIC_BROKER_LOGGER_CONFIG",
}
"""Kafka's words."""


class Operation(Enum):
    SET = "set"
    DELETE = "delete"
    APPEND = "append"
    SUBTRACT = "subtract"


class ChangeBody(Body):
    """append and subtract are of lists; delete takes no value."""

    name: str
    operation: Operation = Operation.SET
    value: str | None = None


class AlterConfigsBody(Body):
    changes: list[ChangeBody] = Field(min_length=1)
    validate_only: bool = False


def _resource(kind: str, name: str) -> ConfigResource:
    resource_type = _TYPES.get(kind)
    if resource_type is None:
        raise InvalidRequest(f"{kind!r} have no configs; allowed: {', '.join(_TYPES)}")
    is_for_all = resource_type is ResourceType.BROKER and name == ALL_BROKERS
    return ConfigResource(resource_type, "" if is_for_all else name)


async def list_resources(context: AdminContext, asked: Asked) -> dict[str, object]:
    """What there is to describe."""
    image = context.services.membership.image
    node_ids = [str(broker.node_id) for broker in image.brokers]
    return {
        "topics": [topic.name for topic in image.topics],
        "brokers": [ALL_BROKERS, *node_ids],
        "groups": list(image.config_resources(ResourceType.GROUP)),
        "client-metrics": list(image.config_resources(ResourceType.CLIENT_METRICS)),
        "broker-loggers": node_ids,
    }


async def describe_configs(context: AdminContext, asked: Asked) -> dict[str, object]:
    return _described(context, asked.path["type"], asked.path["name"])


async def describe_topic_configs(context: AdminContext, asked: Asked) -> dict[str, object]:
    return _described(context, "topics", asked.path["topic"])


def _described(context: AdminContext, kind: str, name: str) -> dict[str, object]:
    configs = _configs(context.services.membership.image, _resource(kind, name))
    return {"type": kind, "name": name, "configs": list(configs.values())}


def _configs(image: ClusterImage, resource: ConfigResource) -> dict[str, dict[str, Any]]:
    """By name."""
    if resource.type is ResourceType.BROKER_LOGGER:
        broker_loggers.check_name(image, resource.name)
        return {name: _logger(name, level) for name, level in broker_loggers.levels().items()}
    known = definitions(resource.type)
    return {entry.name: _config(resource.type, entry, known[entry.name]) for entry in image.config_entries(resource)}


def _logger(name: str, level: str) -> dict[str, Any]:
    return {
        "name": name,
        "value": level,
        "source": _SOURCES[ConfigSource.BROKER_LOGGER],
        "type": ConfigType.STRING.name,
        "allowed": "|".join(broker_loggers.LEVELS),
        "is_sensitive": False,
        "is_read_only": False,
        "state": ConfigState.WORKS.value,
        "documentation": "From which level on this logger's lines are written, until the broker ends.",
        "synonyms": [],
    }


def _config(resource_type: ResourceType, entry: ConfigEntry, definition: ConfigDefinition) -> dict[str, Any]:
    hidden = definition.is_sensitive
    return {
        "name": entry.name,
        "value": None if hidden else entry.value,
        "source": _SOURCES[entry.source],
        "type": definition.type.name,
        "allowed": definition.allowed,
        "is_sensitive": hidden,
        "is_read_only": definition.state is ConfigState.REFUSED
        or (resource_type is ResourceType.BROKER and definition.update_mode is UpdateMode.READ_ONLY),
        "state": definition.state.value,
        "documentation": definition.about,
        "synonyms": [
            {"name": one.name, "value": None if hidden else one.value, "source": _SOURCES[one.source]}
            for one in entry.synonyms
        ],
    }


async def alter_configs(context: AdminContext, asked: Asked) -> dict[str, object]:
    return await _alter(context, asked.path["type"], asked.path["name"], asked.body)


async def alter_topic_configs(context: AdminContext, asked: Asked) -> dict[str, object]:
    return await _alter(context, "topics", asked.path["topic"], asked.body)


async def _alter(context: AdminContext, kind: str, name: str, body: AlterConfigsBody) -> dict[str, object]:
    """All of the changes, or none."""
    resource = _resource(kind, name)
    changes = []
    for change in body.changes:
        if (change.value is None) != (change.operation is Operation.DELETE):
            needs = "takes no value" if change.value is not None else "needs a value"
            raise InvalidConfig(f"{change.name}: {change.operation.value} {needs}")
        changes.append(ConfigChange(change.name, change.value, ConfigOperation[change.operation.name]))
    membership = context.services.membership
    if resource.type is ResourceType.BROKER_LOGGER:
        broker_loggers.check_name(membership.image, name)
        broker_loggers.alter(changes, body.validate_only)
    else:
        await membership.alter_configs(resource, changes, False, body.validate_only)
    configs = _configs(membership.image, resource)
    changed = dict.fromkeys(change.name for change in changes)
    return {
        "type": kind,
        "name": name,
        "validate_only": body.validate_only,
        # Of all brokers together, what was deleted is not there any more.
        "configs": [configs[one] for one in changed if one in configs],
    }
