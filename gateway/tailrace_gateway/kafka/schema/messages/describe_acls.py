"""DescribeAcls: API key 29."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, f, int8, int16, int32, string


class DescribeAclsRequest(Message, api_key=29, versions="1-3", flexible="2+"):
    resource_type_filter: int = f(int8, "0+")
    resource_name_filter: str | None = f(string, "0+", nullable="0+")
    pattern_type_filter: int = f(int8, "1+", default=3)
    principal_filter: str | None = f(string, "0+", nullable="0+")
    host_filter: str | None = f(string, "0+", nullable="0+")
    operation: int = f(int8, "0+")
    permission_type: int = f(int8, "0+")


class AclDescription(Struct):
    principal: str = f(string, "0+")
    host: str = f(string, "0+")
    operation: int = f(int8, "0+")
    permission_type: int = f(int8, "0+")


class DescribeAclsResource(Struct):
    resource_type: int = f(int8, "0+")
    resource_name: str = f(string, "0+")
    pattern_type: int = f(int8, "1+", default=3)
    acls: list[AclDescription] = f(array(AclDescription), "0+")


class DescribeAclsResponse(Message, api_key=29, versions="1-3", flexible="2+"):
    throttle_time_ms: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "0+", nullable="0+")
    resources: list[DescribeAclsResource] = f(array(DescribeAclsResource), "0+")
