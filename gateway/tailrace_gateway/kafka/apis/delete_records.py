"""DeleteRecords (key 21), versions 0-2.

v2 flexible
-1 stands for the high watermark. The answer comes when the new log start is durable in the catalog, and tells it.
Not done: timeout_ms, as nothing is waited for but that commit.
"""

import asyncio

from tailrace_core.errors import InternalTopic, TailraceError
from tailrace_core.membership import INTERNAL_TOPICS
from tailrace_gateway.errors import kafka_code
from tailrace_gateway.kafka.context import Call
from tailrace_gateway.kafka.routes import Api
from tailrace_gateway.kafka.schema.messages.delete_records import (
    DeleteRecordsPartitionResult,
    DeleteRecordsRequest,
    DeleteRecordsResponse,
    DeleteRecordsTopicResult,
)


async def handle(call: Call, request: DeleteRecordsRequest) -> DeleteRecordsResponse:
    # Asked for twice, a partition is answered once, for the last offset: as in Kafka.
    asked: dict[str, dict[int, int]] = {}
    for topic in request.topics:
        offsets = asked.setdefault(topic.name, {})
        offsets.update((each.partition_index, each.offset) for each in topic.partitions)
    deletions = [
        _delete(call, name, index, offset) for name, offsets in asked.items() for index, offset in offsets.items()
    ]
    results = iter(await asyncio.gather(*deletions))  # their commits go to the disk together
    return DeleteRecordsResponse(
        topics=[
            DeleteRecordsTopicResult(name=name, partitions=[next(results) for _ in offsets])
            for name, offsets in asked.items()
        ]
    )


async def _delete(call: Call, name: str, index: int, offset: int) -> DeleteRecordsPartitionResult:
    engine = call.services.engine
    try:
        partition = engine.partition(name, index)
        if name in INTERNAL_TOPICS:
            raise InternalTopic(f"records of the internal topic {name} are not deleted by clients")
        low_watermark = await engine.delete_records(partition, offset)
    except TailraceError as error:
        return DeleteRecordsPartitionResult(partition_index=index, low_watermark=-1, error_code=kafka_code(error))
    return DeleteRecordsPartitionResult(partition_index=index, low_watermark=low_watermark)


API = Api(key=21, name="DeleteRecords", versions=range(3), handle=handle)
