"""`make fuzz`: frames of every served API, valid and mutated, against a broker of our own.

Fails when an answer is missing, out of turn, not readable by kio to its last byte or UNKNOWN_SERVER_ERROR; when a
connection with valid frames alone is closed; when the broker ends, or logs an error; when the neighbour
(`neighbour.py`) gets a wrong answer; when memory or open files are not given back. A failure prints the frame and the
commands that send it again. The same seed makes the same frames; what the broker does in between is its own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness import wire
from harness.process import Setting, poll
from harness.tailrace import Tailrace
from kio.index import UnknownEntity, load_request_schema
from kio.schema.index import api_key_map

from fuzz.cases import ROUND, Case, Cases
from fuzz.lanes import Found, Lanes, Tally
from fuzz.neighbour import PREFIX
from fuzz.world import World

MIB = 1 << 20
GROWTH_BYTES_MAX = 256 * MIB
"""What the broker may take over a start: its hot log and WAL buffers (set below to 45 MiB), the pool of receive buffers
and the caches, at their bounds; the rest is the room that the heap does not give back at once."""
SETTINGS = {Setting.HOT_BYTES: 32 * MIB, Setting.UPLOAD_INTERVAL_MS: 5_000}
OPEN_FILES_SPARE = 16
"""WAL segments, objects that are read, and a worker's pipes come and go."""
ERRORS = ("Traceback", '"level": "error"', '"level":"error"', " ERROR ", " CRITICAL ")


class Log:
    """What the broker writes, looked through for what it may never say."""

    def __init__(self, path: Path) -> None:
        self._file = path.open(errors="replace")
        self._partial = ""

    def errors(self) -> list[str]:
        """The lines since the last call that tell of an error, with what follows them."""
        text = self._partial + self._file.read()
        text, _, self._partial = text.rpartition("\n")
        lines = text.splitlines()
        for place, line in enumerate(lines):
            if any(word in line for word in ERRORS):
                return lines[place : place + 40]
        return []


def main() -> int:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="tailrace-fuzz-") as folder:
        broker = Tailrace(Path(folder), SETTINGS)
        broker.start()
        try:
            return _fuzz(broker, options)
        finally:
            broker.close()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--frames", type=int, default=100_000, help="how many frames (100000)")
    parser.add_argument("--seed", type=int, default=1, help="which frames (1)")
    parser.add_argument("--first", type=int, default=0, help="the number of the first frame (0)")
    parser.add_argument("--hex", help="send this frame alone, a few times")
    return parser.parse_args()


def _served(broker: Tailrace) -> dict[int, list[int]]:
    with broker.connect() as connection:
        rows = connection.call("api_versions", 0).api_keys
    return {row.api_key: [*_known(row.api_key, row.min_version, row.max_version)] for row in rows}


def _known(key: int, first: int, last: int) -> Iterator[int]:
    """Without the versions of Produce that are told to librdkafka alone and not served: kio does not have them."""
    for version in range(first, last + 1):
        with contextlib.suppress(UnknownEntity):
            load_request_schema(key, version)
            yield version


