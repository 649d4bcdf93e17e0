"""SyncGroup: API key 14."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, binary, f, int16, int32, string


class SyncGroupRequestAssignment(Struct):
    member_id: str = f(string, "0+")
    assignment: bytes = f(binary, "0+")


class SyncGroupRequest(Message, api_key=14, versions="0-5", flexible="4+"):
    group_id: str = f(string, "0+")
    generation_id: int = f(int32, "0+")
    member_id: str = f(string, "0+")
    group_instance_id: str | None = f(string, "3+", nullable="3+", default=None)
    protocol_type: str | None = f(string, "5+", nullable="5+", default=None, ignorable=True)
    protocol_name: str | None = f(string, "5+", nullable="5+", default=None, ignorable=True)
    assignments: list[SyncGroupRequestAssignment] = f(array(SyncGroupRequestAssignment), "0+")


class SyncGroupResponse(Message, api_key=14, versions="0-5", flexible="4+"):
    throttle_time_ms: int = f(int32, "1+", ignorable=True)
    error_code: int = f(int16, "0+")
    protocol_type: str | None = f(string, "5+", nullable="5+", default=None, ignorable=True)
    protocol_name: str | None = f(string, "5+", nullable="5+", default=None, ignorable=True)
    assignment: bytes = f(binary, "0+")
