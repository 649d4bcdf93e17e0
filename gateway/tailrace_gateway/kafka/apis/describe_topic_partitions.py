"""DescribeTopicPartitions (key 75), version 0 (KIP-966).

Topics by name in order, at most 2,000 partitions in an answer; the cursor says where the next one begins. A topic that
is gone by then is left to the asker: the next answer begins with the first name that is not before the cursor's.
Authorized operations are all that exist, as there is no authorizer.
"""

from typing import Final

from tailrace_core.errors import InvalidRequest, TailraceError, UnknownTopicOrPartition
from tailrace_core.membership import Topic
from tailrace_core.topic_names import check_topic_name
from tailrace_gateway.errors import kafka_code
from tailrace_gateway.kafka.context import Call
from tailrace_gateway.kafka.routes import Api
from tailrace_gateway.kafka.schema.messages.describe_topic_partitions import (
    Cursor,
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
)

PARTITIONS_MAX: Final = 2000
"""max.request.partition.size.limit of Kafka."""
_TOPIC_OPERATIONS: Final = sum(1 << operation for operation in (3, 4, 5, 6, 7, 8, 10, 11))
"""Read, write, create, delete, alter, describe, describe and alter configs (Kafka's AclOperation)."""


def handle(call: Call, request: DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse:
    image = call.services.membership.image
    cursor = request.cursor
    response = DescribeTopicPartitionsResponse()
    if cursor is not None and cursor.partition_index < 0:
        error = InvalidRequest("the cursor's partition is not negative")
        response.topics = [_failed(topic.name, error) for topic in request.topics]
        return response
    names = sorted({topic.name for topic in request.topics}) or [topic.name for topic in image.topics]
    room = max(min(request.response_partition_limit, PARTITIONS_MAX), 1)
    for name in names:
        if cursor is not None and name < cursor.topic_name:
            continue
        if not room:
            response.next_cursor = Cursor(topic_name=name, partition_index=0)
            break
        topic = image.topic(name)
        if topic is None:
            response.topics.append(_failed(name, _unknown(name)))
            continue
        first = cursor.partition_index if cursor is not None and name == cursor.topic_name else 0
        end = min(topic.partition_count, first + room)
        response.topics.append(_described(call, topic, range(first, end)))
        if end < topic.partition_count:
            response.next_cursor = Cursor(topic_name=name, partition_index=end)
            break
        room -= max(end - first, 0)
    return response


def _described(call: Call, topic: Topic, indexes: range) -> DescribeTopicPartitionsResponseTopic:
    image = call.services.membership.image
    leader = image.controller_id
    epoch = image.leader_epoch
    return DescribeTopicPartitionsResponseTopic(
        name=topic.name,
        topic_id=topic.topic_id,
        is_internal=topic.is_internal,
        partitions=[
            DescribeTopicPartitionsResponsePartition(
                partition_index=index,
                leader_id=leader,
                leader_epoch=epoch,
                replica_nodes=[leader],
                isr_nodes=[leader],
                eligible_leader_replicas=[],
                last_known_elr=[],
            )
            for index in indexes
        ],
        topic_authorized_operations=_TOPIC_OPERATIONS,
    )


def _unknown(name: str) -> TailraceError:
    try:
        check_topic_name(name)
    except TailraceError as error:
        return error
    return UnknownTopicOrPartition(f"there is no topic {name!r}")


def _failed(name: str, error: TailraceError) -> DescribeTopicPartitionsResponseTopic:
    return DescribeTopicPartitionsResponseTopic(name=name, error_code=kafka_code(error))


API = Api(key=75, name="DescribeTopicPartitions", versions=range(1), handle=handle)
