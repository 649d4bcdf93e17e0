"""DescribeDelegationToken: API key 41."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, binary, f, int16, int32, int64, string


class DescribeDelegationTokenOwner(Struct):
    principal_type: str = f(string, "0+")
    principal_name: str = f(string, "0+")


class DescribeDelegationTokenRequest(Message, api_key=41, versions="1-3", flexible="2+"):
    owners: list[DescribeDelegationTokenOwner] | None = f(array(DescribeDelegationTokenOwner), "0+", nullable="0+")


class DescribedDelegationTokenRenewer(Struct):
    principal_type: str = f(string, "0+")
    principal_name: str = f(string, "0+")


class DescribedDelegationToken(Struct):
    principal_type: str = f(string, "0+")
    principal_name: str = f(string, "0+")
    token_requester_principal_type: str = f(string, "3+")
    token_requester_principal_name: str = f(string, "3+")
    issue_timestamp: int = f(int64, "0+")
    expiry_timestamp: int = f(int64, "0+")
    max_timestamp: int = f(int64, "0+")
    token_id: str = f(string, "0+")
    hmac: bytes = f(binary, "0+")
    renewers: list[DescribedDelegationTokenRenewer] = f(array(DescribedDelegationTokenRenewer), "0+")


class DescribeDelegationTokenResponse(Message, api_key=41, versions="1-3", flexible="2+"):
    error_code: int = f(int16, "0+")
    tokens: list[DescribedDelegationToken] = f(array(DescribedDelegationToken), "0+")
    throttle_time_ms: int = f(int32, "0+")
