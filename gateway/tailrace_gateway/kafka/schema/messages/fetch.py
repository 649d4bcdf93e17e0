"""Fetch: API key 1."""

from __future__ import annotations

from tailrace_core.schema.declare import (
    Message,
    Records,
    Struct,
    array,
    f,
    int8,
    int16,
    int32,
    int64,
    raw_records,
    string,
    uuid,
)


class ReplicaState(Struct):
    replica_id: int = f(int32, "15+", default=-1)
    replica_epoch: int = f(int64, "15+", default=-1)


class FetchPartition(Struct):
    partition: int = f(int32, "0+")
    current_leader_epoch: int = f(int32, "9+", default=-1, ignorable=True)
    fetch_offset: int = f(int64, "0+")
    last_fetched_epoch: int = f(int32, "12+", default=-1)
    log_start_offset: int = f(int64, "5+", default=-1, ignorable=True)
    partition_max_bytes: int = f(int32, "0+")
    replica_directory_id: bytes = f(uuid, "17+", tag=0, ignorable=True)
    high_watermark: int = f(int64, "18+", tag=1, default=0x7FFF_FFFF_FFFF_FFFF, ignorable=True)


class FetchTopic(Struct):
    topic: str = f(string, "0-12", ignorable=True)
    topic_id: bytes = f(uuid, "13+", ignorable=True)
    partitions: list[FetchPartition] = f(array(FetchPartition), "0+")


class ForgottenTopic(Struct):
    topic: str = f(string, "7-12", ignorable=True)
    topic_id: bytes = f(uuid, "13+", ignorable=True)
    partitions: list[int] = f(array(int32), "7+")


class FetchRequest(Message, api_key=1, versions="4-18", flexible="12+"):
    cluster_id: str | None = f(string, "12+", nullable="12+", tag=0, default=None, ignorable=True)
    replica_id: int = f(int32, "0-14", default=-1)
    replica_state: ReplicaState = f(ReplicaState, "15+", tag=1)
    max_wait_ms: int = f(int32, "0+")
    min_bytes: int = f(int32, "0+")
    max_bytes: int = f(int32, "3+", default=0x7FFF_FFFF, ignorable=True)
    isolation_level: int = f(int8, "4+", ignorable=True)
    session_id: int = f(int32, "7+", ignorable=True)
    session_epoch: int = f(int32, "7+", default=-1, ignorable=True)
    topics: list[FetchTopic] = f(array(FetchTopic), "0+")
    forgotten_topics_data: list[ForgottenTopic] = f(array(ForgottenTopic), "7+")
    rack_id: str = f(string, "11+", ignorable=True)


class EpochEndOffset(Struct):
    epoch: int = f(int32, "12+", default=-1)
    end_offset: int = f(int64, "12+", default=-1)


class LeaderIdAndEpoch(Struct):
    leader_id: int = f(int32, "12+", default=-1)
    leader_epoch: int = f(int32, "12+", default=-1)


class SnapshotId(Struct):
    end_offset: int = f(int64, "0+", default=-1)
    epoch: int = f(int32, "0+", default=-1)


class AbortedTransaction(Struct):
    producer_id: int = f(int64, "4+")
    first_offset: int = f(int64, "4+")


class PartitionData(Struct):
    partition_index: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
    high_watermark: int = f(int64, "0+")
    last_stable_offset: int = f(int64, "4+", default=-1, ignorable=True)
    log_start_offset: int = f(int64, "5+", default=-1, ignorable=True)
    diverging_epoch: EpochEndOffset = f(EpochEndOffset, "12+", tag=0)
    current_leader: LeaderIdAndEpoch = f(LeaderIdAndEpoch, "12+", tag=1)
    snapshot_id: SnapshotId = f(SnapshotId, "12+", tag=2)
    aborted_transactions: list[AbortedTransaction] | None = f(
        array(AbortedTransaction), "4+", nullable="4+", ignorable=True
    )
    preferred_read_replica: int = f(int32, "11+", default=-1)
    records: Records | None = f(raw_records, "0+", nullable="0+")


class FetchableTopicResponse(Struct):
    topic: str = f(string, "0-12", ignorable=True)
    topic_id: bytes = f(uuid, "13+", ignorable=True)
    partitions: list[PartitionData] = f(array(PartitionData), "0+")


class NodeEndpoint(Struct):
    node_id: int = f(int32, "16+")
    host: str = f(string, "16+")
    port: int = f(int32, "16+")
    rack: str | None = f(string, "16+", nullable="16+", default=None)


class FetchResponse(Message, api_key=1, versions="4-18", flexible="12+"):
    throttle_time_ms: int = f(int32, "1+", ignorable=True)
    error_code: int = f(int16, "7+", ignorable=True)
    session_id: int = f(int32, "7+")
    responses: list[FetchableTopicResponse] = f(array(FetchableTopicResponse), "0+")
    node_endpoints: list[NodeEndpoint] = f(array(NodeEndpoint), "16+", tag=0)
