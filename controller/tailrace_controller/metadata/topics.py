"""Rules of topics: create, delete, grow. The errors and their texts follow Apache Kafka's
ReplicationControlManager (KIP-4, KIP-195, KIP-464 for -1, KIP-516 for ids).

A request's topics are judged in order, each beside those before it; what is refused does not touch the others. All that
is allowed is one commit.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from tailrace_controller.metadata import format as fmt
from tailrace_controller.metadata.decision import Decision
from tailrace_controller.metadata.image import Image
from tailrace_core.errors import (
    InvalidPartitions,
    InvalidReplicaAssignment,
    InvalidReplicationFactor,
    InvalidRequest,
    InvalidTopicName,
    PolicyViolation,
    TailraceError,
    TopicAlreadyExists,
    UnknownTopicId,
    UnknownTopicOrPartition,
)
from tailrace_core.ids import NO_TOPIC_ID, NodeId, TopicId, topic_id_text
from tailrace_core.membership import (
    ChangeEvent,
    CreatedTopic,
    NewPartitions,
    NewTopic,
    PartitionsCreated,
    Topic,
    TopicCreated,
    TopicDefaults,
    TopicDeleted,
)
from tailrace_core.topic_names import check_topic_name

PARTITIONS_PER_TOPIC_MAX: Final = 10_000
"""Each costs a broker memory; a larger count is more likely a mistake."""
PARTITIONS_PER_REQUEST_MAX: Final = 10_000
"""New ones, as Kafka's controller has it: else a request of some kilobytes takes gigabytes."""


def plan_create(
    image: Image,
    topics: Sequence[NewTopic],
    defaults: TopicDefaults,
    new_topic_id: Callable[[], TopicId],
    validate_only: bool,
) -> Decision[list[CreatedTopic | TailraceError]]:
    """See core.membership.Membership.create_topics. new_topic_id gives an id that no topic has had."""
    times = Counter(topic.name for topic in topics)
    collisions: dict[str, str] = {}
    replies: list[CreatedTopic | TailraceError] = []
    added = 0
    puts: list[tuple[str, bytes]] = []
    events: list[ChangeEvent] = []
    for asked in topics:
        try:
            if times[asked.name] > 1:
                raise InvalidRequest("Duplicate topic name.")
            created = _check_new_topic(image, asked, defaults, collisions)
            added = _added_with(added, created.topic.partition_count)
        except TailraceError as error:
            replies.append(error)
            continue
        collisions[asked.name.replace(".", "_")] = asked.name
        if not validate_only:
            topic = created.topic._replace(topic_id=new_topic_id())
            created = created._replace(topic=topic)
            puts.append((fmt.topic_key(topic.topic_id), fmt.encode_topic(topic.name, topic.partition_count)))
            if topic.overrides:
                puts.append((fmt.config_key(topic.topic_id), fmt.encode_config(topic.overrides)))
            events.append(TopicCreated(topic))
        replies.append(created)
    return Decision(replies, tuple(puts), events=tuple(events))


def _check_new_topic(
    image: Image, asked: NewTopic, defaults: TopicDefaults, collisions: Mapping[str, str]
) -> CreatedTopic:
    check_topic_name(asked.name)
    if image.topic(asked.name) is not None:
        raise TopicAlreadyExists(f"Topic '{asked.name}' already exists.")
    other = image.topic_colliding_with(asked.name) or collisions.get(asked.name.replace(".", "_"))
    if other is not None:
        raise InvalidTopicName(f"Topic '{asked.name}' collides with existing topic: {other}")
    partition_count, replication_factor = _size_of(image, asked, defaults)
    overrides = image.config_rules.overrides_of(asked.configs)
    configs = image.config_rules.effective(overrides)
    topic = Topic(asked.name, NO_TOPIC_ID, partition_count, overrides, configs)
    return CreatedTopic(topic, replication_factor, image.config_rules.topic_entries(overrides))


def _size_of(image: Image, asked: NewTopic, defaults: TopicDefaults) -> tuple[int, int]:
    """Partition count and replication factor, checked."""
    if asked.assignments:
        if asked.replication_factor != -1:
            raise InvalidRequest(
                "A manual partition assignment was specified, but replication factor was not set to -1."
            )
        if asked.partition_count != -1:
            raise InvalidRequest("A manual partition assignment was specified, but numPartitions was not set to -1.")
        _check_partition_count(len(asked.assignments))
        if sorted(asked.assignments) != list(range(len(asked.assignments))):
            raise InvalidReplicaAssignment("partitions should be a consecutive 0-based integer sequence")
        replicas = [asked.assignments[number] for number in range(len(asked.assignments))]
        return len(replicas), _check_replicas(image, replicas)
    partition_count = defaults.partition_count if asked.partition_count == -1 else asked.partition_count
    replication_factor = defaults.replication_factor if asked.replication_factor == -1 else asked.replication_factor
    if partition_count <= 0:
        raise InvalidPartitions("Number of partitions was set to an invalid non-positive value.")
    _check_partition_count(partition_count)
    if replication_factor <= 0:
        raise InvalidReplicationFactor("Replication factor must be larger than 0, or -1 to use the default value.")
    if replication_factor > len(image.brokers):
        raise InvalidReplicationFactor(
            f"Unable to replicate the partition {replication_factor} time(s): The target replication factor of"
            f" {replication_factor} cannot be reached because only {len(image.brokers)} broker(s) are registered."
        )
    return partition_count, replication_factor


