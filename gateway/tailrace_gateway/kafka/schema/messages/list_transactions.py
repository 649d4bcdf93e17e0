"""ListTransactions: API key 66."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, f, int16, int32, int64, string


class ListTransactionsRequest(Message, api_key=66, versions="0-2", flexible="0+"):
    state_filters: list[str] = f(array(string), "0+")
    producer_id_filters: list[int] = f(array(int64), "0+")
    duration_filter: int = f(int64, "1+", default=-1)
    transactional_id_pattern: str | None = f(string, "2+", nullable="2+", default=None)


class TransactionState(Struct):
    transactional_id: str = f(string, "0+")
    producer_id: int = f(int64, "0+")
    transaction_state: str = f(string, "0+")


class ListTransactionsResponse(Message, api_key=66, versions="0-2", flexible="0+"):
    throttle_time_ms: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
    unknown_state_filters: list[str] = f(array(string), "0+")
    transaction_states: list[TransactionState] = f(array(TransactionState), "0+")
