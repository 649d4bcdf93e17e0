"""ShareAcknowledge: API key 79."""

from __future__ import annotations

from tailrace_core.schema.declare import (
    Message,
    Struct,
    array,
    boolean,
    f,
    int8,
    int16,
    int32,
    int64,
    string,
    uuid,
)


class AcknowledgementBatch(Struct):
    first_offset: int = f(int64, "0+")
    last_offset: int = f(int64, "0+")
    acknowledge_types: list[int] = f(array(int8), "0+")


class AcknowledgePartition(Struct):
    partition_index: int = f(int32, "0+")
    acknowledgement_batches: list[AcknowledgementBatch] = f(array(AcknowledgementBatch), "0+")


class AcknowledgeTopic(Struct):
    topic_id: bytes = f(uuid, "0+")
    partitions: list[AcknowledgePartition] = f(array(AcknowledgePartition), "0+")


class ShareAcknowledgeRequest(Message, api_key=79, versions="1-2", flexible="0+"):
    group_id: str | None = f(string, "0+", nullable="0+", default=None)
    member_id: str | None = f(string, "0+", nullable="0+")
    share_session_epoch: int = f(int32, "0+")
    is_renew_ack: bool = f(boolean, "2+")
    topics: list[AcknowledgeTopic] = f(array(AcknowledgeTopic), "0+")


class LeaderIdAndEpoch(Struct):
    leader_id: int = f(int32, "0+")
    leader_epoch: int = f(int32, "0+")


class PartitionData(Struct):
    partition_index: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "0+", nullable="0+", default=None)
    current_leader: LeaderIdAndEpoch = f(LeaderIdAndEpoch, "0+")


class ShareAcknowledgeTopicResponse(Struct):
    topic_id: bytes = f(uuid, "0+")
    partitions: list[PartitionData] = f(array(PartitionData), "0+")


class NodeEndpoint(Struct):
    node_id: int = f(int32, "0+")
    host: str = f(string, "0+")
    port: int = f(int32, "0+")
    rack: str | None = f(string, "0+", nullable="0+", default=None)


class ShareAcknowledgeResponse(Message, api_key=79, versions="1-2", flexible="0+"):
    throttle_time_ms: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "0+", nullable="0+", default=None)
    acquisition_lock_timeout_ms: int = f(int32, "2+", ignorable=True)
    responses: list[ShareAcknowledgeTopicResponse] = f(array(ShareAcknowledgeTopicResponse), "0+")
    node_endpoints: list[NodeEndpoint] = f(array(NodeEndpoint), "0+")
