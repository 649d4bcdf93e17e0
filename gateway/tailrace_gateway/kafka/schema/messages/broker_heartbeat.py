"""BrokerHeartbeat: API key 63."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, array, boolean, f, int16, int32, int64, uuid


class BrokerHeartbeatRequest(Message, api_key=63, versions="0-2", flexible="0+"):
    broker_id: int = f(int32, "0+")
    broker_epoch: int = f(int64, "0+", default=-1)
    current_metadata_offset: int = f(int64, "0+")
    want_fence: bool = f(boolean, "0+")
    want_shut_down: bool = f(boolean, "0+")
    offline_log_dirs: list[bytes] = f(array(uuid), "1+", tag=0)
    cordoned_log_dirs: list[bytes] | None = f(array(uuid), "2+", nullable="2+", tag=1, default=None)


class BrokerHeartbeatResponse(Message, api_key=63, versions="0-2", flexible="0+"):
    throttle_time_ms: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
    is_caught_up: bool = f(boolean, "0+")
    is_fenced: bool = f(boolean, "0+", default=True)
    should_shut_down: bool = f(boolean, "0+")
