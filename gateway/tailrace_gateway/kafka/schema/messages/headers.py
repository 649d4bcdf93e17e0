"""The headers that go before requests and responses."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, f, int16, int32, string


class RequestHeader(Message, versions="1-2", flexible="2+"):
    request_api_key: int = f(int16, "0+")
    request_api_version: int = f(int16, "0+")
    correlation_id: int = f(int32, "0+")
    client_id: str | None = f(string, "1+", nullable="1+", flexible="none")


class ResponseHeader(Message, versions="0-1", flexible="1+"):
    correlation_id: int = f(int32, "0+")
