"""Stop and start over the same folder and metadata: same data, same offsets, a new leader epoch."""

import asyncio
from pathlib import Path

import pytest
from engine_support import NOW_MS, Node, make_batch, offsets_of, values_of

from tailrace_core.batch import batch_spans, read_header
from tailrace_core.errors import DataCorrupt, InvalidProducerEpoch, OutOfOrderSequence
from tailrace_core.membership import NewPartitions
from tailrace_engine.runtime.partition import Partition


def first(node: Node, name: str = "t") -> Partition:
    return node.engine.partition(name, 0)


@pytest.mark.parametrize("sync", ["always", "interval"])
def test_everything_is_there_after_a_restart(tmp_path: Path, sync: str) -> None:
    async def run() -> None:
        async with Node(tmp_path, sync=sync) as node:
            await node.topic("t", 3)
            before: list[dict[int, bytes]] = []
            for at in range(3):
                partition = node.engine.partition("t", at)
                await node.produce(partition, *[make_batch([NOW_MS] * (at + 1), b"%d" % sent) for sent in range(50)])
                before.append(values_of(await node.read_all(partition)))
            for _ in range(2):
                epoch = node.leader_epoch
                await node.restart()
                assert node.leader_epoch > epoch
                partitions = [node.engine.partition("t", at) for at in range(3)]
                assert [values_of(await node.read_all(partition)) for partition in partitions] == before
                assert [partition.state.log_end_offset for partition in partitions] == [50, 100, 150]
                assert node.live_records() == 150

    asyncio.run(run())


