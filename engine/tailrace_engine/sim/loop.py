"""An asyncio loop on virtual time: no selector, thread or clock of the system, and it may crash at any callback.

What asyncio promises is kept: callbacks run in the order of call_soon, no timer fires early, timers of different times
fire in order. What it leaves open comes from the seed: the order of timers that are due at the same moment, how long
what "another thread" does takes, and pauses, as of a process that lost its processor, which make many timers due at
once. Each callback takes a little virtual time; when nothing is ready, time jumps to the next timer. So one seed gives
one run.

A crash ends a run between any two callbacks, also in the middle of a pass: SimCrash comes out of `run`. `drop` then
forgets all tasks, as a process that ended does. Ports must be cut off before, because the tasks' `finally` blocks run
while they are dropped. A new life is a new loop that begins at the old one's time.
"""

import asyncio
import heapq
import threading
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from random import Random  # noqa: TID251 - the type of what the caller seeded
from typing import Any, Final, TypeVar

T = TypeVar("T")

_TICK_SECONDS: Final = 2e-6
"""What a callback takes."""
_PAUSE_CHANCE: Final = 0.002
_PAUSE_SECONDS_MAX: Final = 0.02
_THREAD_SECONDS_MAX: Final = 0.002
_CLOSE_TRIES: Final = 8
"""Awaits in the finally blocks of one coroutine that is dropped."""


class SimCrash(BaseException):
    """The process ended here."""


class SimStuck(Exception):
    """Something is waited for, and there is no callback and no timer that could bring it."""


class SimLoop(asyncio.BaseEventLoop):
    """See the module."""

    def __init__(
        self,
        random: Random,
        start_seconds: float = 0.0,
        on_step: Callable[[], object] | None = None,
        on_error: Callable[[dict[str, Any]], object] | None = None,
    ) -> None:
        """on_step is called after each callback. on_error gets what asyncio would log: exceptions nobody handled."""
        super().__init__()
        self.steps = 0
        """Callbacks that were run."""
        self.crash_at: int | None = None
        """The callback that is not run any more."""
        self.pauses = True
        self._random = random
        self._seconds = start_seconds
        self._on_step = on_step
        self._on_error = on_error
        self._queue: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, float, int, asyncio.TimerHandle]] = []
        self._timer_count = 0
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._dropped = False

    # Time and callbacks, as asyncio calls them.

    def time(self) -> float:
        """Virtual seconds."""
        return self._seconds

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        if not self._dropped:
            self._queue.append(handle)
        return handle

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        if not self._dropped:
            self._timer_count += 1
            heapq.heappush(self._timers, (when, self._random.random(), self._timer_count, handle))
        return handle

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        if self._dropped:
            coro.close()
            raise RuntimeError("the process has ended")
        task: asyncio.Task[Any] = super().create_task(coro, **options)
        self._tasks[task] = None
        task.add_done_callback(self._on_task_done)
        return task

    def _on_task_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)

    def run_in_executor(  # type: ignore[override]
        self, executor: object, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Run it on the loop, after a while."""
        future: asyncio.Future[T] = self.create_future()

        def run() -> None:
            if future.done():
                return
            try:
                result = func(*args)
            except Exception as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        self.call_later(self._random.random() * _THREAD_SECONDS_MAX, run)
        return future

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self._dropped and self._on_error is not None:
            self._on_error(context)

    # Running.

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run main to its end, and everything beside it. Raises SimCrash, SimStuck, and what on_step raises."""
        task = self.create_task(main)
        self._thread_id: int | None = threading.get_ident()  # is_running() looks at it
        events._set_running_loop(self)
        try:
            while not task.done():
                self._run_pass(task)
        finally:
            events._set_running_loop(None)
            self._thread_id = None
        return task.result()  # type: ignore[no-any-return]

    def _run_pass(self, main: asyncio.Task[Any]) -> None:
        timers, queue = self._timers, self._queue
        while timers and timers[0][3].cancelled():
            heapq.heappop(timers)
        if not queue:
            if not timers:
                raise SimStuck("nothing is left that could go on")
            self._seconds = max(self._seconds, timers[0][0])
        elif self.pauses and self._random.random() < _PAUSE_CHANCE:
            self._seconds += self._random.random() * _PAUSE_SECONDS_MAX
        now = self._seconds
        while timers and timers[0][0] <= now:
            queue.append(heapq.heappop(timers)[3])
        on_step = self._on_step
        for _ in range(len(queue)):
            handle = queue.popleft()
            if handle.cancelled():
                continue
            self.steps += 1
            if self.steps == self.crash_at:
                raise SimCrash
            self._seconds += _TICK_SECONDS
            handle._run()
            if on_step is not None:
                on_step()
            if main.done():
                return

    def drop(self) -> None:
        """Forget everything that is under way. The loop is closed then."""
        self._dropped = True
        self._queue.clear()
        self._timers.clear()
        tasks, self._tasks = list(self._tasks), {}
        events._set_running_loop(self)  # for the finally blocks
        try:
            for task in tasks:
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                coroutine: Any = task.get_coro()
                for _ in range(_CLOSE_TRIES):
                    try:
                        coroutine.close()
                    except BaseException:  # it awaits again, or its cleaning up failed
                        continue
                    break
        finally:
            events._set_running_loop(None)
        self.close()


class SimClock:
    """core.ports.Clock: the loop's time is the monotonic one, and the wall clock jumps by what skew_ms is changed."""

    def __init__(self, epoch_ms: int) -> None:
        """epoch_ms: the wall clock at virtual time 0."""
        self.epoch_ms = epoch_ms
        self.skew_ms = 0
        self.loop: asyncio.AbstractEventLoop
        """Of this life."""

    def true_ms(self) -> int:
        """What clients with a good clock have."""
        return self.epoch_ms + int(self.loop.time() * 1000)

    def now_ms(self) -> int:
        """See core.ports.Clock."""
        return self.true_ms() + self.skew_ms

    def monotonic(self) -> float:
        """See core.ports.Clock."""
        return self.loop.time()
