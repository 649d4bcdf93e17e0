"""The real forms of the small ports: clock and entropy; and the lock of the data folder."""

import fcntl
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tailrace_core.errors import DataFolderInUse


class SystemClock:
    """core.ports.Clock of this machine."""

    monotonic = staticmethod(time.monotonic)  # noqa: TID251 - this is the clock that the rule points to

    def now_ms(self, _now_ns: Callable[[], int] = time.time_ns) -> int:  # noqa: TID251
        return _now_ns() // 1_000_000


_IMPORTED: Final = SystemClock.monotonic()


def process_age_seconds() -> float:
    """Seconds since the process was started; where the system does not tell (no /proc), since this module was."""
    try:
        # The name in parentheses may have any characters; start time is the 22nd field.
        ticks = int(Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()[19])
        # Both count from the boot, with the time of sleep.
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except OSError:
        return SystemClock.monotonic() - _IMPORTED


def resident_memory_bytes() -> int:
    """Resident memory of the process; where the system does not tell (no /proc), its peak."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def malloc_trim() -> None:
    """Give the free pages of the C library's heap back; nothing where the library has no such call (glibc has)."""
    import ctypes  # not at a start: it takes longer than the first call

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class SystemEntropy:
    """core.ports.Entropy of this machine."""

    def bytes(self, count: int) -> bytes:
        return os.urandom(count)  # noqa: TID251 - this is the source that the rule points to


def lock_data_folder(folder: Path) -> int:
    """Make the folder and hold its lock until the process ends; gives the lock's file descriptor.

    Raises DataFolderInUse when another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(lock, 32, 0).decode("ascii", "replace").strip()
        os.close(lock)
        raise DataFolderInUse(
            f"the data folder {folder} is in use by process {holder or 'unknown'}; a broker has a folder of its own"
        ) from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock
