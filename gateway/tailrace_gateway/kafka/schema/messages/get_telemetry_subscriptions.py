"""GetTelemetrySubscriptions: API key 71."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, array, boolean, f, int8, int16, int32, string, uuid


class GetTelemetrySubscriptionsRequest(Message, api_key=71, versions="0", flexible="0+"):
    client_instance_id: bytes = f(uuid, "0+")


class GetTelemetrySubscriptionsResponse(Message, api_key=71, versions="0", flexible="0+"):
    throttle_time_ms: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
    client_instance_id: bytes = f(uuid, "0+")
    subscription_id: int = f(int32, "0+")
    accepted_compression_types: list[int] = f(array(int8), "0+")
    push_interval_ms: int = f(int32, "0+")
    telemetry_max_bytes: int = f(int32, "0+")
    delta_temporality: bool = f(boolean, "0+")
    requested_metrics: list[str] = f(array(string), "0+")
