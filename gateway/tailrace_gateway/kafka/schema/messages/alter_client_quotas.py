"""AlterClientQuotas: API key 49."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, boolean, f, float64, int16, int32, string


class EntityData(Struct):
    entity_type: str = f(string, "0+")
    entity_name: str | None = f(string, "0+", nullable="0+")


class OpData(Struct):
    key: str = f(string, "0+")
    value: float = f(float64, "0+")
    remove: bool = f(boolean, "0+")


class RequestEntryData(Struct):
    entity: list[EntityData] = f(array(EntityData), "0+")
    ops: list[OpData] = f(array(OpData), "0+")


class AlterClientQuotasRequest(Message, api_key=49, versions="0-1", flexible="1+"):
    entries: list[RequestEntryData] = f(array(RequestEntryData), "0+")
    validate_only: bool = f(boolean, "0+")


class ResponseEntryData(Struct):
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "0+", nullable="0+")
    entity: list[EntityData] = f(array(EntityData), "0+")


class AlterClientQuotasResponse(Message, api_key=49, versions="0-1", flexible="1+"):
    throttle_time_ms: int = f(int32, "0+")
    entries: list[ResponseEntryData] = f(array(ResponseEntryData), "0+")
