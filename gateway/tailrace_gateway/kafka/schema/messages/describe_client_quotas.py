"""DescribeClientQuotas: API key 48."""

from __future__ import annotations

from tailrace_core.schema.declare import (
    Message,
    Struct,
    array,
    boolean,
    f,
    float64,
    int8,
    int16,
    int32,
    string,
)


class ComponentData(Struct):
    entity_type: str = f(string, "0+")
    match_type: int = f(int8, "0+")
    match: str | None = f(string, "0+", nullable="0+")


class DescribeClientQuotasRequest(Message, api_key=48, versions="0-1", flexible="1+"):
    components: list[ComponentData] = f(array(ComponentData), "0+")
    strict: bool = f(boolean, "0+")


class EntityData(Struct):
    entity_type: str = f(string, "0+")
    entity_name: str | None = f(string, "0+", nullable="0+")


class ValueData(Struct):
    key: str = f(string, "0+")
    value: float = f(float64, "0+")


class EntryData(Struct):
    entity: list[EntityData] = f(array(EntityData), "0+")
    values: list[ValueData] = f(array(ValueData), "0+")


class DescribeClientQuotasResponse(Message, api_key=48, versions="0-1", flexible="1+"):
    throttle_time_ms: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "0+", nullable="0+")
    entries: list[EntryData] | None = f(array(EntryData), "0+", nullable="0+")
