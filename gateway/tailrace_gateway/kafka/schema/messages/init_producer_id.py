"""InitProducerId: API key 22."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, boolean, f, int16, int32, int64, string


class InitProducerIdRequest(Message, api_key=22, versions="0-6", flexible="2+"):
    transactional_id: str | None = f(string, "0+", nullable="0+")
    transaction_timeout_ms: int = f(int32, "0+")
    producer_id: int = f(int64, "3+", default=-1)
    producer_epoch: int = f(int16, "3+", default=-1)
    enable2_pc: bool = f(boolean, "6+")
    keep_prepared_txn: bool = f(boolean, "6+")


class InitProducerIdResponse(Message, api_key=22, versions="0-6", flexible="2+"):
    throttle_time_ms: int = f(int32, "0+", ignorable=True)
    error_code: int = f(int16, "0+")
    producer_id: int = f(int64, "0+", default=-1)
    producer_epoch: int = f(int16, "0+")
    ongoing_txn_producer_id: int = f(int64, "6+", default=-1)
    ongoing_txn_producer_epoch: int = f(int16, "6+", default=-1)
