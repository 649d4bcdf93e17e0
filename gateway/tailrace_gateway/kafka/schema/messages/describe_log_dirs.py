"""DescribeLogDirs: API key 35."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, boolean, f, int16, int32, int64, string


class DescribableLogDirTopic(Struct):
    topic: str = f(string, "0+")
    partitions: list[int] = f(array(int32), "0+")


class DescribeLogDirsRequest(Message, api_key=35, versions="1-5", flexible="2+"):
    topics: list[DescribableLogDirTopic] | None = f(array(DescribableLogDirTopic), "0+", nullable="0+")


class DescribeLogDirsPartition(Struct):
    partition_index: int = f(int32, "0+")
    partition_size: int = f(int64, "0+")
    offset_lag: int = f(int64, "0+")
    is_future_key: bool = f(boolean, "0+")


class DescribeLogDirsTopic(Struct):
    name: str = f(string, "0+")
    partitions: list[DescribeLogDirsPartition] = f(array(DescribeLogDirsPartition), "0+")


class DescribeLogDirsResult(Struct):
    error_code: int = f(int16, "0+")
    log_dir: str = f(string, "0+")
    topics: list[DescribeLogDirsTopic] = f(array(DescribeLogDirsTopic), "0+")
    total_bytes: int = f(int64, "4+", default=-1, ignorable=True)
    usable_bytes: int = f(int64, "4+", default=-1, ignorable=True)
    is_cordoned: bool = f(boolean, "5+", ignorable=True)


class DescribeLogDirsResponse(Message, api_key=35, versions="1-5", flexible="2+"):
    throttle_time_ms: int = f(int32, "0+")
    error_code: int = f(int16, "3+", ignorable=True)
    results: list[DescribeLogDirsResult] = f(array(DescribeLogDirsResult), "0+")
