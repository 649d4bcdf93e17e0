"""Which partition of an internal topic keeps an id: the rule is Kafka's, since its tools and clients compute it too."""

from functools import lru_cache
from struct import unpack
from typing import Final

_CACHED_LENGTH_MAX: Final = 64
"""Longer ids are hashed anew each time, so that what is remembered stays within a few megabytes."""


def partition_for(key: str, partition_count: int) -> int:
    """Utils.abs(key.hashCode) % partition_count, as GroupCoordinator.partitionFor of Apache Kafka."""
    value = _cached_hash(key) if len(key) <= _CACHED_LENGTH_MAX else string_hash(key)
    return (abs(value) if value != -(1 << 31) else 0) % partition_count


def string_hash(text: str) -> int:
    """Java's String.hashCode: over UTF-16 units, as a signed number of 32 bits."""
    encoded = text.encode("utf-16-le", "surrogatepass")
    value = 0
    for unit in unpack(f"<{len(encoded) // 2}H", encoded):
        value = (31 * value + unit) & 0xFFFFFFFF
    return value - (1 << 32) if value >= 1 << 31 else value


_cached_hash = lru_cache(maxsize=16_384)(string_hash)
