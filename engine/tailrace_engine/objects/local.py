"""Objects as files below a local folder. What put answered survives a power cut.

A put writes a file of its own in `.incoming`, syncs it, links it under its key, which fails where the key is taken, and
syncs every folder whose entries may be new, before it answers. So a key is absent or has all of its bytes. A file that
is being written is locked; a broker's start removes those in `.incoming` whose writer is gone. Nobody else may, as a
file is made a moment before it is locked.

All file work runs in threads of the store's own, in calls that release the GIL; reads do not queue behind puts, whose
syncs take long.
"""

import asyncio
import errno
import fcntl
import os
import re
import sys
import tempfile
from bisect import bisect_right
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from tailrace_core.batch import Buffer
from tailrace_core.errors import MissingObject, ObjectExists, StorageUnavailable

PUT_THREADS: Final = 2
GET_THREADS: Final = 4
WRITE_BYTES: Final = 1024 * 1024
"""Of one call. ext4 gives larger writes page cache in pieces of 2 MiB, which cost nine times the CPU (measured on Linux
6.18: 2.0 against 0.22 CPU-s/GiB)."""
_FREE_BYTES: Final = 4 * 1024 * 1024
_FREE_SECONDS: Final = 0.05
"""A deletion frees so many bytes at once, and waits so long before it goes on: 80 MB/s."""
_INCOMING: Final = ".incoming"
_KEY = re.compile(r"(?!\.)[a-zA-Z0-9._-]+(/(?!\.)[a-zA-Z0-9._-]+)*")
_IOV_MAX: Final = max(os.sysconf("SC_IOV_MAX"), 16)
_GONE: Final = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR)

P = ParamSpec("P")
T = TypeVar("T")


def check_key(key: str) -> None:
    """Raise ValueError for what no store takes: keys are relative paths whose parts do not begin with a dot."""
    if len(key) > 1024 or not _KEY.fullmatch(key):
        raise ValueError(f"an object key is a relative path of [a-zA-Z0-9._-/], not {key!r}")


