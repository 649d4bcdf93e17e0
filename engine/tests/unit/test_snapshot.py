"""What an object keeps of a partition's state."""

import asyncio

import pytest
from engine_support import NOW_MS, make_batch

from tailrace_core.batch import read_header
from tailrace_core.errors import DataCorrupt
from tailrace_engine.log.epochs import LeaderEpochs
from tailrace_engine.log.producers import ProducerStates
from tailrace_engine.runtime import snapshot


def encode(epochs: LeaderEpochs, producers: ProducerStates | None, end_offset: int) -> bytes:
    return asyncio.run(snapshot.encode(epochs, producers, end_offset))


def test_epochs_and_producers_below_the_offset_come_back() -> None:
    producers = ProducerStates()
    for at, offset in enumerate((5, 9, 14)):
        producers.apply(read_header(make_batch(producer=(3, 1, at))), offset, NOW_MS)
    epochs = LeaderEpochs([(1, 0), (4, 9), (6, 12)])
    found_epochs, found = snapshot.decode(encode(epochs, producers, 12))
    assert found_epochs.entries == [(1, 0), (4, 9)]
    assert found is not None
    ((producer_id, state),) = found.items()
    assert producer_id == 3
    assert [batch.base_offset for batch in state.batches] == [5, 9]
    assert state.last_timestamp_ms == NOW_MS


def test_a_partition_without_producers_has_none() -> None:
    for producers in (None, ProducerStates()):
        epochs, found = snapshot.decode(encode(LeaderEpochs([(2, 0)]), producers, 50))
        assert epochs.entries == [(2, 0)]
        assert found is None


def test_bytes_that_cannot_be_a_snapshot_are_refused() -> None:
    whole = encode(LeaderEpochs([(1, 0), (4, 9)]), None, 12)
    for broken in (b"", whole[:3], whole[:-1], whole + b"\0", b"\xff" * 4 + whole[4:]):
        with pytest.raises(DataCorrupt):
            snapshot.decode(broken)


def test_others_run_while_many_producers_are_written_and_what_they_append_is_left_out() -> None:
    producers = ProducerStates()
    for producer_id in range(3_000):
        producers.apply(read_header(make_batch(producer=(producer_id, 0, 0))), producer_id, NOW_MS)

    async def scenario() -> tuple[bytes, int]:
        writing = asyncio.create_task(snapshot.encode(LeaderEpochs([(1, 0)]), producers, 3_000))
        turns = 0
        while not writing.done():
            offset = 3_000 + 2 * turns
            producers.apply(read_header(make_batch(producer=(2_900, 0, turns + 1))), offset, NOW_MS)
            producers.apply(read_header(make_batch(producer=(9_000 + turns, 0, 0))), offset + 1, NOW_MS)
            turns += 1
            await asyncio.sleep(0)
        return writing.result(), turns

    encoded, turns = asyncio.run(scenario())
    assert turns > 3
    _, found = snapshot.decode(encoded)
    assert found is not None
    assert {producer_id: [batch.base_offset for batch in state.batches] for producer_id, state in found.items()} == {
        producer_id: [producer_id] for producer_id in range(3_000) if producer_id != 2_900 or turns < 5
    }
