"""Every message of the Kafka protocol (as of Kafka 4.3), found by API key or by name.

Nothing is loaded before it is asked for: the module of an API when one of its messages is, the codec of a version
when that is. README.md says how messages are declared and how codecs come about.
"""

from __future__ import annotations

import importlib
import re
from functools import cache
from typing import Final

from tailrace_core.schema.declare import Buffer, Message, RecordBuffers, Records, Struct
from tailrace_core.schema.errors import DecodeError, EncodeError, UnknownMessage, UnsupportedVersion

__all__ = [
    "API_KEYS",
    "Buffer",
    "DecodeError",
    "EncodeError",
    "Message",
    "RecordBuffers",
    "Records",
    "Struct",
    "UnknownMessage",
    "UnsupportedVersion",
    "is_flexible",
    "message",
    "request",
    "request_header_version",
    "response",
    "response_header_version",
]

API_KEYS: Final[dict[int, str]] = {
    0: "Produce",
    1: "Fetch",
    2: "ListOffsets",
    3: "Metadata",
    8: "OffsetCommit",
    9: "OffsetFetch",
    10: "FindCoordinator",
    11: "JoinGroup",
    12: "Heartbeat",
    13: "LeaveGroup",
    14: "SyncGroup",
    15: "DescribeGroups",
    16: "ListGroups",
    17: "SaslHandshake",
    18: "ApiVersions",
    19: "CreateTopics",
    20: "DeleteTopics",
    21: "DeleteRecords",
    22: "InitProducerId",
    23: "OffsetForLeaderEpoch",
    24: "AddPartitionsToTxn",
    25: "AddOffsetsToTxn",
    26: "EndTxn",
    27: "WriteTxnMarkers",
    28: "TxnOffsetCommit",
    29: "DescribeAcls",
    30: "CreateAcls",
    31: "DeleteAcls",
    32: "DescribeConfigs",
    33: "AlterConfigs",
    34: "AlterReplicaLogDirs",
    35: "DescribeLogDirs",
    36: "SaslAuthenticate",
    37: "CreatePartitions",
    38: "CreateDelegationToken",
    39: "RenewDelegationToken",
    40: "ExpireDelegationToken",
    41: "DescribeDelegationToken",
    42: "DeleteGroups",
    43: "ElectLeaders",
    44: "IncrementalAlterConfigs",
    45: "AlterPartitionReassignments",
    46: "ListPartitionReassignments",
    47: "OffsetDelete",
    48: "DescribeClientQuotas",
    49: "AlterClientQuotas",
    50: "DescribeUserScramCredentials",
    51: "AlterUserScramCredentials",
    52: "Vote",
    53: "BeginQuorumEpoch",
    54: "EndQuorumEpoch",
    55: "DescribeQuorum",
    56: "AlterPartition",
    57: "UpdateFeatures",
    58: "Envelope",
    59: "FetchSnapshot",
    60: "DescribeCluster",
    61: "DescribeProducers",
    62: "BrokerRegistration",
    63: "BrokerHeartbeat",
    64: "UnregisterBroker",
    65: "DescribeTransactions",
    66: "ListTransactions",
    67: "AllocateProducerIds",
    68: "ConsumerGroupHeartbeat",
    69: "ConsumerGroupDescribe",
    70: "ControllerRegistration",
    71: "GetTelemetrySubscriptions",
    72: "PushTelemetry",
    73: "AssignReplicasToDirs",
    74: "ListConfigResources",
    75: "DescribeTopicPartitions",
    76: "ShareGroupHeartbeat",
    77: "ShareGroupDescribe",
    78: "ShareFetch",
    79: "ShareAcknowledge",
    80: "AddRaftVoter",
    81: "RemoveRaftVoter",
    82: "UpdateRaftVoter",
    83: "InitializeShareGroupState",
    84: "ReadShareGroupState",
    85: "WriteShareGroupState",
    86: "DeleteShareGroupState",
    87: "ReadShareGroupStateSummary",
    88: "StreamsGroupHeartbeat",
    89: "StreamsGroupDescribe",
    90: "DescribeShareGroupOffsets",
    91: "AlterShareGroupOffsets",
    92: "DeleteShareGroupOffsets",
}
"""The APIs by key. Keys 4 to 7 were ZooKeeper's and have no versions any more."""

_OTHER_MODULES: Final = {
    "ConsumerProtocolAssignment": "consumer_protocol",
    "ConsumerProtocolSubscription": "consumer_protocol",
    "ControlRecordTypeSchema": "control_records",
    "DefaultPrincipalData": "principal",
    "EndTxnMarker": "control_records",
    "KRaftVersionRecord": "control_records",
    "LeaderChangeMessage": "control_records",
    "RequestHeader": "headers",
    "ResponseHeader": "headers",
    "SnapshotFooterRecord": "control_records",
    "SnapshotHeaderRecord": "control_records",
    "VotersRecord": "control_records",
}

_API_VERSIONS: Final = 18


@cache
def message(name: str) -> type[Message]:
    """The class of a message by Kafka's name of it, such as "ProduceRequest". Raises UnknownMessage."""
    module = _OTHER_MODULES.get(name)
    if module is None:
        api = name.removesuffix("Request").removesuffix("Response")
        if api == name or api not in API_KEYS.values():
            raise UnknownMessage(f"there is no message {name!r}")
        module = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", api).lower()
    found: type[Message] = getattr(importlib.import_module(f"tailrace_gateway.kafka.schema.messages.{module}"), name)
    return found


@cache
def request(api_key: int) -> type[Message]:
    """The class of an API's request. Raises UnknownMessage."""
    return message(_name(api_key) + "Request")


@cache
def response(api_key: int) -> type[Message]:
    """The class of an API's response. Raises UnknownMessage."""
    return message(_name(api_key) + "Response")


def _name(api_key: int) -> str:
    try:
        return API_KEYS[api_key]
    except KeyError:
        raise UnknownMessage(f"there is no API with key {api_key}") from None


def is_flexible(api_key: int, api_version: int) -> bool:
    """Whether a version has compact lengths and tag sections. Holds for versions that do not exist yet as well."""
    return api_version in request(api_key).flexible


def request_header_version(api_key: int, api_version: int) -> int:
    """The version of the header that goes before a request."""
    return 2 if api_version in request(api_key).flexible else 1


def response_header_version(api_key: int, api_version: int) -> int:
    """The version of the header that goes before a response.

    ApiVersions has the oldest one always: the client does not know yet what the broker can say (KIP-511).
    """
    return 1 if api_key != _API_VERSIONS and api_version in request(api_key).flexible else 0