class LocalStore:
    """An ObjectStore. The folder is made where it is missing."""

    def __init__(self, root: Path, removes_leftovers: bool = False) -> None:
        """removes_leftovers: of puts that never ended; for who knows that no put begins meanwhile."""
        self._root = root.absolute()
        self._synced_folders: set[str] = set()
        """Folders whose own entry in their parent is known to be durable."""
        try:
            self._make_durable(str(self._root / _INCOMING))
            if removes_leftovers:
                self._remove_leftovers()
        except OSError as error:
            raise StorageUnavailable(f"object folder {self._root}: {error}") from error
        self._puts = ThreadPoolExecutor(PUT_THREADS, "tailrace-put")
        self._gets = ThreadPoolExecutor(GET_THREADS, "tailrace-get")

    @property
    def url(self) -> str:
        """file:// and the absolute path."""
        return self._root.as_uri()

    async def put(self, key: str, parts: Sequence[Buffer]) -> None:
        """See core.ports.ObjectStore. A put whose task is cancelled may still publish its object."""
        check_key(key)
        await self._run(self._puts, key, self._put, key, parts)

    async def get_range(self, key: str, position: int, length: int) -> bytes:
        """See core.ports.ObjectStore."""
        check_key(key)
        return await self._run(self._gets, key, self._get_range, key, position, length)

    async def get_into(self, key: str, position: int, buffer: memoryview) -> int:
        """See core.ports.ObjectStore."""
        check_key(key)
        return await self._run(self._gets, key, self._get_into, key, position, buffer)

    async def size(self, key: str) -> int:
        """See core.ports.ObjectStore."""
        check_key(key)
        return await self._run(self._gets, key, self._size, key)

    async def list_keys(self, prefix: str) -> list[str]:
        """See core.ports.ObjectStore."""
        return await self._run(self._gets, prefix, self._list_keys, prefix)

    async def delete(self, key: str) -> None:
        """See core.ports.ObjectStore. Empty folders stay.

        A large file goes in steps: the file system discards what it frees, and the WAL's writes on the same disk would
        feel a burst of that.
        """
        check_key(key)
        while await self._run(self._puts, key, self._shorten, key):  # noqa: ASYNC110
            await asyncio.sleep(_FREE_SECONDS)  # a pace, not a wait for a state
        await self._run(self._puts, key, self._delete, key)

    async def close(self) -> None:
        """Wait for the calls that were made; a later call is a bug."""
        for threads in (self._gets, self._puts):
            await asyncio.to_thread(threads.shutdown)

    async def _run(
        self, threads: ThreadPoolExecutor, key: str, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(threads, lambda: call(*args, **kwargs))
        except OSError as error:
            if error.errno in _GONE:
                raise MissingObject(f"object {key} is not in {self.url}") from error
            raise StorageUnavailable(f"object {key} in {self.url}: {error}") from error

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"

    def _put(self, key: str, parts: Sequence[Buffer]) -> None:
        path = self._path(key)
        try:
            fd, incoming = tempfile.mkstemp(dir=self._root / _INCOMING)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _write_all(fd, parts)
                _sync(fd)
                folder = os.path.dirname(path)
                self._make_durable(folder)
                os.link(incoming, path)
                _sync_folder(folder)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(incoming)
                os.close(fd)
        except FileExistsError as error:
            raise ObjectExists(f"object {key} is in {self.url} already") from error
        except OSError as error:
            raise StorageUnavailable(f"object {key} in {self.url}: {error}") from error

    def _get_range(self, key: str, position: int, length: int) -> bytes:
        fd = os.open(self._path(key), os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = os.pread(fd, length, position)
        finally:
            os.close(fd)
        if len(data) == length or not data:
            return data
        # The end of the file, or a signal or the kernel's limit of 2 GiB cut the read.
        return data + self._get_range(key, position + len(data), length - len(data))

    def _get_into(self, key: str, position: int, buffer: memoryview) -> int:
        fd = os.open(self._path(key), os.O_RDONLY | os.O_CLOEXEC)
        try:
            # A read may be cut before the end of the file, by a signal or the kernel's limit of 2 GiB.
            done = 0
            while done < len(buffer) and (came := os.preadv(fd, [buffer[done:]], position + done)):
                done += came
            return done
        finally:
            os.close(fd)

    def _size(self, key: str) -> int:
        path = self._path(key)
        if os.path.isdir(path):
            raise FileNotFoundError(errno.ENOENT, "a folder", path)
        return os.stat(path).st_size

    def _list_keys(self, prefix: str) -> list[str]:
        # Only the folder that the prefix names is walked, not the whole store.
        start = self._path(prefix.rpartition("/")[0]) if "/" in prefix else str(self._root)
        keys = []
        for folder, folders, files in os.walk(start):
            folders[:] = [name for name in folders if not name.startswith(".")]
            relative = os.path.relpath(folder, self._root)
            base = "" if relative == "." else relative + "/"
            keys += [base + name for name in files if not name.startswith(".") and (base + name).startswith(prefix)]
        return sorted(keys)

    def _shorten(self, key: str) -> bool:
        """Free the end of a file that is to be deleted; False when what is left may go at once."""
        path = self._path(key)
        try:
            size = os.stat(path).st_size
            if size > _FREE_BYTES and os.path.isfile(path):
                os.truncate(path, size - _FREE_BYTES)
                return True
        except OSError as error:
            if error.errno not in _GONE:
                raise
        return False

    def _delete(self, key: str) -> None:
        path = self._path(key)
        try:
            os.unlink(path)
        except (FileNotFoundError, NotADirectoryError):
            return
        _sync_folder(os.path.dirname(path))

    def _make_durable(self, folder: str) -> None:
        """Make the folder and those above it, and sync each one's entry in its parent."""
        if folder in self._synced_folders:
            return
        parent = os.path.dirname(folder)
        if parent != folder:
            # Below the file system's root every ancestor is made, but only what may be ours is synced.
            if not os.path.isdir(parent) or folder.startswith(f"{self._root}/"):
                self._make_durable(parent)
            with suppress(FileExistsError):
                os.mkdir(folder)
            _sync_folder(parent)
        self._synced_folders.add(folder)

    def _remove_leftovers(self) -> None:
        for entry in os.scandir(self._root / _INCOMING):
            with suppress(OSError):
                fd = os.open(entry.path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(entry.path)
                finally:
                    os.close(fd)


def _sync(fd: int) -> None:
    if sys.platform == "darwin":
        # There fsync leaves the data in the drive's cache.
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
    else:
        os.fsync(fd)


def _sync_folder(folder: str) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _sync(fd)
    finally:
        os.close(fd)


def _write_all(fd: int, parts: Sequence[Buffer]) -> None:
    """Write all parts, neighbours together, without a step of Python for each."""
    first = 0
    while first < len(parts):
        batch = parts[first : first + _IOV_MAX]
        ends = list(accumulate(map(len, batch)))
        count = bisect_right(ends, WRITE_BYTES)
        if count:
            _write(fd, batch[:count])
        else:
            count = 1
            view = memoryview(batch[0])
            for position in range(0, len(view), WRITE_BYTES):
                _write(fd, [view[position : position + WRITE_BYTES]])
        first += count


def _write(fd: int, parts: Sequence[Buffer]) -> None:
    left = sum(map(len, parts))
    while left:
        written = os.writev(fd, parts)
        if written == 0:
            raise OSError(errno.EIO, f"nothing was written, {left} bytes were left")
        left -= written
        if left:
            parts = _rest(parts, written)


def _rest(parts: Sequence[Buffer], written: int) -> list[Buffer]:
    """What is left of parts once their first bytes are written."""
    for i, part in enumerate(parts):
        if written < len(part):
            return [memoryview(part)[written:], *parts[i + 1 :]]
        written -= len(part)
    return []
