"""An object store in memory whose faults come from a seed: slow, failing, lost replies, rotten bytes, an outage.

It keeps the port's promises as far as a real store does. A call that fails did nothing; a call whose reply is lost did
all of it and fails just the same, so the caller cannot tell which. Two puts of one key at once: one of them wins. When
the broker ends (`cut_off`), calls that are under way may still take effect, each by chance.
"""

import asyncio
from collections.abc import Callable, Sequence
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


def _nobody(what: str) -> None:
    """Hears of nothing."""


class SimObjectStore:
    """An ObjectStore. `objects` is what is durable; tests may look at it and spoil it."""

    def __init__(
        self,
        random: Random,
        faults: SimObjectFaults | None = None,
        on_event: Callable[[str], object] = _nobody,
        on_put: Callable[[str, bytes], object] | None = None,
    ) -> None:
        """on_event is told what is done, on_put what is about to be put."""
        self._random = random
        self._on_event = on_event
        self._on_put = on_put
        self._under_way: dict[int, Callable[[], object]] = {}
        """What calls that have not taken effect yet would do."""
        self._next_call = 0
        self._is_cut_off = False
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
        data = b"".join(parts)
        if self._on_put is not None:
            self._on_put(key, data)
        await self._before(f"put of {key}", lambda: self.objects.setdefault(key, data))
        if key in self.objects:
            raise ObjectExists(f"object {key} is in {self.url} already")
        self.objects[key] = data
        await self._after(f"put of {key}")

    async def get_range(self, key: str, position: int, length: int) -> bytes:
        """See core.ports.ObjectStore."""
        check_key(key)
        self.gets += 1
        await self._before(f"get of {key}:{position}")
        data = self._object(key)[position : position + length]
        await self._after(f"get of {key}:{position}")
        return data

    async def get_into(self, key: str, position: int, buffer: memoryview) -> int:
        """See core.ports.ObjectStore."""
        data = await self.get_range(key, position, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    async def size(self, key: str) -> int:
        """See core.ports.ObjectStore."""
        check_key(key)
        await self._before(f"size of {key}")
        size = len(self._object(key))
        await self._after(f"size of {key}")
        return size

    async def list_keys(self, prefix: str) -> list[str]:
        """See core.ports.ObjectStore."""
        await self._before(f"list of {prefix}")
        keys = sorted(key for key in self.objects if key.startswith(prefix))
        await self._after(f"list of {prefix}")
        return keys

    async def delete(self, key: str) -> None:
        """See core.ports.ObjectStore."""
        check_key(key)
        await self._before(f"delete of {key}", lambda: self.objects.pop(key, None))
        self.objects.pop(key, None)
        await self._after(f"delete of {key}")

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

    def cut_off(self) -> "SimObjectStore":
        """The store for the broker's next life. This one answers no more."""
        self._is_cut_off = True
        for effect in self._under_way.values():
            if self._random.random() < 0.5:
                effect()
        store = SimObjectStore(self._random, self.faults, self._on_event, self._on_put)
        store.objects = self.objects
        return store

    async def _before(self, what: str, effect: Callable[[], object] | None = None) -> None:
        if self._is_cut_off:
            raise StorageUnavailable("the simulated store is cut off")
        call = self._next_call = self._next_call + 1
        if effect is not None:
            self._under_way[call] = effect
        await self._delay()
        self._under_way.pop(call, None)
        if self.faults.down or self._random.random() < self.faults.failure:
            self._on_event(f"{what} fails")
            raise StorageUnavailable(f"{what}: the simulated store fails")

    async def _after(self, what: str) -> None:
        await self._delay()
        if self._random.random() < self.faults.lost_reply:
            self._on_event(f"{what} is done, its reply is lost")
            raise StorageUnavailable(f"{what}: the simulated store's reply was lost")
        self._on_event(f"{what} is done")

    async def _delay(self) -> None:
        if self.faults.delay_seconds_max:
            await asyncio.sleep(self._random.random() * self.faults.delay_seconds_max)
