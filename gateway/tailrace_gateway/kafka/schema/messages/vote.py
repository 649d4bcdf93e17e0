"""Vote: API key 52."""

from __future__ import annotations

from tailrace_core.schema.declare import (
    Message,
    Struct,
    array,
    boolean,
    f,
    int16,
    int32,
    int64,
    string,
    uint16,
    uuid,
)


class RequestPartitionData(Struct):
    partition_index: int = f(int32, "0+")
    replica_epoch: int = f(int32, "0+")
    replica_id: int = f(int32, "0+")
    replica_directory_id: bytes = f(uuid, "1+", ignorable=True)
    voter_directory_id: bytes = f(uuid, "1+", ignorable=True)
    last_offset_epoch: int = f(int32, "0+")
    last_offset: int = f(int64, "0+")
    pre_vote: bool = f(boolean, "2+")


class RequestTopicData(Struct):
    topic_name: str = f(string, "0+")
    partitions: list[RequestPartitionData] = f(array(RequestPartitionData), "0+")


class VoteRequest(Message, api_key=52, versions="0-2", flexible="0+"):
    cluster_id: str | None = f(string, "0+", nullable="0+", default=None)
    voter_id: int = f(int32, "1+", default=-1, ignorable=True)
    topics: list[RequestTopicData] = f(array(RequestTopicData), "0+")


class ResponsePartitionData(Struct):
    partition_index: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
    leader_id: int = f(int32, "0+")
    leader_epoch: int = f(int32, "0+")
    vote_granted: bool = f(boolean, "0+")


class ResponseTopicData(Struct):
    topic_name: str = f(string, "0+")
    partitions: list[ResponsePartitionData] = f(array(ResponsePartitionData), "0+")


class NodeEndpoint(Struct):
    node_id: int = f(int32, "1+")
    host: str = f(string, "1+")
    port: int = f(uint16, "1+")


class VoteResponse(Message, api_key=52, versions="0-2", flexible="0+"):
    error_code: int = f(int16, "0+")
    topics: list[ResponseTopicData] = f(array(ResponseTopicData), "0+")
    node_endpoints: list[NodeEndpoint] = f(array(NodeEndpoint), "1+", tag=0)
