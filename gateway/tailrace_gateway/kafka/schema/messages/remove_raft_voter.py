"""RemoveRaftVoter: API key 81."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, f, int16, int32, string, uuid


class RemoveRaftVoterRequest(Message, api_key=81, versions="0", flexible="0+"):
    cluster_id: str | None = f(string, "0+", nullable="0+")
    voter_id: int = f(int32, "0+")
    voter_directory_id: bytes = f(uuid, "0+")


class RemoveRaftVoterResponse(Message, api_key=81, versions="0", flexible="0+"):
    throttle_time_ms: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "0+", nullable="0+", ignorable=True)
