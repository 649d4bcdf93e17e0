"""A broker as a child process: started on free ports, waited for by polling, killed, paused, and its log kept.

`Broker` is what the tests know. `harness.tailrace` and `harness.kafka` say how each system is started; an address of
a broker that somebody else runs is a `Broker` too, without a process.

RUNNING holds every broker that was started and not yet closed, so that a failing test can show their logs.
"""

from __future__ import annotations

import contextlib
import enum
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

from harness import wire

T = TypeVar("T")

HOST = "127.0.0.1"
RUNNING: list[Broker] = []


class Setting(enum.StrEnum):
    """The product's settings that tests turn, by their names on the command line. The only place where they are
    spelled."""

    WAL_SYNC = "wal.sync"
    WAL_BACKEND = "wal.backend"
    HOT_BYTES = "engine.hot_bytes"
    UPLOAD_BYTES = "upload.bytes"
    UPLOAD_INTERVAL_MS = "upload.interval_ms"
    NUM_PARTITIONS = "num.partitions"
    INITIAL_REBALANCE_DELAY_MS = "group.initial.rebalance.delay.ms"
    GROUP_MAX_SIZE = "group.max.size"
    LOG_RETENTION_HOURS = "log.retention.hours"
    MAX_CONNECTIONS = "max.connections"
    MAX_CONNECTIONS_PER_IP = "max.connections.per.ip"
    MAX_CONNECTIONS_PER_IP_OVERRIDES = "max.connections.per.ip.overrides"
    WAL_SEGMENT_BYTES = "wal.segment_bytes"
    WAL_CAPACITY_BYTES = "wal.capacity_bytes"
    UPLOAD_PRESSURE_RATIO = "upload.pressure_ratio"
    LOG_RETENTION_CHECK_INTERVAL_MS = "log.retention.check.interval.ms"
    CACHE_COLD_BYTES = "cache.cold_bytes"
    READ_AHEAD_BYTES_MAX = "cache.read_ahead_bytes_max"
    READ_AHEAD_BUDGET_BYTES = "cache.read_ahead_budget_bytes"
    SWEEP_INTERVAL_MS = "object_store.sweep_interval_ms"
    DELETE_GRACE_MS = "object_store.delete_grace_ms"


Settings = Mapping[Setting, str | int]


def poll(what: str, attempt: Callable[[], T | None], *, timeout: float = 30, every: float = 0.02) -> T:
    """The first truthy answer of `attempt`; AssertionError naming `what` when `timeout` seconds pass without one."""
    deadline = time.monotonic() + timeout
    while True:
        found = attempt()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what}")
        time.sleep(every)


def need(*programs: str) -> None:
    """Skip the test where one of these programs is not installed; in CI that is a failure."""
    missing = [program for program in programs if shutil.which(program) is None]
    if not missing:
        return
    text = f"not installed: {', '.join(missing)}"
    if os.environ.get("CI"):
        pytest.fail(text, pytrace=False)
    pytest.skip(text)


def free_port() -> int:
    """A loopback port above 20000 that nothing listens on now."""
    while True:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port: int = probe.getsockname()[1]
        if port > 20000:
            return port


class Broker:
    """One broker at host:port. Subclasses give `command`; without a process only the address is known."""

    name = "external"
    bounds_memory = False
    """Whether the system promises a bound on its resident memory (a JVM takes its heap)."""
    ready_timeout = 60.0

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.process: subprocess.Popen[bytes] | None = None
        self.log_path: Path | None = None
        self._environment: dict[str, str] = {}

    def command(self) -> Sequence[str]:
        """The command line; the pid that it starts is the broker's."""
        raise NotImplementedError(f"{self.bootstrap} is run by somebody else")

    def environment(self) -> dict[str, str]:
        return {**os.environ, **self._environment}

    @property
    def bootstrap(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None, "this test needs a broker of its own"
        return self.process.pid

    def start(self) -> None:
        """Start the process and return once it answers ApiVersions. The log is appended to, over restarts."""
        assert self.process is None
        assert self.log_path is not None
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment(),
                start_new_session=True,
            )
        if self not in RUNNING:
            RUNNING.append(self)
        poll(f"{self.name} accepts on {self.bootstrap}", self._answers, timeout=self.ready_timeout)

    def _answers(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            raise AssertionError(
                f"{self.name} ended with status {self.process.returncode} before it was ready:\n{self.log_tail()}"
            )
        try:
            with wire.Connection(self.host, self.port, timeout=2) as connection:
                connection.call("api_versions", 0)
                return True
        except (OSError, wire.ConnectionClosed):
            return False

    def connect(self, timeout: float = 15) -> wire.Connection:
        return wire.Connection(self.host, self.port, timeout=timeout)

    def is_alive(self) -> bool:
        return self.process is None or self.process.poll() is None

    def terminate(self, timeout: float = 20) -> int:
        """SIGTERM, then the exit status."""
        assert self.process is not None
        self.process.terminate()
        status = self.process.wait(timeout)
        self.process = None
        return status

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)
        self.process = None

    def pause(self) -> None:
        """SIGSTOP; returns once no thread of the process runs, or is inside of a system call that still writes."""
        os.kill(self.pid, signal.SIGSTOP)
        poll("the broker's threads stand still", self._stands_still, timeout=30, every=0.005)

    def _stands_still(self) -> bool:
        # Kernel helpers of io_uring (iou-wrk, iou-sqp) are threads of the process that no signal stops; asleep, they
        # are idle.
        for thread in Path(f"/proc/{self.pid}/task").iterdir():
            name, _, rest = (thread / "stat").read_text().partition("(")[2].rpartition(")")
            state = rest.split()[0]
            if state not in ("T", "t") and not (name.startswith("iou-") and state == "S"):
                return False
        return True

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """End the process whatever its state."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None
        with contextlib.suppress(ValueError):
            RUNNING.remove(self)

    def resident_bytes(self) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS")

    def log_tail(self, lines: int = 60) -> str:
        if self.log_path is None or not self.log_path.exists():
            return ""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])
