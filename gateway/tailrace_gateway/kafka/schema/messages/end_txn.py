"""EndTxn: API key 26."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, boolean, f, int16, int32, int64, string


class EndTxnRequest(Message, api_key=26, versions="0-5", flexible="3+"):
    transactional_id: str = f(string, "0+")
    producer_id: int = f(int64, "0+")
    producer_epoch: int = f(int16, "0+")
    committed: bool = f(boolean, "0+")


class EndTxnResponse(Message, api_key=26, versions="0-5", flexible="3+"):
    throttle_time_ms: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
    producer_id: int = f(int64, "5+", default=-1, ignorable=True)
    producer_epoch: int = f(int16, "5+", default=-1, ignorable=True)
