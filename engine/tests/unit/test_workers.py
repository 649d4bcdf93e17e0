"""Jobs in a process of their own (runtime/workers.py)."""

import asyncio
import os
import signal
import subprocess
import sys

import pytest
from engine_support import until

from tailrace_core.errors import InvalidSettings
from tailrace_engine.runtime.workers import InlineWorkers, ProcessWorkers, WorkerDied
from tailrace_engine.tier.compactor import compact_run


def with_workers(test, **options):
    async def run():
        workers = ProcessWorkers(**options)
        try:
            await test(workers)
        finally:
            await workers.close()

    asyncio.run(run())


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_jobs_run_one_after_another_in_one_process():
    async def test(workers):
        assert await asyncio.gather(*[workers.run(asyncio.sleep, 0, number) for number in range(5)]) == list(range(5))
        assert workers.started == 1
        assert workers.pid != os.getpid()

    with_workers(test)


def test_what_a_job_raises_is_raised_and_the_worker_goes_on():
    async def test(workers):
        with pytest.raises(InvalidSettings, match="ftp://nowhere"):
            await workers.run(compact_run, "ftp://nowhere", None)
        assert await workers.run(asyncio.sleep, 0, "again") == "again"
        assert workers.started == 1

    with_workers(test)


def test_what_a_job_prints_is_no_answer():
    async def test(workers):
        assert await workers.run(asyncio.to_thread, print, "\0" * 100) is None
        assert await workers.run(asyncio.sleep, 0, "again") == "again"

    with_workers(test)


def test_a_worker_that_dies_fails_its_job_and_the_next_one_starts_another():
    async def test(workers):
        sleeping = asyncio.ensure_future(workers.run(asyncio.sleep, 60))
        await until(lambda: workers.pid is not None)
        os.kill(workers.pid, signal.SIGKILL)
        with pytest.raises(WorkerDied):
            await sleeping
        assert await workers.run(asyncio.sleep, 0, "again") == "again"
        assert workers.started == 2

    with_workers(test)


def test_a_caller_that_gives_up_ends_the_worker():
    async def test(workers):
        sleeping = asyncio.ensure_future(workers.run(asyncio.sleep, 60))
        await until(lambda: workers.pid is not None)
        pid = workers.pid
        sleeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sleeping
        await until(lambda: not is_alive(pid))
        assert workers.pid is None
        assert await workers.run(asyncio.sleep, 0, "again") == "again"

    with_workers(test)


def test_an_idle_worker_ends_and_gives_its_memory_back():
    async def test(workers):
        await workers.run(asyncio.sleep, 0)
        pid = workers.pid
        assert is_alive(pid)
        await until(lambda: not is_alive(pid))
        assert workers.memory_bytes == 0
        await workers.run(asyncio.sleep, 0)
        assert workers.started == 2

    with_workers(test, idle_seconds=0.05)


def test_close_ends_a_worker_in_the_middle_of_a_job():
    async def run():
        workers = ProcessWorkers()
        sleeping = asyncio.ensure_future(workers.run(asyncio.sleep, 60))
        await until(lambda: workers.pid is not None)
        pid = workers.pid
        await workers.close()
        assert not is_alive(pid)
        with pytest.raises(WorkerDied):
            await sleeping

    asyncio.run(run())


def test_a_worker_does_not_outlive_who_started_it():
    program = (
        "import asyncio, sys\n"
        "from tailrace_engine.runtime.workers import ProcessWorkers\n"
        "async def main():\n"
        "    workers = ProcessWorkers()\n"
        "    sleeping = asyncio.ensure_future(workers.run(asyncio.sleep, 600))\n"
        "    while workers.pid is None:\n"
        "        await asyncio.sleep(0.001)\n"
        "    print(workers.pid, flush=True)\n"
        "    await sleeping\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as broker:
        assert broker.stdout is not None
        pid = int(broker.stdout.readline())
        broker.kill()

    async def gone():
        await until(lambda: not is_alive(pid))

    asyncio.run(gone())


def test_inline_jobs_run_here():
    async def run():
        assert await InlineWorkers().run(asyncio.sleep, 0, 3) == 3

    asyncio.run(run())
