"""OffsetFetch (key 9), versions 1-10.

v2 null asks for all topics, errors of the group by themselves · v3 throttle time · v5 leader epochs (KIP-320)
v7 stable offsets (KIP-447) · v8 several groups (KIP-709) · v9 member id and epoch, v10 topics by id (KIP-848)
A partition without a commit, known or not, has the offset -1 and no error. Versions 1 to 7 are answered as version 8
with its one group, and written differently.
"""

from functools import partial
from typing import Final

from tailrace_core.errors import TailraceError, UnknownTopicId
from tailrace_core.ids import NO_TOPIC_ID, TopicId
from tailrace_core.membership import ClusterImage
from tailrace_engine.coordinator.group_messages import FetchedOffset, FetchedOffsets, FetchOffsets
from tailrace_gateway.errors import kafka_code
from tailrace_gateway.kafka.connection import Reply
from tailrace_gateway.kafka.context import Services
from tailrace_gateway.kafka.group_answers import Gathered, code_of
from tailrace_gateway.kafka.routes import Api
from tailrace_gateway.kafka.schema.messages.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
    OffsetFetchResponse,
    OffsetFetchResponseGroup,
    OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
)

_GROUP_ERRORS_FROM: Final = 2
_GROUPS_FROM: Final = 8
_TOPIC_IDS_FROM: Final = 10


class OffsetFetchReply(Reply):
    """Waits for the groups."""

    __slots__ = ()

    def send(self, response: OffsetFetchResponse) -> None:  # type: ignore[override]
        """Send what is made as version 8 or later as this request's version."""
        version = self.route.version
        if version >= _GROUP_ERRORS_FROM:
            for group in response.groups:
                if group.error_code:
                    group.topics = []
        super().send(response if version >= _GROUPS_FROM else _one_group(response.groups[0]))


def handle(services: Services, reply: OffsetFetchReply, request: OffsetFetchRequest) -> None:
    groups = request.groups if reply.route.version >= _GROUPS_FROM else [_as_group(request)]
    response = OffsetFetchResponse()
    gathered = Gathered(reply, response)
    for group in groups:
        answer = OffsetFetchResponseGroup(group_id=group.group_id)
        response.groups.append(answer)
        gathered.waiting += 1
        _ask(services, group, request.require_stable, answer, gathered, reply.route.version)
    gathered.arrived()


def _as_group(request: OffsetFetchRequest) -> OffsetFetchRequestGroup:
    topics = request.topics
    return OffsetFetchRequestGroup(
        group_id=request.group_id,
        topics=None
        if topics is None
        else [OffsetFetchRequestTopics(name=topic.name, partition_indexes=topic.partition_indexes) for topic in topics],
    )


def _ask(
    services: Services,
    group: OffsetFetchRequestGroup,
    require_stable: bool,
    answer: OffsetFetchResponseGroup,
    gathered: Gathered,
    version: int,
) -> None:
    image = services.membership.image
    asked: list[OffsetFetchResponsePartitions] = []
    partitions: list[tuple[str, TopicId, int]] = []
    for named in group.topics or ():
        by_id = version >= _TOPIC_IDS_FROM
        topic = image.topic_by_id(named.topic_id) if by_id else image.topic(named.name)
        error_code = kafka_code(UnknownTopicId("no such topic")) if by_id and topic is None else 0
        answers = [
            OffsetFetchResponsePartitions(
                partition_index=partition, committed_offset=-1, metadata="", error_code=error_code
            )
            for partition in named.partition_indexes
        ]
        answer.topics.append(OffsetFetchResponseTopics(name=named.name, topic_id=named.topic_id, partitions=answers))
        if topic is not None:
            asked += answers
            partitions += [(topic.name, topic.topic_id, partition) for partition in named.partition_indexes]
    fetch = FetchOffsets(
        group_id=group.group_id,
        member_id=group.member_id,
        member_epoch=group.member_epoch,
        partitions=None if group.topics is None else tuple(partitions),
        require_stable=require_stable,
    )
    on_answer = partial(_on_answer, gathered, answer, asked, None if group.topics is not None else image)
    services.groups.ask(group.group_id, fetch, on_answer)


def _on_answer(
    gathered: Gathered,
    answer: OffsetFetchResponseGroup,
    asked: list[OffsetFetchResponsePartitions],
    image: ClusterImage | None,
    outcome: FetchedOffsets | TailraceError,
) -> None:
    """image: where all was asked for, to name what there is."""
    if isinstance(outcome, TailraceError):
        answer.error_code = kafka_code(outcome)
    elif image is not None:
        _add_all(answer, image, outcome)
    else:
        for partition, found in zip(asked, outcome.offsets, strict=True):
            _fill(partition, found)
    gathered.arrived()


def _add_all(answer: OffsetFetchResponseGroup, image: ClusterImage, outcome: FetchedOffsets) -> None:
    """Everything that was committed for topics that still are there, and are the same."""
    topics: dict[str, OffsetFetchResponseTopics] = {}
    for found in outcome.offsets:
        topic = image.topic(found.topic_name)
        if topic is None or found.topic_id not in (topic.topic_id, NO_TOPIC_ID):
            continue
        named = topics.get(found.topic_name)
        if named is None:
            named = topics[found.topic_name] = OffsetFetchResponseTopics(name=topic.name, topic_id=topic.topic_id)
            answer.topics.append(named)
        partition = OffsetFetchResponsePartitions(partition_index=found.partition)
        _fill(partition, found)
        named.partitions.append(partition)


def _fill(partition: OffsetFetchResponsePartitions, found: FetchedOffset) -> None:
    partition.committed_offset = found.offset
    partition.committed_leader_epoch = found.leader_epoch
    partition.metadata = found.metadata
    partition.error_code = code_of(found.error)


def _one_group(group: OffsetFetchResponseGroup) -> OffsetFetchResponse:
    """Below version 8. Version 1 has errors of partitions only: the group's becomes that of each."""
    return OffsetFetchResponse(
        error_code=group.error_code,
        topics=[
            OffsetFetchResponseTopic(
                name=topic.name,
                partitions=[
                    OffsetFetchResponsePartition(
                        partition_index=partition.partition_index,
                        committed_offset=partition.committed_offset,
                        committed_leader_epoch=partition.committed_leader_epoch,
                        metadata=partition.metadata,
                        error_code=group.error_code or partition.error_code,
                    )
                    for partition in topic.partitions
                ],
            )
            for topic in group.topics
        ],
    )


API = Api(key=9, name="OffsetFetch", versions=range(1, 11), direct=handle, new_reply=OffsetFetchReply)
