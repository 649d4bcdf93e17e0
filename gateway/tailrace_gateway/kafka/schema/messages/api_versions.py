"""ApiVersions: API key 18."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, boolean, f, int16, int32, int64, string


class ApiVersionsRequest(Message, api_key=18, versions="0-4", flexible="3+"):
    client_software_name: str = f(string, "3+", ignorable=True)
    client_software_version: str = f(string, "3+", ignorable=True)


class ApiVersion(Struct):
    api_key: int = f(int16, "0+")
    min_version: int = f(int16, "0+")
    max_version: int = f(int16, "0+")


class SupportedFeatureKey(Struct):
    name: str = f(string, "3+")
    min_version: int = f(int16, "3+")
    max_version: int = f(int16, "3+")


class FinalizedFeatureKey(Struct):
    name: str = f(string, "3+")
    max_version_level: int = f(int16, "3+")
    min_version_level: int = f(int16, "3+")


class ApiVersionsResponse(Message, api_key=18, versions="0-4", flexible="3+"):
    error_code: int = f(int16, "0+")
    api_keys: list[ApiVersion] = f(array(ApiVersion), "0+")
    throttle_time_ms: int = f(int32, "1+", ignorable=True)
    supported_features: list[SupportedFeatureKey] = f(array(SupportedFeatureKey), "3+", tag=0, ignorable=True)
    finalized_features_epoch: int = f(int64, "3+", tag=1, default=-1, ignorable=True)
    finalized_features: list[FinalizedFeatureKey] = f(array(FinalizedFeatureKey), "3+", tag=2, ignorable=True)
    zk_migration_ready: bool = f(boolean, "3+", tag=3, ignorable=True)
