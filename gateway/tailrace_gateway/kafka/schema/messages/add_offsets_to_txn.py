"""AddOffsetsToTxn: API key 25."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, f, int16, int32, int64, string


class AddOffsetsToTxnRequest(Message, api_key=25, versions="0-4", flexible="3+"):
    transactional_id: str = f(string, "0+")
    producer_id: int = f(int64, "0+")
    producer_epoch: int = f(int16, "0+")
    group_id: str = f(string, "0+")


class AddOffsetsToTxnResponse(Message, api_key=25, versions="0-4", flexible="3+"):
    throttle_time_ms: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
