"""A broker under test as a child process: started and stopped by its pid, and what it costs while it runs.

CPU is the user and system time of every process of the broker: for those alive from their process clock, which is what
/proc/PID/stat shows in ticks of 10 ms, but in nanoseconds; for those that ended and were waited for from their parent's
/proc/PID/stat. A bulk consume takes Kafka 0.14 CPU-s, so ticks would be 7 % each.

The child is killed by the kernel when this process dies, however it dies.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import wire

WORK = Path(__file__).resolve().parent.parent / ".work" / "bench"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tailrace"
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


class Server:
    """One broker. Subclasses say how it is started; `label` names it in tables."""

    label = ""
    start_limit_s = 60.0

    def __init__(self, instance: str = "main") -> None:
        self.folder = WORK / f"{self.label}-{instance}"
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """The command line, for self.port and self.folder."""
        raise NotImplementedError

    def prepare(self) -> None:
        """What comes before a first start and is not timed (Kafka formats its folder)."""

    def uploaded_bytes(self) -> int:
        """What went to the object store since the start; 0 where there is none."""
        return 0

    def start(self, fresh: bool = True) -> float:
        """Starts the broker and returns the seconds to the first answered ApiVersions."""
        if fresh:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            self.port = free_port()
            self.prepare()
        with (self.folder / "log.txt").open("ab") as log:
            begin = time.perf_counter()
            self._process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
                preexec_fn=prepare_child,
            )
        while time.perf_counter() - begin < self.start_limit_s:
            if self._process.poll() is not None:
                break
            try:
                with wire.wire(self.port) as connection:
                    connection.api_versions()
                return time.perf_counter() - begin
            except OSError:
                time.sleep(0.005)
        status = self._process.poll()
        self.kill()
        raise RuntimeError(f"{self.label} did not start (exit {status}):\n{self.log_tail()}")

    def log_tail(self, lines: int = 15) -> str:
        return "\n".join((self.folder / "log.txt").read_text(errors="replace").splitlines()[-lines:])

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError(f"{self.label} is not running")
        if self._process.poll() is not None:
            raise RuntimeError(f"{self.label} ended by itself with {self._process.returncode}:\n{self.log_tail()}")
        return self._process.pid

    def stop(self) -> None:
        """SIGTERM, and SIGKILL after 30 s."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(30)
        self.kill()

    def kill(self) -> None:
        if self._process and self._process.poll() is None:
            for pid in reversed(_tree(self._process.pid)):
                os.kill(pid, signal.SIGKILL)
            self._process.wait(30)
        self._process = None

    def remove(self) -> None:
        """Kills what runs and deletes the folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def cpu_s(self) -> float:
        """User and system seconds since the start, of all its processes."""
        total = 0.0
        for pid in _tree(self.pid):
            try:
                total += time.clock_gettime((~pid << 3) | 2) + _ended_children_s(pid)
            except OSError:  # ended since the tree was read: its parent's waited-for time has it
                continue
        return total

    def rss_mib(self) -> float:
        """Resident memory of all its processes."""
        pages = 0
        for pid in _tree(self.pid):
            try:
                pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            except OSError:
                continue
        return pages * _PAGE / 2**20

    def settle(self, limit_s: float = 30) -> None:
        """Waits until the broker is idle (under 10 % of a core for half a second) and dirty pages are written.

        What one load left behind (write-back, uploads) is thus not paid by the next one.
        """
        os.sync()
        end = time.monotonic() + limit_s
        calm, before = 0, self.cpu_s()
        while calm < 2 and time.monotonic() < end:
            time.sleep(0.25)
            now = self.cpu_s()
            calm = calm + 1 if now - before < 0.025 else 0
            before = now


def machine_busy_s() -> float:
    """Seconds that all cores together were not idle since boot."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    return sum(int(fields[i]) for i in (0, 1, 2, 5, 6, 7)) / _TICKS


def back_memory(bytes_max: int) -> None:
    """Touches and frees memory, at most half of what is available.

    A fresh virtual machine gets its memory from the host page by page, at some 2 CPU-s/GiB, and it is the broker that
    first fills the page cache which would seem to spend it: up to half of Kafka's CPU in a bulk produce, or none.
    """
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    size = min(bytes_max, int(fields["MemAvailable"].split()[0]) * 1024 // 2)
    mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE).close()


def free_port() -> int:
    """A port that nothing listens on, above 20000."""
    for _ in range(100):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port > 20_000:
            return port
    raise RuntimeError("no free port above 20000")


def prepare_child() -> None:
    """Runs in a child that has a session of its own, before exec: it dies with its parent, and goes before others.

    The scheduler first shares out between sessions, so that nice alone would not set a child apart; who may not set it
    runs as everybody else.
    """
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    if nice < 0:
        with contextlib.suppress(OSError):
            Path("/proc/self/autogroup").write_text(str(nice))


def _tree(root: int) -> list[int]:
    """The process and all below it, parents first."""
    pids = [root]
    for pid in pids:
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                pids += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
        except OSError:
            continue
    return pids


def _ended_children_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[13]) + int(fields[14])) / _TICKS
