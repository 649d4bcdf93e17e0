"""BrokerRegistration: API key 62."""

from __future__ import annotations

from tailrace_core.schema.declare import (
    Message,
    Struct,
    array,
    boolean,
    f,
    int16,
    int32,
    int64,
    string,
    uint16,
    uuid,
)


class Listener(Struct):
    name: str = f(string, "0+")
    host: str = f(string, "0+")
    port: int = f(uint16, "0+")
    security_protocol: int = f(int16, "0+")


class Feature(Struct):
    name: str = f(string, "0+")
    min_supported_version: int = f(int16, "0+")
    max_supported_version: int = f(int16, "0+")


class BrokerRegistrationRequest(Message, api_key=62, versions="0-4", flexible="0+"):
    broker_id: int = f(int32, "0+")
    cluster_id: str = f(string, "0+")
    incarnation_id: bytes = f(uuid, "0+")
    listeners: list[Listener] = f(array(Listener), "0+")
    features: list[Feature] = f(array(Feature), "0+")
    rack: str | None = f(string, "0+", nullable="0+")
    is_migrating_zk_broker: bool = f(boolean, "1+")
    log_dirs: list[bytes] = f(array(uuid), "2+", ignorable=True)
    previous_broker_epoch: int = f(int64, "3+", default=-1, ignorable=True)


class BrokerRegistrationResponse(Message, api_key=62, versions="0-4", flexible="0+"):
    throttle_time_ms: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
    broker_epoch: int = f(int64, "0+", default=-1)
