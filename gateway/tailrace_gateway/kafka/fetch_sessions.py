"""Incremental fetch sessions (KIP-227): what a client asks for is kept here, so that it only has to say what changes.

A session is opened by a full fetch (epoch 0) and used by requests whose epochs follow each other: 1, 2, … 2^31-1, 1.
An answer then names only partitions that have something to tell: records, an error, a diverging epoch, or another high
watermark or log start than the client was told last. Partitions that gave records move to the end, so that none
starves (Kafka's FetchSession, IncrementalFetchContext).

A poll of a session costs what its *ready* partitions cost, not what the session holds. A partition is ready while there
may be something to tell of it. Once there is not, it waits with the partition of the log (`visibility_waiters`), whose
next event makes it ready again; it then leaves that place unless a fetch of the session waits for more. So a session
that nobody uses any more costs an append once, not each time.

The cache holds slots_max sessions. When it is full, a new one takes the place of the session that was used longest ago
if that was more than 120 s ago; else that of the smallest session that has lived for longer than 120 s, if the new one
is larger (FetchSessionCacheShard.tryEvict; there are no followers' sessions here, which have precedence in Kafka).
The partitions of all sessions together are bounded too; Kafka bounds the sessions only. Where there is no room, none is
opened: the client goes on with full fetches.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any, Final, Protocol, TypeAlias

from tailrace_core.errors import FetchSessionIdNotFound, FetchSessionTopicIdError, InvalidFetchSessionEpoch
from tailrace_core.ids import TopicId
from tailrace_core.limits import FETCH_SESSION_EVICTION_MS, FETCH_SESSION_PARTITIONS_MAX
from tailrace_gateway.kafka.schema.messages.fetch import FetchPartition, PartitionData

NO_SESSION: Final = 0
FULL_EPOCH: Final = 0
"""A full fetch, which opens a session."""
FINAL_EPOCH: Final = -1
"""A full fetch without a session; closes the one it names."""
_EPOCH_MAX: Final = (1 << 31) - 1
_UNTOLD: Final = -1

PartitionKey: TypeAlias = tuple[str | TopicId, int]
Asked: TypeAlias = tuple[str, TopicId, FetchPartition]
"""Topic name, topic id, and what is asked of the partition. One of the first two is empty."""


class Source(Protocol):
    """A partition of the log, as far as a session needs it."""

    @property
    def visibility_waiters(self) -> dict[Any, None]: ...


class WaitingFetch(Protocol):
    """The fetch of a session that waits for more."""

    def on_visible(self, size: int) -> None:
        """size more bytes are there."""

    def on_partition_gone(self) -> None:
        """A partition of the session can no longer be read."""

    def on_session_lost(self) -> None:
        """The session was closed, or another request has taken it over."""


class SessionPartition:
    """One partition of a session; what waits in the log's partition for its next event."""

    __slots__ = (
        "ask",
        "high_watermark",
        "log_start_offset",
        "sequence",
        "session",
        "source",
        "topic_id",
        "topic_name",
    )

    def __init__(self, session: "FetchSession", asked: Asked, sequence: int) -> None:
        self.session = session
        self.topic_name, self.topic_id, self.ask = asked
        self.sequence = sequence
        """Its place in the session's order."""
        self.high_watermark = self.log_start_offset = _UNTOLD
        """What the client was told last."""
        self.source: Source | None = None
        """Once it was found."""

    def tells(self, data: PartitionData) -> bool:
        """Whether the client has to be told of this."""
        return (
            bool(data.records)
            or data.error_code != 0
            or data.high_watermark != self.high_watermark
            or data.log_start_offset != self.log_start_offset
            or data.diverging_epoch.epoch >= 0
            or data.preferred_read_replica >= 0
        )

    def told(self, data: PartitionData) -> None:
        """The client gets this. After an error the partition is told of again, whatever comes."""
        failed = data.error_code != 0 or data.diverging_epoch.epoch >= 0
        self.high_watermark = _UNTOLD if failed else data.high_watermark
        self.log_start_offset = data.log_start_offset

    def is_settled(self, data: PartitionData) -> bool:
        """Whether there can be nothing new of it before the log's partition says so."""
        return (
            data.error_code == 0
            and data.diverging_epoch.epoch < 0
            and self.ask.fetch_offset >= data.high_watermark
            and self.source is not None
        )

    # --- told by the log's partition

    def on_visible(self, size: int) -> None:
        session = self.session
        session.ready[self] = None
        if session.waiting is not None:
            session.waiting.on_visible(size)
        else:
            self.leave()

    def on_partition_gone(self) -> None:
        self.leave()
        self.source = None
        session = self.session
        session.ready[self] = None
        if session.waiting is not None:
            session.waiting.on_partition_gone()

    def stay(self) -> None:
        """Be told of the next event."""
        if self.source is not None:
            self.source.visibility_waiters[self] = None

    def leave(self) -> None:
        """Be told of nothing any more."""
        if self.source is not None:
            self.source.visibility_waiters.pop(self, None)


