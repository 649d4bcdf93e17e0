"""DeleteTopics (key 20), versions 1-6.

v5 error messages (KIP-599) · v6 topics by id (KIP-516)
A topic that cannot be deleted does not keep the others.
Not done: timeout_ms, as the answer comes with the commit; the objects go later, by the sweep.
"""

from typing import Final

from tailrace_core.errors import InvalidRequest, TailraceError
from tailrace_core.ids import NO_TOPIC_ID, TopicId
from tailrace_core.membership import Topic
from tailrace_gateway.errors import kafka_code
from tailrace_gateway.kafka.context import Call
from tailrace_gateway.kafka.routes import Api
from tailrace_gateway.kafka.schema.messages.delete_topics import (
    DeletableTopicResult,
    DeleteTopicsRequest,
    DeleteTopicsResponse,
)

_STATES_FROM: Final = 6


async def handle(call: Call, request: DeleteTopicsRequest) -> DeleteTopicsResponse:
    refused: list[DeletableTopicResult] = []
    asked: list[str | TopicId] = []
    if call.version < _STATES_FROM:
        asked += request.topic_names
    for state in request.topics:
        if (state.name is None) == (state.topic_id == NO_TOPIC_ID):
            error = InvalidRequest(
                "Neither topic name nor id were specified."
                if state.name is None
                else "You may not specify both topic name and topic id."
            )
            refused.append(_failed(state.name, state.topic_id, error))
        else:
            asked.append(state.topic_id if state.name is None else state.name)
    deleted: list[Topic | TailraceError]
    try:
        deleted = await call.services.membership.delete_topics(asked)
    except TailraceError as error:
        deleted = [error] * len(asked)
    results: dict[str | TopicId, DeletableTopicResult] = {}
    for name_or_id, outcome in zip(asked, deleted, strict=True):
        # What is named twice was refused twice, and is answered once.
        if not isinstance(outcome, TailraceError):
            results[name_or_id] = DeletableTopicResult(name=outcome.name, topic_id=outcome.topic_id)
        elif isinstance(name_or_id, str):
            results[name_or_id] = _failed(name_or_id, NO_TOPIC_ID, outcome)
        else:
            results[name_or_id] = _failed(None, name_or_id, outcome)
    return DeleteTopicsResponse(responses=[*refused, *results.values()])


def _failed(name: str | None, topic_id: TopicId, error: TailraceError) -> DeletableTopicResult:
    return DeletableTopicResult(name=name, topic_id=topic_id, error_code=kafka_code(error), error_message=str(error))


API = Api(key=20, name="DeleteTopics", versions=range(1, 7), handle=handle)
