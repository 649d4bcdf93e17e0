"""The cache of fetch sessions: ids, epochs, room, and what an unused session costs."""

from collections.abc import Iterator
from typing import Any

import pytest

from tailrace_core.errors import FetchSessionIdNotFound, FetchSessionTopicIdError, InvalidFetchSessionEpoch
from tailrace_core.ids import NO_TOPIC_ID
from tailrace_gateway.kafka.fetch_sessions import Asked, FetchSession, FetchSessions
from tailrace_gateway.kafka.schema.messages.fetch import FetchPartition, PartitionData

MINUTE_MS = 60_000


def numbers(*given: int) -> Any:
    """Random bytes that are not."""
    left: Iterator[int] = iter([*given, *range(1000, 9000)])
    return lambda count: next(left).to_bytes(count, "big")


def asked(*partitions: int, topic: str = "t") -> list[Asked]:
    return [(topic, NO_TOPIC_ID, FetchPartition(partition=index)) for index in partitions]


def open_session(sessions: FetchSessions, *partitions: int, now_ms: int = 0) -> FetchSession:
    session = sessions.open(asked(*partitions), False, now_ms)
    assert session is not None
    return session


def use(sessions: FetchSessions, session: FetchSession, *partitions: int, now_ms: int = 0) -> FetchSession | None:
    return sessions.use(session.session_id, session.epoch, False, asked(*partitions), (), now_ms)


class Log:
    """A partition of the log."""

    def __init__(self) -> None:
        self.visibility_waiters: dict[Any, None] = {}


class Waiting:
    """A fetch that waits."""

    def __init__(self) -> None:
        self.lost = 0

    def on_visible(self, size: int) -> None: ...

    def on_partition_gone(self) -> None: ...

    def on_session_lost(self) -> None:
        self.lost += 1


def test_ids_are_positive_and_not_in_use() -> None:
    sessions = FetchSessions(10, numbers(0, 0x8000_0000, 0x8000_0007, 7, 9))
    assert [open_session(sessions, 0).session_id, open_session(sessions, 0).session_id] == [7, 9]


def test_epochs_follow_each_other_and_wrap_to_1() -> None:
    sessions = FetchSessions(10, numbers())
    session = open_session(sessions, 0)
    assert session.epoch == 1
    use(sessions, session)
    assert session.epoch == 2
    session.epoch = 2**31 - 1
    use(sessions, session)
    assert session.epoch == 1
    assert sessions.is_current(session, 2**31 - 1)


def test_a_refused_request_changes_nothing() -> None:
    sessions = FetchSessions(10, numbers())
    session = open_session(sessions, 0)
    waiting = Waiting()
    session.park((), waiting)
    with pytest.raises(FetchSessionIdNotFound):
        sessions.use(session.session_id + 1, 1, False, asked(1), (), 0)
    for epoch in (2, -2):
        with pytest.raises(InvalidFetchSessionEpoch):
            sessions.use(session.session_id, epoch, False, asked(1), (), 0)
    with pytest.raises(FetchSessionTopicIdError):
        sessions.use(session.session_id, 1, True, asked(1), (), 0)
    assert (session.epoch, list(session.partitions), waiting.lost) == (1, [("t", 0)], 0)


def test_another_request_takes_the_session_over() -> None:
    sessions = FetchSessions(10, numbers())
    session = open_session(sessions, 0)
    use(sessions, session)
    waiting = Waiting()
    session.park((), waiting)
    use(sessions, session)
    assert waiting.lost == 1
    assert not sessions.is_current(session, 1)


def test_a_closed_session_is_current_for_nobody() -> None:
    sessions = FetchSessions(10, numbers())
    session = open_session(sessions, 0)
    use(sessions, session)
    sessions.close(session.session_id)
    assert not sessions.is_current(session, 1)
    sessions.close(session.session_id)


def test_a_full_cache_opens_nothing_while_all_are_young() -> None:
    sessions = FetchSessions(2, numbers())
    for _ in range(2):
        open_session(sessions, 0)
    assert sessions.open(asked(0, 1, 2), False, 2 * MINUTE_MS) is None
    assert FetchSessions(0, numbers()).open(asked(0), False, 0) is None


