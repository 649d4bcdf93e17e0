"""CreateDelegationToken: API key 38."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, binary, f, int16, int32, int64, string


class CreatableRenewers(Struct):
    principal_type: str = f(string, "0+")
    principal_name: str = f(string, "0+")


class CreateDelegationTokenRequest(Message, api_key=38, versions="1-3", flexible="2+"):
    owner_principal_type: str | None = f(string, "3+", nullable="3+")
    owner_principal_name: str | None = f(string, "3+", nullable="3+")
    renewers: list[CreatableRenewers] = f(array(CreatableRenewers), "0+")
    max_lifetime_ms: int = f(int64, "0+")


class CreateDelegationTokenResponse(Message, api_key=38, versions="1-3", flexible="2+"):
    error_code: int = f(int16, "0+")
    principal_type: str = f(string, "0+")
    principal_name: str = f(string, "0+")
    token_requester_principal_type: str = f(string, "3+")
    token_requester_principal_name: str = f(string, "3+")
    issue_timestamp_ms: int = f(int64, "0+")
    expiry_timestamp_ms: int = f(int64, "0+")
    max_timestamp_ms: int = f(int64, "0+")
    token_id: str = f(string, "0+")
    hmac: bytes = f(binary, "0+")
    throttle_time_ms: int = f(int32, "0+")
