"""How long a restart takes until consumer groups have their offsets again, after very many commits.

    .venv/bin/python bench/replay.py [--commits 1000000] [--groups 64] [--folder /tmp/...]

A broker in a process of its own takes the commits, one offset in each, one at a time of each group, and is killed; a
second one over the same folder is asked for the offsets of all groups until it answers. Not a test: the figures are for
docs and eyes.
"""

import argparse
import asyncio
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tailrace_core.errors import TailraceError
from tailrace_core.settings_load import load
from tailrace_engine.coordinator.group_messages import CommitOffsets, CommittedOffsets, FetchOffsets, OffsetToCommit
from tailrace_gateway.broker import Broker

PARTITIONS = 8
"""That each group commits for, in turns."""
NO_TOPIC = bytes(16)


async def _started(folder: str, settings: list[str]) -> Broker:
    listen = ["kafka.listeners=PLAINTEXT://127.0.0.1:0", "http.listen=127.0.0.1:0", f"broker.data_dir={folder}"]
    broker = Broker(load(None, {}, [*listen, *settings]))
    await broker.start()
    return broker


class Committer:
    """One group: the next commit goes out when the one before is answered."""

    def __init__(self, broker: Broker, group: str, commits: int, done: asyncio.Semaphore) -> None:
        self._broker = broker
        self._group = group
        self._left = commits
        self._done = done

    def go(self, outcome: object = None) -> None:
        if isinstance(outcome, CommittedOffsets):
            assert outcome.errors == (None,), outcome
        elif outcome is not None:
            raise AssertionError(outcome)
        if not self._left:
            self._done.release()
            return
        self._left -= 1
        offset = OffsetToCommit("topic", NO_TOPIC, self._left % PARTITIONS, self._left, -1, "")
        request = CommitOffsets(self._group, -1, "", None, (offset,))
        # By the loop: answers may come in the very call.
        asyncio.get_running_loop().call_soon(self._broker.groups.ask, self._group, request, self.go)


async def _commit(arguments: argparse.Namespace) -> None:
    broker = await _started(arguments.folder, arguments.settings)
    await broker.groups.ensure_topic()
    done = asyncio.Semaphore(0)
    begun = time.monotonic()
    for number in range(arguments.groups):
        Committer(broker, f"group-{number}", arguments.commits // arguments.groups, done).go()
    worker_memory_bytes = worker_memory_bytes_max = 0
    waiting = arguments.groups
    while waiting:
        try:
            async with asyncio.timeout(0.5):
                await done.acquire()
                waiting -= 1
        except TimeoutError:
            worker_memory_bytes = broker.workers.memory_bytes
            worker_memory_bytes_max = max(worker_memory_bytes, worker_memory_bytes_max)
    seconds = time.monotonic() - begun
    compaction = broker.storage.compaction
    catalog = broker.membership
    topic = catalog.image.topic("__consumer_offsets")
    assert topic is not None
    extents = [catalog.extents(topic.topic_id, index) for index in range(topic.partition_count)]
    placed = [each[place] for each in extents for place in range(len(each))]
    print(
        json.dumps(
            {
                "commits_per_second": round(arguments.commits / seconds),
                "cpu_seconds": round(time.process_time(), 1),
                "uploaded_bytes": broker.uploader.bytes,
                "unuploaded_bytes": broker.engine.unuploaded_bytes,
                "clean_bytes": sum(one.extent.length for one in placed if one.generation),
                "dirty_bytes": sum(one.extent.length for one in placed if not one.generation),
                "extents": len(placed),
                "compaction_runs": compaction.runs,
                "compaction_read_bytes": compaction.bytes_read,
                "compaction_written_bytes": compaction.bytes_written,
                "compaction_seconds": round(compaction.seconds, 1),
                "worker_memory_bytes_max": worker_memory_bytes_max,
                "wal_used_bytes": broker.wal.bytes_used,
            }
        ),
        flush=True,
    )
    os.kill(os.getpid(), signal.SIGKILL)


async def _ask_until_answered(broker: Broker, group: str) -> Any:
    loop = asyncio.get_running_loop()
    while True:
        answered: asyncio.Future[Any] = loop.create_future()
        broker.groups.ask(group, FetchOffsets(group, None, -1, None), answered.set_result)
        outcome = await answered
        if not isinstance(outcome, TailraceError):
            return outcome
        await asyncio.sleep(0.002)


async def _restart(arguments: argparse.Namespace) -> None:
    begun = time.monotonic()
    broker = await _started(arguments.folder, arguments.settings)
    started = time.monotonic()
    first = None
    asked = [asyncio.ensure_future(_ask_until_answered(broker, f"group-{n}")) for n in range(arguments.groups)]
    for number, done in enumerate(asyncio.as_completed(asked)):
        outcome = await done
        assert len(outcome.offsets) == PARTITIONS, outcome
        if not number:
            first = time.monotonic()
    assert first is not None
    print(
        json.dumps(
            {
                "start_seconds": round(started - begun, 2),
                "first_answer_seconds": round(first - begun, 2),
                "all_answers_seconds": round(time.monotonic() - begun, 2),
                "loaded_records": broker.groups.loaded_records,
                "memory_bytes_max": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            }
        ),
        flush=True,
    )
    await broker.stop()


def main() -> None:
    """Both halves, each in its own process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--commits", type=int, default=1_000_000)
    parser.add_argument("--groups", type=int, default=64)
    parser.add_argument("--folder")
    parser.add_argument("--half", choices=["commit", "restart"])
    parser.add_argument("settings", nargs="*", help="section.key=value")
    arguments = parser.parse_args()
    if arguments.half:
        asyncio.run(_commit(arguments) if arguments.half == "commit" else _restart(arguments))
        return
    folder = arguments.folder or tempfile.mkdtemp(prefix="tailrace-replay-")
    try:
        for half in ("commit", "restart"):
            command = [sys.executable, __file__, "--half", half, "--folder", folder, *sys.argv[1:]]
            done = subprocess.run(command, check=False)
            assert done.returncode in (0, -signal.SIGKILL), done
    finally:
        if arguments.folder is None:
            shutil.rmtree(Path(folder))


if __name__ == "__main__":
    main()
