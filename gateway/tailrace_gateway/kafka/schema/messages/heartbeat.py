"""Heartbeat: API key 12."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, f, int16, int32, string


class HeartbeatRequest(Message, api_key=12, versions="0-4", flexible="4+"):
    group_id: str = f(string, "0+")
    generation_id: int = f(int32, "0+")
    member_id: str = f(string, "0+")
    group_instance_id: str | None = f(string, "3+", nullable="3+", default=None)


class HeartbeatResponse(Message, api_key=12, versions="0-4", flexible="4+"):
    throttle_time_ms: int = f(int32, "1+", ignorable=True)
    error_code: int = f(int16, "0+")
