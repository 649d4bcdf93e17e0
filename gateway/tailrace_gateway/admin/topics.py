"""/v1/topics: list, describe, create, delete, grow, delete records."""

import asyncio
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from tailrace_core.errors import InternalTopic, TailraceError, UnknownTopicOrPartition
from tailrace_core.limits import ADMIN_PAGE_MAX
from tailrace_core.membership import INTERNAL_TOPICS, NewPartitions, NewTopic, Topic, TopicDefaults
from tailrace_gateway.admin.answers import error_value
from tailrace_gateway.admin.context import AdminContext, Asked, Body, Pace, Query
from tailrace_gateway.kafka.context import Services

Int32 = Annotated[int, Field(ge=-(2**31), lt=2**31)]
Int64 = Annotated[int, Field(ge=-(2**63), lt=2**63)]


class PageQuery(Query):
    """after: the name that the last page ended with."""

    limit: int = Field(ADMIN_PAGE_MAX, ge=1, le=ADMIN_PAGE_MAX)
    after: str = ""


class CreateTopicBody(Body):
    name: str
    partition_count: Int32 = -1
    replication_factor: Int32 = -1
    configs: Mapping[str, str | None] = {}
    validate_only: bool = False


class CreatePartitionsBody(Body):
    partition_count: Int32
    validate_only: bool = False


class RecordsBefore(Body):
    """offset: the new log start; -1 for the high watermark."""

    partition: Int32
    offset: Int64


class DeleteRecordsBody(Body):
    partitions: list[RecordsBefore] = Field(min_length=1)


def known_topic(services: Services, name: str) -> Topic:
    """Raises UnknownTopicOrPartition."""
    topic = services.membership.image.topic(name)
    if topic is None:
        raise UnknownTopicOrPartition(f"there is no topic {name!r}")
    return topic


def _size_bytes(services: Services, topic: Topic, index: int) -> tuple[int, int]:
    """What the object store has of a partition, and what waits to be uploaded."""
    stored = services.membership.extents(topic.topic_id, index).data_bytes
    try:
        return stored, services.engine.partition(topic.name, index).unuploaded_bytes
    except TailraceError:
        return stored, 0


async def list_topics(context: AdminContext, asked: Asked) -> dict[str, object]:
    services = context.services
    topics = [topic for topic in services.membership.image.topics if topic.name > asked.query.after]
    page = topics[: asked.query.limit]
    pace = Pace()
    found = []
    for topic in page:
        size_bytes = 0
        for index in range(topic.partition_count):
            size_bytes += sum(_size_bytes(services, topic, index))
            await pace.step()
        found.append({**_named(topic), "size_bytes": size_bytes})
    return {"topics": found, "next_after": page[-1].name if len(topics) > len(page) else None}


def _named(topic: Topic) -> dict[str, object]:
    return {
        "name": topic.name,
        "topic_id": urlsafe_b64encode(topic.topic_id).rstrip(b"=").decode(),  # as Kafka's tools write it
        "partition_count": topic.partition_count,
        "replication_factor": 1,
        "is_internal": topic.is_internal,
    }


async def describe_topic(context: AdminContext, asked: Asked) -> dict[str, object]:
    services = context.services
    topic = known_topic(services, asked.path["topic"])
    pace = Pace()
    partitions = []
    for index in range(topic.partition_count):
        partitions.append(_partition(services, topic, index))
        await pace.step()
    return {**_named(topic), "configs": dict(topic.overrides), "partitions": partitions}


def _partition(services: Services, topic: Topic, index: int) -> dict[str, object]:
    image = services.membership.image
    stored_bytes, pending_bytes = _size_bytes(services, topic, index)
    said: dict[str, object] = {
        "partition": index,
        "leader": image.controller_id,
        "leader_epoch": image.leader_epoch,
        "replicas": [image.controller_id],
        "in_sync_replicas": [image.controller_id],
        "log_start_offset": None,
        "high_watermark": None,
        "log_end_offset": None,
        "tier_end_offset": None,
        "size_bytes": stored_bytes + pending_bytes,
        "upload_pending_bytes": pending_bytes,
        "error": None,
    }
    try:
        partition = services.engine.partition(topic.name, index)
    except TailraceError as error:
        return said | {"error": error_value(error)}
    state = partition.state
    return said | {
        "log_start_offset": state.log_start_offset,
        "high_watermark": state.high_watermark,
        "log_end_offset": state.log_end_offset,
        "tier_end_offset": partition.tier_end_offset,
    }


async def create_topic(context: AdminContext, asked: Asked) -> dict[str, object]:
    services, body = context.services, asked.body
    new = NewTopic(body.name, body.partition_count, body.replication_factor, {}, body.configs)
    kafka = services.settings.kafka
    defaults = TopicDefaults(kafka.num_partitions, kafka.default_replication_factor)
    (created,) = await services.membership.create_topics([new], defaults, body.validate_only)
    if isinstance(created, TailraceError):
        raise created
    return {**_named(created.topic), "configs": dict(created.topic.overrides), "validate_only": body.validate_only}


async def delete_topic(context: AdminContext, asked: Asked) -> dict[str, object]:
    (deleted,) = await context.services.membership.delete_topics([asked.path["topic"]])
    if isinstance(deleted, TailraceError):
        raise deleted
    return _named(deleted)


async def create_partitions(context: AdminContext, asked: Asked) -> dict[str, object]:
    body = asked.body
    new = NewPartitions(asked.path["topic"], body.partition_count)
    (grown,) = await context.services.membership.create_partitions([new], body.validate_only)
    if isinstance(grown, TailraceError):
        raise grown
    return {**_named(grown), "validate_only": body.validate_only}


async def delete_records(context: AdminContext, asked: Asked) -> dict[str, object]:
    name = asked.path["topic"]
    known_topic(context.services, name)
    if name in INTERNAL_TOPICS:
        raise InternalTopic(f"records of the internal topic {name} are not deleted by clients")
    deletions = [_delete_records(context.services, name, one) for one in asked.body.partitions]
    # Their commits go to the disk together.
    return {"name": name, "partitions": list(await asyncio.gather(*deletions))}


async def _delete_records(services: Services, name: str, one: RecordsBefore) -> dict[str, object]:
    said: dict[str, object] = {"partition": one.partition, "log_start_offset": None, "error": None}
    try:
        partition = services.engine.partition(name, one.partition)
        said["log_start_offset"] = await services.engine.delete_records(partition, one.offset)
    except TailraceError as error:
        said["error"] = error_value(error)
    return said
