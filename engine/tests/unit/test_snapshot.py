"""What an object keeps of a partition's state."""

import pytest
from engine_support import NOW_MS, make_batch

from tailrace_core.batch import read_header
from tailrace_core.errors import DataCorrupt
from tailrace_engine.log.epochs import LeaderEpochs
from tailrace_engine.log.producers import ProducerStates
from tailrace_engine.runtime import snapshot


def test_epochs_and_producers_below_the_offset_come_back() -> None:
    producers = ProducerStates()
    for at, offset in enumerate((5, 9, 14)):
        producers.apply(read_header(make_batch(producer=(3, 1, at))), offset, NOW_MS)
    epochs = LeaderEpochs([(1, 0), (4, 9), (6, 12)])
    found_epochs, found = snapshot.decode(snapshot.encode(epochs, producers, 12))
    assert found_epochs.entries == [(1, 0), (4, 9)]
    assert found is not None
    ((producer_id, state),) = found.items()
    assert producer_id == 3
    assert [batch.base_offset for batch in state.batches] == [5, 9]
    assert state.last_timestamp_ms == NOW_MS


def test_a_partition_without_producers_has_none() -> None:
    for producers in (None, ProducerStates()):
        epochs, found = snapshot.decode(snapshot.encode(LeaderEpochs([(2, 0)]), producers, 50))
        assert epochs.entries == [(2, 0)]
        assert found is None


def test_bytes_that_cannot_be_a_snapshot_are_refused() -> None:
    whole = snapshot.encode(LeaderEpochs([(1, 0), (4, 9)]), None, 12)
    for broken in (b"", whole[:3], whole[:-1], whole + b"\0", b"\xff" * 4 + whole[4:]):
        with pytest.raises(DataCorrupt):
            snapshot.decode(broken)
