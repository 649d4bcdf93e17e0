"""Our errors, as Kafka's codes: the one table. A test compares it with every leaf of TailraceError."""

from enum import IntEnum
from typing import Final

from tailrace_core import errors


class ErrorCode(IntEnum):
    """Kafka's error codes that this broker answers with."""

    UNKNOWN_SERVER_ERROR = -1
    NONE = 0
    OFFSET_OUT_OF_RANGE = 1
    CORRUPT_MESSAGE = 2
    UNKNOWN_TOPIC_OR_PARTITION = 3
    LEADER_NOT_AVAILABLE = 5
    NOT_LEADER_OR_FOLLOWER = 6
    REQUEST_TIMED_OUT = 7
    MESSAGE_TOO_LARGE = 10
    OFFSET_METADATA_TOO_LARGE = 12
    COORDINATOR_LOAD_IN_PROGRESS = 14
    COORDINATOR_NOT_AVAILABLE = 15
    NOT_COORDINATOR = 16
    INVALID_TOPIC_EXCEPTION = 17
    RECORD_LIST_TOO_LARGE = 18
    NOT_ENOUGH_REPLICAS = 19
    INVALID_REQUIRED_ACKS = 21
    ILLEGAL_GENERATION = 22
    INCONSISTENT_GROUP_PROTOCOL = 23
    INVALID_GROUP_ID = 24
    UNKNOWN_MEMBER_ID = 25
    INVALID_SESSION_TIMEOUT = 26
    REBALANCE_IN_PROGRESS = 27
    INVALID_COMMIT_OFFSET_SIZE = 28
    INVALID_TIMESTAMP = 32
    UNSUPPORTED_VERSION = 35
    TOPIC_ALREADY_EXISTS = 36
    INVALID_PARTITIONS = 37
    INVALID_REPLICATION_FACTOR = 38
    INVALID_REPLICA_ASSIGNMENT = 39
    INVALID_CONFIG = 40
    INVALID_REQUEST = 42
    POLICY_VIOLATION = 44
    OUT_OF_ORDER_SEQUENCE_NUMBER = 45
    INVALID_PRODUCER_EPOCH = 47
    INVALID_TXN_STATE = 48
    KAFKA_STORAGE_ERROR = 56
    NON_EMPTY_GROUP = 68
    GROUP_ID_NOT_FOUND = 69
    FETCH_SESSION_ID_NOT_FOUND = 70
    INVALID_FETCH_SESSION_EPOCH = 71
    FENCED_LEADER_EPOCH = 74
    UNKNOWN_LEADER_EPOCH = 75
    UNSUPPORTED_COMPRESSION_TYPE = 76
    OFFSET_NOT_AVAILABLE = 78
    MEMBER_ID_REQUIRED = 79
    GROUP_MAX_SIZE_REACHED = 81
    FENCED_INSTANCE_ID = 82
    GROUP_SUBSCRIBED_TO_TOPIC = 86
    INVALID_RECORD = 87
    UNSTABLE_OFFSET_COMMIT = 88
    THROTTLING_QUOTA_EXCEEDED = 89
    UNKNOWN_TOPIC_ID = 100
    INCONSISTENT_TOPIC_ID = 103
    FETCH_SESSION_TOPIC_ID_ERROR = 106
    MISMATCHED_ENDPOINT_TYPE = 114
    UNSUPPORTED_ENDPOINT_TYPE = 115


