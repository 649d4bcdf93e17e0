"""Envelope: API key 58."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, binary, f, int16


class EnvelopeRequest(Message, api_key=58, versions="0", flexible="0+"):
    request_data: bytes = f(binary, "0+")
    request_principal: bytes | None = f(binary, "0+", nullable="0+")
    client_host_address: bytes = f(binary, "0+")


class EnvelopeResponse(Message, api_key=58, versions="0", flexible="0+"):
    response_data: bytes | None = f(binary, "0+", nullable="0+", default=None)
    error_code: int = f(int16, "0+")
