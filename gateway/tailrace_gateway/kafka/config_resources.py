"""What the config APIs share: resources by Kafka's numbers, and asking for a change of one.

Each resource is changed or refused by itself; one that is there twice is refused twice, since the order would decide.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from tailrace_core.errors import InvalidRequest, TailraceError
from tailrace_core.membership import ConfigChange, ConfigResource, ResourceType
from tailrace_gateway.errors import kafka_code
from tailrace_gateway.kafka import broker_loggers
from tailrace_gateway.kafka.context import Call

A = TypeVar("A")


def resource_of(number: int, name: str) -> ConfigResource:
    """Raises InvalidRequest for a type that Kafka does not have."""
    try:
        return ConfigResource(ResourceType(number), name)
    except ValueError:
        allowed = ", ".join(f"{one.value} ({one.name.lower()})" for one in ResourceType)
        raise InvalidRequest(f"Unknown resource type {number}; allowed: {allowed}") from None


def refuse_repeated(asked: Sequence[tuple[int, str]]) -> list[InvalidRequest | None]:
    """The refusal of each resource that is there more than once."""
    times = Counter(asked)
    return [
        InvalidRequest("Each resource must appear at most once.") if times[resource] > 1 else None for resource in asked
    ]


async def alter(
    call: Call,
    number: int,
    name: str,
    changes: Sequence[ConfigChange],
    *,
    replaces: bool,
    validate_only: bool,
) -> TailraceError | None:
    """Change one resource; the refusal, if it was."""
    services = call.services
    try:
        resource = resource_of(number, name)
        if resource.type is ResourceType.BROKER_LOGGER:
            if replaces:
                raise InvalidRequest("Levels of loggers are set by IncrementalAlterConfigs, not by AlterConfigs")
            broker_loggers.check_name(services.membership.image, name)
            broker_loggers.alter(changes, validate_only)
        else:
            await services.membership.alter_configs(resource, changes, replaces, validate_only)
    except TailraceError as error:
        return error
    return None


def answer_of(response: Callable[..., A], asked: Any, failed: TailraceError | None) -> A:
    """What a request to alter is told of one resource that it named; both APIs have these fields."""
    return response(
        error_code=0 if failed is None else kafka_code(failed),
        error_message=None if failed is None else str(failed),
        resource_type=asked.resource_type,
        resource_name=asked.resource_name,
    )
