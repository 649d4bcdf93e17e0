"""Offsets of one partition."""

import pytest

from tailrace_core.errors import FencedLeaderEpoch, OffsetOutOfRange, UnknownLeaderEpoch
from tailrace_engine.log.state import LogState


def test_appends_get_consecutive_offsets() -> None:
    state = LogState(3)
    assert [state.apply_append(count) for count in (1, 5, 2)] == [0, 1, 6]
    assert (state.high_watermark, state.log_end_offset) == (0, 8)


def test_the_watermark_only_rises_and_never_passes_the_end() -> None:
    state = LogState(3)
    state.apply_append(10)
    assert state.on_durable(4)
    assert not state.on_durable(4)
    assert not state.on_durable(3)
    assert state.high_watermark == 4
    with pytest.raises(AssertionError):
        state.on_durable(11)


def test_leader_epochs_are_compared() -> None:
    state = LogState(5)
    for epoch in (-1, 5):
        state.check_leader_epoch(epoch)
    with pytest.raises(FencedLeaderEpoch):
        state.check_leader_epoch(4)
    with pytest.raises(UnknownLeaderEpoch):
        state.check_leader_epoch(6)


def test_fetches_are_allowed_from_the_start_to_the_end() -> None:
    state = LogState(0, log_start_offset=3, high_watermark=5, log_end_offset=9)
    for offset in range(3, 10):
        state.check_fetch_offset(offset)
    for offset in (-1, 0, 2, 10):
        with pytest.raises(OffsetOutOfRange):
            state.check_fetch_offset(offset)


def test_the_log_start_only_rises() -> None:
    state = LogState(0, log_start_offset=3, high_watermark=5, log_end_offset=9)
    assert not state.advance_log_start(3)
    assert not state.advance_log_start(1)
    assert state.advance_log_start(5)
    assert state.log_start_offset == 5
