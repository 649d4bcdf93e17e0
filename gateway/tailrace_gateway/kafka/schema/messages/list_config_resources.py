"""ListConfigResources: API key 74."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, f, int8, int16, int32, string


class ListConfigResourcesRequest(Message, api_key=74, versions="0-1", flexible="0+"):
    resource_types: list[int] = f(array(int8), "1+")


class ConfigResource(Struct):
    resource_name: str = f(string, "0+")
    resource_type: int = f(int8, "1+", default=16, ignorable=True)


class ListConfigResourcesResponse(Message, api_key=74, versions="0-1", flexible="0+"):
    throttle_time_ms: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
    config_resources: list[ConfigResource] = f(array(ConfigResource), "0+")
