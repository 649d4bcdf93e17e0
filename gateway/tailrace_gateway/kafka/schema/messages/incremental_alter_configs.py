"""IncrementalAlterConfigs: API key 44."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, boolean, f, int8, int16, int32, string


class AlterableConfig(Struct):
    name: str = f(string, "0+")
    config_operation: int = f(int8, "0+")
    value: str | None = f(string, "0+", nullable="0+")


class AlterConfigsResource(Struct):
    resource_type: int = f(int8, "0+")
    resource_name: str = f(string, "0+")
    configs: list[AlterableConfig] = f(array(AlterableConfig), "0+")


class IncrementalAlterConfigsRequest(Message, api_key=44, versions="0-1", flexible="1+"):
    resources: list[AlterConfigsResource] = f(array(AlterConfigsResource), "0+")
    validate_only: bool = f(boolean, "0+")


class AlterConfigsResourceResponse(Struct):
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "0+", nullable="0+")
    resource_type: int = f(int8, "0+")
    resource_name: str = f(string, "0+")


class IncrementalAlterConfigsResponse(Message, api_key=44, versions="0-1", flexible="1+"):
    throttle_time_ms: int = f(int32, "0+")
    responses: list[AlterConfigsResourceResponse] = f(array(AlterConfigsResourceResponse), "0+")
