"""Fetch (key 1), versions 4-18.

v5 log start offset · v7 sessions (KIP-227) · v9 leader epoch fencing (KIP-320) · v12 diverging epoch (KIP-595)
v13 topics by id (KIP-516)
The tail is answered from memory in the call that asks; what is too little waits, without a task, until enough bytes are
visible or the time is up. Older data is read by a task of the cold class.
Not done: sessions (every response says session 0, which is legal: clients then send full requests); leader hints (v16),
as there is one broker; follower fetches (v15 replica state) are answered as a consumer's.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from tailrace_core.errors import OffsetOutOfRange, TailraceError
from tailrace_core.ids import NO_TOPIC_ID
from tailrace_core.ports import Timer
from tailrace_engine.api import Partition
from tailrace_gateway.errors import ErrorCode, answering, kafka_code
from tailrace_gateway.kafka.connection import Reply
from tailrace_gateway.kafka.context import Services
from tailrace_gateway.kafka.routes import Api
from tailrace_gateway.kafka.schema import RecordBuffers
from tailrace_gateway.kafka.schema.messages.fetch import (
    EpochEndOffset,
    FetchableTopicResponse,
    FetchPartition,
    FetchRequest,
    FetchResponse,
    PartitionData,
)

_READ_COMMITTED: Final = 1
_EMPTY: Final = b""
_NOTHING_WAIT_MS: Final = 500

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
        "services",
        "timer",
        "watched",
    )

    services: Services
    request: FetchRequest
    max_bytes: int
    min_bytes: int
    missing_bytes: int
    """What still has to become visible before it is worth a new look."""
    watched: Sequence[Partition]
    timer: Timer | None
    cold: list[tuple[Partition, FetchPartition, PartitionData]]
    cold_bytes: int
    """What is kept for them of the response's limit, so that hot partitions do not starve them."""

    def begin(self, services: Services, request: FetchRequest) -> None:
        self.services = services
        self.request = request
        self.max_bytes = min(request.max_bytes, services.settings.kafka.fetch_max_bytes)
        self.min_bytes = min(request.min_bytes, self.max_bytes)
        self.watched = ()
        self.timer = None
        self.plan(request.max_wait_ms <= 0)

    def plan(self, answer_now: bool) -> None:
        """Collect what is there; answer if that is enough, or else wait for more."""
        request = self.request
        response = FetchResponse(session_id=0)
        total = 0
        watched: list[Partition] = []
        self.cold = []
        self.cold_bytes = 0
        for topic in request.topics:
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
                except TailraceError as error:
                    data.error_code = kafka_code(error)
                    answer_now = True
                answer_now = answer_now or data.diverging_epoch.epoch >= 0
        if self.cold:
            self._stop_waiting()
            self.services.spawn(self._read_cold(response, total))
        elif answer_now or total >= self.min_bytes or not watched:
            self._stop_waiting()
            self.send(response)
        else:
            self._wait(watched, self.min_bytes - total)

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

    async def _read_cold(self, response: FetchResponse, total: int) -> None:
        """The partitions whose data is not in memory, in their order, until the response is full."""
        try:
            for partition, ask, data in self.cold:
                limit = min(ask.partition_max_bytes, self.max_bytes - total)
                if self.done or (limit <= 0 and total):
                    break
                total += await self._read_cold_partition(partition, ask, data, limit, total)
            if not total and not self.done:
                # Only errors, or offsets that were given up: the client is not to ask again at once.
                await asyncio.sleep(min(self.request.max_wait_ms, _NOTHING_WAIT_MS) / 1000)
            self.send(response)
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

    def _wait(self, watched: list[Partition], missing_bytes: int) -> None:
        self.missing_bytes = missing_bytes
        if self.timer is None:
            self.timer = self.services.loop.call_later(self.request.max_wait_ms / 1000, self._on_time_up)
            self.watched = watched
            for partition in watched:
                partition.visibility_waiters[self] = None

    def _stop_waiting(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        for partition in self.watched:
            partition.visibility_waiters.pop(self, None)
        self.watched = ()

    def on_visible(self, size: int) -> None:
        self.missing_bytes -= size
        if self.missing_bytes <= 0 and not self.done:
            self.plan(False)

    def on_partition_gone(self) -> None:
        if not self.done:
            self.plan(True)

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


def handle(services: Services, reply: FetchReply, request: FetchRequest) -> None:
    if request.session_epoch > 0:
        reply.watched = ()
        reply.timer = None
        reply.send(FetchResponse(error_code=answering(ErrorCode.FETCH_SESSION_ID_NOT_FOUND), session_id=0))
        return
    reply.begin(services, request)


API = Api(key=1, name="Fetch", versions=range(4, 19), direct=handle, new_reply=FetchReply)
