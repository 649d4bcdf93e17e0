"""RenewDelegationToken: API key 39."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, binary, f, int16, int32, int64


class RenewDelegationTokenRequest(Message, api_key=39, versions="1-2", flexible="2+"):
    hmac: bytes = f(binary, "0+")
    renew_period_ms: int = f(int64, "0+")


class RenewDelegationTokenResponse(Message, api_key=39, versions="1-2", flexible="2+"):
    error_code: int = f(int16, "0+")
    expiry_timestamp_ms: int = f(int64, "0+")
    throttle_time_ms: int = f(int32, "0+")
