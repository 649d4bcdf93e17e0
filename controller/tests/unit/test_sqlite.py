"""What is special to the SQLite store: its file, its lock, failures, and a process that is killed."""

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from tailrace_controller.store.sqlite import APPLICATION_ID, SqliteStore
from tailrace_core.errors import DataCorrupt, DataFolderInUse, FormatTooNew, StorageUnavailable

WRITER = """
import asyncio, sys
from pathlib import Path
from tailrace_controller.store.sqlite import SqliteStore

async def main():
    loop = asyncio.get_running_loop()
    store = await SqliteStore.open(Path(sys.argv[1]), loop)
    for number in range(int(sys.argv[2])):
        answered = loop.create_future()
        pair = [(f"first/{number}", b"x" * 300), (f"second/{number}", b"y" * 300)]
        store.commit(pair, [], answered.set_result)
        assert await answered is None
        print(number, flush=True)
    await store.close()

asyncio.run(main())
"""


def environment():
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def run_with(path, use):
    """Open the store, use it, close it."""

    async def run():
        store = await SqliteStore.open(path, asyncio.get_running_loop())
        try:
            return await use(store)
        finally:
            await store.close()

    return asyncio.run(run())


async def commit(store, *puts):
    answered = asyncio.get_running_loop().create_future()
    store.commit(puts, [], answered.set_result)
    return await answered


def test_folders_are_made(tmp_path):
    path = tmp_path / "a" / "b" / "metadata.db"
    assert run_with(path, lambda store: commit(store, ("a", b"1"))) is None
    assert path.is_file()


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("strace") is None, reason="needs strace")
def test_a_commit_is_synced_before_it_is_answered(tmp_path):
    trace = tmp_path / "trace"
    traced = ["strace", "-f", "-e", "trace=fsync,fdatasync,write", "-o", trace]
    subprocess.run(
        [*traced, sys.executable, "-c", WRITER, tmp_path / "m.db", "6"],
        stdout=subprocess.DEVNULL,
        env=environment(),
        check=True,
    )
    calls = [line.split(maxsplit=1)[1].partition("(") for line in trace.read_text().splitlines() if "(" in line]
    said = [
        place
        for place, (name, _, rest) in enumerate(calls)
        if name == "write" and rest.startswith("1, ") and '\\n"' in rest
    ]
    assert len(said) == 6
    for before, after in pairwise(said):
        assert any(name in ("fsync", "fdatasync") for name, _, _ in calls[before:after])


def test_a_second_process_finds_the_store_in_use(tmp_path):
    path = tmp_path / "m.db"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, path, "1000000"], stdout=subprocess.PIPE, env=environment(), text=True
    ) as writer:
        try:
            assert writer.stdout.readline() == "0\n"
            with pytest.raises(DataFolderInUse, match="another process"):
                run_with(path, lambda store: store.load())
        finally:
            writer.kill()


@pytest.mark.parametrize("commits", [1, 7, 40])
def test_kill_9_keeps_every_answered_commit_and_no_half_one(tmp_path, commits):
    path = tmp_path / "m.db"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, path, "1000000"], stdout=subprocess.PIPE, env=environment(), text=True
    ) as writer:
        for number in range(commits):
            assert writer.stdout.readline() == f"{number}\n"
        writer.send_signal(signal.SIGKILL)
        answered = commits + len(writer.stdout.read().split())
    snapshot = run_with(path, lambda store: store.load())
    firsts = {key.partition("/")[2] for key, _ in snapshot.items if key.startswith("first/")}
    seconds = {key.partition("/")[2] for key, _ in snapshot.items if key.startswith("second/")}
    assert firsts == seconds
    assert len(firsts) in (answered, answered + 1)
    assert firsts == {str(number) for number in range(len(firsts))}
    assert run_with(path, lambda store: commit(store, ("after", b"1"))) is None


def test_a_full_disk_refuses_and_later_commits_are_taken(tmp_path):
    async def use(store):
        await commit(store, ("small", b"1"))
        refused = await commit(store, ("large", bytes(3_000_000)))
        taken = await commit(store, ("small", b"2"))
        return refused, taken, await store.load()

    path = tmp_path / "m.db"
    run_with(path, lambda store: commit(store, ("a", b"1")))

    def limited(*arguments, connect=sqlite3.connect, **keywords):
        database = connect(*arguments, **keywords)
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("PRAGMA max_page_count = 100")
        return database

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", limited)
        refused, taken, snapshot = run_with(path, use)
    assert isinstance(refused, StorageUnavailable)
    assert "full" in str(refused)
    assert taken is None
    assert snapshot.items == [("a", b"1"), ("small", b"2")]


def test_after_a_failed_write_nothing_is_taken_until_the_store_is_opened_again(tmp_path):
    path = tmp_path / "m.db"

    async def use(store):
        await commit(store, ("a", b"1"))
        # A value SQLite cannot store stands for any error but a full disk.
        failed = await commit(store, ("b", object()))
        return failed, await commit(store, ("c", b"1"))

    failed, refused = run_with(path, use)
    assert isinstance(failed, StorageUnavailable)
    assert refused is failed
    assert run_with(path, lambda store: store.load()).items == [("a", b"1")]


def test_a_file_that_is_no_store_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "m.db"
    path.write_bytes(b"not a database, but long enough to have a header" * 40)
    before = path.read_bytes()
    with pytest.raises(DataCorrupt, match=r"m\.db"):
        run_with(path, lambda store: store.load())
    assert path.read_bytes() == before


def test_another_programs_database_is_refused(tmp_path):
    path = tmp_path / "m.db"
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE theirs (value)")
    database.close()
    with pytest.raises(DataCorrupt, match="another program"):
        run_with(path, lambda store: store.load())


def test_a_newer_schema_is_refused(tmp_path):
    path = tmp_path / "m.db"
    database = sqlite3.connect(path)
    database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    database.execute("PRAGMA user_version = 2")
    database.close()
    with pytest.raises(FormatTooNew, match="schema 2"):
        run_with(path, lambda store: store.load())


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageUnavailable, match="cannot be opened"):
        run_with(Path(tmp_path / "file" / "m.db"), lambda store: store.load())
