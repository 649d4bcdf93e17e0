"""Receive buffers: what the pool gives, and where bytes of incomplete frames wait."""

import struct

import pytest

from tailrace_gateway.kafka.receive import FrameSizeError, Inbox, ReceivePool

KIB = 1 << 10
MIB = 1 << 20


class Feed:
    """Plays the socket of one inbox: bytes arrive when the inbox has room and is not stalled."""

    def __init__(self, pool: ReceivePool, shared: bytearray, frame_bytes_max: int = 100 * MIB) -> None:
        self.pool = pool
        self.inbox = Inbox(shared, pool, frame_bytes_max)
        self.frames: list[bytes] = []
        self.stalled = False

    def give(self, data: bytes) -> int:
        """Let data arrive until the inbox stalls; how much of it was taken."""
        taken = 0
        while taken < len(data) and not self.stalled:
            room = self.inbox.writable()
            assert len(room), "a read needs somewhere to go"
            count = min(len(room), len(data) - taken)
            room[:count] = data[taken : taken + count]
            taken += count
            self.take(self.inbox.on_received(count))
        return taken

    def take(self, view: memoryview) -> None:
        inbox = self.inbox
        while (size := inbox.next_frame_size(view)) >= 0:
            start = inbox.start + 4
            self.frames.append(bytes(view[start : start + size]))
            inbox.start = start + size
        if not inbox.keep():
            self.stalled = True
            self.pool.stall(self)

    def on_receive_room(self) -> None:
        self.stalled = False
        self.take(self.inbox.view())


def frame(size: int, fill: int = 1) -> bytes:
    return struct.pack(">i", size) + bytes([fill]) * size


def test_whole_frames_cost_no_buffer() -> None:
    pool = ReceivePool(MIB)
    feed = Feed(pool, bytearray(64 * KIB))
    feed.give(frame(10) + frame(8) + frame(20))
    assert [len(one) for one in feed.frames] == [10, 8, 20]
    assert pool.bytes_used == 0
    assert feed.inbox.buffer is None


def test_an_incomplete_frame_waits_in_a_buffer_of_its_own_and_gives_it_back() -> None:
    pool = ReceivePool(MIB)
    feed = Feed(pool, bytearray(64 * KIB))
    whole = frame(5 * KIB, 7)
    feed.give(whole[:1000])
    assert 0 < pool.bytes_used <= 64 * KIB
    feed.give(whole[1000:])
    assert feed.frames == [whole[4:]]
    assert pool.bytes_used == 0


@pytest.mark.parametrize("size", [0, 7, -1, -(2**31), 1 * MIB + 1, 2**31 - 1])
def test_a_size_that_no_frame_may_have_is_refused(size: int) -> None:
    feed = Feed(ReceivePool(MIB), bytearray(64 * KIB), frame_bytes_max=MIB)
    with pytest.raises(FrameSizeError, match=str(size)):
        feed.give(struct.pack(">i", size))


def test_a_size_reserves_nothing_before_its_bytes_arrive() -> None:
    pool = ReceivePool(100 * MIB)
    feeds = [Feed(pool, bytearray(64 * KIB)) for _ in range(10)]
    for feed in feeds:
        feed.give(struct.pack(">i", 90 * MIB) + b"x")
    assert pool.bytes_used <= 10 * 2 * MIB


def test_a_buffer_grows_until_the_frame_is_there() -> None:
    pool = ReceivePool(100 * MIB)
    feed = Feed(pool, bytearray(64 * KIB))
    whole = frame(20 * MIB, 3)
    assert feed.give(whole) == len(whole)
    assert feed.frames == [whole[4:]]
    assert pool.bytes_used == 0


@pytest.mark.parametrize("first", [1 * MIB, 3 * MIB // 2, 2 * MIB - 6, 3 * MIB])
def test_pipelined_frames_larger_than_the_first_buffer_always_have_room_to_arrive(first: int) -> None:
    feed = Feed(ReceivePool(100 * MIB), bytearray(64 * KIB))
    sizes = [first, 3 * MIB, 5 * MIB, first, 8 * MIB]
    data = b"".join(frame(size, index + 1) for index, size in enumerate(sizes))
    assert feed.give(data) == len(data)
    assert [(len(one), one[0]) for one in feed.frames] == [(size, index + 1) for index, size in enumerate(sizes)]


def test_buffers_are_used_again() -> None:
    pool = ReceivePool(MIB)
    first = pool.take(70 * KIB)
    assert first is not None
    pool.give(first)
    assert pool.take(100 * KIB) is first


def holder(pool: ReceivePool) -> bytearray:
    """What some other connection holds, which is not waiting."""
    buffer = pool.take(64 * KIB, must=True)
    assert buffer is not None
    return buffer


def test_beyond_the_budget_an_inbox_stalls_and_goes_on_when_another_is_done() -> None:
    pool = ReceivePool(256 * KIB)
    shared = bytearray(64 * KIB)
    one, two = Feed(pool, shared), Feed(pool, shared)
    holder(pool)
    first, second = frame(100 * KIB, 1), frame(100 * KIB, 2)
    one.give(first[: 90 * KIB])
    taken = two.give(second[: 10 * KIB])
    taken += two.give(second[taken:])
    assert two.stalled
    assert taken < len(second)
    assert pool.bytes_used <= pool.budget_bytes
    one.give(first[90 * KIB :])
    assert one.frames == [first[4:]]
    pool.wake()
    assert not two.stalled
    two.give(second[taken:])
    assert two.frames == [second[4:]]
    assert pool.bytes_used == 64 * KIB


def test_where_all_wait_for_room_one_goes_on_beyond_the_budget_and_then_the_next() -> None:
    pool = ReceivePool(64 * KIB)
    shared = bytearray(64 * KIB)
    feeds = [Feed(pool, shared) for _ in range(4)]
    whole = frame(9 * MIB)
    taken = [feed.give(whole[: 10 * KIB]) for feed in feeds]
    for place, feed in enumerate(feeds):
        taken[place] += feed.give(whole[taken[place] :])
    assert taken.count(len(whole)) == 1
    for _ in range(3 * len(feeds)):
        pool.wake()
        for place, feed in enumerate(feeds):
            taken[place] += feed.give(whole[taken[place] :])
    assert all(feed.frames == [whole[4:]] for feed in feeds)
    assert pool.bytes_used == 0


def test_one_that_holds_the_whole_budget_is_woken_when_the_others_are_gone() -> None:
    pool = ReceivePool(64 * KIB)
    feed = Feed(pool, bytearray(64 * KIB))
    other = holder(pool)
    whole = frame(20 * MIB)
    taken = feed.give(whole)
    assert feed.stalled
    pool.give(other)
    pool.wake()
    assert not feed.stalled
    feed.give(whole[taken:])
    assert feed.frames == [whole[4:]]


def test_one_that_left_is_not_woken() -> None:
    pool = ReceivePool(64 * KIB)
    feed = Feed(pool, bytearray(64 * KIB))
    other = holder(pool)
    feed.give(frame(20 * MIB))
    assert feed.stalled
    pool.forget(feed)
    feed.inbox.release()
    pool.give(other)
    pool.wake()
    assert feed.stalled
    assert pool.bytes_used == 0
