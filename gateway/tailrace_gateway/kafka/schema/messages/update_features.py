"""UpdateFeatures: API key 57."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, boolean, f, int8, int16, int32, string


class FeatureUpdateKey(Struct):
    feature: str = f(string, "0+")
    max_version_level: int = f(int16, "0+")
    allow_downgrade: bool = f(boolean, "0")
    upgrade_type: int = f(int8, "1+", default=1)


class UpdateFeaturesRequest(Message, api_key=57, versions="0-2", flexible="0+"):
    timeout_ms: int = f(int32, "0+", default=60000)
    feature_updates: list[FeatureUpdateKey] = f(array(FeatureUpdateKey), "0+")
    validate_only: bool = f(boolean, "1+")


class UpdatableFeatureResult(Struct):
    feature: str = f(string, "0+")
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "0+", nullable="0+")


class UpdateFeaturesResponse(Message, api_key=57, versions="0-2", flexible="0+"):
    throttle_time_ms: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "0+", nullable="0+")
    results: list[UpdatableFeatureResult] = f(array(UpdatableFeatureResult), "0-1", ignorable=True)
