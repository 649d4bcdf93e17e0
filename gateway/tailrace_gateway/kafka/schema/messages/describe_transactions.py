"""DescribeTransactions: API key 65."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, f, int16, int32, int64, string


class DescribeTransactionsRequest(Message, api_key=65, versions="0", flexible="0+"):
    transactional_ids: list[str] = f(array(string), "0+")


class TopicData(Struct):
    topic: str = f(string, "0+")
    partitions: list[int] = f(array(int32), "0+")


class TransactionState(Struct):
    error_code: int = f(int16, "0+")
    transactional_id: str = f(string, "0+")
    transaction_state: str = f(string, "0+")
    transaction_timeout_ms: int = f(int32, "0+")
    transaction_start_time_ms: int = f(int64, "0+")
    producer_id: int = f(int64, "0+")
    producer_epoch: int = f(int16, "0+")
    topics: list[TopicData] = f(array(TopicData), "0+")


class DescribeTransactionsResponse(Message, api_key=65, versions="0", flexible="0+"):
    throttle_time_ms: int = f(int32, "0+")
    transaction_states: list[TransactionState] = f(array(TransactionState), "0+")
