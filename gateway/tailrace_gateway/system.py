"""The real forms of the small ports: clock and entropy; and the lock of the data folder."""

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

from tailrace_core.errors import DataFolderInUse


class SystemClock:
    """core.ports.Clock of this machine."""

    monotonic = staticmethod(time.monotonic)  # noqa: TID251 - this is the clock that the rule points to

    def now_ms(self, _now_ns: Callable[[], int] = time.time_ns) -> int:  # noqa: TID251
        return _now_ns() // 1_000_000


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
