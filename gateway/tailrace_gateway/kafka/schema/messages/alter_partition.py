"""AlterPartition: API key 56."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, f, int8, int16, int32, int64, uuid


class BrokerState(Struct):
    broker_id: int = f(int32, "3+")
    broker_epoch: int = f(int64, "3+", default=-1)


class RequestPartitionData(Struct):
    partition_index: int = f(int32, "0+")
    leader_epoch: int = f(int32, "0+")
    new_isr: list[int] = f(array(int32), "0-2")
    new_isr_with_epochs: list[BrokerState] = f(array(BrokerState), "3+")
    leader_recovery_state: int = f(int8, "1+")
    partition_epoch: int = f(int32, "0+")


class RequestTopicData(Struct):
    topic_id: bytes = f(uuid, "2+", ignorable=True)
    partitions: list[RequestPartitionData] = f(array(RequestPartitionData), "0+")


class AlterPartitionRequest(Message, api_key=56, versions="2-3", flexible="0+"):
    broker_id: int = f(int32, "0+")
    broker_epoch: int = f(int64, "0+", default=-1)
    topics: list[RequestTopicData] = f(array(RequestTopicData), "0+")


class ResponsePartitionData(Struct):
    partition_index: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
    leader_id: int = f(int32, "0+")
    leader_epoch: int = f(int32, "0+")
    isr: list[int] = f(array(int32), "0+")
    leader_recovery_state: int = f(int8, "1+", ignorable=True)
    partition_epoch: int = f(int32, "0+")


class ResponseTopicData(Struct):
    topic_id: bytes = f(uuid, "2+", ignorable=True)
    partitions: list[ResponsePartitionData] = f(array(ResponsePartitionData), "0+")


class AlterPartitionResponse(Message, api_key=56, versions="2-3", flexible="0+"):
    throttle_time_ms: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
    topics: list[ResponseTopicData] = f(array(ResponseTopicData), "0+")
