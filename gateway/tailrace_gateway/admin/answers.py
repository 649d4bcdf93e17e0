"""Answers as JSON: values, and errors with Kafka's name of the code and a sentence that says what is allowed."""

import asyncio
import json
from collections.abc import Mapping
from typing import Final

from pydantic import ValidationError

from tailrace_core import errors
from tailrace_gateway.errors import kafka_code
from tailrace_gateway.observability.http import Response

JSON: Final = "application/json"
_SLICE: Final = 500
"""Items of a list that are encoded at once: a millisecond at most."""

_STATUSES: Final = (
    (errors.UnknownTopicOrPartition, 404),
    (errors.UnknownTopicId, 404),
    (errors.GroupIdNotFound, 404),
    (errors.TopicAlreadyExists, 409),
    (errors.NonEmptyGroup, 409),
    (errors.GroupSubscribedToTopic, 409),
    (errors.UnknownMemberId, 409),
    (errors.InternalTopic, 403),
    (errors.PolicyViolation, 403),
    (errors.RequestTimedOut, 504),
    (errors.RetriableError, 503),
    (errors.DataCorrupt, 500),
    (errors.MissingObject, 500),
    (errors.TailraceError, 400),
)
"""The first class that fits."""


class Refusal(Exception):
    """A request that is refused before anything is asked of the broker."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers or {}


async def answer(status: int, value: Mapping[str, object]) -> Response:
    """A JSON object. Lists in it are encoded in slices, so that a long one does not keep the loop."""
    parts: list[str] = []
    for key, item in value.items():
        parts.append(f"{',' if parts else '{'}{json.dumps(key)}:")
        if isinstance(item, list) and len(item) > _SLICE:
            for start in range(0, len(item), _SLICE):
                text = json.dumps(item[start : start + _SLICE], separators=(",", ":"))
                parts.append(("," if start else "[") + text[1:-1])
                await asyncio.sleep(0)
            parts.append("]")
        else:
            parts.append(json.dumps(item, separators=(",", ":")))
    return Response(status, "".join([*parts, "}\n"]).encode(), JSON)


def error_value(error: errors.TailraceError) -> dict[str, object]:
    """The error of one part of an answer that stands in a list with others."""
    return {"code": kafka_code(error).name, "message": str(error)}


def failure(error: errors.TailraceError) -> Response:
    """The answer where the whole request was refused."""
    status = next(status for kind, status in _STATUSES if isinstance(error, kind))
    return _error(status, kafka_code(error).name, str(error))


def refusal(error: Refusal) -> Response:
    """The answer to a request that did not come as far as the broker."""
    return _error(error.status, error.code, str(error), error.headers)


def _error(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    body = json.dumps({"error": {"code": code, "message": message}}) + "\n"
    return Response(status, body.encode(), JSON, headers or {})


def explain(error: ValidationError, allowed: list[str]) -> Refusal:
    """What is wrong with a body or a query. allowed: the fields that it may have."""
    said = []
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        place = ".".join(str(one) for one in problem["loc"]) or "the body"
        match problem["type"]:
            case "extra_forbidden" if len(problem["loc"]) == 1:
                said.append(f"unknown field {place!r}; allowed: {', '.join(allowed)}")
            case "extra_forbidden":
                said.append(f"unknown field {place!r}")
            case "missing":
                said.append(f"{place} is missing")
            case "json_invalid":
                said.append(f"the body is not JSON: {problem['msg'].removeprefix('Invalid JSON: ')}")
            case _:
                said.append(f"{place}: {problem['msg'].removeprefix('Value error, ')}")
    return Refusal(400, "INVALID_REQUEST", "; ".join(said))
