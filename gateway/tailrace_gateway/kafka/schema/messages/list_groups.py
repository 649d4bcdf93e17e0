"""ListGroups: API key 16."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, f, int16, int32, string


class ListGroupsRequest(Message, api_key=16, versions="0-5", flexible="3+"):
    states_filter: list[str] = f(array(string), "4+")
    types_filter: list[str] = f(array(string), "5+")


class ListedGroup(Struct):
    group_id: str = f(string, "0+")
    protocol_type: str = f(string, "0+")
    group_state: str = f(string, "4+", ignorable=True)
    group_type: str = f(string, "5+", ignorable=True)


class ListGroupsResponse(Message, api_key=16, versions="0-5", flexible="3+"):
    throttle_time_ms: int = f(int32, "1+", ignorable=True)
    error_code: int = f(int16, "0+")
    groups: list[ListedGroup] = f(array(ListedGroup), "0+")
