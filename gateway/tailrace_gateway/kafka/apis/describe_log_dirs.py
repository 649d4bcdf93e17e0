"""DescribeLogDirs (key 35), versions 1-5.

v3 error code of the whole · v4 bytes of the disk (KIP-827) · v5 cordoned folders
There is one folder, the data folder. A partition's size is that of its batches: those in the object store, wherever
that is, and those that wait for their upload. Partitions that are asked for and not there are left out, as in Kafka.
Not done: future replicas, which a move between folders would make; a folder is never cordoned.
"""

import asyncio
import shutil
from collections.abc import Iterable, Iterator
from typing import Final

from tailrace_core.membership import Topic
from tailrace_gateway.kafka.context import Call
from tailrace_gateway.kafka.routes import Api
from tailrace_gateway.kafka.schema.messages.describe_log_dirs import (
    DescribeLogDirsPartition,
    DescribeLogDirsRequest,
    DescribeLogDirsResponse,
    DescribeLogDirsResult,
    DescribeLogDirsTopic,
)

_PARTITIONS_A_STEP: Final = 500
"""Looked at before the loop gets its turn."""


async def handle(call: Call, request: DescribeLogDirsRequest) -> DescribeLogDirsResponse:
    services = call.services
    folder = services.settings.broker.data_dir.absolute()
    usage = await asyncio.get_running_loop().run_in_executor(None, shutil.disk_usage, folder)
    topics: dict[str, DescribeLogDirsTopic] = {}
    for step, (topic, index) in enumerate(_asked(call, request)):
        if step % _PARTITIONS_A_STEP == _PARTITIONS_A_STEP - 1:
            await asyncio.sleep(0)
        size = services.engine.stored_bytes(topic.topic_id, index)
        described = topics.setdefault(topic.name, DescribeLogDirsTopic(name=topic.name))
        described.partitions.append(DescribeLogDirsPartition(partition_index=index, partition_size=size))
    return DescribeLogDirsResponse(
        results=[
            DescribeLogDirsResult(
                log_dir=str(folder), topics=list(topics.values()), total_bytes=usage.total, usable_bytes=usage.free
            )
        ]
    )


def _asked(call: Call, request: DescribeLogDirsRequest) -> Iterator[tuple[Topic, int]]:
    """The partitions that are there of those that are asked for, each once; null asks for all."""
    image = call.services.membership.image
    if request.topics is None:
        for topic in list(image.topics):
            yield from _partitions(topic, range(topic.partition_count))
        return
    asked: dict[str, dict[int, None]] = {}
    for each in request.topics:
        asked.setdefault(each.topic, {}).update(dict.fromkeys(each.partitions))
    for name, indexes in asked.items():
        found = image.topic(name)
        if found is not None:
            yield from _partitions(found, (index for index in indexes if 0 <= index < found.partition_count))


def _partitions(topic: Topic, indexes: Iterable[int]) -> Iterator[tuple[Topic, int]]:
    return ((topic, index) for index in indexes)


API = Api(key=35, name="DescribeLogDirs", versions=range(1, 6), handle=handle)
