"""The metadata store of one node: SQLite on a thread of its own.

WAL journal with synchronous=FULL: a commit has been synced when it is answered. Commits that wait while one is being
synced go together in the next transaction. The connection locks the file for itself (locking_mode=EXCLUSIVE), which
also keeps the WAL index out of shared memory. After a failed write nobody knows what a sync left behind, so the store
refuses all that comes later; a full disk is known to have changed nothing, and may be retried.
"""

import asyncio
import os
import sqlite3
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Final, NamedTuple

from tailrace_controller.store import Done, Snapshot
from tailrace_core.errors import DataCorrupt, DataFolderInUse, FormatTooNew, StorageUnavailable, TailraceError

SCHEMA_VERSION: Final = 1
APPLICATION_ID: Final = 0x7461696C
"""Written into the file's header: it tells our store from any other SQLite file."""
GROUP_MAX: Final = 128
"""Commits in one transaction: bounds how long the first of them waits."""


class _Commit(NamedTuple):
    puts: Sequence[tuple[str, bytes]]
    deletes: Sequence[str]
    done: Done


class _Load(NamedTuple):
    done: Callable[[Snapshot | TailraceError], object]


class _Close(NamedTuple):
    done: Callable[[], object]


class SqliteStore:
    """store.MetadataStore in one file."""

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop) -> None:
        """Use open(): this one only prepares."""
        self._path = path
        self._loop = loop
        self._jobs: SimpleQueue[_Commit | _Load | _Close] = SimpleQueue()
        self._fence: StorageUnavailable | None = None
        self._closed = False

    @classmethod
    async def open(cls, path: Path, loop: asyncio.AbstractEventLoop) -> "SqliteStore":
        """Open the file, or make it and its folders.

        Raises DataFolderInUse when another process has it open, DataCorrupt when it is not a metadata store,
        FormatTooNew, and StorageUnavailable when the file system refuses.
        """
        store = cls(path, loop)
        opened: asyncio.Future[TailraceError | None] = loop.create_future()
        threading.Thread(target=store._run, args=(opened,), name="metadata-store", daemon=True).start()
        error = await opened
        if error is not None:
            raise error
        return store

    async def load(self) -> Snapshot:
        loaded: asyncio.Future[Snapshot | TailraceError] = self._loop.create_future()
        self._jobs.put(_Load(loaded.set_result))
        answer = await loaded
        if isinstance(answer, TailraceError):
            raise answer
        return answer

    def commit(self, puts: Sequence[tuple[str, bytes]], deletes: Sequence[str], done: Done) -> None:
        if self._closed:
            self._loop.call_soon(done, StorageUnavailable("the metadata store is closed"))
        else:
            self._jobs.put(_Commit(puts, deletes, done))

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            closed: asyncio.Future[None] = self._loop.create_future()
            self._jobs.put(_Close(lambda: closed.set_result(None)))
            await closed

    def _run(self, opened: "asyncio.Future[TailraceError | None]") -> None:
        """The thread. The loop hears of everything through call_soon_threadsafe."""
        try:
            database = _open(self._path)
        except TailraceError as error:
            self._tell(opened.set_result, error)
            return
        self._tell(opened.set_result, None)
        job: _Commit | _Load | _Close | None = None
        while True:
            job = job or self._jobs.get()
            if isinstance(job, _Commit):
                job = self._commit_group(database, job)
                continue
            if isinstance(job, _Load):
                self._tell(job.done, _load(database, self._path))
                job = None
                continue
            database.close()
            self._tell(job.done)
            return

    def _commit_group(self, database: sqlite3.Connection, first: _Commit) -> _Commit | _Load | _Close | None:
        """Commit first and what waits behind it. Returns the job that is not part of the group, if one was taken."""
        group = [first]
        following: _Commit | _Load | _Close | None = None
        while len(group) < GROUP_MAX and not self._jobs.empty():
            # This thread alone takes jobs out, so a queue that was not empty still is not.
            following = self._jobs.get()
            if not isinstance(following, _Commit):
                break
            group.append(following)
            following = None
        failure = self._fence or self._write(database, group)
        self._tell(_answer, group, failure)
        return following

    def _write(self, database: sqlite3.Connection, group: list[_Commit]) -> StorageUnavailable | None:
        try:
            database.execute("BEGIN IMMEDIATE")
            for commit in group:
                database.executemany("INSERT OR REPLACE INTO metadata (key, value) VALUES (?, ?)", commit.puts)
                database.executemany("DELETE FROM metadata WHERE key = ?", [(key,) for key in commit.deletes])
            database.execute("UPDATE revision SET value = value + 1")
            database.execute("COMMIT")
        except Exception as error:
            # Not only SQLite's: whatever stops this thread without an answer would hang all that wait.
            failure = StorageUnavailable(f"the metadata store {self._path} did not take a write: {_text(error)}")
            try:
                if database.in_transaction:
                    database.execute("ROLLBACK")
                if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_FULL:
                    self._fence = failure
            except sqlite3.Error:
                self._fence = failure
            return failure
        return None

    def _tell(self, callback: Callable[..., object], *args: object) -> None:
        # The loop is closed only when the process ends without waiting for us: then nobody is left to be told.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(callback, *args)


