"""CreateTopics: API key 19."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, boolean, f, int8, int16, int32, string, uuid


class CreatableReplicaAssignment(Struct):
    partition_index: int = f(int32, "0+")
    broker_ids: list[int] = f(array(int32), "0+")


class CreatableTopicConfig(Struct):
    name: str = f(string, "0+")
    value: str | None = f(string, "0+", nullable="0+")


class CreatableTopic(Struct):
    name: str = f(string, "0+")
    num_partitions: int = f(int32, "0+")
    replication_factor: int = f(int16, "0+")
    assignments: list[CreatableReplicaAssignment] = f(array(CreatableReplicaAssignment), "0+")
    configs: list[CreatableTopicConfig] = f(array(CreatableTopicConfig), "0+")


class CreateTopicsRequest(Message, api_key=19, versions="2-7", flexible="5+"):
    topics: list[CreatableTopic] = f(array(CreatableTopic), "0+")
    timeout_ms: int = f(int32, "0+", default=60000)
    validate_only: bool = f(boolean, "1+")


class CreatableTopicConfigs(Struct):
    name: str = f(string, "5+")
    value: str | None = f(string, "5+", nullable="5+")
    read_only: bool = f(boolean, "5+")
    config_source: int = f(int8, "5+", default=-1, ignorable=True)
    is_sensitive: bool = f(boolean, "5+")


class CreatableTopicResult(Struct):
    name: str = f(string, "0+")
    topic_id: bytes = f(uuid, "7+", ignorable=True)
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "1+", nullable="0+", ignorable=True)
    topic_config_error_code: int = f(int16, "5+", tag=0, ignorable=True)
    num_partitions: int = f(int32, "5+", default=-1, ignorable=True)
    replication_factor: int = f(int16, "5+", default=-1, ignorable=True)
    configs: list[CreatableTopicConfigs] | None = f(array(CreatableTopicConfigs), "5+", nullable="5+", ignorable=True)


class CreateTopicsResponse(Message, api_key=19, versions="2-7", flexible="5+"):
    throttle_time_ms: int = f(int32, "2+", ignorable=True)
    topics: list[CreatableTopicResult] = f(array(CreatableTopicResult), "0+")
