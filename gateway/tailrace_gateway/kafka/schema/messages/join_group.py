"""JoinGroup: API key 11."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, binary, boolean, f, int16, int32, string


class JoinGroupRequestProtocol(Struct):
    name: str = f(string, "0+")
    metadata: bytes = f(binary, "0+")


class JoinGroupRequest(Message, api_key=11, versions="0-9", flexible="6+"):
    group_id: str = f(string, "0+")
    session_timeout_ms: int = f(int32, "0+")
    rebalance_timeout_ms: int = f(int32, "1+", default=-1, ignorable=True)
    member_id: str = f(string, "0+")
    group_instance_id: str | None = f(string, "5+", nullable="5+", default=None)
    protocol_type: str = f(string, "0+")
    protocols: list[JoinGroupRequestProtocol] = f(array(JoinGroupRequestProtocol), "0+")
    reason: str | None = f(string, "8+", nullable="8+", default=None, ignorable=True)


class JoinGroupResponseMember(Struct):
    member_id: str = f(string, "0+")
    group_instance_id: str | None = f(string, "5+", nullable="5+", default=None, ignorable=True)
    metadata: bytes = f(binary, "0+")


class JoinGroupResponse(Message, api_key=11, versions="0-9", flexible="6+"):
    throttle_time_ms: int = f(int32, "2+", ignorable=True)
    error_code: int = f(int16, "0+")
    generation_id: int = f(int32, "0+", default=-1)
    protocol_type: str | None = f(string, "7+", nullable="7+", default=None, ignorable=True)
    protocol_name: str | None = f(string, "0+", nullable="7+")
    leader: str = f(string, "0+")
    skip_assignment: bool = f(boolean, "9+")
    member_id: str = f(string, "0+")
    members: list[JoinGroupResponseMember] = f(array(JoinGroupResponseMember), "0+")
