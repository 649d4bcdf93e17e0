"""How the owner of coordinators reads their state: from the WAL, from objects, from memory, and what cannot be read."""

import asyncio
import errno
from pathlib import Path
from unittest.mock import patch

import pytest
from coordinator_support import (
    START_MS,
    TOPIC,
    TORN,
    Coordinated,
    Get,
    Put,
    Words,
    coordinated,
    held_disk,
    turns,
)
from engine_support import NOW_MS, make_batch, record, until

from tailrace_core.errors import (
    CoordinatorLoadInProgress,
    CoordinatorNotAvailable,
    NotCoordinator,
)
from tailrace_engine.coordinator.decision import Now


@pytest.mark.parametrize("place", ["wal", "object", "memory"])
def test_a_shard_has_the_same_state_after_a_restart(tmp_path: Path, place: str) -> None:
    async def test(made: Coordinated) -> None:
        for at in range(40):
            for key in "abcdefg":
                made.ask(key, Put({b"%s%d" % (key.encode(), at % 13): b"%d" % at, b"gone%d" % (at % 3): b"1"}))
            await turns(2)
        for key in "abcdefg":
            assert await made.asked(key, Put({b"gone1": None})) > 0
        before = {key: dict(made.words(key)) for key in "abcdefg"}
        if place == "object":
            await made.node.uploader.flush()
        if place == "memory":
            made.owner("a").close("to read it again")
        else:
            await made.restart()
        assert isinstance(made.ask("a", Get(b"a1"))[0], CoordinatorLoadInProgress)
        await made.loaded()
        assert {key: made.words(key) for key in "abcdefg"} == before
        assert all(b"gone1" not in words and b"gone2" in words for words in before.values())
        shard = made.owner("a").shard
        assert isinstance(shard, Words)
        assert shard.loaded == Now(START_MS, NOW_MS)
        assert shard.replayed == len(shard.words), "what a key had before is not decoded"
        assert made.ask("a", Get(b"a1")) == [before["a"][b"a1"]]

    coordinated(tmp_path, test)


async def used_by_all(made: Coordinated) -> dict[str, dict[bytes, bytes]]:
    """Many segments of the WAL, with batches of all shards and of users' partitions in turns; gives what is kept."""
    partition = await made.node.partition("t")
    for at in range(120):
        for key in "abcdefg":
            made.ask(key, Put({b"%s%d" % (key.encode(), at % 13): b"%d" % at}))
        made.node.append(partition, make_batch(value=bytes(3000 * (at % 3))))
        await turns(3)
    for key in "abcdefg":
        await made.asked(key, Put({b"last": key.encode()}))
    assert len(made.node.wal.ring.used) > 2
    return {key: dict(made.words(key)) for key in "abcdefg"}


def test_the_wal_is_read_once_for_all_shards(tmp_path: Path) -> None:
    async def test(made: Coordinated) -> None:
        before = await used_by_all(made)
        used_bytes = made.node.wal.bytes_used
        await made.restart()
        disk = made.node.disk
        assert disk is not None
        read = disk.read
        read_bytes = 0

        def count(number: int, position: int, length: int) -> bytes:
            nonlocal read_bytes
            read_bytes += length
            return read(number, position, length)

        with patch.object(disk, "read", count):
            await made.loaded()
        assert {key: made.words(key) for key in "abcdefg"} == before
        assert 0 < read_bytes <= used_bytes

    coordinated(tmp_path, test)


def test_what_is_uploaded_while_it_is_read_is_read_all_the_same(tmp_path: Path) -> None:
    async def test(made: Coordinated) -> None:
        before = await used_by_all(made)
        await made.restart()
        await made.node.uploader.flush()
        assert made.node.live_records() == 0
        await made.loaded()
        assert {key: made.words(key) for key in "abcdefg"} == before

    coordinated(tmp_path, test)


def test_producers_that_wait_for_what_is_being_read_go_on_afterwards(tmp_path: Path) -> None:
    async def test(made: Coordinated) -> None:
        partition = await made.node.partition("t")
        while not made.node.engine.must_hold_back:
            await made.node.produce(partition, make_batch(value=bytes(20_000)))
            await made.asked("g", Put({b"a": b"1"}))
        await made.restart()
        wal = made.node.wal
        read, gate = wal.read, asyncio.Event()

        async def read_later(*place: int) -> bytes:
            await gate.wait()
            return await read(*place)

        with patch.object(wal, "read", read_later):
            await turns(2)
            await made.node.uploader.flush()
            assert made.node.live_records() == 0
            assert made.node.engine.must_hold_back, "what is read is not used again"
            gate.set()
            await made.loaded()
        assert not made.node.engine.must_hold_back

    coordinated(tmp_path, test, capacity_bytes=1 << 20)


