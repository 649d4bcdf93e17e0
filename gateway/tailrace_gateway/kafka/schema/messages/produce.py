"""Produce: API key 0."""

from __future__ import annotations

from tailrace_core.schema.declare import (
    Message,
    Records,
    Struct,
    array,
    f,
    int16,
    int32,
    int64,
    raw_records,
    string,
    uuid,
)


class PartitionProduceData(Struct):
    index: int = f(int32, "0+")
    records: Records | None = f(raw_records, "0+", nullable="0+")


class TopicProduceData(Struct):
    name: str = f(string, "0-12", ignorable=True)
    topic_id: bytes = f(uuid, "13+", ignorable=True)
    partition_data: list[PartitionProduceData] = f(array(PartitionProduceData), "0+")


class ProduceRequest(Message, api_key=0, versions="3-13", flexible="9+"):
    transactional_id: str | None = f(string, "3+", nullable="3+", default=None)
    acks: int = f(int16, "0+")
    timeout_ms: int = f(int32, "0+")
    topic_data: list[TopicProduceData] = f(array(TopicProduceData), "0+")


class BatchIndexAndErrorMessage(Struct):
    batch_index: int = f(int32, "8+")
    batch_index_error_message: str | None = f(string, "8+", nullable="8+", default=None)


class LeaderIdAndEpoch(Struct):
    leader_id: int = f(int32, "10+", default=-1)
    leader_epoch: int = f(int32, "10+", default=-1)


class PartitionProduceResponse(Struct):
    index: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
    base_offset: int = f(int64, "0+")
    log_append_time_ms: int = f(int64, "2+", default=-1, ignorable=True)
    log_start_offset: int = f(int64, "5+", default=-1, ignorable=True)
    record_errors: list[BatchIndexAndErrorMessage] = f(array(BatchIndexAndErrorMessage), "8+", ignorable=True)
    error_message: str | None = f(string, "8+", nullable="8+", default=None, ignorable=True)
    current_leader: LeaderIdAndEpoch = f(LeaderIdAndEpoch, "10+", tag=0)


class TopicProduceResponse(Struct):
    name: str = f(string, "0-12", ignorable=True)
    topic_id: bytes = f(uuid, "13+", ignorable=True)
    partition_responses: list[PartitionProduceResponse] = f(array(PartitionProduceResponse), "0+")


class NodeEndpoint(Struct):
    node_id: int = f(int32, "10+")
    host: str = f(string, "10+")
    port: int = f(int32, "10+")
    rack: str | None = f(string, "10+", nullable="10+", default=None)


class ProduceResponse(Message, api_key=0, versions="3-13", flexible="9+"):
    responses: list[TopicProduceResponse] = f(array(TopicProduceResponse), "0+")
    throttle_time_ms: int = f(int32, "1+", ignorable=True)
    node_endpoints: list[NodeEndpoint] = f(array(NodeEndpoint), "10+", tag=0)
