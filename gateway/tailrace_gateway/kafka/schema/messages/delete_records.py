"""DeleteRecords: API key 21."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, f, int16, int32, int64, string


class DeleteRecordsPartition(Struct):
    partition_index: int = f(int32, "0+")
    offset: int = f(int64, "0+")


class DeleteRecordsTopic(Struct):
    name: str = f(string, "0+")
    partitions: list[DeleteRecordsPartition] = f(array(DeleteRecordsPartition), "0+")


class DeleteRecordsRequest(Message, api_key=21, versions="0-2", flexible="2+"):
    topics: list[DeleteRecordsTopic] = f(array(DeleteRecordsTopic), "0+")
    timeout_ms: int = f(int32, "0+")


class DeleteRecordsPartitionResult(Struct):
    partition_index: int = f(int32, "0+")
    low_watermark: int = f(int64, "0+")
    error_code: int = f(int16, "0+")


class DeleteRecordsTopicResult(Struct):
    name: str = f(string, "0+")
    partitions: list[DeleteRecordsPartitionResult] = f(array(DeleteRecordsPartitionResult), "0+")


class DeleteRecordsResponse(Message, api_key=21, versions="0-2", flexible="2+"):
    throttle_time_ms: int = f(int32, "0+")
    topics: list[DeleteRecordsTopicResult] = f(array(DeleteRecordsTopicResult), "0+")