def test_a_walk_that_fails_by_a_bug_leaves_nobody_waiting(tmp_path: Path) -> None:
    async def test(made: Coordinated) -> None:
        before = await used_by_all(made)
        await made.restart()
        with patch.object(made.node.wal, "read", side_effect=ValueError("a bug")):
            await made.loaded()
        assert {key: made.words(key) for key in "abcdefg"} == before

    coordinated(tmp_path, test)


def test_a_bad_batch_in_the_wal_concerns_its_shard_alone(tmp_path: Path) -> None:
    async def test(made: Coordinated) -> None:
        before = await used_by_all(made)
        await made.restart()
        partition = made.node.engine.partition(TOPIC, made.coordinator.partition_for("a"))
        assert partition.wal_index is not None
        segment, position, size, _ = list(partition.wal_index.batches())[5]
        assert made.node.disk is not None
        made.node.disk.rot(segment, position + size - 3, b"rot")
        await until(lambda: made.coordinator.loading == 1)
        assert isinstance(made.ask("a", Get(b"last"))[0], CoordinatorNotAvailable)
        others = [key for key in "abcdefg" if made.coordinator.partition_for(key) != partition.partition]
        assert {key: made.words(key) for key in others} == {key: before[key] for key in others}

    coordinated(tmp_path, test)


def test_a_shard_with_a_record_that_cannot_be_decoded_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(made: Coordinated) -> None:
        for key in "ab":
            await made.asked(key, Put({b"a": b"1"}))
        partition = made.owner("a").partition
        batch = make_batch(body=record(0, 0, b"", TORN))
        made.node.append(partition, batch)
        await made.node.durable(partition)
        await made.restart()
        await until(lambda: isinstance(made.ask("a", Get(b"a"))[0], CoordinatorNotAvailable))
        assert TORN.decode() in str(made.ask("a", Get(b"a"))[0])
        assert await made.asked("b", Get(b"a")) == b"1"
        await until(lambda: not made.tasks)
        assert made.coordinator.loading == 1
        (line,) = [line for line in caplog.records if line.levelname in ("WARNING", "ERROR")]
        name = f"{TOPIC}-{partition.partition}"
        assert line.getMessage().startswith(f"{name} is not served until the next start")
        assert line.exc_info is None
        assert made.coordinator._failures == {}, "it is not tried again"

    coordinated(tmp_path, test)


def test_a_topic_that_is_made_anew_while_it_is_read_begins_empty(tmp_path: Path) -> None:
    async def test(made: Coordinated) -> None:
        await used_by_all(made)
        await made.restart()
        await made.node.controller.delete_topics([TOPIC])
        await made.coordinator.ensure_topic()
        assert made.ask("a", Get(b"last")) == [None]
        assert await made.asked("a", Put({b"a": b"1"})) == 1
        await until(lambda: not made.tasks)
        assert made.words("a") == {b"a": b"1"}

    coordinated(tmp_path, test)


def test_what_was_not_durable_at_a_kill_was_not_answered(tmp_path: Path) -> None:
    async def test(made: Coordinated) -> None:
        await made.asked("g", Put({b"a": b"1"}))
        with held_disk(made.node) as disk:
            put = made.ask("g", Put({b"b": b"1"}))
            await until(lambda: disk.held)
            disk.held.clear()  # the process is killed before the disk has it
            made.node.wal._fence(OSError(errno.EIO, "killed"))
        assert isinstance(put[0], NotCoordinator)
        await made.restart()
        await made.loaded()
        assert made.words("g") == {b"a": b"1"}

    coordinated(tmp_path, test)


def test_partitions_that_nobody_uses_have_no_shards(tmp_path: Path) -> None:
    async def test(made: Coordinated) -> None:
        assert made.coordinator.shards() == []
        await made.asked("g", Put({b"a": b"1"}))
        assert len(made.coordinator.shards()) == 1
        await made.restart()
        await made.loaded()
        assert len(made.coordinator.shards()) == 1
        assert made.coordinator.loads == 1

    coordinated(tmp_path, test)
