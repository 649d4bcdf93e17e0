"""ShareFetch: API key 78."""

from __future__ import annotations

from tailrace_core.schema.declare import (
    Message,
    Records,
    Struct,
    array,
    boolean,
    f,
    int8,
    int16,
    int32,
    int64,
    raw_records,
    string,
    uuid,
)


class AcknowledgementBatch(Struct):
    first_offset: int = f(int64, "0+")
    last_offset: int = f(int64, "0+")
    acknowledge_types: list[int] = f(array(int8), "0+")


class FetchPartition(Struct):
    partition_index: int = f(int32, "0+")
    partition_max_bytes: int = f(int32, "0")
    acknowledgement_batches: list[AcknowledgementBatch] = f(array(AcknowledgementBatch), "0+")


class FetchTopic(Struct):
    topic_id: bytes = f(uuid, "0+")
    partitions: list[FetchPartition] = f(array(FetchPartition), "0+")


class ForgottenTopic(Struct):
    topic_id: bytes = f(uuid, "0+")
    partitions: list[int] = f(array(int32), "0+")


class ShareFetchRequest(Message, api_key=78, versions="1-2", flexible="0+"):
    group_id: str | None = f(string, "0+", nullable="0+", default=None)
    member_id: str | None = f(string, "0+", nullable="0+")
    share_session_epoch: int = f(int32, "0+")
    max_wait_ms: int = f(int32, "0+")
    min_bytes: int = f(int32, "0+")
    max_bytes: int = f(int32, "0+", default=0x7FFF_FFFF)
    max_records: int = f(int32, "1+")
    batch_size: int = f(int32, "1+")
    share_acquire_mode: int = f(int8, "2+", ignorable=True)
    is_renew_ack: bool = f(boolean, "2+")
    topics: list[FetchTopic] = f(array(FetchTopic), "0+")
    forgotten_topics_data: list[ForgottenTopic] = f(array(ForgottenTopic), "0+")


class LeaderIdAndEpoch(Struct):
    leader_id: int = f(int32, "0+")
    leader_epoch: int = f(int32, "0+")


class AcquiredRecords(Struct):
    first_offset: int = f(int64, "0+")
    last_offset: int = f(int64, "0+")
    delivery_count: int = f(int16, "0+")


class PartitionData(Struct):
    partition_index: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "0+", nullable="0+", default=None)
    acknowledge_error_code: int = f(int16, "0+")
    acknowledge_error_message: str | None = f(string, "0+", nullable="0+", default=None)
    current_leader: LeaderIdAndEpoch = f(LeaderIdAndEpoch, "0+")
    records: Records | None = f(raw_records, "0+", nullable="0")
    acquired_records: list[AcquiredRecords] = f(array(AcquiredRecords), "0+")


class ShareFetchableTopicResponse(Struct):
    topic_id: bytes = f(uuid, "0+")
    partitions: list[PartitionData] = f(array(PartitionData), "0+")


class NodeEndpoint(Struct):
    node_id: int = f(int32, "0+")
    host: str = f(string, "0+")
    port: int = f(int32, "0+")
    rack: str | None = f(string, "0+", nullable="0+", default=None)


class ShareFetchResponse(Message, api_key=78, versions="1-2", flexible="0+"):
    throttle_time_ms: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "0+", nullable="0+", default=None)
    acquisition_lock_timeout_ms: int = f(int32, "1+")
    responses: list[ShareFetchableTopicResponse] = f(array(ShareFetchableTopicResponse), "0+")
    node_endpoints: list[NodeEndpoint] = f(array(NodeEndpoint), "0+")
