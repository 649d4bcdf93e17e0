"""An object store that counts: how long requests take and how many fail, by operation. Around any other store."""

from collections.abc import Awaitable, Sequence
from typing import Final, TypeVar

from tailrace_core.batch import Buffer
from tailrace_core.errors import TailraceError
from tailrace_core.ports import Clock, ObjectStore
from tailrace_core.telemetry import Histogram, histogram

OPERATIONS: Final = ("put", "get", "size", "list", "delete")

T = TypeVar("T")


class MeasuredStore:
    """An ObjectStore. Only what the store answers is counted: neither cancelled requests nor bugs are."""

    def __init__(self, store: ObjectStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self.times: dict[str, Histogram] = {
            operation: histogram("tailrace_object_request_seconds") for operation in OPERATIONS
        }
        self.errors: dict[str, int] = dict.fromkeys(OPERATIONS, 0)

    @property
    def url(self) -> str:
        return self._store.url

    async def put(self, key: str, parts: Sequence[Buffer]) -> None:
        await self._count("put", self._store.put(key, parts))

    async def get_range(self, key: str, position: int, length: int) -> bytes:
        return await self._count("get", self._store.get_range(key, position, length))

    async def get_into(self, key: str, position: int, buffer: memoryview) -> int:
        return await self._count("get", self._store.get_into(key, position, buffer))

    async def size(self, key: str) -> int:
        return await self._count("size", self._store.size(key))

    async def list_keys(self, prefix: str) -> list[str]:
        return await self._count("list", self._store.list_keys(prefix))

    async def delete(self, key: str) -> None:
        await self._count("delete", self._store.delete(key))

    async def close(self) -> None:
        await self._store.close()

    async def _count(self, operation: str, request: Awaitable[T]) -> T:
        started = self._clock.monotonic()
        try:
            answer = await request
        except TailraceError:
            self.errors[operation] += 1
            self.times[operation].observe_seconds(self._clock.monotonic() - started)
            raise
        self.times[operation].observe_seconds(self._clock.monotonic() - started)
        return answer
