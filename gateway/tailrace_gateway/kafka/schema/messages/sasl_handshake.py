"""SaslHandshake: API key 17."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, array, f, int16, string


class SaslHandshakeRequest(Message, api_key=17, versions="0-1", flexible="none"):
    mechanism: str = f(string, "0+")


class SaslHandshakeResponse(Message, api_key=17, versions="0-1", flexible="none"):
    error_code: int = f(int16, "0+")
    mechanisms: list[str] = f(array(string), "0+")