_sequence_of: Final = attrgetter("sequence")


class FetchSession:
    """See the module. `epoch` is the one that the next request has to carry."""

    __slots__ = (
        "_next_sequence",
        "by_topic_id",
        "created_ms",
        "epoch",
        "eviction_key",
        "last_used_ms",
        "partitions",
        "ready",
        "session_id",
        "waiting",
    )

    def __init__(self, session_id: int, by_topic_id: bool, now_ms: int) -> None:
        self.session_id = session_id
        self.by_topic_id = by_topic_id
        """Whether requests name topics by id (v13+)."""
        self.epoch = 1
        self.created_ms = self.last_used_ms = now_ms
        self.eviction_key: tuple[int, int] | None = None
        """Its place among the sessions that may be evicted, smallest first: size and session id."""
        self.partitions: dict[PartitionKey, SessionPartition] = {}
        self.ready: dict[SessionPartition, None] = {}
        """Those that there may be something to tell of. Every other one waits in its source."""
        self.waiting: WaitingFetch | None = None
        self._next_sequence = 0

    def key(self, topic_name: str, topic_id: TopicId, partition: int) -> PartitionKey:
        """How the session knows a partition."""
        return (topic_id if self.by_topic_id else topic_name, partition)

    def ask(self, asked: Iterable[Asked]) -> None:
        """Add partitions at the end, or change what is asked of those that are there."""
        for each in asked:
            key = self.key(each[0], each[1], each[2].partition)
            partition = self.partitions.get(key)
            if partition is None:
                partition = self.partitions[key] = SessionPartition(self, each, self._sequence())
            else:
                partition.ask = each[2]
            self.ready[partition] = None

    def forget(self, keys: Iterable[PartitionKey]) -> None:
        """Remove partitions; those that are not there are passed over."""
        for key in keys:
            partition = self.partitions.pop(key, None)
            if partition is not None:
                self.ready.pop(partition, None)
                partition.leave()

    def in_order(self) -> list[SessionPartition]:
        """The ready partitions, in the session's order."""
        return sorted(self.ready, key=_sequence_of)

    def park(self, seen: Iterable[tuple[SessionPartition, PartitionData]], waiting: WaitingFetch) -> None:
        """What was seen of the ready partitions is too little: waiting is told of more."""
        for partition, data in seen:
            partition.stay()
            if partition.is_settled(data) and not partition.tells(data):
                self.ready.pop(partition, None)
        self.waiting = waiting

    def settle(self, seen: Iterable[tuple[SessionPartition, PartitionData]]) -> None:
        """What was seen of the ready partitions is answered, at once or later: what comes from now on is news."""
        for partition, data in seen:
            if partition.is_settled(data):
                partition.stay()
                self.ready.pop(partition, None)

    def answer(
        self, seen: Iterable[tuple[SessionPartition, PartitionData]]
    ) -> Iterator[tuple[SessionPartition, PartitionData]]:
        """Of what was seen of the ready partitions, what the answer has to tell; the client is taken to get it."""
        for partition, data in seen:
            if partition.tells(data):
                partition.told(data)
                if data.records:
                    partition.sequence = self._sequence()
                yield partition, data

    def advance(self) -> None:
        """A request with the expected epoch has come."""
        self.epoch = self.epoch + 1 if self.epoch < _EPOCH_MAX else 1

    def lose(self) -> None:
        """Another request has come, or the session goes: the fetch that waits is answered."""
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            waiting.on_session_lost()

    def _sequence(self) -> int:
        self._next_sequence += 1
        return self._next_sequence


