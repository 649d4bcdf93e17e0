"""DeleteGroups: API key 42."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, f, int16, int32, string


class DeleteGroupsRequest(Message, api_key=42, versions="0-2", flexible="2+"):
    groups_names: list[str] = f(array(string), "0+")


class DeletableGroupResult(Struct):
    group_id: str = f(string, "0+")
    error_code: int = f(int16, "0+")


class DeleteGroupsResponse(Message, api_key=42, versions="0-2", flexible="2+"):
    throttle_time_ms: int = f(int32, "0+")
    results: list[DeletableGroupResult] = f(array(DeletableGroupResult), "0+")
