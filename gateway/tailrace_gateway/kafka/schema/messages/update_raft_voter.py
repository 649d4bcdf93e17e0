"""UpdateRaftVoter: API key 82."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, f, int16, int32, string, uint16, uuid


class Listener(Struct):
    name: str = f(string, "0+")
    host: str = f(string, "0+")
    port: int = f(uint16, "0+")


class KRaftVersionFeature(Struct):
    min_supported_version: int = f(int16, "0+")
    max_supported_version: int = f(int16, "0+")


class UpdateRaftVoterRequest(Message, api_key=82, versions="0", flexible="0+"):
    cluster_id: str | None = f(string, "0+", nullable="0+")
    current_leader_epoch: int = f(int32, "0+")
    voter_id: int = f(int32, "0+")
    voter_directory_id: bytes = f(uuid, "0+")
    listeners: list[Listener] = f(array(Listener), "0+")
    k_raft_version_feature: KRaftVersionFeature = f(KRaftVersionFeature, "0+")


class CurrentLeader(Struct):
    leader_id: int = f(int32, "0+", default=-1)
    leader_epoch: int = f(int32, "0+", default=-1)
    host: str = f(string, "0+")
    port: int = f(int32, "0+")


class UpdateRaftVoterResponse(Message, api_key=82, versions="0", flexible="0+"):
    throttle_time_ms: int = f(int32, "0+")
    error_code: int = f(int16, "0+")
    current_leader: CurrentLeader = f(CurrentLeader, "0+", tag=0)
