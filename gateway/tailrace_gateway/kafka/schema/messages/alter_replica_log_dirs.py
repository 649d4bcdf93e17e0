"""AlterReplicaLogDirs: API key 34."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, f, int16, int32, string


class AlterReplicaLogDirTopic(Struct):
    name: str = f(string, "0+")
    partitions: list[int] = f(array(int32), "0+")


class AlterReplicaLogDir(Struct):
    path: str = f(string, "0+")
    topics: list[AlterReplicaLogDirTopic] = f(array(AlterReplicaLogDirTopic), "0+")


class AlterReplicaLogDirsRequest(Message, api_key=34, versions="1-2", flexible="2+"):
    dirs: list[AlterReplicaLogDir] = f(array(AlterReplicaLogDir), "0+")


class AlterReplicaLogDirPartitionResult(Struct):
    partition_index: int = f(int32, "0+")
    error_code: int = f(int16, "0+")


class AlterReplicaLogDirTopicResult(Struct):
    topic_name: str = f(string, "0+")
    partitions: list[AlterReplicaLogDirPartitionResult] = f(array(AlterReplicaLogDirPartitionResult), "0+")


class AlterReplicaLogDirsResponse(Message, api_key=34, versions="1-2", flexible="2+"):
    throttle_time_ms: int = f(int32, "0+")
    results: list[AlterReplicaLogDirTopicResult] = f(array(AlterReplicaLogDirTopicResult), "0+")
