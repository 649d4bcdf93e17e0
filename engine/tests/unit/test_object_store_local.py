"""What only the local folder does: URLs, syncs before answers, leftovers, disk errors."""

import asyncio
import errno
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from tailrace_core.errors import InvalidSettings, MissingObject, StorageUnavailable
from tailrace_engine.objects import LocalStore, open_store


@pytest.mark.parametrize("url", ["s3://bucket/prefix", "/plain/path", "file://host/path", "file:relative", ""])
def test_another_url_is_refused_and_the_allowed_form_named(url: str) -> None:
    with pytest.raises(InvalidSettings, match="file:///absolute/path"):
        open_store(url)


def test_a_file_url_opens_the_folder_it_names(tmp_path: Path) -> None:
    store = open_store((tmp_path / "with space" / "objects").as_uri())
    assert store.url == (tmp_path / "with space" / "objects").as_uri()
    assert (tmp_path / "with space" / "objects").is_dir()


def test_put_syncs_the_file_before_its_name_and_every_new_folder_before_it_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path)
    trace: list[str] = []
    real_fsync, real_link = os.fsync, os.link

    def fsync(fd: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{fd}"))
        trace.append("sync file" if path.is_file() else f"sync /{path.relative_to(tmp_path)}".replace("/.", "/"))
        real_fsync(fd)

    def link(source: str, target: str) -> None:
        trace.append("publish")
        real_link(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", link)

    async def main() -> None:
        await store.put("a/b/first", [b"x"])
        assert trace == ["sync file", "sync /", "sync /a", "publish", "sync /a/b"]
        trace.clear()
        await store.put("a/b/second", [b"x"])
        assert trace == ["sync file", "publish", "sync /a/b"]
        trace.clear()
        await store.delete("a/b/second")
        assert trace == ["sync /a/b"]
        await store.close()

    asyncio.run(main())


def test_short_writes_are_written_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStore(tmp_path)
    real_writev = os.writev

    def writev(fd: int, parts: Sequence[bytes]) -> int:
        return real_writev(fd, [b"".join(parts)[:7]])

    monkeypatch.setattr(os, "writev", writev)

    async def main() -> None:
        await store.put("k", [b"0123", b"", b"456789", b"abcdefghijk"])
        assert await store.get_range("k", 0, 100) == b"0123456789abcdefghijk"
        await store.close()

    asyncio.run(main())


def test_a_full_disk_is_unavailable_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStore(tmp_path)

    def writev(fd: int, parts: Sequence[bytes]) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "writev", writev)

    async def main() -> None:
        with pytest.raises(StorageUnavailable, match="No space left"):
            await store.put("a/k", [b"x"])
        with pytest.raises(MissingObject):
            await store.size("a/k")
        assert await store.list_keys("") == []
        await store.close()

    asyncio.run(main())
    assert list((tmp_path / ".incoming").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageUnavailable, match="file"):
        LocalStore(tmp_path / "file" / "objects")


def test_a_start_removes_files_of_writers_that_are_gone_and_not_those_being_written(tmp_path: Path) -> None:
    LocalStore(tmp_path)
    leftover = tmp_path / ".incoming" / "gone"
    leftover.write_bytes(b"half")
    in_use = tmp_path / ".incoming" / "written"
    with in_use.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        LocalStore(tmp_path, removes_leftovers=True)
        assert not leftover.exists()
        assert in_use.exists()


def test_who_opens_the_store_for_a_job_leaves_files_that_are_not_locked_yet(tmp_path: Path) -> None:
    made = tmp_path / ".incoming" / "made"
    made.parent.mkdir()
    made.write_bytes(b"")
    open_store(tmp_path.as_uri())
    assert made.exists()
    open_store(tmp_path.as_uri(), removes_leftovers=True)
    assert not made.exists()


def test_a_large_object_is_deleted_in_steps_and_entirely(tmp_path: Path) -> None:
    async def run() -> None:
        store = LocalStore(tmp_path)
        await store.put("data/large", [bytes(1 << 20)] * 9)
        await store.delete("data/large")
        assert await store.list_keys("") == []
        await store.delete("data/large")
        await store.close()

    asyncio.run(run())
