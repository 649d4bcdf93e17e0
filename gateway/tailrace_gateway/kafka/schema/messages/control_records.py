"""The keys and values of control records."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, Struct, array, f, int16, int32, int64, string, uint16, uuid


class ControlRecordTypeSchema(Message, versions="0", flexible="none"):
    type: int = f(int16, "0+")


class EndTxnMarker(Message, versions="0", flexible="none"):
    coordinator_epoch: int = f(int32, "0+")


class KRaftVersionRecord(Message, versions="0", flexible="0+"):
    version: int = f(int16, "0+")
    k_raft_version: int = f(int16, "0+")


class LeaderChangeMessageVoter(Struct):
    voter_id: int = f(int32, "0+")
    voter_directory_id: bytes = f(uuid, "1+")


class LeaderChangeMessage(Message, versions="0-1", flexible="0+"):
    version: int = f(int16, "0+")
    leader_id: int = f(int32, "0+")
    voters: list[LeaderChangeMessageVoter] = f(array(LeaderChangeMessageVoter), "0+")
    granting_voters: list[LeaderChangeMessageVoter] = f(array(LeaderChangeMessageVoter), "0+")


class SnapshotFooterRecord(Message, versions="0", flexible="0+"):
    version: int = f(int16, "0+")


class SnapshotHeaderRecord(Message, versions="0", flexible="0+"):
    version: int = f(int16, "0+")
    last_contained_log_timestamp: int = f(int64, "0+")


class Endpoint(Struct):
    name: str = f(string, "0+")
    host: str = f(string, "0+")
    port: int = f(uint16, "0+")


class KRaftVersionFeature(Struct):
    min_supported_version: int = f(int16, "0+")
    max_supported_version: int = f(int16, "0+")


class VotersRecordVoter(Struct):
    voter_id: int = f(int32, "0+")
    voter_directory_id: bytes = f(uuid, "0+")
    endpoints: list[Endpoint] = f(array(Endpoint), "0+")
    k_raft_version_feature: KRaftVersionFeature = f(KRaftVersionFeature, "0+")


class VotersRecord(Message, versions="0", flexible="0+"):
    version: int = f(int16, "0+")
    voters: list[VotersRecordVoter] = f(array(VotersRecordVoter), "0+")
