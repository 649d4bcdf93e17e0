"""AddRaftVoter: API key 80."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, boolean, f, int16, int32, string, uint16, uuid


class Listener(Struct):
    name: str = f(string, "0+")
    host: str = f(string, "0+")
    port: int = f(uint16, "0+")


class AddRaftVoterRequest(Message, api_key=80, versions="0-1", flexible="0+"):
    cluster_id: str | None = f(string, "0+", nullable="0+")
    timeout_ms: int = f(int32, "0+")
    voter_id: int = f(int32, "0+")
    voter_directory_id: bytes = f(uuid, "0+")
    listeners: list[Listener] = f(array(Listener), "0+")
    ack_when_committed: bool = f(boolean, "1+", default=True)


class AddRaftVoterResponse(Message, api_key=80, versions="0-1", flexible="0+"):
    throttle_time_ms: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "0+", nullable="0+", ignorable=True)
