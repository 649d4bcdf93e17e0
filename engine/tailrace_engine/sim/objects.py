"""An object store in memory whose faults come from a seed: slow, failing, lost replies, rotten bytes, an outage.

It keeps the port's promises as far as a real store does. A call that fails did nothing; a call whose reply is lost did
all of it and fails just the same, so the caller cannot tell which. Two puts of one key at once: one of them wins.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random  # noqa: TID251 - the type of what the caller seeded

from tailrace_core.batch import Buffer
from tailrace_core.errors import MissingObject, ObjectExists, StorageUnavailable
from tailrace_engine.objects.local import check_key


@dataclass(slots=True)
class SimObjectFaults:
    """What may go wrong; may be changed at any time. Chances are per call, from 0 to 1."""

    delay_seconds_max: float = 0.0
    """Each call takes between nothing and this long, once before and once after it takes effect."""
    failure: float = 0.0
    lost_reply: float = 0.0
    """The call took effect and fails."""
    down: bool = False
    """Every call fails."""


class SimObjectStore:
    """An ObjectStore. `objects` is what is durable; tests may look at it and spoil it."""

    def __init__(self, random: Random, faults: SimObjectFaults | None = None) -> None:
        self._random = random
        self.faults = faults or SimObjectFaults()
        self.objects: dict[str, bytes] = {}
        self.puts = 0
        self.gets = 0

    @property
    def url(self) -> str:
        """Names no place."""
        return "sim://"

    async def put(self, key: str, parts: Sequence[Buffer]) -> None:
        """See core.ports.ObjectStore."""
        check_key(key)
        self.puts += 1
        await self._before(key)
        if key in self.objects:
            raise ObjectExists(f"object {key} is in {self.url} already")
        self.objects[key] = b"".join(parts)
        await self._after(key)

    async def get_range(self, key: str, position: int, length: int) -> bytes:
        """See core.ports.ObjectStore."""
        check_key(key)
        self.gets += 1
        await self._before(key)
        data = self._object(key)[position : position + length]
        await self._after(key)
        return data

    async def get_into(self, key: str, position: int, buffer: memoryview) -> int:
        """See core.ports.ObjectStore."""
        data = await self.get_range(key, position, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    async def size(self, key: str) -> int:
        """See core.ports.ObjectStore."""
        check_key(key)
        await self._before(key)
        size = len(self._object(key))
        await self._after(key)
        return size

    async def list_keys(self, prefix: str) -> list[str]:
        """See core.ports.ObjectStore."""
        await self._before(prefix)
        keys = sorted(key for key in self.objects if key.startswith(prefix))
        await self._after(prefix)
        return keys

    async def delete(self, key: str) -> None:
        """See core.ports.ObjectStore."""
        check_key(key)
        await self._before(key)
        self.objects.pop(key, None)
        await self._after(key)

    async def close(self) -> None:
        """Nothing to do: the objects outlive their clients."""

    def flip_bit(self, key: str, position: int) -> None:
        """Spoil one stored byte."""
        spoilt = bytearray(self.objects[key])
        spoilt[position] ^= 1 << self._random.randrange(8)
        self.objects[key] = bytes(spoilt)

    def _object(self, key: str) -> bytes:
        try:
            return self.objects[key]
        except KeyError:
            raise MissingObject(f"object {key} is not in {self.url}") from None

    async def _before(self, key: str) -> None:
        await self._delay()
        if self.faults.down or self._random.random() < self.faults.failure:
            raise StorageUnavailable(f"object {key} in {self.url}: the simulated store fails")

    async def _after(self, key: str) -> None:
        await self._delay()
        if self._random.random() < self.faults.lost_reply:
            raise StorageUnavailable(f"object {key} in {self.url}: the simulated store's reply was lost")

    async def _delay(self) -> None:
        if self.faults.delay_seconds_max:
            await asyncio.sleep(self._random.random() * self.faults.delay_seconds_max)