def _fuzz(broker: Tailrace, options: argparse.Namespace) -> int:
    served = _served(broker)
    with broker.connect() as connection:
        broker_id = connection.metadata([]).brokers[0].node_id
    world = World(broker.host, broker.port, PREFIX)
    cases = Cases(options.seed, served, world.producer_ids, broker_id)
    assert broker.log_path
    log = Log(broker.log_path)
    neighbour = subprocess.Popen(
        [sys.executable, "-m", "fuzz.neighbour", broker.host, str(broker.port)],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert neighbour.stdin
    assert neighbour.stdout
    assert neighbour.stdout.readline() == "ready\n"
    before_bytes, before_files = broker.resident_bytes(), _open_files(broker)
    began = time.monotonic()
    lanes = Lanes(broker.host, broker.port, random.Random(options.seed), world.live)

    def watch() -> None:
        if not broker.is_alive():
            raise Found("the broker has ended", list(lanes.tally.recent)[::-1])
        if lines := log.errors():
            raise Found("the broker logged an error:\n" + "\n".join(lines), list(lanes.tally.recent)[::-1])
        if neighbour.poll() is not None:
            raise Found("the neighbour was served wrongly", list(lanes.tally.recent)[::-1])

    try:
        if options.hex:
            case = Case(0, bytes.fromhex(options.hex), True, False, False)
            lanes.run(iter([case] * 10), watch)
        else:
            lanes.run(_refreshing(world, cases.sequence(options.first, options.frames)), watch)
        seconds = time.monotonic() - began
        lanes.close()
        watch()
        neighbour.stdin.close()
        told = json.loads(neighbour.stdout.readline() or "null")
        if neighbour.wait(60) or told is None:
            raise Found("the neighbour was served wrongly", [])
        world.close()
        poll("open files are given back", lambda: _open_files(broker) <= before_files + OPEN_FILES_SPARE)
        grown = broker.resident_bytes() - before_bytes
        _report(lanes.tally, served, seconds)
        usage, cpu = os.times(), re.search(r"^process_cpu_seconds_total (\S+)", broker.http("/metrics"), re.MULTILINE)
        print(f"CPU: broker {float(cpu[1]) if cpu else 0:.0f} s, this side {usage.user + usage.system:.0f} s")
        print(f"neighbour: {told['steps']} rounds, p50 {told['p50_ms']} p99 {told['p99_ms']} max {told['max_ms']} ms")
        memory = f"memory: {before_bytes / MIB:.0f} MiB before, {grown / MIB:+.0f} MiB"
        print(f"{memory}; open files: {before_files} before, {_open_files(broker)}")
        if grown > GROWTH_BYTES_MAX:
            raise Found(f"the broker has grown by {grown / MIB:.0f} MiB", [])
        _check_metrics(broker)
        if not options.hex and options.frames >= 50_000:
            _check_coverage(lanes.tally, served)
    except Found as found:
        _tell(found, broker, world, options)
        return 1
    finally:
        neighbour.kill()
        neighbour.wait()
    return 0


def _refreshing(world: World, cases: Iterator[Case]) -> Iterator[Case]:
    """The cases; beside them the world is refreshed about once a round, in a thread, as it may wait for members."""
    world.refresh()
    with ThreadPoolExecutor(1) as executor:
        refresh = executor.submit(world.refresh)
        for place, case in enumerate(cases):
            if place % ROUND == 0 and refresh.done():
                refresh.result()
                refresh = executor.submit(world.refresh)
            yield case
        refresh.result()


def _open_files(broker: Tailrace) -> int:
    return len(list(Path(f"/proc/{broker.pid}/fd").iterdir()))


def _check_metrics(broker: Tailrace) -> None:
    for line in broker.http("/metrics").splitlines():
        if "UNKNOWN_SERVER_ERROR" in line and float(line.split()[-1]):
            raise Found(f"a metric tells of a bug: {line}", [])


def _check_coverage(tally: Tally, served: dict[int, list[int]]) -> None:
    missing = [
        (api_key_map[key], version)
        for key in served
        for version in served[key]
        if not tally.answered_valid[key, version]
    ]
    if missing:
        raise Found(f"no valid frame was answered of {missing}", [])


def _report(tally: Tally, served: dict[int, list[int]], seconds: float) -> None:
    print(
        f"{tally.done} frames in {seconds:.1f} s: {tally.answered.total()} answers, {tally.closed} closed connections, "
        f"{tally.silent} without an answer, {tally.left_waiting} left waiting; {tally.connections} connections"
    )
    by_key = {key: sum(tally.answered[key, version] for version in served[key]) for key in served}
    print("answers:", ", ".join(f"{api_key_map[key]} {count}" for key, count in by_key.items()))
    print("errors in them:", ", ".join(f"{code.name} {count}" for code, count in tally.errors.most_common()))


def _tell(found: Found, broker: Tailrace, world: World, options: argparse.Namespace) -> None:
    """Print what was found; where several frames may have done it, send each alone to learn which one."""
    print(f"FAILED (seed {options.seed}): {found}")
    again = f"--seed {options.seed} --first {options.first} --frames {options.frames}"
    print(f'the same frames again: make fuzz ARGS="{again}"')
    suspects = found.cases
    if len(suspects) > 12 and broker.is_alive():
        suspects = list(_guilty(broker, world, suspects[:5_000])) or suspects[:3]
    for case in suspects[:5]:
        kind = "valid" if case.valid else "mutated"
        print(f"frame {case.number} ({kind}{'' if case.framed else ', with its own sizes'}): {case.data.hex()}")
        print(f'  alone: make fuzz ARGS="--seed {options.seed} --first {case.number} --frames 1"')
    print("log of the broker:\n" + broker.log_tail(40))


def _guilty(broker: Tailrace, world: World, suspects: list[Case]) -> Iterator[Case]:
    """The first case that makes the broker log an error when it is sent alone."""
    assert broker.log_path
    log = Log(broker.log_path)
    log.errors()
    for case in suspects:
        if not broker.is_alive():
            return
        with broker.connect(timeout=0.2) as connection:
            try:
                data = world.live(case.data)
                connection.send_frame(data) if case.framed else connection.send_bytes(data)
                connection.receive_frame()
            except (TimeoutError, wire.ConnectionClosed):
                pass
        if log.errors():
            yield case
            return


if __name__ == "__main__":
    sys.exit(main())
