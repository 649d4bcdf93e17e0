"""Ports: what the engine needs of the world. Each has a real form and a simulated one, under one conformance suite."""

from collections.abc import Callable, Sequence
from typing import Protocol

from tailrace_core.batch import Buffer


class Clock(Protocol):
    """Time. The core reads no clock but this one."""

    def now_ms(self) -> int:
        """Wall-clock milliseconds since the epoch. May jump."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start. Never goes back."""


class Entropy(Protocol):
    """Random bytes for ids and jitter."""

    def bytes(self, count: int) -> bytes:
        """count random bytes."""


class Timer(Protocol):
    """A call that is to come."""

    def cancel(self) -> None: ...


class Loop(Protocol):
    """The part of asyncio's loop that synchronous owners use; the simulation has its own."""

    def time(self) -> float:
        """Monotonic seconds."""

    def call_soon(self, callback: Callable[..., object], *args: object) -> object: ...

    def call_later(self, delay: float, callback: Callable[..., object], *args: object) -> Timer: ...

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: object) -> object: ...


class ObjectStore(Protocol):
    """Objects by key. Keys are relative paths of [a-zA-Z0-9._-/].

    Every method raises StorageUnavailable for what a retry may mend, and MissingObject for a key that is not there.
    """

    @property
    def url(self) -> str:
        """Where it is, for people; without secrets."""

    async def put(self, key: str, parts: Sequence[Buffer]) -> None:
        """Write the parts, one after another, as a new object. It is durable when this returns.

        Create-only: raises ObjectExists where the key is taken. The parts must not change meanwhile.
        """

    async def get_range(self, key: str, position: int, length: int) -> bytes:
        """length bytes from position; fewer only where the object ends. Raises MissingObject."""

    async def get_into(self, key: str, position: int, buffer: memoryview) -> int:
        """As get_range, into a buffer; the bytes that came. The buffer may be written to until nothing refers to it."""

    async def size(self, key: str) -> int:
        """Bytes of the object. Raises MissingObject."""

    async def list_keys(self, prefix: str) -> list[str]:
        """All keys that begin with prefix, sorted."""

    async def delete(self, key: str) -> None:
        """Remove the object; no error when it is not there."""

    async def close(self) -> None: ...
