"""DeleteAcls: API key 31."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, f, int8, int16, int32, string


class DeleteAclsFilter(Struct):
    resource_type_filter: int = f(int8, "0+")
    resource_name_filter: str | None = f(string, "0+", nullable="0+")
    pattern_type_filter: int = f(int8, "1+", default=3)
    principal_filter: str | None = f(string, "0+", nullable="0+")
    host_filter: str | None = f(string, "0+", nullable="0+")
    operation: int = f(int8, "0+")
    permission_type: int = f(int8, "0+")


class DeleteAclsRequest(Message, api_key=31, versions="1-3", flexible="2+"):
    filters: list[DeleteAclsFilter] = f(array(DeleteAclsFilter), "0+")


class DeleteAclsMatchingAcl(Struct):
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "0+", nullable="0+")
    resource_type: int = f(int8, "0+")
    resource_name: str = f(string, "0+")
    pattern_type: int = f(int8, "1+", default=3)
    principal: str = f(string, "0+")
    host: str = f(string, "0+")
    operation: int = f(int8, "0+")
    permission_type: int = f(int8, "0+")


class DeleteAclsFilterResult(Struct):
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "0+", nullable="0+")
    matching_acls: list[DeleteAclsMatchingAcl] = f(array(DeleteAclsMatchingAcl), "0+")


class DeleteAclsResponse(Message, api_key=31, versions="1-3", flexible="2+"):
    throttle_time_ms: int = f(int32, "0+")
    filter_results: list[DeleteAclsFilterResult] = f(array(DeleteAclsFilterResult), "0+")
