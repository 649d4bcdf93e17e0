"""OffsetCommit (key 8), versions 2-10.

v2-4 retention time · v3 throttle time · v6 leader epochs (KIP-320) · v7 static members (KIP-345)
v9 GROUP_ID_NOT_FOUND (KIP-848) · v10 topics by id (KIP-848)
A partition that does not exist does not keep the others; the coordinator is asked about those that do. A commit that
names none of these is answered without it, as Kafka does.
"""

from typing import Final

from tailrace_core.errors import TailraceError, UnknownTopicId, UnknownTopicOrPartition
from tailrace_engine.coordinator.group_messages import CommitOffsets, CommittedOffsets, OffsetToCommit
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

    __slots__ = ("asked", "response")

    response: OffsetCommitResponse
    asked: list[OffsetCommitResponsePartition]
    """The coordinator's part of the response, in the order in which it was asked."""

    def on_answer(self, outcome: CommittedOffsets | TailraceError) -> None:
        if isinstance(outcome, TailraceError):
            for answer in self.asked:
                answer.error_code = kafka_code(outcome)
        else:
            for answer, error in zip(self.asked, outcome.errors, strict=True):
                if error is not None:
                    answer.error_code = kafka_code(error)
        self.send(self.response)


def handle(services: Services, reply: OffsetCommitReply, request: OffsetCommitRequest) -> None:
    version = reply.route.version
    image = services.membership.image
    reply.response = response = OffsetCommitResponse()
    reply.asked = asked = []
    offsets: list[OffsetToCommit] = []
    for named in request.topics:
        topic = image.topic(named.name) if version < _TOPIC_IDS_FROM else image.topic_by_id(named.topic_id)
        answers: list[OffsetCommitResponsePartition] = []
        response.topics.append(OffsetCommitResponseTopic(name=named.name, topic_id=named.topic_id, partitions=answers))
        for commit in named.partitions:
            partition = commit.partition_index
            answer = OffsetCommitResponsePartition(partition_index=partition)
            answers.append(answer)
            if topic is None or not 0 <= partition < topic.partition_count:
                answer.error_code = code_of(
                    UnknownTopicId("no such topic")
                    if topic is None and version >= _TOPIC_IDS_FROM
                    else UnknownTopicOrPartition("no such partition")
                )
                continue
            asked.append(answer)
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
        reply.send(response)
        return
    commits = CommitOffsets(
        group_id=request.group_id,
        generation_id=request.generation_id_or_member_epoch,
        member_id=request.member_id,
        group_instance_id=request.group_instance_id,
        offsets=tuple(offsets),
        retention_time_ms=request.retention_time_ms,
        missing_group_is_illegal_generation=version < _GROUP_ID_NOT_FOUND_FROM,
    )
    services.groups.ask(request.group_id, commits, reply.on_answer)


API = Api(key=8, name="OffsetCommit", versions=range(2, 11), direct=handle, new_reply=OffsetCommitReply)
