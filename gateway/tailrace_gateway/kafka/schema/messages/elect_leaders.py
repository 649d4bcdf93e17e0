"""ElectLeaders: API key 43."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, f, int8, int16, int32, string


class TopicPartitions(Struct):
    topic: str = f(string, "0+")
    partitions: list[int] = f(array(int32), "0+")


class ElectLeadersRequest(Message, api_key=43, versions="0-2", flexible="2+"):
    election_type: int = f(int8, "1+")
    topic_partitions: list[TopicPartitions] | None = f(array(TopicPartitions), "0+", nullable="0+")
    timeout_ms: int = f(int32, "0+", default=60000)


class PartitionResult(Struct):
    partition_id: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "0+", nullable="0+")


class ReplicaElectionResult(Struct):
    topic: str = f(string, "0+")
    partition_result: list[PartitionResult] = f(array(PartitionResult), "0+")


class ElectLeadersResponse(Message, api_key=43, versions="0-2", flexible="2+"):
    throttle_time_ms: int = f(int32, "0+")
    error_code: int = f(int16, "1+")
    replica_election_results: list[ReplicaElectionResult] = f(array(ReplicaElectionResult), "0+")
