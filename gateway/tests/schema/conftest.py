"""Values for every message and version, made from its declaration and a seed."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

import pytest

from tailrace_core.schema.declare import Array, Field, Message, Struct
from tailrace_gateway.kafka import schema

DATA_MESSAGES = [
    "ConsumerProtocolAssignment",
    "ConsumerProtocolSubscription",
    "ControlRecordTypeSchema",
    "DefaultPrincipalData",
    "EndTxnMarker",
    "KRaftVersionRecord",
    "LeaderChangeMessage",
    "RequestHeader",
    "ResponseHeader",
    "SnapshotFooterRecord",
    "SnapshotHeaderRecord",
    "VotersRecord",
]

# kio has types of its own for these: it takes neither any int16 for an error code nor any int64 for a time.
TIMES = {
    "issue_timestamp",
    "issue_timestamp_ms",
    "expiry_timestamp",
    "expiry_timestamp_ms",
    "max_timestamp",
    "max_timestamp_ms",
    "log_append_time_ms",
    "transaction_start_time_ms",
    "expiry_time_period_ms",
    "max_lifetime_ms",
    "renew_period_ms",
    "retention_time_ms",
    "session_lifetime_ms",
}

WORDS = ["", "a", "orders", "Grüße", "数据", "💾", "x" * 126, "x" * 127, "y" * 300]

Fill = Callable[[type[Message], int, int], Message]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "message" in metafunc.fixturenames:
        names = [name + side for name in schema.API_KEYS.values() for side in ("Request", "Response")]
        metafunc.parametrize("message", [schema.message(name) for name in names + DATA_MESSAGES], ids=_name)


def _name(cls: type[Message]) -> str:
    return cls.__name__


@pytest.fixture
def examples() -> range:
    """The seeds of the values to try, more of them in the long profile."""
    return range(60 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 3)


@pytest.fixture
def fill() -> Fill:
    """A function (class, version, seed) -> message; fields that the version does not have stay at their default."""
    return lambda cls, version, seed: _struct(cls, version, random.Random(f"{cls.__name__} {version} {seed}"))


def _struct(cls: type[Any], version: int, rng: random.Random) -> Any:
    values: dict[str, Any] = {}
    for field in cls.fields:
        if version in field.versions and rng.random() < 0.85:
            if version in field.nullable and rng.random() < 0.25:
                values[field.name] = None
            else:
                values[field.name] = _value(field, field.kind, version, rng)
    return cls(**values)


def _value(field: Field, kind: Any, version: int, rng: random.Random) -> Any:
    if isinstance(kind, Array):
        count = rng.choice([0, 1, 1, 2, 3]) if isinstance(kind.element, type) else rng.choice([0, 1, 2, 3, 130])
        return [_value(field, kind.element, version, rng) for _ in range(count)]
    if isinstance(kind, type) and issubclass(kind, Struct):
        return _struct(kind, version, rng)
    if kind.default == "":
        return rng.choice(WORDS)
    if kind.default is None or kind.default == b"":
        return rng.randbytes(rng.choice([0, 1, 5, 126, 127, 400]))
    if field.name.endswith("error_code"):
        return rng.choice([-1, 0, 1, 3, 42, 133])
    if field.name in TIMES:
        return rng.choice([0, 1, 1_700_000_000_123, 4_102_444_800_000])
    if kind.code == "16s":
        return rng.choice([bytes(16), rng.randbytes(16)])
    if kind.code == "?":
        return rng.random() < 0.5
    if kind.code == "d":
        return rng.choice([0.0, -1.5, 1e300, rng.random()])
    bits = 8 * kind.size
    low, high = (0, 2**bits - 1) if kind.code == "H" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return rng.choice([low, high, 0, 1, rng.randint(low, high), rng.randint(0, 100)])
