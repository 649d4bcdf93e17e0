"""Worker processes: what takes long in Python runs outside of the broker's process, so that its loop never waits.

A job is a function of a module, with arguments that can be pickled; the worker imports the module and answers with the
result or the error. There is one worker, started for the first job and ended when it was idle for a while, so a broker
without such work has its memory back. Jobs follow one another. A worker that dies fails its job and nothing else, the
next job starts another; a caller that is cancelled ends it. The worker runs at low priority and never outlives the
broker by more than a moment: it ends when its input does.
"""

import asyncio
import os
import pickle
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable
from pathlib import Path
from struct import Struct
from typing import Any, Final, ParamSpec, Protocol, TypeVar, cast

from tailrace_core.ports import ObjectStore

P = ParamSpec("P")
R = TypeVar("R")

FRAME: Final = Struct(">Q")
"""The length of a pickle that follows."""
IDLE_SECONDS: Final = 30.0


class WorkerDied(RuntimeError):
    """The worker ended before it answered."""


class Workers(Protocol):
    """Where long jobs run."""

    def store_for_job(self, store: ObjectStore) -> str | ObjectStore:
        """The argument by which a job gets at the store: its URL, or itself."""

    async def run(self, function: Callable[P, Awaitable[R]], *args: P.args, **kwargs: P.kwargs) -> R:
        """The function's result. Raises what it raises, and WorkerDied."""

    @property
    def memory_bytes(self) -> int:
        """What the worker has in memory now."""

    async def close(self) -> None: ...


class InlineWorkers:
    """In the caller's process and loop, for the simulation."""

    memory_bytes = 0

    def store_for_job(self, store: ObjectStore) -> ObjectStore:
        return store

    async def run(self, function: Callable[P, Awaitable[R]], *args: P.args, **kwargs: P.kwargs) -> R:
        return await function(*args, **kwargs)

    async def close(self) -> None:
        pass


class ProcessWorkers:
    """In a process of its own."""

    def __init__(self, idle_seconds: float = IDLE_SECONDS) -> None:
        self._idle_seconds = idle_seconds
        self._one_at_a_time = asyncio.Lock()
        self._process: Process | None = None
        self._ended: list[Process] = []
        self._idle: asyncio.TimerHandle | None = None
        self.started = 0
        """Processes, since the start."""

    def store_for_job(self, store: ObjectStore) -> str:
        return store.url

    @property
    def pid(self) -> int | None:
        """Of the worker, where there is one."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    @property
    def memory_bytes(self) -> int:
        """Resident; 0 without a worker, and where the system does not say."""
        try:
            pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        except OSError:
            return 0
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    async def run(self, function: Callable[P, Awaitable[R]], *args: P.args, **kwargs: P.kwargs) -> R:
        """See Workers.run."""
        async with self._one_at_a_time:
            if self._idle is not None:
                self._idle.cancel()
            try:
                process = await self._running()
                is_error, answer = await _ask(process, (function, args, kwargs))
            except BaseException:
                self._end()
                raise
            self._idle = asyncio.get_running_loop().call_later(self._idle_seconds, self._end)
        if is_error:
            raise answer
        return cast(R, answer)

    async def close(self) -> None:
        """End the worker, whatever it does."""
        if self._idle is not None:
            self._idle.cancel()
        self._end()
        for process in self._ended:
            await process.wait()
        self._ended.clear()

    async def _running(self) -> Process:
        if self.pid is None:
            self._process = None
            self.started += 1
            # -P: what lies in the working folder is no module of ours.
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", "tailrace_engine.runtime.worker_process", stdin=PIPE, stdout=PIPE
            )
        assert self._process is not None
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            if process.returncode is None:
                process.kill()
            self._ended = [each for each in self._ended if each.returncode is None]
            self._ended.append(process)


async def _ask(process: Process, job: object) -> tuple[bool, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    asked = pickle.dumps(job)
    try:
        process.stdin.write(FRAME.pack(len(asked)))
        process.stdin.write(asked)
        await process.stdin.drain()
        (length,) = FRAME.unpack(await process.stdout.readexactly(FRAME.size))
        answer = await process.stdout.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise WorkerDied(f"worker process {process.pid} ended in the middle of a job") from error
    return cast("tuple[bool, Any]", pickle.loads(answer))
