"""PushTelemetry: API key 72."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, binary, boolean, f, int8, int16, int32, uuid


class PushTelemetryRequest(Message, api_key=72, versions="0", flexible="0+"):
    client_instance_id: bytes = f(uuid, "0+")
    subscription_id: int = f(int32, "0+")
    terminating: bool = f(boolean, "0+")
    compression_type: int = f(int8, "0+")
    metrics: bytes = f(binary, "0+")


class PushTelemetryResponse(Message, api_key=72, versions="0", flexible="0+"):
    throttle_time_ms: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
