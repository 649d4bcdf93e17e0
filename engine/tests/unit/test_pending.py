"""What waits for the high watermark."""

from tailrace_engine.log.pending import PendingAppends


def test_waiters_are_released_in_the_order_of_their_offsets() -> None:
    pending: PendingAppends[str] = PendingAppends()
    for end, name in ((3, "a"), (5, "b"), (9, "c"), (5, "duplicate of b"), (3, "duplicate of a")):
        pending.add(end, name)
    assert pending.release(2) == []
    assert pending.release(5) == ["a", "duplicate of a", "b", "duplicate of b"]
    assert pending.release(5) == []
    assert len(pending) == 1
    assert pending.release(100) == ["c"]


def test_everything_that_waits_can_be_failed() -> None:
    pending: PendingAppends[int] = PendingAppends()
    for end in (4, 2, 7):
        pending.add(end, end)
    assert pending.fail_all() == [2, 4, 7]
    assert pending.fail_all() == pending.release(100) == []
