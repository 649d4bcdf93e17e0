"""FetchSnapshot: API key 59."""

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
    uint16,
    uuid,
)


class SnapshotId(Struct):
    end_offset: int = f(int64, "0+")
    epoch: int = f(int32, "0+")


class RequestPartitionSnapshot(Struct):
    partition: int = f(int32, "0+")
    current_leader_epoch: int = f(int32, "0+")
    snapshot_id: SnapshotId = f(SnapshotId, "0+")
    position: int = f(int64, "0+")
    replica_directory_id: bytes = f(uuid, "1+", tag=0, ignorable=True)


class RequestTopicSnapshot(Struct):
    name: str = f(string, "0+")
    partitions: list[RequestPartitionSnapshot] = f(array(RequestPartitionSnapshot), "0+")


class FetchSnapshotRequest(Message, api_key=59, versions="0-1", flexible="0+"):
    cluster_id: str | None = f(string, "0+", nullable="0+", tag=0, default=None)
    replica_id: int = f(int32, "0+", default=-1)
    max_bytes: int = f(int32, "0+", default=0x7FFF_FFFF)
    topics: list[RequestTopicSnapshot] = f(array(RequestTopicSnapshot), "0+")


class LeaderIdAndEpoch(Struct):
    leader_id: int = f(int32, "0+")
    leader_epoch: int = f(int32, "0+")


class ResponsePartitionSnapshot(Struct):
    index: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
    snapshot_id: SnapshotId = f(SnapshotId, "0+")
    current_leader: LeaderIdAndEpoch = f(LeaderIdAndEpoch, "0+", tag=0)
    size: int = f(int64, "0+")
    position: int = f(int64, "0+")
    unaligned_records: Records = f(raw_records, "0+")


class ResponseTopicSnapshot(Struct):
    name: str = f(string, "0+")
    partitions: list[ResponsePartitionSnapshot] = f(array(ResponsePartitionSnapshot), "0+")


class NodeEndpoint(Struct):
    node_id: int = f(int32, "1+")
    host: str = f(string, "1+")
    port: int = f(uint16, "1+")


class FetchSnapshotResponse(Message, api_key=59, versions="0-1", flexible="0+"):
    throttle_time_ms: int = f(int32, "0+", ignorable=True)
    error_code: int = f(int16, "0+")
    topics: list[ResponseTopicSnapshot] = f(array(ResponseTopicSnapshot), "0+")
    node_endpoints: list[NodeEndpoint] = f(array(NodeEndpoint), "1+", tag=0)
