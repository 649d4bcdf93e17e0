"""Fetch (key 1), versions 4-18.

v5 log start offset · v7 sessions (KIP-227) · v9 leader epoch fencing (KIP-320) · v12 diverging epoch (KIP-595)
v13 topics by id (KIP-516) · v16 leader hints (KIP-951)
The tail is answered from memory in the call that asks; what is too little waits, without a task, until enough bytes are
visible or the time is up. Older data is read by a task of the cold class. A fetch of a session looks at the partitions
of which there may be something to tell (fetch_sessions.py), a full one at all that it names.
A partition that is not known is no reason to answer while others can be waited for; every other error is, as in Kafka.
Not done: follower fetches (v15 replica state) are answered as a consumer's. No fetch is throttled.
"""

import asyncio
import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final

from tailrace_core.errors import (
    InconsistentTopicId,
    InvalidFetchSessionEpoch,
    OffsetOutOfRange,
    TailraceError,
    UnknownTopicId,
    UnknownTopicOrPartition,
)
from tailrace_core.ids import NO_TOPIC_ID
from tailrace_core.ports import Timer
from tailrace_engine.api import Partition
from tailrace_gateway.errors import kafka_code
from tailrace_gateway.kafka import leader_hints
from tailrace_gateway.kafka.connection import Reply
from tailrace_gateway.kafka.context import Services
from tailrace_gateway.kafka.fetch_sessions import (
    FINAL_EPOCH,
    FULL_EPOCH,
    NO_SESSION,
    Asked,
    FetchSession,
    SessionPartition,
)
from tailrace_gateway.kafka.routes import Api
from tailrace_gateway.kafka.schema import RecordBuffers
from tailrace_gateway.kafka.schema.messages.fetch import (
    EpochEndOffset,
    FetchableTopicResponse,
    FetchPartition,
    FetchRequest,
    FetchResponse,
    LeaderIdAndEpoch,
    NodeEndpoint,
    PartitionData,
)

_READ_COMMITTED: Final = 1
_EMPTY: Final = b""
_NOTHING_WAIT_MS: Final = 500
_COLD_TURN_PARTITIONS: Final = 16
"""Cold partitions after which the loop gets its turn: what is in the cold cache is read without a wait."""
_SESSIONS_FROM: Final = 7
_IDS_FROM: Final = 13

logger = logging.getLogger(__name__)


