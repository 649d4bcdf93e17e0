"""AddPartitionsToTxn: API key 24."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, boolean, f, int16, int32, int64, string


class AddPartitionsToTxnTopic(Struct):
    name: str = f(string, "0+")
    partitions: list[int] = f(array(int32), "0+")


class AddPartitionsToTxnTransaction(Struct):
    transactional_id: str = f(string, "4+")
    producer_id: int = f(int64, "4+")
    producer_epoch: int = f(int16, "4+")
    verify_only: bool = f(boolean, "4+")
    topics: list[AddPartitionsToTxnTopic] = f(array(AddPartitionsToTxnTopic), "4+")


class AddPartitionsToTxnRequest(Message, api_key=24, versions="0-5", flexible="3+"):
    transactions: list[AddPartitionsToTxnTransaction] = f(array(AddPartitionsToTxnTransaction), "4+")
    v3_and_below_transactional_id: str = f(string, "0-3")
    v3_and_below_producer_id: int = f(int64, "0-3")
    v3_and_below_producer_epoch: int = f(int16, "0-3")
    v3_and_below_topics: list[AddPartitionsToTxnTopic] = f(array(AddPartitionsToTxnTopic), "0-3")


class AddPartitionsToTxnPartitionResult(Struct):
    partition_index: int = f(int32, "0+")
    partition_error_code: int = f(int16, "0+")


class AddPartitionsToTxnTopicResult(Struct):
    name: str = f(string, "0+")
    results_by_partition: list[AddPartitionsToTxnPartitionResult] = f(array(AddPartitionsToTxnPartitionResult), "0+")


class AddPartitionsToTxnResult(Struct):
    transactional_id: str = f(string, "4+")
    topic_results: list[AddPartitionsToTxnTopicResult] = f(array(AddPartitionsToTxnTopicResult), "4+")


class AddPartitionsToTxnResponse(Message, api_key=24, versions="0-5", flexible="3+"):
    throttle_time_ms: int = f(int32, "0+")
    error_code: int = f(int16, "4+", ignorable=True)
    results_by_transaction: list[AddPartitionsToTxnResult] = f(array(AddPartitionsToTxnResult), "4+")
    results_by_topic_v3_and_below: list[AddPartitionsToTxnTopicResult] = f(array(AddPartitionsToTxnTopicResult), "0-3")
