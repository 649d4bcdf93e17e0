"""DescribeGroups: API key 15."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, binary, boolean, f, int16, int32, string


class DescribeGroupsRequest(Message, api_key=15, versions="0-6", flexible="5+"):
    groups: list[str] = f(array(string), "0+")
    include_authorized_operations: bool = f(boolean, "3+")


class DescribedGroupMember(Struct):
    member_id: str = f(string, "0+")
    group_instance_id: str | None = f(string, "4+", nullable="4+", default=None, ignorable=True)
    client_id: str = f(string, "0+")
    client_host: str = f(string, "0+")
    member_metadata: bytes = f(binary, "0+")
    member_assignment: bytes = f(binary, "0+")


class DescribedGroup(Struct):
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "6+", nullable="6+", default=None)
    group_id: str = f(string, "0+")
    group_state: str = f(string, "0+")
    protocol_type: str = f(string, "0+")
    protocol_data: str = f(string, "0+")
    members: list[DescribedGroupMember] = f(array(DescribedGroupMember), "0+")
    authorized_operations: int = f(int32, "3+", default=-0x8000_0000)


class DescribeGroupsResponse(Message, api_key=15, versions="0-6", flexible="5+"):
    throttle_time_ms: int = f(int32, "1+", ignorable=True)
    groups: list[DescribedGroup] = f(array(DescribedGroup), "0+")
