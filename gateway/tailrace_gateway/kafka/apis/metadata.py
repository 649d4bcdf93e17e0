"""Metadata (key 3), versions 0-13.

v1 null asks for all topics · v4 allow_auto_topic_creation · v7 leader epochs (KIP-320) · v8 authorized operations
v10 topic ids, v12 requests by id (KIP-516)
The answer is joined from parts that were encoded when the topic changed. A topic that a client may create by asking is
reported as unknown now and there when the client asks again, as in Kafka.
Not done: authorized operations (always "not asked", as there is no authorizer).
"""

import logging

from tailrace_core.errors import TailraceError
from tailrace_core.ids import NO_TOPIC_ID
from tailrace_core.membership import INTERNAL_TOPICS, NewTopic, Topic, TopicDefaults
from tailrace_core.topic_names import check_topic_name
from tailrace_gateway.errors import ErrorCode, answering, kafka_code
from tailrace_gateway.kafka.connection import Reply
from tailrace_gateway.kafka.context import Services
from tailrace_gateway.kafka.metadata_cache import unknown_topic
from tailrace_gateway.kafka.routes import Api
from tailrace_gateway.kafka.schema.messages.metadata import MetadataRequest, MetadataResponse, MetadataResponseTopic

logger = logging.getLogger(__name__)


def handle(services: Services, reply: Reply, request: MetadataRequest) -> None:
    version = reply.route.version
    image = services.membership.image
    known: list[Topic] = []
    others: list[MetadataResponseTopic] = []
    if request.topics is None or (version == 0 and not request.topics):
        known.extend(image.topics)
    else:
        may_create = services.settings.kafka.auto_create_topics_enable and request.allow_auto_topic_creation
        missing: list[str] = []
        for asked in request.topics:
            name, topic_id = asked.name, asked.topic_id
            by_id = topic_id != NO_TOPIC_ID
            if version < 12 and (by_id or name is None):
                others.append(unknown_topic(name or "", topic_id, answering(ErrorCode.INVALID_REQUEST)))
                continue
            found = image.topic_by_id(topic_id) if by_id else image.topic(name or "")
            if found is not None:
                known.append(found)
            elif by_id:
                others.append(unknown_topic(None, topic_id, answering(ErrorCode.UNKNOWN_TOPIC_ID)))
            else:
                missing.append(name or "")
        if missing:
            others += _create(services, missing, may_create)
    response = MetadataResponse(
        brokers=services.metadata.brokers(reply.connection.listener),
        cluster_id=image.cluster_id,
        controller_id=image.controller_id,
        topics=others,
    )
    reply.send_parts([services.metadata.encode(version, response, known)])


def _create(services: Services, names: list[str], may_create: bool) -> list[MetadataResponseTopic]:
    """What to say of topics that are not there; those that may be are created meanwhile."""
    answers = []
    new = []
    for name in dict.fromkeys(names):
        try:
            check_topic_name(name)
        except TailraceError as refused:
            error = kafka_code(refused)
        else:
            error = answering(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
            if may_create and name not in INTERNAL_TOPICS and name not in services.topics_in_creation:
                services.topics_in_creation[name] = None
                new.append(NewTopic(name))
        answers.append(unknown_topic(name, NO_TOPIC_ID, error))
    if new:
        kafka = services.settings.kafka
        defaults = TopicDefaults(kafka.num_partitions, kafka.default_replication_factor)
        services.spawn(_create_topics(services, new, defaults))
    return answers


async def _create_topics(services: Services, new: list[NewTopic], defaults: TopicDefaults) -> None:
    try:
        for topic, created in zip(new, await services.membership.create_topics(new, defaults), strict=True):
            if isinstance(created, TailraceError):
                logger.warning("topic %r was not created on demand: %s", topic.name, created)
    except TailraceError as error:
        logger.warning("topics were not created on demand: %s", error)
    finally:
        for topic in new:
            services.topics_in_creation.pop(topic.name, None)


API = Api(key=3, name="Metadata", versions=range(14), direct=handle)
