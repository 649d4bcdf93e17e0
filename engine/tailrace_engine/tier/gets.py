"""The GETs of the tier's reader: how many are in flight, how fast, in which order, and what happens to bad bytes.

Asking is synchronous; a GET starts when there is a slot and the bandwidth cap allows it. Those that somebody waits for
go before read-ahead. What a GET brought is checked by who asked for it, on the loop's thread, before anyone sees it;
bad bytes are fetched once more.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from tailrace_core.errors import DataCorrupt, StorageUnavailable, TailraceError
from tailrace_core.ports import Clock, ObjectStore
from tailrace_engine.cache.buffers import BufferPool

_BURST_SECONDS: Final = 0.02
"""What the cap lets through at once after a pause: 8 MB of 400 MB/s."""

_log = logging.getLogger(__name__)


class Get:
    """One range of one object, asked for."""

    __slots__ = ("accept", "done", "error", "failed", "key", "length", "position", "urgent")

    def __init__(
        self,
        key: str,
        position: int,
        length: int,
        urgent: bool,
        accept: Callable[[memoryview, bool], None],
        failed: Callable[[], None] | None,
    ) -> None:
        self.key = key
        self.position = position
        self.length = length
        self.urgent = urgent
        self.accept: Callable[[memoryview, bool], None] | None = accept
        """None once it is done: it refers to what was made of the bytes, which may refer to this."""
        self.failed = failed
        self.done = asyncio.Event()
        self.error: Exception | None = None
        """Why it failed, once it is done."""

    async def wait(self) -> None:
        """Until the bytes were accepted. Raises why they were not."""
        await self.done.wait()
        if self.error is not None:
            raise self.error.with_traceback(None)  # each raise would add to the one before


class Gets:
    """The counters are for metrics: plain integers that only rise."""

    __slots__ = (
        "_buffers",
        "_clock",
        "_in_flight_max",
        "_next_start",
        "_queue",
        "_seconds_per_byte",
        "_store",
        "_tasks",
        "_timer",
        "bytes_fetched",
        "corrupt_ranges",
        "failures",
        "gets",
    )

    def __init__(
        self, store: ObjectStore, clock: Clock, buffers: BufferPool, in_flight_max: int, bytes_per_second_max: int
    ) -> None:
        """bytes_per_second_max 0: no cap."""
        self._store = store
        self._clock = clock
        self._buffers = buffers
        self._in_flight_max = in_flight_max
        self._seconds_per_byte = 1 / bytes_per_second_max if bytes_per_second_max else 0.0
        self._next_start = 0.0
        """When the cap has paid for all that was started, on the monotonic clock."""
        self._queue: list[Get] = []
        self._tasks: dict[asyncio.Task[None], Get] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.gets = 0
        self.bytes_fetched = 0
        self.failures = 0
        self.corrupt_ranges = 0
        """GETs whose bytes did not match their checksum."""

    @property
    def in_flight(self) -> int:
        """GETs queued or sent, now."""
        return len(self._queue) + len(self._tasks)

    def ask(
        self,
        key: str,
        position: int,
        length: int,
        urgent: bool,
        accept: Callable[[memoryview, bool], None],
        failed: Callable[[], None] | None = None,
    ) -> Get:
        """Queue a GET. accept(bytes, is_last_try) takes what came or raises DataCorrupt; failed is told of errors."""
        get = Get(key, position, length, urgent, accept, failed)
        self._queue.append(get)
        self._start_some()
        return get

    def hurry(self, get: Get) -> None:
        """Somebody waits for it now."""
        get.urgent = True

    async def close(self) -> None:
        """End all of them; who waits gets StorageUnavailable."""
        if self._timer is not None:
            self._timer.cancel()
        running = dict(self._tasks)
        unfinished = [*running.values(), *self._queue]
        self._queue.clear()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for get in unfinished:
            if not get.done.is_set():
                self._fail(get, StorageUnavailable("the tier's reader was closed"))

    def _start_some(self) -> None:
        queue = self._queue
        while queue and len(self._tasks) < self._in_flight_max:
            if self._seconds_per_byte:
                now = self._clock.monotonic()
                wait = self._next_start - now
                if wait > 0:
                    if self._timer is None:
                        self._timer = asyncio.get_running_loop().call_later(wait, self._on_timer)
                    return
            place = next((i for i, get in enumerate(queue) if get.urgent), 0)
            get = queue.pop(place)
            if self._seconds_per_byte:
                self._next_start = max(self._next_start, now - _BURST_SECONDS) + get.length * self._seconds_per_byte
            task = asyncio.get_running_loop().create_task(self._run(get))
            self._tasks[task] = get
            task.add_done_callback(self._on_task_done)

    def _on_timer(self) -> None:
        self._timer = None
        self._start_some()

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        self._start_some()

    async def _run(self, get: Get) -> None:
        try:
            if not await self._fetch(get, False):
                await self._fetch(get, True)
        except Exception as error:
            if isinstance(error, DataCorrupt):
                _log.error("%s", error)
            elif not isinstance(error, TailraceError):
                _log.exception("a GET of object %s failed", get.key)
            self._fail(get, error)
        else:
            self._finish(get)

    async def _fetch(self, get: Get, is_last_try: bool) -> bool:
        data = self._buffers.take(get.length)
        came = await self._store.get_into(get.key, get.position, data)
        self.gets += 1
        self.bytes_fetched += came
        try:
            if came != get.length:
                raise DataCorrupt(
                    f"object {get.key} ends at byte {get.position + came}, not at {get.position + get.length}"
                )
            if get.accept is not None:
                get.accept(data.toreadonly(), is_last_try)
        except DataCorrupt:
            self.corrupt_ranges += 1
            if is_last_try:
                raise
            return False
        return True

    def _fail(self, get: Get, error: Exception) -> None:
        self.failures += 1
        get.error = error
        if get.failed is not None:
            get.failed()
        self._finish(get)

    def _finish(self, get: Get) -> None:
        get.accept = get.failed = None
        get.done.set()
