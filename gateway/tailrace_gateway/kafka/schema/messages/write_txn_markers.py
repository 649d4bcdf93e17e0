"""WriteTxnMarkers: API key 27."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, boolean, f, int8, int16, int32, int64, string


class WritableTxnMarkerTopic(Struct):
    name: str = f(string, "0+")
    partition_indexes: list[int] = f(array(int32), "0+")


class WritableTxnMarker(Struct):
    producer_id: int = f(int64, "0+")
    producer_epoch: int = f(int16, "0+")
    transaction_result: bool = f(boolean, "0+")
    topics: list[WritableTxnMarkerTopic] = f(array(WritableTxnMarkerTopic), "0+")
    coordinator_epoch: int = f(int32, "0+")
    transaction_version: int = f(int8, "2+", ignorable=True)


class WriteTxnMarkersRequest(Message, api_key=27, versions="1-2", flexible="1+"):
    markers: list[WritableTxnMarker] = f(array(WritableTxnMarker), "0+")


class WritableTxnMarkerPartitionResult(Struct):
    partition_index: int = f(int32, "0+")
    error_code: int = f(int16, "0+")


class WritableTxnMarkerTopicResult(Struct):
    name: str = f(string, "0+")
    partitions: list[WritableTxnMarkerPartitionResult] = f(array(WritableTxnMarkerPartitionResult), "0+")


class WritableTxnMarkerResult(Struct):
    producer_id: int = f(int64, "0+")
    topics: list[WritableTxnMarkerTopicResult] = f(array(WritableTxnMarkerTopicResult), "0+")


class WriteTxnMarkersResponse(Message, api_key=27, versions="1-2", flexible="1+"):
    markers: list[WritableTxnMarkerResult] = f(array(WritableTxnMarkerResult), "0+")
