"""DescribeProducers (key 61), version 0 (KIP-664).

The idempotent producers that a partition remembers. Coordinator epoch and transaction start are -1, as there are no
transactions.
"""

from tailrace_core.errors import TailraceError
from tailrace_gateway.errors import kafka_code
from tailrace_gateway.kafka.context import Call
from tailrace_gateway.kafka.routes import Api
from tailrace_gateway.kafka.schema.messages.describe_producers import (
    DescribeProducersRequest,
    DescribeProducersResponse,
    PartitionResponse,
    ProducerState,
    TopicResponse,
)


def handle(call: Call, request: DescribeProducersRequest) -> DescribeProducersResponse:
    return DescribeProducersResponse(
        topics=[
            TopicResponse(
                name=topic.name, partitions=[_one(call, topic.name, index) for index in topic.partition_indexes]
            )
            for topic in request.topics
        ]
    )


def _one(call: Call, name: str, index: int) -> PartitionResponse:
    answer = PartitionResponse(partition_index=index)
    try:
        producers = call.services.engine.partition(name, index).producers
    except TailraceError as error:
        answer.error_code = kafka_code(error)
        answer.error_message = str(error)
        return answer
    for producer_id, state in producers.items() if producers is not None else ():
        answer.active_producers.append(
            ProducerState(
                producer_id=producer_id,
                producer_epoch=state.producer_epoch,
                last_sequence=state.last_sequence,
                last_timestamp=state.batches[-1].max_timestamp_ms if state.batches else state.last_timestamp_ms,
                coordinator_epoch=-1,
            )
        )
    return answer


API = Api(key=61, name="DescribeProducers", versions=range(1), handle=handle)
