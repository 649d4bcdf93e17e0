"""DescribeUserScramCredentials: API key 50."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, f, int8, int16, int32, string


class UserName(Struct):
    name: str = f(string, "0+")


class DescribeUserScramCredentialsRequest(Message, api_key=50, versions="0", flexible="0+"):
    users: list[UserName] | None = f(array(UserName), "0+", nullable="0+")


class CredentialInfo(Struct):
    mechanism: int = f(int8, "0+")
    iterations: int = f(int32, "0+")


class DescribeUserScramCredentialsResult(Struct):
    user: str = f(string, "0+")
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "0+", nullable="0+")
    credential_infos: list[CredentialInfo] = f(array(CredentialInfo), "0+")


class DescribeUserScramCredentialsResponse(Message, api_key=50, versions="0", flexible="0+"):
    throttle_time_ms: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "0+", nullable="0+")
    results: list[DescribeUserScramCredentialsResult] = f(array(DescribeUserScramCredentialsResult), "0+")
