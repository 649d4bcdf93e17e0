"""Damage in the WAL: the partition goes offline, its offsets are given up, and there is a way back."""

import asyncio
from pathlib import Path

import pytest
from engine_support import NOW_MS, Node, make_batch, offsets_of

from tailrace_core.batch import batch_spans
from tailrace_core.errors import DataCorrupt


def flip(folder: Path, value: bytes) -> None:
    """Damage the batch with this value, wherever the WAL has it."""
    for path in sorted((folder / "wal").glob("wal-*.log")):
        content = bytearray(path.read_bytes())
        at = content.find(value)
        if at >= 0:
            content[at] ^= 0xFF
            path.write_bytes(content)
            return
    raise AssertionError("the WAL does not have it")


async def damage(node: Node) -> None:
    """Three batches of t-0, the second damaged after the stop; another partition and an upload beside them."""
    await node.topic("t", 2)
    await node.produce(node.engine.partition("t", 0), make_batch([NOW_MS], b"uploaded"))
    await node.uploader.flush()
    for value in (b"first of three", b"second of three", b"third of three"):
        await node.produce(node.engine.partition("t", 0), make_batch([NOW_MS], value))
    await node.produce(node.engine.partition("t", 1), make_batch([NOW_MS], b"neighbour"))
    await node.stop()
    flip(node.folder, b"second of three")
    await node.start()


def test_moving_the_quarantine_away_brings_the_partition_back_and_no_offset_twice(tmp_path: Path) -> None:
    async def run() -> None:
        node = await Node(tmp_path).start()
        await damage(node)
        with pytest.raises(DataCorrupt):
            node.engine.partition("t", 0)
        assert offsets_of(await node.read_all(node.engine.partition("t", 1))) == [0]
        await node.restart()
        with pytest.raises(DataCorrupt, match="move"):
            node.engine.partition("t", 0)
        kept = [path for path in (tmp_path / "quarantine").iterdir() if path.name != "handled"]
        assert len(kept) == 1, "a second start copies nothing again"
        assert b"third of three" in kept[0].read_bytes()
        kept[0].rename(tmp_path / kept[0].name)
        for _ in range(2):
            await node.restart()
            partition = node.engine.partition("t", 0)
            assert partition.state.log_end_offset > 3, "what was given away is never given away again"
            buffers, _ = await node.engine.read_cold(partition, 0, 1 << 20)
            assert batch_spans(buffers[0])[0][2] == 0, "what was uploaded before is served"
        (base_offset,) = await node.produce(partition, make_batch([NOW_MS], b"later"))
        assert base_offset > 3
        for _ in range(2):
            buffers, _ = await node.engine.read_cold(partition, 2, 1 << 20)
            assert batch_spans(buffers[0])[0][2] == base_offset, "a read goes on after what was given up"
            await node.uploader.flush()
            await node.restart()
            partition = node.engine.partition("t", 0)
        await node.stop()

    asyncio.run(run())


def test_an_object_that_is_away_at_a_start_costs_nothing_when_it_is_back(tmp_path: Path) -> None:
    async def run() -> None:
        node = await Node(tmp_path).start()
        partition = await node.partition()
        await node.produce(partition, make_batch([NOW_MS], b"uploaded"))
        await node.uploader.flush()
        await node.produce(partition, make_batch([NOW_MS], b"only in the WAL"))
        await node.stop()
        (tmp_path / "objects" / "data").rename(tmp_path / "away")
        await node.start()
        with pytest.raises(DataCorrupt):
            node.engine.partition("t", 0)
        await node.stop()
        assert not (tmp_path / "quarantine").exists()
        (tmp_path / "objects" / "data").rmdir() if (tmp_path / "objects" / "data").exists() else None
        (tmp_path / "away").rename(tmp_path / "objects" / "data")
        await node.start()
        assert offsets_of(await node.read_all(node.engine.partition("t", 0))) == [0, 1]
        await node.stop()

    asyncio.run(run())
