"""DescribeCluster: API key 60."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, boolean, f, int8, int16, int32, string


class DescribeClusterRequest(Message, api_key=60, versions="0-2", flexible="0+"):
    include_cluster_authorized_operations: bool = f(boolean, "0+")
    endpoint_type: int = f(int8, "1+", default=1)
    include_fenced_brokers: bool = f(boolean, "2+")


class DescribeClusterBroker(Struct):
    broker_id: int = f(int32, "0+")
    host: str = f(string, "0+")
    port: int = f(int32, "0+")
    rack: str | None = f(string, "0+", nullable="0+", default=None)
    is_fenced: bool = f(boolean, "2+")


class DescribeClusterResponse(Message, api_key=60, versions="0-2", flexible="0+"):
    throttle_time_ms: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
    error_message: str | None = f(string, "0+", nullable="0+", default=None)
    endpoint_type: int = f(int8, "1+", default=1)
    cluster_id: str = f(string, "0+")
    controller_id: int = f(int32, "0+", default=-1)
    brokers: list[DescribeClusterBroker] = f(array(DescribeClusterBroker), "0+")
    cluster_authorized_operations: int = f(int32, "0+", default=-0x8000_0000)
