"""Which backend writes the WAL here: the first of uring, threads and buffered that really works in the WAL's folder.

A backend is tried by writing one block with it, since neither the kernel's version nor the file system's name tells:
containers refuse io_uring, and some file systems refuse O_DIRECT.
"""

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tailrace_core.errors import InvalidSettings
from tailrace_core.ports import Loop
from tailrace_engine.disk.buffered import BufferedDisk, IntervalDisk
from tailrace_engine.disk.port import BLOCK_BYTES, WriteBuffer
from tailrace_engine.disk.threads import O_DIRECT, ThreadDisk
from tailrace_engine.disk.uring import UringDisk, try_uring

BACKENDS: Final = ("auto", "uring", "threads", "buffered")


def open_disk(directory: Path, backend: str, sync: str, loop: Loop) -> ThreadDisk:
    """The disk of the WAL in directory, which is made if need be.

    backend is one of BACKENDS. sync is `always` or `interval`; under `interval` files are never open with O_DIRECT and
    the backend does not matter. Raises InvalidSettings when a backend that was asked for does not work here.
    """
    directory.mkdir(parents=True, exist_ok=True)
    if sync == "interval":
        return IntervalDisk(directory, loop)
    if backend == "buffered":
        return BufferedDisk(directory, loop)
    refusals = []
    for name, refusal_of in (("uring", _refusal_of_uring), ("threads", _refusal_of_threads)):
        if backend not in ("auto", name):
            continue
        refusal = refusal_of(directory, loop)
        if refusal is None:
            return UringDisk(directory, loop) if name == "uring" else ThreadDisk(directory, loop)
        refusals.append(f"{name}: {refusal}")
    if backend == "auto":
        return BufferedDisk(directory, loop)
    raise InvalidSettings(f"wal.backend={backend} does not work in {directory}: {'; '.join(refusals)}")


def _refusal_of_uring(directory: Path, loop: Loop) -> str | None:
    if not hasattr(loop, "add_reader"):
        return "the event loop does not watch file descriptors"
    return _refusal_of_threads(directory, loop) or _with_probe_file(directory, try_uring)


def _refusal_of_threads(directory: Path, loop: Loop) -> str | None:
    if not O_DIRECT:
        return "this operating system has no O_DIRECT"
    return _with_probe_file(directory, _try_direct)


def _try_direct(fd: int, buffer: WriteBuffer) -> None:
    if os.pwritev(fd, [buffer.view], 0) != buffer.size:
        raise OSError(errno.EIO, "short write")


def _with_probe_file(directory: Path, attempt: Callable[[int, WriteBuffer], None]) -> str | None:
    path = directory / "probe"
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | O_DIRECT | getattr(os, "O_DSYNC", os.O_SYNC), 0o600)
        try:
            attempt(fd, WriteBuffer(BLOCK_BYTES))
        finally:
            os.close(fd)
    except (OSError, ImportError) as error:
        return str(error)
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
    return None
