"""AlterUserScramCredentials: API key 51."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, binary, f, int8, int16, int32, string


class ScramCredentialDeletion(Struct):
    name: str = f(string, "0+")
    mechanism: int = f(int8, "0+")


class ScramCredentialUpsertion(Struct):
    name: str = f(string, "0+")
    mechanism: int = f(int8, "0+")
    iterations: int = f(int32, "0+")
    salt: bytes = f(binary, "0+")
    salted_password: bytes = f(binary, "0+")


class AlterUserScramCredentialsRequest(Message, api_key=51, versions="0", flexible="0+"):
    deletions: list[ScramCredentialDeletion] = f(array(ScramCredentialDeletion), "0+")
    upsertions: list[ScramCredentialUpsertion] = f(array(ScramCredentialUpsertion), "0+")


class AlterUserScramCredentialsResult(Struct):
    user: str = f(string, "0+")
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "0+", nullable="0+")


class AlterUserScramCredentialsResponse(Message, api_key=51, versions="0", flexible="0+"):
    throttle_time_ms: int = f(int32, "0+")
    results: list[AlterUserScramCredentialsResult] = f(array(AlterUserScramCredentialsResult), "0+")
