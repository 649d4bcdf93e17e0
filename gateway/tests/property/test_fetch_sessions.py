"""Fetch sessions against a model that does what Kafka does: look at every partition of the session at every poll.

The world is a few partitions whose watermark, log start and errors move at any time, also while a fetch waits, or reads
what is not in memory.
"""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tailrace_core.ids import NO_TOPIC_ID
from tailrace_gateway.kafka.fetch_sessions import FetchSession, FetchSessions, SessionPartition
from tailrace_gateway.kafka.schema.messages.fetch import EpochEndOffset, FetchPartition, PartitionData

PARTITIONS = 5
indexes = st.integers(0, PARTITIONS - 1)
OFFSET_OUT_OF_RANGE, UNKNOWN = 1, 3


class LogPartition:
    """A partition of the log, in which every record is a byte."""

    def __init__(self) -> None:
        self.high_watermark = self.log_start_offset = 0
        self.gone = False
        self.visibility_waiters: dict[Any, None] = {}


def look(partition: LogPartition, ask: FetchPartition, room: int) -> PartitionData:
    """What a fetch finds, as fetch.py does."""
    data = PartitionData(partition_index=ask.partition, high_watermark=-1, records=b"")
    if partition.gone:
        data.error_code = UNKNOWN
    elif not partition.log_start_offset <= ask.fetch_offset <= partition.high_watermark:
        data.error_code = OFFSET_OUT_OF_RANGE
    else:
        data.high_watermark = partition.high_watermark
        data.log_start_offset = partition.log_start_offset
        if ask.last_fetched_epoch == 0:
            data.diverging_epoch = EpochEndOffset(epoch=0, end_offset=1)
        else:
            data.records = b"x" * min(room, partition.high_watermark - ask.fetch_offset)
    return data


class KafkaSession:
    """Kafka's FetchSession and IncrementalFetchContext: an ordered map, gone through whole."""

    def __init__(self) -> None:
        self.asks: dict[int, FetchPartition] = {}
        self.cached: dict[int, tuple[int, int]] = {}
        self.epoch = 1

    def update(self, asks: list[FetchPartition], forgotten: list[int]) -> None:
        for ask in asks:
            self.asks[ask.partition] = ask
            self.cached.setdefault(ask.partition, (-1, -1))
        for index in forgotten:
            self.asks.pop(index, None)
            self.cached.pop(index, None)

    def answer(self, found: dict[int, PartitionData]) -> list[int]:
        told = []
        for index in list(self.asks):
            data = found[index]
            high_watermark, log_start_offset = self.cached[index]
            failed = data.error_code != 0 or data.diverging_epoch.epoch >= 0
            must = failed or data.records or data.high_watermark != high_watermark
            must = must or data.log_start_offset != log_start_offset
            self.cached[index] = (-1 if failed else data.high_watermark, data.log_start_offset)
            if must:
                told.append(index)
                if data.records:
                    self.asks[index] = self.asks.pop(index)
        return told


