"""OffsetForLeaderEpoch (key 23), versions 2-4.

v2 leader epoch fencing (KIP-320) · v3 replica id, which is not looked at, as there are no followers
Where an epoch ended, so that a client sees whether the log it has read was cut behind its back.
"""

from tailrace_core.errors import TailraceError
from tailrace_gateway.errors import kafka_code
from tailrace_gateway.kafka.context import Call
from tailrace_gateway.kafka.routes import Api
from tailrace_gateway.kafka.schema.messages.offset_for_leader_epoch import (
    EpochEndOffset,
    OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
    OffsetForLeaderPartition,
    OffsetForLeaderTopicResult,
)


def handle(call: Call, request: OffsetForLeaderEpochRequest) -> OffsetForLeaderEpochResponse:
    return OffsetForLeaderEpochResponse(
        topics=[
            OffsetForLeaderTopicResult(
                topic=topic.topic, partitions=[_one(call, topic.topic, ask) for ask in topic.partitions]
            )
            for topic in request.topics
        ]
    )


def _one(call: Call, name: str, ask: OffsetForLeaderPartition) -> EpochEndOffset:
    answer = EpochEndOffset(partition=ask.partition)
    try:
        partition = call.services.engine.partition(name, ask.partition)
        state = partition.state
        state.check_leader_epoch(ask.current_leader_epoch)
    except TailraceError as error:
        answer.error_code = kafka_code(error)
        return answer
    answer.leader_epoch, answer.end_offset = partition.epochs.end_offset_for(
        ask.leader_epoch, state.leader_epoch, state.log_end_offset
    )
    return answer


API = Api(key=23, name="OffsetForLeaderEpoch", versions=range(2, 5), handle=handle)