def test_offsets_go_on_in_a_new_epoch_wherever_the_data_is(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            await node.partition()
            epochs = []
            for step in range(4):
                epochs.append(node.leader_epoch)
                assert await node.produce(first(node), make_batch(), make_batch()) == [2 * step, 2 * step + 1]
                if step % 2:
                    await node.uploader.flush()
                await node.restart()
            partition = first(node)
            buffers = await node.read_all(partition)
            written_in = [
                read_header(buffer, start).leader_epoch for buffer in buffers for start, _, _ in batch_spans(buffer)
            ]
            assert written_in == [epoch for epoch in epochs for _ in range(2)]
            assert partition.epochs.entries == [(epoch, 2 * step) for step, epoch in enumerate(epochs)]
            state = partition.state
            for step, epoch in enumerate(epochs):
                found = partition.epochs.end_offset_for(epoch, state.leader_epoch, state.log_end_offset)
                assert found == (epoch, 2 * step + 2)

    asyncio.run(run())


def test_after_a_restart_the_index_is_charged_and_what_waits_is_uploaded(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            await node.partition()
            await node.produce(first(node), *[make_batch(value=bytes([at])) for at in range(30)])
            size = node.engine.unuploaded_bytes
            before = values_of(await node.read_all(first(node)))
            await node.restart()
            assert node.engine.hot.bytes_used == 30 * 28
            assert node.engine.unuploaded_bytes == size
            await node.produce(first(node), make_batch(value=b"new"))
            await node.uploader.flush()
            assert first(node).tier_end_offset == 31
            node.forget_hot()
            assert node.engine.hot.bytes_used == 0
            found = values_of(await node.read_all(first(node)))
            assert {base: found[base] for base in before} == before
            assert node.live_records() == 0

    asyncio.run(run())


@pytest.mark.parametrize("uploaded", [False, True])
@pytest.mark.parametrize("timestamp", [NOW_MS, -1, 1_000])
def test_producers_are_remembered(tmp_path: Path, uploaded: bool, timestamp: int) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            await node.partition()
            for sequence in range(7):
                await node.produce(first(node), make_batch([timestamp], producer=(5, 2, sequence)))
                if uploaded and sequence == 3:
                    await node.uploader.flush()
            if uploaded:
                await node.uploader.flush()
            await node.restart()
            await node.retention.check()
            for sequence in range(2, 7):
                assert node.append(first(node), make_batch([timestamp], producer=(5, 2, sequence))) == sequence
            for error, producer in (
                (OutOfOrderSequence, (5, 2, 1)),
                (OutOfOrderSequence, (5, 2, 8)),
                (InvalidProducerEpoch, (5, 1, 0)),
            ):
                with pytest.raises(error):
                    node.append(first(node), make_batch(producer=producer))
            assert first(node).state.log_end_offset == 7
            assert node.append(first(node), make_batch(producer=(5, 2, 7))) == 7
            await node.durable(first(node))

    asyncio.run(run())


def test_producers_are_forgotten_when_they_have_not_written_for_a_day(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            await node.partition()
            await node.produce(first(node), make_batch(producer=(5, 0, 0)))
            await node.uploader.flush()
            await node.restart()
            node.clock.ms += 86_400_000
            await node.retention.check()
            assert await node.produce(first(node), make_batch(producer=(5, 0, 40))) == [1]

    asyncio.run(run())


def test_a_hole_in_the_wal_takes_only_its_partition_offline(tmp_path: Path) -> None:
    async def run() -> None:
        node = await Node(tmp_path, sim_seed=8).start()
        await node.topic("t", 2)
        partitions = [node.engine.partition("t", at) for at in range(2)]
        for at in range(6):
            for partition in partitions:
                await node.produce(partition, make_batch(value=b"%d" % at))
        entry = partitions[0].hot_entries[3]
        await node.stop()
        assert node.disk is not None
        node.disk = node.disk.kill(asyncio.get_running_loop())
        node.disk.rot(entry.wal_segment, entry.wal_position + 62, b"rot")
        await node.start()
        with pytest.raises(DataCorrupt, match="t-0"):
            node.engine.partition("t", 0)
        assert offsets_of(await node.read_all(node.engine.partition("t", 1))) == list(range(6))
        assert await node.produce(node.engine.partition("t", 1), make_batch()) == [6]
        await node.uploader.flush()
        assert node.live_records() == 0, "what an offline partition had in the WAL is in quarantine"
        await node.restart()
        with pytest.raises(DataCorrupt, match="t-0"):
            node.engine.partition("t", 0)
        await node.controller.delete_topics(["t"])
        assert node.engine.unuploaded_bytes == 0
        node.forget_hot()
        assert node.engine.hot.bytes_used == 0
        assert node.live_records() == 0
        await node.stop()

    asyncio.run(run())


def test_a_damaged_snapshot_takes_its_partitions_offline(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            await node.topic("t", 2)
            for at in range(2):
                await node.produce(node.engine.partition("t", at), make_batch(producer=(1, 0, 0)))
                await node.uploader.flush()
            key = node.controller.extents(node.engine.partition("t", 0).topic_id, 0)[0].object.key
            path = tmp_path / "objects" / key
            path.write_bytes(path.read_bytes()[:-1] + b"?")
            await node.restart()
            with pytest.raises(DataCorrupt):
                node.engine.partition("t", 0)
            assert offsets_of(await node.read_all(node.engine.partition("t", 1))) == [0]

    asyncio.run(run())


def test_what_the_catalog_has_already_is_skipped_in_the_wal(tmp_path: Path) -> None:
    async def run() -> None:
        node = await Node(tmp_path, sim_seed=4).start()
        await node.partition()
        await node.produce(first(node), *[make_batch(value=b"%d" % at) for at in range(4)])
        before = values_of(await node.read_all(first(node)))
        # Commit, and be killed before the engine hears of it: the WAL still has everything.
        node.engine.on_committed = lambda *_: None  # type: ignore[method-assign]
        await node.uploader.upload_once()
        await node.restart()
        assert first(node).tier_end_offset == 4
        assert first(node).wal_index is None
        assert node.live_records() == 0
        assert values_of(await node.read_all(first(node))) == before
        assert await node.produce(first(node), make_batch()) == [4]
        await node.stop()

    asyncio.run(run())


def test_an_append_that_was_never_acknowledged_leaves_no_hole(tmp_path: Path) -> None:
    async def run() -> None:
        node = await Node(tmp_path, sim_seed=4).start()
        await node.partition()
        await node.produce(first(node), make_batch())
        node.append(first(node))
        assert node.disk is not None
        node.disk = node.disk.power_cut(asyncio.get_running_loop())
        await node.tier.close()
        await node.controller.close()
        await node.start()
        end = first(node).state.log_end_offset
        assert end == first(node).state.high_watermark == 1
        assert await node.produce(first(node), make_batch()) == [1]
        await node.stop()

    asyncio.run(run())


def test_a_wal_that_is_full_at_a_start_holds_back_at_once(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path, capacity_bytes=512 << 10) as node:
            await node.partition()
            while not node.engine.must_hold_back:
                await node.produce(first(node), make_batch(value=bytes(8000)))
            await node.restart()
            assert node.engine.must_hold_back
            await node.uploader.flush()
            assert not node.engine.must_hold_back

    asyncio.run(run())


def test_topics_that_grew_and_topics_that_went_are_known_after_a_restart(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            await node.topic("t", 1)
            await node.topic("u", 1)
            await node.controller.create_partitions([NewPartitions("t", 3)])
            await node.produce(node.engine.partition("t", 2), make_batch())
            await node.produce(node.engine.partition("u", 0), make_batch())
            await node.controller.delete_topics(["u"])
            await node.topic("u", 1)
            await node.restart()
            assert offsets_of(await node.read_all(node.engine.partition("t", 2))) == [0]
            assert await node.read_all(node.engine.partition("u", 0)) == []
            assert node.live_records() == 1

    asyncio.run(run())


def test_a_log_start_beyond_what_is_uploaded_survives_restarts(tmp_path: Path) -> None:
    async def run() -> None:
        async with Node(tmp_path) as node:
            await node.partition()
            await node.produce(first(node), *[make_batch([NOW_MS] * 2) for _ in range(3)])
            await node.uploader.flush()
            await node.produce(first(node), *[make_batch([NOW_MS] * 2, b"%d" % at) for at in range(5)])
            await node.controller.trim(first(node).topic_id, 0, 11)
            for _ in range(2):
                assert first(node).state.log_start_offset == 11
                assert offsets_of(await node.read_all(first(node))) == [10, 12, 14]
                await node.restart()
            await node.controller.trim(first(node).topic_id, 0, 16)
            await node.restart()
            state = first(node).state
            assert (state.log_start_offset, state.high_watermark, state.log_end_offset) == (16, 16, 16)
            assert await node.produce(first(node), make_batch()) == [16]
            await node.uploader.flush()
            assert node.live_records() == 0
            await node.restart()
            assert offsets_of(await node.read_all(first(node))) == [16]

    asyncio.run(run())


def test_data_goes_on_at_a_log_start_above_a_hole(tmp_path: Path) -> None:
    async def run() -> None:
        node = await Node(tmp_path, sim_seed=4).start()
        await node.partition()
        await node.controller.trim(first(node).topic_id, 0, 7)
        # A power cut takes what was there below the log start.
        await node.restart()
        assert await node.produce(first(node), make_batch(), make_batch()) == [7, 8]
        await node.restart()
        assert offsets_of(await node.read_all(first(node))) == [7, 8]
        assert await node.produce(first(node), make_batch()) == [9]
        await node.uploader.flush()
        node.forget_hot()
        assert offsets_of(await node.read_all(first(node))) == [7, 8, 9]
        await node.stop()

    asyncio.run(run())