class Sessions(RuleBasedStateMachine):
    """One session, and the model of it."""

    def __init__(self) -> None:
        super().__init__()
        self.world = [LogPartition() for _ in range(PARTITIONS)]
        self.sessions = FetchSessions(1, lambda count: b"\1" * count)
        self.session: FetchSession | None = None
        self.model = KafkaSession()
        self.seen: list[tuple[SessionPartition, PartitionData]] = []
        self.waits = False
        self.reads: dict[int, PartitionData] | None = None
        """What was found by the fetch that reads what is not in memory."""
        self.missing = 0
        self.room = 0

    # --- what a waiting fetch is told

    def on_visible(self, size: int) -> None:
        self.missing -= size

    def on_partition_gone(self) -> None:
        self.missing = 0

    def on_session_lost(self) -> None:
        self.waits = False

    # --- the client

    @initialize(asked=st.lists(st.tuples(indexes, st.integers(0, 3)), min_size=1))
    def open(self, asked: list[tuple[int, int]]) -> None:
        asks = self.asks([(index, offset, -1) for index, offset in asked])
        self.session = self.sessions.open([("t", NO_TOPIC_ID, ask) for ask in asks], False, 0)
        assert self.session is not None
        self.model.update(asks, [])

    def asks(self, asked: list[tuple[int, int, int]]) -> list[FetchPartition]:
        return [
            FetchPartition(partition=index, fetch_offset=offset, partition_max_bytes=10, last_fetched_epoch=epoch)
            for index, offset, epoch in asked
        ]

    @precondition(lambda self: self.session is not None and not self.waits and self.reads is None)
    @rule(
        asked=st.lists(st.tuples(indexes, st.integers(0, 6), st.sampled_from([-1, -1, 0])), max_size=3),
        forgotten=st.lists(indexes, max_size=1),
        room=st.integers(1, 8),
        what=st.sampled_from(["answer", "wait", "read"]),
    )
    def poll(self, asked: list[tuple[int, int, int]], forgotten: list[int], room: int, what: str) -> None:
        assert self.session is not None
        asks = self.asks(asked)
        used = self.sessions.use(
            self.session.session_id,
            self.model.epoch,
            False,
            [("t", NO_TOPIC_ID, ask) for ask in asks],
            [("t", NO_TOPIC_ID, index) for index in forgotten],
            0,
        )
        self.model.update(asks, forgotten)
        assert (used is None) == (not self.model.asks)
        self.session = used
        if used is None:
            assert self.sessions.partition_count == len(self.sessions) == 0
            return
        self.model.epoch += 1
        self.room = room
        self.look_again()
        if what == "wait":
            self.waits = True
            self.missing = 1000
            used.park(self.seen, self)
            return
        used.settle(self.seen)
        if what == "read":
            self.reads = self.look_at_all()
        else:
            self.answer(self.look_at_all())

    def look_again(self) -> None:
        assert self.session is not None
        left = self.room
        self.seen = []
        for place in self.session.in_order():
            partition = self.world[place.ask.partition]
            place.source = None if partition.gone else partition
            data = look(partition, place.ask, left)
            left -= len(data.records or b"")
            self.seen.append((place, data))

    def look_at_all(self) -> dict[int, PartitionData]:
        left = self.room
        found = {}
        for index, ask in self.model.asks.items():
            found[index] = look(self.world[index], ask, left)
            left -= len(found[index].records or b"")
        return found

    def answer(self, found: dict[int, PartitionData]) -> None:
        assert self.session is not None
        expected = self.model.answer(found)
        told = list(self.session.answer(self.seen))
        assert [place.ask.partition for place, _ in told] == expected
        assert [data for _, data in told] == [found[index] for index in expected]

    @precondition(lambda self: self.waits)
    @rule()
    def time_is_up(self) -> None:
        assert self.session is not None
        self.look_again()
        self.session.waiting = None
        self.waits = False
        self.session.settle(self.seen)
        self.answer(self.look_at_all())

    @precondition(lambda self: self.reads is not None)
    @rule()
    def reading_is_done(self) -> None:
        found, self.reads = self.reads, None
        assert found is not None
        self.answer(found)

    # --- the world

    def tell(self, partition: LogPartition, size: int) -> None:
        for waiter in list(partition.visibility_waiters):
            waiter.on_visible(size)

    @rule(index=indexes, count=st.integers(1, 3))
    def append(self, index: int, count: int) -> None:
        partition = self.world[index]
        before = self.missing
        partition.high_watermark += count
        self.tell(partition, count)
        if self.waits and index in self.model.asks and not partition.gone:
            assert self.missing == before - count, "a fetch that waits counts every byte once"

    @rule(index=indexes)
    def move_log_start(self, index: int) -> None:
        partition = self.world[index]
        partition.log_start_offset = min(partition.log_start_offset + 1, partition.high_watermark)
        self.tell(partition, 0)

    @rule(index=indexes)
    def delete(self, index: int) -> None:
        partition = self.world[index]
        partition.gone = True
        for waiter in list(partition.visibility_waiters):
            waiter.on_partition_gone()
        assert not partition.visibility_waiters

    @rule(index=indexes)
    def make_anew(self, index: int) -> None:
        if self.world[index].gone:
            self.world[index] = LogPartition()

    # --- always

    @invariant()
    def what_is_not_ready_waits(self) -> None:
        if self.session is not None:
            for place in self.session.partitions.values():
                if place not in self.session.ready:
                    assert place.source is not None
                    assert place in place.source.visibility_waiters

    @invariant()
    def nothing_else_waits(self) -> None:
        places = [] if self.session is None else list(self.session.partitions.values())
        for partition in self.world:
            assert all(waiter in places for waiter in partition.visibility_waiters)


TestSessions = Sessions.TestCase
