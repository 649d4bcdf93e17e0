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
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from struct import Struct
from struct import error as StructError
from subprocess import PIPE, Popen
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


class _Job:
    """What the worker is asked. cancelled: nobody waits for it any more."""

    __slots__ = ("asked", "cancelled")

    def __init__(self, asked: bytes) -> None:
        self.asked = asked
        self.cancelled = False


class ProcessWorkers:
    """In a process of its own. A thread talks to it, which does nothing but wait."""

    def __init__(self, idle_seconds: float = IDLE_SECONDS) -> None:
        self._idle_seconds = idle_seconds
        self._one_at_a_time = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, "tailrace-worker")
        self._process: Popen[bytes] | None = None
        self._idle: asyncio.TimerHandle | None = None
        self.started = 0
        """Processes, since the start."""

    def store_for_job(self, store: ObjectStore) -> str:
        return store.url

    @property
    def pid(self) -> int | None:
        """Of the worker, where there is one."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

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
        job = _Job(pickle.dumps((function, args, kwargs)))
        async with self._one_at_a_time:
            if self._idle is not None:
                self._idle.cancel()
            loop = asyncio.get_running_loop()
            try:
                is_error, answer = await loop.run_in_executor(self._thread, self._do, job)
            except BaseException:
                job.cancelled = True
                self._end()
                raise
            self._idle = loop.call_later(self._idle_seconds, self._end)
        if is_error:
            raise answer
        return cast(R, answer)

    async def close(self) -> None:
        """End the worker, whatever it does."""
        if self._idle is not None:
            self._idle.cancel()
        for _ in range(2):  # the job at hand may be about to start a worker
            self._end()
            await asyncio.get_running_loop().run_in_executor(self._thread, _nothing)
        self._thread.shutdown(wait=False)

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            self._thread.submit(_reap, process)

    # --- on the thread

    def _do(self, job: _Job) -> tuple[bool, Any]:
        process = self._process
        if process is None or process.poll() is not None:
            if process is not None:
                _reap(process)
            # Not by asyncio: uvloop forks, which stops the loop for as long as it takes to copy the tables of all
            # memory (50 ms for 400 MiB); this is a vfork. -P: what lies in the working folder is no module of ours.
            command = [sys.executable, "-P", "-m", "tailrace_engine.runtime.worker_process"]
            self._process = process = Popen(command, stdin=PIPE, stdout=PIPE)
            self.started += 1
            if job.cancelled:
                process.kill()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(FRAME.pack(len(job.asked)) + job.asked)
            process.stdin.flush()
            (length,) = FRAME.unpack(process.stdout.read(FRAME.size))
            return cast("tuple[bool, Any]", pickle.loads(process.stdout.read(length)))
        except (OSError, StructError, pickle.UnpicklingError, EOFError) as error:
            raise WorkerDied(f"worker process {process.pid} ended before it answered") from error


def _reap(process: "Popen[bytes]") -> None:
    process.wait()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        with suppress(OSError):
            pipe.close()


def _nothing() -> None:
    """Done when all before it is."""
