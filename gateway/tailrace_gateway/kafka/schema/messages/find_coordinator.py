"""FindCoordinator: API key 10."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, f, int8, int16, int32, string


class FindCoordinatorRequest(Message, api_key=10, versions="0-6", flexible="3+"):
    key: str = f(string, "0-3")
    key_type: int = f(int8, "1+")
    coordinator_keys: list[str] = f(array(string), "4+")


class Coordinator(Struct):
    key: str = f(string, "4+")
    node_id: int = f(int32, "4+")
    host: str = f(string, "4+")
    port: int = f(int32, "4+")
    error_code: int = f(int16, "4+")
    error_message: str | None = f(string, "4+", nullable="4+", ignorable=True)


class FindCoordinatorResponse(Message, api_key=10, versions="0-6", flexible="3+"):
    throttle_time_ms: int = f(int32, "1+", ignorable=True)
    error_code: int = f(int16, "0-3")
    error_message: str | None = f(string, "1-3", nullable="1-3", ignorable=True)
    node_id: int = f(int32, "0-3")
    host: str = f(string, "0-3")
    port: int = f(int32, "0-3")
    coordinators: list[Coordinator] = f(array(Coordinator), "4+")
