"""However TCP cuts a stream of frames, and whoever else needs room, each frame comes out once, whole and in order."""

import struct
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from tailrace_gateway.kafka.receive import Inbox, ReceivePool

SHARED_BYTES = 1 << 16
BUDGET_BYTES = 3 << 16

sizes = st.lists(
    st.one_of(st.integers(0, 40), st.integers(60_000, 70_000), st.integers(100_000, 300_000)), min_size=1, max_size=8
)
cuts = st.lists(st.one_of(st.integers(1, 9), st.integers(1, 70_000), st.just(SHARED_BYTES)), min_size=1, max_size=12)


class Stream:
    """One connection: frames on their way in, cut as the test says, and what came out."""

    def __init__(self, pool: ReceivePool, shared: bytearray, number: int, sizes: list[int], cuts: list[int]) -> None:
        self.pool = pool
        self.inbox = Inbox(shared, pool, 1 << 20)
        self.sent = [struct.pack(">II", number, place) + bytes([place + 1]) * size for place, size in enumerate(sizes)]
        self.data = b"".join(struct.pack(">i", len(one)) + one for one in self.sent)
        self.position = 0
        self.cuts = list(cuts)
        self.got: list[bytes] = []
        self.stalled = False

    @property
    def at_end(self) -> bool:
        return self.position == len(self.data)

    def read(self) -> None:
        """One read, as long as the next cut and the room allow."""
        room = self.inbox.writable()
        assert len(room)
        cut = self.cuts.pop() if self.cuts else SHARED_BYTES
        count = min(len(room), cut, len(self.data) - self.position)
        room[:count] = self.data[self.position : self.position + count]
        self.position += count
        self.take(self.inbox.on_received(count))

    def take(self, view: memoryview) -> None:
        inbox = self.inbox
        while (size := inbox.next_frame_size(view)) >= 0:
            start = inbox.start + 4
            self.got.append(bytes(view[start : start + size]))
            inbox.start = start + size
        if not inbox.keep():
            self.stalled = True
            self.pool.stall(self)

    def on_receive_room(self) -> None:
        self.stalled = False
        self.take(self.inbox.view())


@given(plans=st.lists(st.tuples(sizes, cuts), min_size=1, max_size=4), seed=st.integers(0, 2**32))
def test_frames_are_neither_lost_nor_doubled_nor_reordered(plans: list[tuple[list[int], list[int]]], seed: int) -> None:
    turns = Random(seed)
    pool = ReceivePool(BUDGET_BYTES)
    shared = bytearray(SHARED_BYTES)
    streams = [Stream(pool, shared, number, *plan) for number, plan in enumerate(plans)]
    while open_streams := [stream for stream in streams if not stream.at_end]:
        able = [stream for stream in open_streams if not stream.stalled]
        assert able, "somebody can always go on"
        turns.choice(able).read()
        pool.wake()
    for stream in streams:
        assert stream.got == stream.sent
    assert pool.bytes_used == 0
