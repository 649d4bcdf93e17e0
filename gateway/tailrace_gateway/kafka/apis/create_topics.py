"""CreateTopics (key 19), versions 2-7.

v4 -1 for the broker's partition count and replication factor (KIP-464) · v5 settings and counts in the answer (KIP-525)
v7 topic ids (KIP-516)
A topic that is refused does not touch the others. -1 is taken in every version, as Kafka's brokers do.
Not done: timeout_ms, as the answer comes with the commit.
"""

from tailrace_core.errors import InvalidReplicaAssignment, TailraceError
from tailrace_core.membership import CreatedTopic, NewTopic, TopicDefaults
from tailrace_gateway.errors import kafka_code
from tailrace_gateway.kafka.context import Call
from tailrace_gateway.kafka.routes import Api
from tailrace_gateway.kafka.schema.messages.create_topics import (
    CreatableTopic,
    CreatableTopicConfigs,
    CreatableTopicResult,
    CreateTopicsRequest,
    CreateTopicsResponse,
)


async def handle(call: Call, request: CreateTopicsRequest) -> CreateTopicsResponse:
    results: dict[str, CreatableTopicResult] = {}
    new: list[NewTopic] = []
    for asked in request.topics:
        try:
            new.append(_new_topic(asked))
        except TailraceError as error:
            results[asked.name] = _failed(asked.name, error)
    kafka = call.services.settings.kafka
    defaults = TopicDefaults(kafka.num_partitions, kafka.default_replication_factor)
    created: list[CreatedTopic | TailraceError]
    try:
        created = await call.services.membership.create_topics(new, defaults, request.validate_only)
    except TailraceError as error:
        created = [error] * len(new)
    for topic, outcome in zip(new, created, strict=True):
        # A name that is there twice was refused twice, and is answered once.
        results[topic.name] = _failed(topic.name, outcome) if isinstance(outcome, TailraceError) else _created(outcome)
    return CreateTopicsResponse(topics=list(results.values()))


def _new_topic(asked: CreatableTopic) -> NewTopic:
    assignments: dict[int, list[int]] = {}
    for assignment in asked.assignments:
        if assignment.partition_index in assignments:
            raise InvalidReplicaAssignment(
                f"Found multiple manual partition assignments for partition {assignment.partition_index}"
            )
        assignments[assignment.partition_index] = assignment.broker_ids
    return NewTopic(
        asked.name,
        asked.num_partitions,
        asked.replication_factor,
        assignments,
        {config.name: config.value for config in asked.configs},
    )


def _created(created: CreatedTopic) -> CreatableTopicResult:
    return CreatableTopicResult(
        name=created.topic.name,
        topic_id=created.topic.topic_id,
        num_partitions=created.topic.partition_count,
        replication_factor=created.replication_factor,
        configs=[
            CreatableTopicConfigs(name=entry.name, value=entry.value, config_source=entry.source.value)
            for entry in created.config_entries
        ],
    )


def _failed(name: str, error: TailraceError) -> CreatableTopicResult:
    return CreatableTopicResult(name=name, error_code=kafka_code(error), error_message=str(error))


API = Api(key=19, name="CreateTopics", versions=range(2, 8), handle=handle)