class FetchReply(Reply):
    """One fetch: planned at once, and again when what it waits for is there."""

    __slots__ = (
        "cold",
        "cold_bytes",
        "max_bytes",
        "min_bytes",
        "missing_bytes",
        "request",
        "seen",
        "services",
        "session",
        "timer",
        "watched",
    )

    services: Services
    request: FetchRequest
    session: FetchSession | None
    """Of an incremental fetch."""
    seen: list[tuple[SessionPartition, PartitionData]]
    """What the last plan found of the session."""
    max_bytes: int
    min_bytes: int
    missing_bytes: int
    """What still has to become visible before it is worth a new look."""
    watched: Sequence[Partition]
    """Of a full fetch that waits; a session's partitions are watched by the session."""
    timer: Timer | None
    cold: list[tuple[Partition, FetchPartition, PartitionData]]
    cold_bytes: int
    """What is kept for them of the response's limit, so that hot partitions do not starve them."""

    def begin(self, services: Services, request: FetchRequest, session: FetchSession | None) -> None:
        self.services = services
        self.request = request
        self.session = session
        self.max_bytes = min(request.max_bytes, services.settings.kafka.fetch_max_bytes)
        self.min_bytes = min(request.min_bytes, self.max_bytes)
        self.watched = ()
        self.timer = None
        self.plan(request.max_wait_ms <= 0)

    def plan(self, answer_now: bool) -> None:
        """Collect what is there; answer if that is enough, or else wait for more."""
        self.cold = []
        self.cold_bytes = 0
        if self.session is not None:
            self._plan_session(self.session, answer_now)
            return
        response = FetchResponse(session_id=NO_SESSION)
        total = 0
        watched: list[Partition] = []
        for topic in self.request.topics:
            found: list[PartitionData] = []
            response.responses.append(
                FetchableTopicResponse(topic=topic.topic, topic_id=topic.topic_id, partitions=found)
            )
            for ask in topic.partitions:
                data = PartitionData(partition_index=ask.partition, high_watermark=-1, records=_EMPTY)
                found.append(data)
                try:
                    partition = self._partition(topic.topic, topic.topic_id, ask)
                    total += self._read(partition, ask, data, total)
                    watched.append(partition)
                except (UnknownTopicOrPartition, UnknownTopicId) as error:
                    data.error_code = kafka_code(error)
                except TailraceError as error:
                    data.error_code = kafka_code(error)
                    answer_now = True
                answer_now = answer_now or data.diverging_epoch.epoch >= 0
        if self.cold:
            self._stop_waiting()
            self.services.spawn(self._read_cold(response, total))
        elif answer_now or total >= self.min_bytes or not watched:
            self._stop_waiting()
            self._finish(response)
        else:
            self.missing_bytes = self.min_bytes - total
            if self._start_timer():
                self.watched = watched
                for partition in watched:
                    partition.visibility_waiters[self] = None

    def _partition(self, name: str, topic_id: bytes, ask: FetchPartition) -> Partition:
        engine = self.services.engine
        if topic_id != NO_TOPIC_ID or self.route.version >= 13:
            partition = engine.partition_by_id(topic_id, ask.partition)
        else:
            partition = engine.partition(name, ask.partition)
        partition.state.check_leader_epoch(ask.current_leader_epoch)
        return partition

    def _read(self, partition: Partition, ask: FetchPartition, data: PartitionData, total: int) -> int:
        """Fill data with what the memory has; gives its bytes. What lies elsewhere is noted in `cold`."""
        if ask.last_fetched_epoch >= 0 and _diverges(partition, ask, data):
            _describe(partition, data, self.request.isolation_level)
            return 0
        limit = min(ask.partition_max_bytes, self.max_bytes - total - self.cold_bytes)
        found = self.services.engine.read(partition, ask.fetch_offset, limit, total == 0 and not self.cold)
        _describe(partition, data, self.request.isolation_level)
        if found is None:
            self.cold.append((partition, ask, data))
            self.cold_bytes += max(limit, 0)
            return 0
        buffers, size = found
        if size:
            data.records = RecordBuffers(buffers, size)
        return size

    # --- sessions

    def _plan_session(self, session: FetchSession, answer_now: bool) -> None:
        total = errors = 0
        self.seen = seen = []
        for place in session.in_order():
            data = PartitionData(partition_index=place.ask.partition, high_watermark=-1, records=_EMPTY)
            seen.append((place, data))
            try:
                partition = self._partition_of_session(place)
                total += self._read(partition, place.ask, data, total)
            except (UnknownTopicOrPartition, UnknownTopicId) as error:
                data.error_code = kafka_code(error)
                errors += 1
            except TailraceError as error:
                data.error_code = kafka_code(error)
                answer_now = True
            answer_now = answer_now or data.diverging_epoch.epoch >= 0
        if self.cold:
            self._stop_waiting()
            session.settle(seen)
            self.services.spawn(self._read_cold(FetchResponse(), total))
        elif answer_now or total >= self.min_bytes or errors == len(session.partitions):
            self._stop_waiting()
            session.settle(seen)
            self._finish(FetchResponse())
        else:
            self.missing_bytes = self.min_bytes - total
            self._start_timer()
            session.park(seen, self)

    def _partition_of_session(self, place: SessionPartition) -> Partition:
        """The partition, remembered once it was found. A topic that was made anew has another id (KIP-516)."""
        found = place.source
        if isinstance(found, Partition) and found.damage is None:
            found.state.check_leader_epoch(place.ask.current_leader_epoch)
            return found
        place.leave()
        place.source = None
        try:
            partition = self._partition(place.topic_name, place.topic_id, place.ask)
        except UnknownTopicId as error:
            if not place.topic_name:
                raise
            self.services.engine.partition(place.topic_name, place.ask.partition)
            raise InconsistentTopicId(f"the id of topic {place.topic_name!r} is another") from error
        place.source = partition
        place.topic_name = partition.topic_name
        return partition

    def _finish(self, response: FetchResponse) -> None:
        """Send what was found: with sessions, the response is what remains to be told."""
        session, epoch = self.session, self.request.session_epoch
        sessions = self.services.fetch_sessions
        if session is not None:
            if not sessions.is_current(session, epoch):
                self._refuse(InvalidFetchSessionEpoch("another request of the session has come"), session.session_id)
                return
            session.waiting = None
            response.session_id = session.session_id
            response.responses = _by_topic(session.answer(self.seen))
        elif epoch == FULL_EPOCH and self.route.version >= _SESSIONS_FROM:
            asked = _asked(self.request)
            opened = sessions.open(asked, self.route.version >= _IDS_FROM, self.services.clock.now_ms())
            if opened is not None:
                response.session_id = opened.session_id
                for topic in response.responses:
                    for data in topic.partitions:
                        place = opened.partitions[opened.key(topic.topic, topic.topic_id, data.partition_index)]
                        place.told(data)
        if self.route.version >= leader_hints.FETCH_HINTS_FROM:
            self._hint(response)
        self.send(response)

    def _refuse(self, error: TailraceError, session_id: int = NO_SESSION) -> None:
        self.send(FetchResponse(error_code=kafka_code(error), session_id=session_id))

    def _hint(self, response: FetchResponse) -> None:
        """Name the leader with the errors that mean another one."""
        services = self.services
        for topic in response.responses:
            for data in topic.partitions:
                if data.error_code and data.error_code in leader_hints.FETCH_HINTED:
                    leader = leader_hints.leader(services.membership.image)
                    data.current_leader = LeaderIdAndEpoch(leader_id=leader.leader_id, leader_epoch=leader.leader_epoch)
                    if not response.node_endpoints:
                        response.node_endpoints = [
                            NodeEndpoint(node_id=broker.node_id, host=broker.host, port=broker.port, rack=broker.rack)
                            for broker in leader_hints.endpoints(
                                services.metadata, self.connection.listener, leader.leader_id
                            )
                        ]

    # --- cold reads

    async def _read_cold(self, response: FetchResponse, total: int) -> None:
        """The partitions whose data is not in memory, in their order, until the response is full."""
        try:
            for number, (partition, ask, data) in enumerate(self.cold):
                if number % _COLD_TURN_PARTITIONS == _COLD_TURN_PARTITIONS - 1:
                    await asyncio.sleep(0)
                limit = min(ask.partition_max_bytes, self.max_bytes - total)
                if self.done or (limit <= 0 and total):
                    break
                total += await self._read_cold_partition(partition, ask, data, limit, total)
            if not total and not self.done:
                # Only errors, or offsets that were given up: the client is not to ask again at once.
                await asyncio.sleep(min(self.request.max_wait_ms, _NOTHING_WAIT_MS) / 1000)
            if not self.done:
                self._finish(response)
        except Exception:
            logger.exception("a Fetch request failed")
            self.drop()
        self.services.flush()

    async def _read_cold_partition(
        self, partition: Partition, ask: FetchPartition, data: PartitionData, limit: int, total: int
    ) -> int:
        try:
            buffers, size = await self.services.engine.read_cold(partition, ask.fetch_offset, max(limit, 0))
        except TailraceError as error:
            data.error_code = kafka_code(error)
            data.high_watermark = data.last_stable_offset = -1
            return 0
        if not size or (total and size > limit):
            return 0
        data.records = RecordBuffers(buffers, size)
        return size

    # --- waiting

    def _start_timer(self) -> bool:
        """False where this fetch has waited before."""
        if self.timer is not None:
            return False
        self.timer = self.services.loop.call_later(self.request.max_wait_ms / 1000, self._on_time_up)
        return True

    def _stop_waiting(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        for partition in self.watched:
            partition.visibility_waiters.pop(self, None)
        self.watched = ()
        if self.session is not None and self.session.waiting is self:
            self.session.waiting = None

    def on_visible(self, size: int) -> None:
        self.missing_bytes -= size
        if self.missing_bytes <= 0 and not self.done:
            self.plan(False)

    def on_partition_gone(self) -> None:
        if not self.done:
            self.plan(True)

    def on_session_lost(self) -> None:
        if not self.done:
            self._stop_waiting()
            self._refuse(InvalidFetchSessionEpoch("the session was closed"))

    def _on_time_up(self) -> None:
        if not self.done:
            self.plan(True)
            self.services.flush()

    def on_closed(self) -> None:
        self.done = True
        self._stop_waiting()


def _describe(partition: Partition, data: PartitionData, isolation_level: int) -> None:
    state = partition.state
    data.high_watermark = data.last_stable_offset = state.high_watermark
    data.log_start_offset = state.log_start_offset
    data.aborted_transactions = [] if isolation_level == _READ_COMMITTED else None


def _diverges(partition: Partition, ask: FetchPartition, data: PartitionData) -> bool:
    """Whether the client read on from an epoch that ended before its offset here (KIP-595): then it has to go back."""
    state = partition.state
    epoch, end_offset = partition.epochs.end_offset_for(
        ask.last_fetched_epoch, state.leader_epoch, state.log_end_offset
    )
    if epoch < 0:
        raise OffsetOutOfRange(f"leader epoch {ask.last_fetched_epoch} is not known of {partition.name}")
    if end_offset >= ask.fetch_offset and epoch >= ask.last_fetched_epoch:
        return False
    data.diverging_epoch = EpochEndOffset(epoch=epoch, end_offset=end_offset)
    return True


def _asked(request: FetchRequest) -> list[Asked]:
    return [(topic.topic, topic.topic_id, ask) for topic in request.topics for ask in topic.partitions]


def _by_topic(answers: Iterable[tuple[SessionPartition, PartitionData]]) -> list[FetchableTopicResponse]:
    """The answers, those of one topic together as far as they follow each other."""

    def topic(answer: tuple[SessionPartition, PartitionData]) -> tuple[bytes, str]:
        return answer[0].topic_id, answer[0].topic_name

    return [
        FetchableTopicResponse(topic=name, topic_id=topic_id, partitions=[data for _, data in group])
        for (topic_id, name), group in groupby(answers, topic)
    ]


def _forgotten(request: FetchRequest) -> Iterator[tuple[str, bytes, int]]:
    for topic in request.forgotten_topics_data:
        for partition in topic.partitions:
            yield topic.topic, topic.topic_id, partition


def handle(services: Services, reply: FetchReply, request: FetchRequest) -> None:
    epoch = request.session_epoch
    session: FetchSession | None = None
    if epoch in (FULL_EPOCH, FINAL_EPOCH):
        if request.session_id != NO_SESSION:
            services.fetch_sessions.close(request.session_id)
    else:
        reply.watched, reply.timer, reply.session = (), None, None
        try:
            session = services.fetch_sessions.use(
                request.session_id,
                epoch,
                reply.route.version >= _IDS_FROM,
                _asked(request),
                _forgotten(request),
                services.clock.now_ms(),
            )
        except TailraceError as error:
            reply._refuse(error)
            return
        if session is None:
            reply.send(FetchResponse(session_id=NO_SESSION))
            return
    reply.begin(services, request, session)


API = Api(key=1, name="Fetch", versions=range(4, 19), direct=handle, new_reply=FetchReply)
