"""LeaveGroup: API key 13."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, f, int16, int32, string


class MemberIdentity(Struct):
    member_id: str = f(string, "3+")
    group_instance_id: str | None = f(string, "3+", nullable="3+", default=None)
    reason: str | None = f(string, "5+", nullable="5+", default=None, ignorable=True)


class LeaveGroupRequest(Message, api_key=13, versions="0-5", flexible="4+"):
    group_id: str = f(string, "0+")
    member_id: str = f(string, "0-2")
    members: list[MemberIdentity] = f(array(MemberIdentity), "3+")


class MemberResponse(Struct):
    member_id: str = f(string, "3+")
    group_instance_id: str | None = f(string, "3+", nullable="3+")
    error_code: int = f(int16, "3+")


class LeaveGroupResponse(Message, api_key=13, versions="0-5", flexible="4+"):
    throttle_time_ms: int = f(int32, "1+", ignorable=True)
    error_code: int = f(int16, "0+")
    members: list[MemberResponse] = f(array(MemberResponse), "3+")
