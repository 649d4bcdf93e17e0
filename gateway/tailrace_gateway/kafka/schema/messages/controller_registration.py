"""ControllerRegistration: API key 70."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, boolean, f, int16, int32, string, uint16, uuid


class Listener(Struct):
    name: str = f(string, "0+")
    host: str = f(string, "0+")
    port: int = f(uint16, "0+")
    security_protocol: int = f(int16, "0+")


class Feature(Struct):
    name: str = f(string, "0+")
    min_supported_version: int = f(int16, "0+")
    max_supported_version: int = f(int16, "0+")


class ControllerRegistrationRequest(Message, api_key=70, versions="0", flexible="0+"):
    controller_id: int = f(int32, "0+")
    incarnation_id: bytes = f(uuid, "0+")
    zk_migration_ready: bool = f(boolean, "0+")
    listeners: list[Listener] = f(array(Listener), "0+")
    features: list[Feature] = f(array(Feature), "0+")


class ControllerRegistrationResponse(Message, api_key=70, versions="0", flexible="0+"):
    throttle_time_ms: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "0+", nullable="0+")