def _added_with(before: int, partition_count: int) -> int:
    """How many partitions a request adds with these; what goes beyond the bound is refused, the rest is not."""
    if before + partition_count > PARTITIONS_PER_REQUEST_MAX:
        raise PolicyViolation("Excessively large number of partitions per request.")
    return before + partition_count


def _check_partition_count(partition_count: int) -> None:
    if partition_count > PARTITIONS_PER_TOPIC_MAX:
        raise InvalidPartitions(f"A topic has at most {PARTITIONS_PER_TOPIC_MAX} partitions, not {partition_count}.")


def _check_replicas(image: Image, assignments: Sequence[Sequence[NodeId]]) -> int:
    """The replication factor that all of the assignments have."""
    node_ids = {broker.node_id for broker in image.brokers}
    for replicas in assignments:
        if not replicas:
            raise InvalidReplicaAssignment("The manual partition assignment includes an empty replica list.")
        if len(set(replicas)) != len(replicas):
            raise InvalidReplicaAssignment(
                "The manual partition assignment includes a broker more than once in a replica list."
            )
        for node_id in replicas:
            if node_id not in node_ids:
                raise InvalidReplicaAssignment(
                    f"The manual partition assignment includes broker {node_id}, but no such broker is registered."
                )
        if len(replicas) != len(assignments[0]):
            raise InvalidReplicaAssignment(
                f"The manual partition assignment includes a partition with {len(replicas)} replica(s), but this is not"
                f" consistent with previous partitions, which have {len(assignments[0])} replica(s)."
            )
    return len(assignments[0])


def plan_delete(image: Image, topics: Sequence[str | TopicId]) -> Decision[list[Topic | TailraceError]]:
    """See core.membership.Membership.delete_topics."""
    found = [image.topic(asked) if isinstance(asked, str) else image.topic_by_id(asked) for asked in topics]
    times = Counter(topic.topic_id for topic in found if topic is not None)
    replies: list[Topic | TailraceError] = []
    deletes: list[str] = []
    events: list[ChangeEvent] = []
    for asked, topic in zip(topics, found, strict=True):
        if topic is None:
            replies.append(_unknown(asked))
        elif times[topic.topic_id] > 1:
            replies.append(InvalidRequest(f"Topic '{topic.name}' is named more than once."))
        else:
            deletes.append(fmt.topic_key(topic.topic_id))
            if topic.overrides:
                deletes.append(fmt.config_key(topic.topic_id))
            events.append(TopicDeleted(topic))
            replies.append(topic)
    return Decision(replies, deletes=tuple(deletes), events=tuple(events))


def _unknown(asked: str | TopicId) -> TailraceError:
    if isinstance(asked, str):
        return UnknownTopicOrPartition(f"There is no topic '{asked}'.")
    return UnknownTopicId(f"No topic has the id {topic_id_text(asked)}.")


def plan_grow(
    image: Image, topics: Sequence[NewPartitions], validate_only: bool
) -> Decision[list[Topic | TailraceError]]:
    """See core.membership.Membership.create_partitions."""
    times = Counter(asked.name for asked in topics)
    added = 0
    replies: list[Topic | TailraceError] = []
    puts: list[tuple[str, bytes]] = []
    events: list[ChangeEvent] = []
    for asked in topics:
        try:
            if times[asked.name] > 1:
                raise InvalidRequest("Duplicate topic name.")
            topic = _check_growth(image, asked)
            added = _added_with(added, asked.partition_count - topic.partition_count)
        except TailraceError as error:
            replies.append(error)
            continue
        grown = topic._replace(partition_count=asked.partition_count)
        if not validate_only:
            puts.append((fmt.topic_key(grown.topic_id), fmt.encode_topic(grown.name, grown.partition_count)))
            events.append(PartitionsCreated(grown, topic.partition_count))
        replies.append(grown)
    return Decision(replies, tuple(puts), events=tuple(events))


def _check_growth(image: Image, asked: NewPartitions) -> Topic:
    topic = image.topic(asked.name)
    if topic is None:
        raise _unknown(asked.name)
    if asked.partition_count == topic.partition_count:
        raise InvalidPartitions(f"Topic already has {topic.partition_count} partition(s).")
    if asked.partition_count < topic.partition_count:
        raise InvalidPartitions(
            f"The topic {asked.name} currently has {topic.partition_count} partition(s);"
            f" {asked.partition_count} would not be an increase."
        )
    _check_partition_count(asked.partition_count)
    if asked.assignments is not None:
        added = asked.partition_count - topic.partition_count
        if len(asked.assignments) != added:
            raise InvalidReplicaAssignment(
                f"Attempted to add {added} additional partition(s), but only {len(asked.assignments)} assignment(s)"
                " were specified."
            )
        _check_replicas(image, asked.assignments)
    return topic
