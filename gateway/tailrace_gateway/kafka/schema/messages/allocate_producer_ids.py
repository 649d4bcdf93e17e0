"""AllocateProducerIds: API key 67."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, f, int16, int32, int64


class AllocateProducerIdsRequest(Message, api_key=67, versions="0", flexible="0+"):
    broker_id: int = f(int32, "0+")
    broker_epoch: int = f(int64, "0+", default=-1)


class AllocateProducerIdsResponse(Message, api_key=67, versions="0", flexible="0+"):
    throttle_time_ms: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
    producer_id_start: int = f(int64, "0+")
    producer_id_len: int = f(int32, "0+")