def _answer(group: list[_Commit], failure: StorageUnavailable | None) -> None:
    for commit in group:
        commit.done(failure)


def _text(error: Exception) -> str:
    return f"{error} ({getattr(error, 'sqlite_errorname', type(error).__name__)})"


def _load(database: sqlite3.Connection, path: Path) -> Snapshot | TailraceError:
    try:
        database.execute("BEGIN")
        try:
            (revision,) = database.execute("SELECT value FROM revision").fetchone()
            return Snapshot(revision, database.execute("SELECT key, value FROM metadata ORDER BY key").fetchall())
        finally:
            database.execute("COMMIT")
    except sqlite3.OperationalError as error:
        return StorageUnavailable(f"the metadata store {path} cannot be read: {_text(error)}")
    except sqlite3.Error as error:
        return DataCorrupt(f"the metadata store {path} is damaged: {_text(error)}")


def _open(path: Path) -> sqlite3.Connection:
    try:
        _make_folder(path.parent)
        database = sqlite3.connect(path, timeout=0, isolation_level=None)
    except (OSError, sqlite3.Error) as error:
        raise StorageUnavailable(f"the metadata store {path} cannot be opened: {error}") from error
    try:
        _prepare(database, path)
    except sqlite3.Error as error:
        database.close()
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            raise DataFolderInUse(f"the metadata store {path} is in use by another process") from error
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            raise DataCorrupt(f"the metadata store {path} is damaged or not one: {_text(error)}") from error
        raise StorageUnavailable(f"the metadata store {path} cannot be opened: {_text(error)}") from error
    except TailraceError:
        database.close()
        raise
    return database


def _prepare(database: sqlite3.Connection, path: Path) -> None:
    """Settings and schema; takes the lock that is held until the connection is closed."""
    database.execute("PRAGMA locking_mode = EXCLUSIVE")
    (version,) = database.execute("PRAGMA user_version").fetchone()
    (application,) = database.execute("PRAGMA application_id").fetchone()
    (tables,) = database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application != APPLICATION_ID and (version or tables):
        raise DataCorrupt(f"{path} is an SQLite file of another program")
    if version > SCHEMA_VERSION:
        raise FormatTooNew(f"the metadata store {path} has schema {version}, this version reads {SCHEMA_VERSION}")
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    if sys.platform == "darwin":
        # fsync of macOS leaves data in the drive's cache.
        database.execute("PRAGMA fullfsync = 1")
        database.execute("PRAGMA checkpoint_fullfsync = 1")
    database.execute("BEGIN IMMEDIATE")
    if not tables:
        database.execute("CREATE TABLE metadata (key TEXT PRIMARY KEY, value BLOB NOT NULL)")
        database.execute("CREATE TABLE revision (value INTEGER NOT NULL)")
        database.execute("INSERT INTO revision VALUES (0)")
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    database.execute("COMMIT")


def _make_folder(folder: Path) -> None:
    """Make folder and those above it; each new name is synced into the folder that holds it."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    descriptor = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
