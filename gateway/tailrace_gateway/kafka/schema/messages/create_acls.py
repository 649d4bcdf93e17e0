"""CreateAcls: API key 30."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, f, int8, int16, int32, string


class AclCreation(Struct):
    resource_type: int = f(int8, "0+")
    resource_name: str = f(string, "0+")
    resource_pattern_type: int = f(int8, "1+", default=3)
    principal: str = f(string, "0+")
    host: str = f(string, "0+")
    operation: int = f(int8, "0+")
    permission_type: int = f(int8, "0+")


class CreateAclsRequest(Message, api_key=30, versions="1-3", flexible="2+"):
    creations: list[AclCreation] = f(array(AclCreation), "0+")


class AclCreationResult(Struct):
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "0+", nullable="0+")


class CreateAclsResponse(Message, api_key=30, versions="1-3", flexible="2+"):
    throttle_time_ms: int = f(int32, "0+")
    results: list[AclCreationResult] = f(array(AclCreationResult), "0+")
