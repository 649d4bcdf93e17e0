"""Addresses and named listeners, as people write them and Kafka names them."""

from collections.abc import Iterable
from typing import NamedTuple


class Address(NamedTuple):
    """A place to listen at. Port 0 lets the operating system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Listener(NamedTuple):
    """A named way to the broker, as in Kafka's `listeners`. An empty host means all interfaces."""

    name: str
    host: str
    port: int

    @property
    def address(self) -> Address:
        return Address(self.host, self.port)

    def __str__(self) -> str:
        return f"{self.name}://{self.address}"


def parse_address(value: object) -> Address:
    """HOST:PORT, IPv6 in brackets. Raises ValueError."""
    if isinstance(value, Address):
        return value
    host, colon, port = str(value).rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"allowed: HOST:PORT with a port of 0 to 65535, not {str(value)!r}")
    return Address(host, int(port))


def _listener(value: object) -> Listener:
    if isinstance(value, Listener):
        return value
    name, separator, address = str(value).strip().partition("://")
    if not separator or not name.replace("_", "").replace("-", "").replace(".", "").isalnum():
        raise ValueError(f"allowed: NAME://HOST:PORT, not {str(value)!r}")
    if name.upper() in ("SSL", "SASL_SSL", "SASL_PLAINTEXT"):
        raise ValueError(f"{name} is a security protocol that is not built yet: its name on plain TCP would mislead")
    return Listener(name.upper(), *parse_address(address))


def parse_listeners(value: object) -> tuple[Listener, ...]:
    """NAME://HOST:PORT, as a list or with commas. Raises ValueError."""
    parts: Iterable[object]
    if isinstance(value, str):
        parts = [part for part in value.split(",") if part.strip()]
    elif isinstance(value, list | tuple):
        parts = value
    else:
        raise ValueError(f"allowed: a list of NAME://HOST:PORT, not {value!r}")
    listeners = tuple(_listener(part) for part in parts)
    names = [listener.name for listener in listeners]
    if len(set(names)) != len(names):
        raise ValueError(f"every name stands once, not {', '.join(names)}")
    return listeners
