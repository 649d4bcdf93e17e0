"""DescribeConfigs: API key 32."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, boolean, f, int8, int16, int32, string


class DescribeConfigsResource(Struct):
    resource_type: int = f(int8, "0+")
    resource_name: str = f(string, "0+")
    configuration_keys: list[str] | None = f(array(string), "0+", nullable="0+")


class DescribeConfigsRequest(Message, api_key=32, versions="1-4", flexible="4+"):
    resources: list[DescribeConfigsResource] = f(array(DescribeConfigsResource), "0+")
    include_synonyms: bool = f(boolean, "1+")
    include_documentation: bool = f(boolean, "3+")


class DescribeConfigsSynonym(Struct):
    name: str = f(string, "1+")
    value: str | None = f(string, "1+", nullable="0+")
    source: int = f(int8, "1+")


class DescribeConfigsResourceResult(Struct):
    name: str = f(string, "0+")
    value: str | None = f(string, "0+", nullable="0+")
    read_only: bool = f(boolean, "0+")
    config_source: int = f(int8, "1+", default=-1, ignorable=True)
    is_sensitive: bool = f(boolean, "0+")
    synonyms: list[DescribeConfigsSynonym] = f(array(DescribeConfigsSynonym), "1+", ignorable=True)
    config_type: int = f(int8, "3+", ignorable=True)
    documentation: str | None = f(string, "3+", nullable="0+", ignorable=True)


class DescribeConfigsResult(Struct):
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "0+", nullable="0+")
    resource_type: int = f(int8, "0+")
    resource_name: str = f(string, "0+")
    configs: list[DescribeConfigsResourceResult] = f(array(DescribeConfigsResourceResult), "0+")


class DescribeConfigsResponse(Message, api_key=32, versions="1-4", flexible="4+"):
    throttle_time_ms: int = f(int32, "0+")
    results: list[DescribeConfigsResult] = f(array(DescribeConfigsResult), "0+")