def test_the_session_that_is_unused_for_longer_than_two_minutes_goes_first() -> None:
    sessions = FetchSessions(2, numbers())
    first, second = open_session(sessions, 0, 1, 2), open_session(sessions, 0)
    use(sessions, second, now_ms=MINUTE_MS)
    use(sessions, first, now_ms=MINUTE_MS + 1)
    assert sessions.open(asked(0), False, 3 * MINUTE_MS) is None
    assert sessions.open(asked(0), False, 3 * MINUTE_MS + 1) is not None
    assert sessions.evictions == 1
    with pytest.raises(FetchSessionIdNotFound):
        use(sessions, second)
    assert use(sessions, first) is first


def test_a_session_of_age_gives_way_to_a_larger_one() -> None:
    sessions = FetchSessions(3, numbers())
    small, large, young = (open_session(sessions, *range(size)) for size in (2, 3, 1))
    for session in (small, large):
        use(sessions, session, now_ms=2 * MINUTE_MS + 1)
    use(sessions, young, now_ms=2 * MINUTE_MS)
    assert sessions.open(asked(0), False, 2 * MINUTE_MS + 2) is None
    # Of equal size: Kafka's comparison ends with the session ids, and a proposal has 0.
    assert sessions.open(asked(0, 1), False, 2 * MINUTE_MS + 2) is None
    use(sessions, small, 5, 6, 7, now_ms=2 * MINUTE_MS + 3)
    assert sessions.open(asked(0, 1, 2, 3), False, 2 * MINUTE_MS + 4) is not None
    with pytest.raises(FetchSessionIdNotFound):
        use(sessions, large)
    assert use(sessions, small) is small


def test_the_partitions_of_all_sessions_are_bounded() -> None:
    sessions = FetchSessions(10, numbers(), partitions_max=4)
    session = open_session(sessions, 0, 1, 1)
    assert sessions.partition_count == 2
    assert sessions.open(asked(0, 1, 2), False, 0) is None
    other = open_session(sessions, 0, 1)
    with pytest.raises(FetchSessionIdNotFound):
        use(sessions, other, 2)
    assert (sessions.partition_count, len(sessions)) == (2, 1)
    assert use(sessions, session, 2, 3) is session
    assert sessions.partition_count == 4


def test_an_unused_session_is_told_once() -> None:
    sessions = FetchSessions(10, numbers())
    session = open_session(sessions, 0)
    log = Log()
    (place,) = session.in_order()
    place.source = log
    session.park([(place, PartitionData(high_watermark=0, log_start_offset=0))], Waiting())
    session.waiting = None
    assert list(log.visibility_waiters) == [place]
    place.on_visible(10)
    assert not log.visibility_waiters
    assert list(session.ready) == [place]


def test_what_comes_between_the_look_and_the_answer_is_news() -> None:
    sessions = FetchSessions(10, numbers())
    session = open_session(sessions, 0)
    log = Log()
    (place,) = session.in_order()
    place.source = log
    seen = [(place, PartitionData(high_watermark=0, log_start_offset=0))]
    session.settle(seen)
    assert not session.ready
    for waiter in list(log.visibility_waiters):
        waiter.on_visible(10)
    assert list(session.answer(seen)) == seen
    assert session.in_order() == [place]


def test_a_closed_or_evicted_session_waits_nowhere() -> None:
    sessions = FetchSessions(1, numbers())
    session = open_session(sessions, 0)
    log, waiting = Log(), Waiting()
    (place,) = session.in_order()
    place.source = log
    session.park([(place, PartitionData())], waiting)
    assert log.visibility_waiters
    assert sessions.open(asked(0), False, 3 * MINUTE_MS) is not None
    assert not log.visibility_waiters
    assert waiting.lost == 1


def test_a_session_knows_topics_by_id_or_by_name() -> None:
    sessions = FetchSessions(10, numbers())
    by_id = sessions.open([("", b"1" * 16, FetchPartition()), ("", b"2" * 16, FetchPartition())], True, 0)
    assert by_id is not None
    assert len(by_id.partitions) == 2
    assert sessions.use(by_id.session_id, 1, True, [], [("", b"1" * 16, 0)], 0) is by_id
    assert list(by_id.partitions) == [(b"2" * 16, 0)]
