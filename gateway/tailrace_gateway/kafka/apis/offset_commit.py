"""OffsetCommit (key 8), versions 2-10.

v2-4 retention time · v3 throttle time · v6 leader epochs (KIP-320) · v7 static members (KIP-345)
v9 GROUP_ID_NOT_FOUND (KIP-848) · v10 topics by id (KIP-848)
A partition that does not exist does not keep the others; the coordinator is asked about those that do. A commit that
names none of these is answered without it, as Kafka does.
"""

from collections.abc import Iterator
from functools import lru_cache
from itertools import count, repeat
from typing import Final

from tailrace_core.errors import TailraceError, UnknownTopicId, UnknownTopicOrPartition
from tailrace_core.ids import TopicId
from tailrace_engine.coordinator.group_messages import ONE_COMMITTED, CommitOffsets, CommittedOffsets, OffsetToCommit
from tailrace_gateway.errors import kafka_code
from tailrace_gateway.kafka.connection import Reply
from tailrace_gateway.kafka.context import Services
from tailrace_gateway.kafka.group_answers import code_of
from tailrace_gateway.kafka.routes import Api
from tailrace_gateway.kafka.schema.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)

_GROUP_ID_NOT_FOUND_FROM: Final = 9
_TOPIC_IDS_FROM: Final = 10


class OffsetCommitReply(Reply):
    """Waits until the offsets are durable."""

    __slots__ = ("refused", "request")

    request: OffsetCommitRequest
    refused: dict[int, int]
    """Codes of partitions that the coordinator was not asked about, by their place among all in the request."""

    def on_answer(self, outcome: CommittedOffsets | TailraceError) -> None:
        topics = self.request.topics
        if outcome == ONE_COMMITTED and not self.refused and len(topics) == 1:
            topic = topics[0]
            partition = topic.partitions[0].partition_index
            self.send_parts([_one_success(self.route.version, topic.name, topic.topic_id, partition)])
        else:
            self.send(self._response(outcome))

    def _response(self, outcome: CommittedOffsets | TailraceError) -> OffsetCommitResponse:
        if isinstance(outcome, TailraceError):
            codes: Iterator[int] = repeat(kafka_code(outcome))
        else:
            codes = map(code_of, outcome.errors)
        places = count()
        return OffsetCommitResponse(
            topics=[
                OffsetCommitResponseTopic(
                    name=topic.name,
                    topic_id=topic.topic_id,
                    partitions=[
                        OffsetCommitResponsePartition(
                            partition_index=partition.partition_index,
                            error_code=self.refused[place] if (place := next(places)) in self.refused else next(codes),
                        )
                        for partition in topic.partitions
                    ],
                )
                for topic in self.request.topics
            ]
        )


@lru_cache(maxsize=4_096)
def _one_success(version: int, name: str, topic_id: TopicId, partition: int) -> bytes:
    """The response that most commits get: of one partition, without an error."""
    committed = OffsetCommitResponsePartition(partition_index=partition)
    topic = OffsetCommitResponseTopic(name=name, topic_id=topic_id, partitions=[committed])
    return bytes(OffsetCommitResponse.encoder(version)(OffsetCommitResponse(topics=[topic])))


def handle(services: Services, reply: OffsetCommitReply, request: OffsetCommitRequest) -> None:
    version = reply.route.version
    image = services.membership.image
    reply.request = request
    refused: dict[int, int] = {}
    reply.refused = refused
    offsets: list[OffsetToCommit] = []
    for named in request.topics:
        topic = image.topic(named.name) if version < _TOPIC_IDS_FROM else image.topic_by_id(named.topic_id)
        for commit in named.partitions:
            partition = commit.partition_index
            if topic is None or not 0 <= partition < topic.partition_count:
                refused[len(offsets) + len(refused)] = kafka_code(
                    UnknownTopicId("no such topic")
                    if topic is None and version >= _TOPIC_IDS_FROM
                    else UnknownTopicOrPartition("no such partition")
                )
                continue
            offsets.append(
                OffsetToCommit(
                    topic.name,
                    topic.topic_id,
                    partition,
                    commit.committed_offset,
                    commit.committed_leader_epoch,
                    commit.committed_metadata or "",
                )
            )
    if not offsets:
        reply.on_answer(CommittedOffsets(()))
        return
    group_id = request.group_id
    commits = CommitOffsets(
        group_id,
        request.generation_id_or_member_epoch,
        request.member_id,
        request.group_instance_id,
        tuple(offsets),
        request.retention_time_ms,
        version < _GROUP_ID_NOT_FOUND_FROM,
    )
    services.groups.ask(group_id, commits, reply.on_answer)


API = Api(key=8, name="OffsetCommit", versions=range(2, 11), direct=handle, new_reply=OffsetCommitReply)
