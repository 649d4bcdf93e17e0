"""AssignReplicasToDirs: API key 73."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, f, int16, int32, int64, uuid


class RequestPartitionData(Struct):
    partition_index: int = f(int32, "0+")


class RequestTopicData(Struct):
    topic_id: bytes = f(uuid, "0+")
    partitions: list[RequestPartitionData] = f(array(RequestPartitionData), "0+")


class RequestDirectoryData(Struct):
    id: bytes = f(uuid, "0+")
    topics: list[RequestTopicData] = f(array(RequestTopicData), "0+")


class AssignReplicasToDirsRequest(Message, api_key=73, versions="0", flexible="0+"):
    broker_id: int = f(int32, "0+")
    broker_epoch: int = f(int64, "0+", default=-1)
    directories: list[RequestDirectoryData] = f(array(RequestDirectoryData), "0+")


class ResponsePartitionData(Struct):
    partition_index: int = f(int32, "0+")
    error_code: int = f(int16, "0+")


class ResponseTopicData(Struct):
    topic_id: bytes = f(uuid, "0+")
    partitions: list[ResponsePartitionData] = f(array(ResponsePartitionData), "0+")


class ResponseDirectoryData(Struct):
    id: bytes = f(uuid, "0+")
    topics: list[ResponseTopicData] = f(array(ResponseTopicData), "0+")


class AssignReplicasToDirsResponse(Message, api_key=73, versions="0", flexible="0+"):
    throttle_time_ms: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
    directories: list[ResponseDirectoryData] = f(array(ResponseDirectoryData), "0+")
