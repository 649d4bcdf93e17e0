"""ExpireDelegationToken: API key 40."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, binary, f, int16, int32, int64


class ExpireDelegationTokenRequest(Message, api_key=40, versions="1-2", flexible="2+"):
    hmac: bytes = f(binary, "0+")
    expiry_time_period_ms: int = f(int64, "0+")


class ExpireDelegationTokenResponse(Message, api_key=40, versions="1-2", flexible="2+"):
    error_code: int = f(int16, "0+")
    expiry_timestamp_ms: int = f(int64, "0+")
    throttle_time_ms: int = f(int32, "0+")