KAFKA_CODES: Final[dict[type[errors.TailraceError], ErrorCode]] = {
    errors.CoordinatorLoadInProgress: ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
    errors.CoordinatorNotAvailable: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    errors.CorruptBatch: ErrorCode.CORRUPT_MESSAGE,
    errors.DataCorrupt: ErrorCode.KAFKA_STORAGE_ERROR,
    errors.DataFolderInUse: ErrorCode.KAFKA_STORAGE_ERROR,
    errors.FencedInstanceId: ErrorCode.FENCED_INSTANCE_ID,
    errors.FencedLeaderEpoch: ErrorCode.FENCED_LEADER_EPOCH,
    errors.FetchSessionIdNotFound: ErrorCode.FETCH_SESSION_ID_NOT_FOUND,
    errors.FetchSessionTopicIdError: ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR,
    errors.FormatTooNew: ErrorCode.KAFKA_STORAGE_ERROR,
    errors.GroupIdNotFound: ErrorCode.GROUP_ID_NOT_FOUND,
    errors.GroupMaxSizeReached: ErrorCode.GROUP_MAX_SIZE_REACHED,
    errors.GroupSubscribedToTopic: ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC,
    errors.IllegalGeneration: ErrorCode.ILLEGAL_GENERATION,
    errors.InconsistentGroupProtocol: ErrorCode.INCONSISTENT_GROUP_PROTOCOL,
    errors.InconsistentTopicId: ErrorCode.INCONSISTENT_TOPIC_ID,
    errors.InternalTopic: ErrorCode.INVALID_TOPIC_EXCEPTION,
    errors.InvalidCommitOffsetSize: ErrorCode.INVALID_COMMIT_OFFSET_SIZE,
    errors.InvalidConfig: ErrorCode.INVALID_CONFIG,
    errors.InvalidFetchSessionEpoch: ErrorCode.INVALID_FETCH_SESSION_EPOCH,
    errors.InvalidGroupId: ErrorCode.INVALID_GROUP_ID,
    errors.InvalidPartitions: ErrorCode.INVALID_PARTITIONS,
    errors.InvalidProducerEpoch: ErrorCode.INVALID_PRODUCER_EPOCH,
    errors.InvalidRecord: ErrorCode.INVALID_RECORD,
    errors.InvalidReplicaAssignment: ErrorCode.INVALID_REPLICA_ASSIGNMENT,
    errors.InvalidReplicationFactor: ErrorCode.INVALID_REPLICATION_FACTOR,
    errors.InvalidRequest: ErrorCode.INVALID_REQUEST,
    errors.InvalidRequiredAcks: ErrorCode.INVALID_REQUIRED_ACKS,
    errors.InvalidSessionTimeout: ErrorCode.INVALID_SESSION_TIMEOUT,
    errors.InvalidSettings: ErrorCode.INVALID_CONFIG,
    errors.InvalidTimestamp: ErrorCode.INVALID_TIMESTAMP,
    errors.InvalidTopicName: ErrorCode.INVALID_TOPIC_EXCEPTION,
    errors.InvalidTransactionState: ErrorCode.INVALID_TXN_STATE,
    errors.MemberIdRequired: ErrorCode.MEMBER_ID_REQUIRED,
    errors.MessageTooLarge: ErrorCode.MESSAGE_TOO_LARGE,
    errors.MissingObject: ErrorCode.KAFKA_STORAGE_ERROR,
    errors.NonEmptyGroup: ErrorCode.NON_EMPTY_GROUP,
    errors.NotCoordinator: ErrorCode.NOT_COORDINATOR,
    errors.NotEnoughReplicas: ErrorCode.NOT_ENOUGH_REPLICAS,
    errors.NotLeader: ErrorCode.NOT_LEADER_OR_FOLLOWER,
    errors.ObjectExists: ErrorCode.KAFKA_STORAGE_ERROR,
    errors.OffsetMetadataTooLarge: ErrorCode.OFFSET_METADATA_TOO_LARGE,
    errors.OffsetNotAvailable: ErrorCode.OFFSET_NOT_AVAILABLE,
    errors.OffsetOutOfRange: ErrorCode.OFFSET_OUT_OF_RANGE,
    errors.OutOfOrderSequence: ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
    errors.PolicyViolation: ErrorCode.POLICY_VIOLATION,
    errors.RebalanceInProgress: ErrorCode.REBALANCE_IN_PROGRESS,
    errors.RecordListTooLarge: ErrorCode.RECORD_LIST_TOO_LARGE,
    errors.RecordsRefused: ErrorCode.INVALID_RECORD,
    errors.RequestTimedOut: ErrorCode.REQUEST_TIMED_OUT,
    errors.StorageUnavailable: ErrorCode.KAFKA_STORAGE_ERROR,
    errors.ThrottledByStorage: ErrorCode.THROTTLING_QUOTA_EXCEEDED,
    errors.TopicAlreadyExists: ErrorCode.TOPIC_ALREADY_EXISTS,
    errors.UnknownLeaderEpoch: ErrorCode.UNKNOWN_LEADER_EPOCH,
    errors.UnknownMemberId: ErrorCode.UNKNOWN_MEMBER_ID,
    errors.UnknownTopicId: ErrorCode.UNKNOWN_TOPIC_ID,
    errors.UnknownTopicOrPartition: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    errors.UnstableOffsetCommit: ErrorCode.UNSTABLE_OFFSET_COMMIT,
    errors.UnsupportedCompression: ErrorCode.UNSUPPORTED_COMPRESSION_TYPE,
    errors.UnsupportedForVersion: ErrorCode.UNSUPPORTED_VERSION,
}


answered: Final[dict[ErrorCode, int]] = dict.fromkeys(ErrorCode, 0)
"""How often each code was answered by this process, for metrics."""


def answering(code: ErrorCode) -> ErrorCode:
    """The code itself, counted: for an answer that says it."""
    answered[code] += 1
    return code


def kafka_code(error: errors.TailraceError) -> ErrorCode:
    """The code for an expected failure, counted as an answer."""
    return answering(KAFKA_CODES[type(error)])