class FetchSessions:
    """All sessions of a broker."""

    def __init__(
        self,
        slots_max: int,
        random_bytes: Callable[[int], bytes],
        *,
        eviction_ms: int = FETCH_SESSION_EVICTION_MS,
        partitions_max: int = FETCH_SESSION_PARTITIONS_MAX,
    ) -> None:
        self.slots_max = slots_max
        self.evictions = 0
        self.partition_count = 0
        """Of all sessions."""
        self._random_bytes = random_bytes
        self._eviction_ms = eviction_ms
        self._partitions_max = partitions_max
        self._sessions: dict[int, FetchSession] = {}
        """Longest unused first."""
        self._evictable: list[tuple[int, int]] = []
        """Eviction keys of the sessions that were older than eviction_ms when last used, sorted."""

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, asked: Sequence[Asked], by_topic_id: bool, now_ms: int) -> FetchSession | None:
        """A new session of these partitions, all of them ready; None where there is no room for it."""
        session = FetchSession(NO_SESSION, by_topic_id, now_ms)
        session.ask(asked)
        size = len(session.partitions)
        if self.partition_count + size > self._partitions_max or not self._make_room(size, now_ms):
            return None
        while session.session_id == NO_SESSION or session.session_id in self._sessions:
            session.session_id = int.from_bytes(self._random_bytes(4), "big") & _EPOCH_MAX
        self._sessions[session.session_id] = session
        self.partition_count += size
        return session

    def use(
        self,
        session_id: int,
        epoch: int,
        by_topic_id: bool,
        asked: Sequence[Asked],
        forgotten: Iterable[tuple[str, TopicId, int]],
        now_ms: int,
    ) -> FetchSession | None:
        """The session of an incremental fetch, with the request's changes made; None when it is empty now, and closed.

        Raises FetchSessionIdNotFound, also for a session that may not grow so far and is closed,
        InvalidFetchSessionEpoch and FetchSessionTopicIdError.
        """
        session = self._sessions.get(session_id)
        if session is None:
            raise FetchSessionIdNotFound(f"there is no fetch session {session_id}")
        if session.epoch != epoch:
            raise InvalidFetchSessionEpoch(f"fetch session {session_id} is at epoch {session.epoch}, not {epoch}")
        if session.by_topic_id != by_topic_id:
            raise FetchSessionTopicIdError(f"fetch session {session_id} does not change how it names topics")
        session.lose()
        before = len(session.partitions)
        session.ask(asked)
        session.forget([session.key(*each) for each in forgotten])
        self.partition_count += len(session.partitions) - before
        if self.partition_count > self._partitions_max:
            self.close(session_id)
            raise FetchSessionIdNotFound(f"fetch session {session_id} grew beyond what is kept of all sessions")
        if not session.partitions:
            self.close(session_id)
            return None
        self._touch(session, now_ms)
        session.advance()
        return session

    def is_current(self, session: FetchSession, epoch: int) -> bool:
        """Whether the session stands, and no other request of it has come since the one that carried epoch."""
        return session.epoch == (epoch + 1 if epoch < _EPOCH_MAX else 1)

    def close(self, session_id: int) -> None:
        """Forget a session, if there is such a one."""
        session = self._sessions.pop(session_id, None)
        if session is None:
            return
        self._forget_eviction_key(session)
        self.partition_count -= len(session.partitions)
        session.epoch = FINAL_EPOCH
        session.lose()
        for partition in session.partitions.values():
            partition.leave()
        session.ready.clear()

    def _touch(self, session: FetchSession, now_ms: int) -> None:
        session.last_used_ms = now_ms
        self._sessions[session.session_id] = self._sessions.pop(session.session_id)
        if now_ms - session.created_ms > self._eviction_ms:
            key = (len(session.partitions), session.session_id)
            if key != session.eviction_key:
                self._forget_eviction_key(session)
                session.eviction_key = key
                insort(self._evictable, key)

    def _make_room(self, size: int, now_ms: int) -> bool:
        if len(self._sessions) < self.slots_max:
            return True
        oldest = next(iter(self._sessions.values()), None)
        if oldest is None:
            return False
        if now_ms - oldest.last_used_ms > self._eviction_ms:
            victim = oldest.session_id
        elif self._evictable and (size, 0) >= self._evictable[0]:
            victim = self._evictable[0][1]
        else:
            return False
        self.close(victim)
        self.evictions += 1
        return True

    def _forget_eviction_key(self, session: FetchSession) -> None:
        if session.eviction_key is not None:
            del self._evictable[bisect_left(self._evictable, session.eviction_key)]
            session.eviction_key = None
