"""OffsetDelete (key 47), version 0 (KIP-496).

A partition that does not exist does not keep the others; an error of the group comes without partitions.
"""

from tailrace_core.errors import TailraceError, UnknownTopicOrPartition
from tailrace_engine.coordinator.group_messages import DeletedOffsets, DeleteOffsets
from tailrace_gateway.errors import kafka_code
from tailrace_gateway.kafka.connection import Reply
from tailrace_gateway.kafka.context import Services
from tailrace_gateway.kafka.group_answers import code_of, no_group_id
from tailrace_gateway.kafka.routes import Api
from tailrace_gateway.kafka.schema.messages.offset_delete import (
    OffsetDeleteRequest,
    OffsetDeleteResponse,
    OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
)


class OffsetDeleteReply(Reply):
    """Waits until the deletion is durable."""

    __slots__ = ("asked", "response")

    response: OffsetDeleteResponse
    asked: list[OffsetDeleteResponsePartition]
    """The coordinator's part of the response, in the order in which it was asked."""

    def on_answer(self, outcome: DeletedOffsets | TailraceError) -> None:
        if isinstance(outcome, TailraceError):
            self.send(OffsetDeleteResponse(error_code=kafka_code(outcome)))
            return
        for answer, error in zip(self.asked, outcome.errors, strict=True):
            answer.error_code = code_of(error)
        self.send(self.response)


def handle(services: Services, reply: OffsetDeleteReply, request: OffsetDeleteRequest) -> None:
    image = services.membership.image
    reply.response = response = OffsetDeleteResponse()
    reply.asked = asked = []
    partitions: list[tuple[str, int]] = []
    if not request.group_id:
        reply.on_answer(no_group_id())
        return
    for named in request.topics:
        topic = image.topic(named.name)
        answers: list[OffsetDeleteResponsePartition] = []
        response.topics.append(OffsetDeleteResponseTopic(name=named.name, partitions=answers))
        for partition in named.partitions:
            answer = OffsetDeleteResponsePartition(partition_index=partition.partition_index)
            answers.append(answer)
            if topic is None or not 0 <= partition.partition_index < topic.partition_count:
                answer.error_code = kafka_code(UnknownTopicOrPartition("no such partition"))
            else:
                asked.append(answer)
                partitions.append((topic.name, partition.partition_index))
    services.groups.ask(request.group_id, DeleteOffsets(request.group_id, tuple(partitions)), reply.on_answer)


API = Api(key=47, name="OffsetDelete", versions=range(1), direct=handle, new_reply=OffsetDeleteReply)
