"""librdkafka's own broker tests: where they come from, how they are built, and how one of them runs.

The npm package of Confluent's JavaScript client carries librdkafka's sources with the tests. They are built once, into
~/.cache/tailrace. Each test is a process of its own: one that hangs or aborts says nothing about the others. `-Q` is
never used: it leaves sub-tests out and still prints PASSED.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import time
from pathlib import Path
from typing import NamedTuple

from harness.process import Setting, need

VERSION = "2.15.1"
PACKAGE = "@confluentinc/kafka-javascript@1.10.1"
TARBALL = "confluentinc-kafka-javascript-1.10.1.tgz"
TARBALL_SHA256 = "ada7d703bb1d3237e2292bfabf438d663b6160c9f1ac2a2406b5dc4257c81b66"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tailrace"
SOURCES = CACHE / f"librdkafka-{VERSION}"
HERE = Path(__file__).parent
SETTINGS = {Setting.NUM_PARTITIONS: 4, Setting.INITIAL_REBALANCE_DELAY_MS: 3000}
"""The delay is Kafka's default: some tests count on members that join together being in the first generation."""
TIMEOUT = 900
"""Seconds; the longest test, 0113, takes ten minutes."""
KAFKA_VERSION = "4.2.0"
"""What the tests are told that the broker is: the newest that they know."""


class Listed(NamedTuple):
    """A line of a list: a test, and how long it takes: on Apache Kafka in tests.all, here in tests.allow."""

    number: str
    seconds: int


class Outcome(NamedTuple):
    """exit_code is None when the test did not end in time."""

    exit_code: int | None
    seconds: float
    log: Path


def read_tests(name: str) -> list[Listed]:
    """The tests that a file of this folder lists, one a line: number, seconds."""
    lines = (line.partition("#")[0].split() for line in (HERE / name).read_text().splitlines())
    return [Listed(words[0], int(words[1])) for words in lines if words]


def built_runner() -> Path:
    """The built test program. Builds it on first use (two minutes), from Debian's libraries that setup.sh installs."""
    program = SOURCES / "tests" / "test-runner"
    if program.exists():
        return program
    need("npm", "g++", "make", "pkg-config", "bc")
    CACHE.mkdir(parents=True, exist_ok=True)
    work = CACHE / f"librdkafka-{VERSION}.building-{os.getpid()}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        run(["npm", "pack", "--silent", PACKAGE], work)
        digest = hashlib.sha256((work / TARBALL).read_bytes()).hexdigest()
        if digest != TARBALL_SHA256:
            raise RuntimeError(f"{TARBALL} has the SHA-256 {digest}, expected is {TARBALL_SHA256}")
        with tarfile.open(work / TARBALL) as archive:
            archive.extractall(work, filter="data")
        tree = work / "package" / "deps" / "librdkafka"
        run(["./configure"], tree)
        run(["make", "-j2", "libs"], tree)
        run(["make", "-j2", "build"], tree / "tests")
        shutil.rmtree(SOURCES, ignore_errors=True)
        tree.rename(SOURCES)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return program


def run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")


def run_test(number: str, bootstrap: str, folder: Path, timeout: float) -> Outcome:
    """Run one test in a process of its own; what it prints goes to folder/NUMBER.log."""
    program = built_runner()
    conf = folder / f"{number}.conf"
    conf.write_text(f"bootstrap.servers={bootstrap}\ntest.topic.random=true\n")
    log = folder / f"{number}.log"
    environment = {
        **os.environ,
        "TESTS": number,
        "TEST_KAFKA_VERSION": KAFKA_VERSION,
        "RDKAFKA_TEST_CONF": str(conf),
        "LD_LIBRARY_PATH": f"{SOURCES / 'src'}:{SOURCES / 'src-cpp'}",
    }
    began = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(program), "-p1", "-L", "-E", "-K"],
            cwd=program.parent,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            exit_code: int | None = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            exit_code = None
    return Outcome(exit_code, time.monotonic() - began, log)
