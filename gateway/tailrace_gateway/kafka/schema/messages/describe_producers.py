"""DescribeProducers: API key 61."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, f, int16, int32, int64, string


class TopicRequest(Struct):
    name: str = f(string, "0+")
    partition_indexes: list[int] = f(array(int32), "0+")


class DescribeProducersRequest(Message, api_key=61, versions="0", flexible="0+"):
    topics: list[TopicRequest] = f(array(TopicRequest), "0+")


class ProducerState(Struct):
    producer_id: int = f(int64, "0+")
    producer_epoch: int = f(int32, "0+")
    last_sequence: int = f(int32, "0+", default=-1)
    last_timestamp: int = f(int64, "0+", default=-1)
    coordinator_epoch: int = f(int32, "0+")
    current_txn_start_offset: int = f(int64, "0+", default=-1)


class PartitionResponse(Struct):
    partition_index: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "0+", nullable="0+", default=None)
    active_producers: list[ProducerState] = f(array(ProducerState), "0+")


class TopicResponse(Struct):
    name: str = f(string, "0+")
    partitions: list[PartitionResponse] = f(array(PartitionResponse), "0+")


class DescribeProducersResponse(Message, api_key=61, versions="0", flexible="0+"):
    throttle_time_ms: int = f(int32, "0+")
    topics: list[TopicResponse] = f(array(TopicResponse), "0+")
