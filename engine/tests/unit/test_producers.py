"""Idempotence: duplicates, gaps, epochs, wrap, expiry, snapshots."""

import pytest
from engine_support import NOW_MS, make_batch

from tailrace_core.batch import BatchHeader, read_header
from tailrace_core.errors import DataCorrupt, InvalidProducerEpoch, OutOfOrderSequence
from tailrace_engine.log.producers import BATCHES_KEPT, AppendedBatch, ProducerStates

LARGEST = 2**31 - 1


def header(sequence: int, count: int = 1, epoch: int = 0, producer_id: int = 7) -> BatchHeader:
    return read_header(make_batch([NOW_MS] * count, producer=(producer_id, epoch, sequence)))


def filled(*batches: tuple[int, int], epoch: int = 0) -> ProducerStates:
    """Batches of (sequence, count), one after another from offset 100 on."""
    states = ProducerStates()
    offset = 100
    for sequence, count in batches:
        states.apply(header(sequence, count, epoch), offset, NOW_MS)
        offset += count
    return states


def test_an_unknown_producer_may_begin_anywhere() -> None:
    assert ProducerStates().check(header(12345, epoch=3)) is None


def test_the_next_sequence_follows_the_last() -> None:
    states = filled((0, 3))
    assert states.check(header(3)) is None
    for sequence in (1, 2, 4, 100, LARGEST):
        with pytest.raises(OutOfOrderSequence):
            states.check(header(sequence))


def test_the_last_five_batches_are_known_again() -> None:
    states = filled(*[(at, 1) for at in range(8)])
    assert BATCHES_KEPT == 5
    for sequence in range(3, 8):
        original = states.check(header(sequence))
        assert original is not None
        assert (original.base_offset, original.end_offset) == (100 + sequence, 101 + sequence)
    with pytest.raises(OutOfOrderSequence):
        states.check(header(2))


def test_a_batch_that_only_overlaps_is_no_duplicate() -> None:
    states = filled((0, 3))
    for sequence, count in ((0, 2), (0, 4), (1, 2)):
        with pytest.raises(OutOfOrderSequence):
            states.check(header(sequence, count))


def test_sequences_go_on_at_zero_after_the_largest() -> None:
    states = filled((LARGEST - 1, 2))
    assert states.check(header(0)) is None
    with pytest.raises(OutOfOrderSequence):
        states.check(header(1))
    across = filled((LARGEST, 3))
    assert across.check(header(LARGEST, 3)) == AppendedBatch(LARGEST, 1, 100, NOW_MS)
    assert across.check(header(LARGEST, 3)).end_offset == 103  # type: ignore[union-attr]
    assert across.check(header(2)) is None


def test_an_older_epoch_is_refused_and_a_newer_begins_at_zero() -> None:
    states = filled((0, 1), (1, 1), epoch=4)
    with pytest.raises(InvalidProducerEpoch):
        states.check(header(2, epoch=3))
    with pytest.raises(InvalidProducerEpoch):
        states.check(header(0, epoch=3))
    with pytest.raises(OutOfOrderSequence):
        states.check(header(2, epoch=5))
    assert states.check(header(0, epoch=5)) is None
    states.apply(header(0, epoch=5), 102, NOW_MS)
    with pytest.raises(InvalidProducerEpoch):
        states.check(header(1, epoch=4))
    original = states.check(header(0, epoch=5))
    assert original is not None
    assert original.base_offset == 102


def test_producers_do_not_know_of_one_another() -> None:
    states = filled((0, 1))
    assert states.check(header(55, producer_id=8)) is None
    states.apply(header(55, producer_id=8), 101, NOW_MS)
    assert states.check(header(1)) is None
    assert len(states) == 2


def test_producers_expire_after_their_last_batch() -> None:
    states = filled((0, 1))
    states.apply(header(0, producer_id=8), 101, NOW_MS + 50)
    assert states.expire(states.items(), NOW_MS + 99, 100) == 0
    assert states.expire(states.items(), NOW_MS + 100, 100) == 1
    assert [producer_id for producer_id, _ in states.items()] == [8]
    assert states.check(header(9)) is None


def test_a_snapshot_is_the_state_below_an_offset() -> None:
    states = filled(*[(at, 2) for at in range(0, 8, 2)])
    states.apply(header(0, producer_id=8, epoch=2), 108, NOW_MS)
    restored = ProducerStates()
    restored.restore(states.snapshot(104))
    assert len(restored) == 1
    (found,) = restored.items()
    assert found[0] == 7
    assert [batch.base_offset for batch in found[1].batches] == [100, 102]
    everything = ProducerStates()
    everything.restore(states.snapshot(1 << 40))
    assert everything.snapshot(1 << 40) == states.snapshot(1 << 40)
    assert everything.check(header(0, producer_id=8, epoch=2)) is not None
    assert everything.check(header(6, 2)) is not None
    assert states.snapshot(0) == b""
    nothing = ProducerStates()
    nothing.restore(b"")
    assert len(nothing) == 0


def test_a_snapshot_that_was_cut_or_grew_is_refused() -> None:
    snapshot = filled((0, 1), (1, 1)).snapshot(200)
    for broken in (snapshot[:-1], snapshot[:3], snapshot + b"\0", b"\xff\xff\xff\xff" + snapshot[4:]):
        with pytest.raises(DataCorrupt):
            ProducerStates().restore(broken)
