"""SaslAuthenticate: API key 36."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, binary, f, int16, int64, string


class SaslAuthenticateRequest(Message, api_key=36, versions="0-2", flexible="2+"):
    auth_bytes: bytes = f(binary, "0+")


class SaslAuthenticateResponse(Message, api_key=36, versions="0-2", flexible="2+"):
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "0+", nullable="0+")
    auth_bytes: bytes = f(binary, "0+")
    session_lifetime_ms: int = f(int64, "1+", ignorable=True)
