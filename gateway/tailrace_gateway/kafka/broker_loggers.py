"""The process's loggers as Kafka's BROKER_LOGGER resource (KIP-412): names, and levels that hold until it ends.

Python's levels are told by Kafka's words. A logger without a level of its own shows the one that it inherits.
"""

import logging
from collections.abc import Sequence
from typing import Final

from tailrace_core.errors import InvalidConfig, InvalidRequest
from tailrace_core.membership import ClusterImage, ConfigChange, ConfigOperation

ROOT: Final = "root"
LEVELS: Final = {
    "FATAL": logging.CRITICAL,
    "ERROR": logging.ERROR,
    "WARN": logging.WARNING,
    "INFO": logging.INFO,
    "DEBUG": logging.DEBUG,
    "TRACE": 5,
}


def check_name(image: ClusterImage, name: str) -> None:
    """Raises InvalidRequest where name is not the id of this node."""
    node_ids = [broker.node_id for broker in image.brokers]
    if not name:
        raise InvalidRequest("Broker id must not be empty")
    if not name.removeprefix("-").isdecimal():
        raise InvalidRequest(f"Node id must be an integer, but it is: {name}")
    if int(name) not in node_ids:
        raise InvalidRequest(f"Unexpected node id. Expected {', '.join(map(str, node_ids))}, but received {name}")


def levels() -> dict[str, str]:
    """Every logger and the level in force, by name."""
    names = sorted(logging.root.manager.loggerDict)
    return {name: _word(_logger(name).getEffectiveLevel()) for name in [ROOT, *names]}


def alter(changes: Sequence[ConfigChange], validate_only: bool) -> None:
    """Set levels, all or none. Raises InvalidRequest and InvalidConfig."""
    if len({change.name for change in changes}) != len(changes):
        raise InvalidRequest("Error due to duplicate config keys")
    for change in changes:
        _check(change)
    if validate_only:
        return
    for name, word, operation in changes:
        _logger(name).setLevel(logging.NOTSET if operation is ConfigOperation.DELETE else LEVELS[word or ""])


def _check(change: ConfigChange) -> None:
    name, word, operation = change
    if operation not in (ConfigOperation.SET, ConfigOperation.DELETE):
        raise InvalidRequest(f"{operation.name} operation is not allowed for the BROKER_LOGGER resource")
    if name != ROOT and name not in logging.root.manager.loggerDict:
        raise InvalidConfig(f"Logger {name} does not exist!")
    if operation is ConfigOperation.DELETE:
        if name == ROOT:
            raise InvalidRequest("Removing the log level of the root logger is not allowed")
    elif word not in LEVELS:
        raise InvalidConfig(f"Cannot set the log level of {name} to {word}; allowed: {', '.join(LEVELS)}")


def _logger(name: str) -> logging.Logger:
    return logging.getLogger(None if name == ROOT else name)


def _word(level: int) -> str:
    return next((word for word, least in LEVELS.items() if level >= least), "TRACE")
