"""ListOffsets (key 2), versions 1-11.

v2 isolation level · v4 leader epoch fencing (KIP-320) · v7 max timestamp (KIP-734) · v8 earliest local (KIP-405)
v9 latest tiered (KIP-1005) · v11 earliest pending upload (KIP-1023)
Offsets that are known are answered at once; searches by time read batches and are answered by a task.
Not done: read_committed ends at the high watermark, as there are no transactions; v10 timeout, as we answer when the
tier answers; OFFSET_NOT_AVAILABLE, as the high watermark of a lone broker is known from its start.
"""

from collections import Counter
from collections.abc import Awaitable
from typing import Final

from tailrace_core.errors import InvalidRequest, TailraceError, UnsupportedForVersion
from tailrace_engine.api import Partition
from tailrace_gateway.errors import kafka_code
from tailrace_gateway.kafka.context import Call
from tailrace_gateway.kafka.routes import Api
from tailrace_gateway.kafka.schema.messages.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsPartitionResponse,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopicResponse,
)

LATEST: Final = -1
EARLIEST: Final = -2
MAX_TIMESTAMP: Final = -3
EARLIEST_LOCAL: Final = -4
LATEST_TIERED: Final = -5
EARLIEST_PENDING_UPLOAD: Final = -6

_SPECIAL_FROM: Final = {
    LATEST: 1,
    EARLIEST: 1,
    MAX_TIMESTAMP: 7,
    EARLIEST_LOCAL: 8,
    LATEST_TIERED: 9,
    EARLIEST_PENDING_UPLOAD: 11,
}
"""The version from which each may be asked for."""

_LEADER_EPOCH_FROM: Final = 4

Search = tuple[Partition, int, ListOffsetsPartitionResponse]


def handle(call: Call, request: ListOffsetsRequest) -> ListOffsetsResponse | Awaitable[ListOffsetsResponse]:
    times = Counter((topic.name, ask.partition_index) for topic in request.topics for ask in topic.partitions)
    response = ListOffsetsResponse()
    searches: list[Search] = []
    for topic in request.topics:
        answers: list[ListOffsetsPartitionResponse] = []
        response.topics.append(ListOffsetsTopicResponse(name=topic.name, partitions=answers))
        for ask in topic.partitions:
            answer = ListOffsetsPartitionResponse(partition_index=ask.partition_index)
            answers.append(answer)
            try:
                if times[topic.name, ask.partition_index] > 1:
                    raise InvalidRequest(f"partition {ask.partition_index} of {topic.name!r} is asked for twice")
                partition = _partition(call, topic.name, ask)
            except TailraceError as error:
                answer.error_code = kafka_code(error)
                continue
            if ask.timestamp >= 0 or ask.timestamp == MAX_TIMESTAMP:
                searches.append((partition, ask.timestamp, answer))
            else:
                offset, leader_epoch = _special(partition, ask.timestamp)
                _fill(call, answer, offset, -1, leader_epoch)
    return _search(call, response, searches) if searches else response


def _partition(call: Call, name: str, ask: ListOffsetsPartition) -> Partition:
    if ask.timestamp < 0:
        first = _SPECIAL_FROM.get(ask.timestamp)
        if first is None or call.version < first:
            raise UnsupportedForVersion(f"version {call.version} does not know the timestamp {ask.timestamp}")
    partition = call.services.engine.partition(name, ask.partition_index)
    partition.state.check_leader_epoch(ask.current_leader_epoch)
    return partition


def _special(partition: Partition, timestamp: int) -> tuple[int, int]:
    """The offset that a special timestamp stands for, and the leader epoch there; -1 where there is none."""
    state = partition.state
    if timestamp == LATEST:
        return state.high_watermark, state.leader_epoch
    offset = state.log_start_offset
    if timestamp == LATEST_TIERED:
        # All that was tiered may be gone again: offsets below the log start are nobody's.
        offset = partition.tier_end_offset - 1 if partition.tier_end_offset > state.log_start_offset else -1
    elif timestamp != EARLIEST:
        # What the tier has, the WAL gives back; so the first local offset is the first that waits for its upload.
        offset = max(partition.tier_end_offset, state.log_start_offset)
    return offset, partition.epochs.epoch_of(offset)


async def _search(call: Call, response: ListOffsetsResponse, searches: list[Search]) -> ListOffsetsResponse:
    engine = call.services.engine
    for partition, timestamp, answer in searches:
        try:
            if timestamp == MAX_TIMESTAMP:
                found = await engine.find_max_timestamp(partition)
            else:
                found = await engine.find_timestamp(partition, timestamp)
        except TailraceError as error:
            answer.error_code = kafka_code(error)
            continue
        if found is not None:
            _fill(call, answer, found.offset, found.timestamp_ms, found.leader_epoch)
    return response


def _fill(call: Call, answer: ListOffsetsPartitionResponse, offset: int, timestamp_ms: int, leader_epoch: int) -> None:
    answer.offset = offset
    answer.timestamp = timestamp_ms
    if call.version >= _LEADER_EPOCH_FROM:
        answer.leader_epoch = leader_epoch


API = Api(key=2, name="ListOffsets", versions=range(1, 12), handle=handle)
