"""DeleteTopics: API key 20."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, f, int16, int32, string, uuid


class DeleteTopicState(Struct):
    name: str | None = f(string, "6+", nullable="6+", default=None)
    topic_id: bytes = f(uuid, "6+")


class DeleteTopicsRequest(Message, api_key=20, versions="1-6", flexible="4+"):
    topics: list[DeleteTopicState] = f(array(DeleteTopicState), "6+")
    topic_names: list[str] = f(array(string), "0-5", ignorable=True)
    timeout_ms: int = f(int32, "0+")


class DeletableTopicResult(Struct):
    name: str | None = f(string, "0+", nullable="6+")
    topic_id: bytes = f(uuid, "6+", ignorable=True)
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "5+", nullable="5+", default=None, ignorable=True)


class DeleteTopicsResponse(Message, api_key=20, versions="1-6", flexible="4+"):
    throttle_time_ms: int = f(int32, "1+", ignorable=True)
    responses: list[DeletableTopicResult] = f(array(DeletableTopicResult), "0+")
