"""Expected failures, coarse: a class of its own only where the caller acts differently.

Each says what the caller may do. Anything that is not a TailraceError is a bug. The gateway translates every leaf into
a Kafka code in one table.
"""

from tailrace_core.limits import ERROR_TEXT_CHARACTERS_MAX


class TailraceError(Exception):
    """The root of all expected failures. Its text is shown to users."""

    def __str__(self) -> str:
        text = super().__str__()
        return text if len(text) <= ERROR_TEXT_CHARACTERS_MAX else text[: ERROR_TEXT_CHARACTERS_MAX - 1] + "…"


class RetriableError(TailraceError):
    """The same request may succeed later, unchanged."""


class NotLeader(RetriableError):
    """This broker does not lead the partition (any more). Refresh the metadata."""


class NotEnoughReplicas(RetriableError):
    """The write could not be kept as safely as it asked for. Send it again."""


class StorageUnavailable(RetriableError):
    """The disk or the object store does not take or give the data now."""


class RequestTimedOut(RetriableError):
    """Not done within the request's own timeout; it may still be done."""


class CoordinatorNotAvailable(RetriableError):
    """No coordinator serves this id now."""


class NotCoordinator(RetriableError):
    """This broker does not coordinate this id (any more), or has lost what it decided. Find the coordinator again."""


class CoordinatorLoadInProgress(RetriableError):
    """The coordinator reads its state from the log. Try again shortly."""


class InvalidGroupId(TailraceError):
    """The group id is empty."""


class GroupIdNotFound(TailraceError):
    """There is no such group."""


class NonEmptyGroup(TailraceError):
    """The group has members; it can be changed like this only without."""


class GroupSubscribedToTopic(TailraceError):
    """Members of the group read this topic: its offsets are theirs."""


class GroupMaxSizeReached(TailraceError):
    """The group has as many members as are allowed."""


class UnknownMemberId(TailraceError):
    """The group has no such member. Join again with an empty member id."""


class MemberIdRequired(TailraceError):
    """Join again with the member id that this error carries (KIP-394)."""

    def __init__(self, text: str, member_id: str) -> None:
        super().__init__(text)
        self.member_id = member_id


class FencedInstanceId(TailraceError):
    """Another member has taken over this group instance id (KIP-345). Stop."""


class IllegalGeneration(TailraceError):
    """The member speaks of another generation than the group's. Join again."""


class RebalanceInProgress(TailraceError):
    """The group is rebalancing. Join again."""


class InconsistentGroupProtocol(TailraceError):
    """The member's protocol type or protocols have nothing in common with the group's."""


class InvalidSessionTimeout(TailraceError):
    """The session timeout lies outside of what the broker allows."""


class OffsetMetadataTooLarge(TailraceError):
    """The text beside a committed offset is longer than offset.metadata.max.bytes."""


class InvalidCommitOffsetSize(TailraceError):
    """The commit is larger than one batch of the offsets topic may be."""


class UnstableOffsetCommit(RetriableError):
    """A transaction with offsets of this partition is not decided yet (KIP-447)."""


class PolicyViolation(TailraceError):
    """A rule of this broker or topic forbids what was asked."""


class InternalTopic(TailraceError):
    """The topic belongs to the broker: clients may read it, not write, create or shorten it."""


class FetchSessionIdNotFound(RetriableError):
    """No such fetch session (any more). Begin a new one (KIP-227)."""


class InvalidFetchSessionEpoch(RetriableError):
    """The session's requests do not follow each other. Begin a new one (KIP-227)."""


class FetchSessionTopicIdError(RetriableError):
    """The session names topics otherwise, by id or by name. Begin a new one (KIP-516)."""


class ThrottledByStorage(RetriableError):
    """The WAL or a memory budget is full until the object store takes data. Slow down."""


class OffsetOutOfRange(TailraceError):
    """The offset is below the log start or beyond the log end. Reset the position."""


class OffsetNotAvailable(RetriableError):
    """The high watermark is not yet known after an election."""


class FencedLeaderEpoch(TailraceError):
    """The caller's leader epoch is older than the partition's. Refresh the metadata (KIP-320)."""


class UnknownLeaderEpoch(RetriableError):
    """The caller's leader epoch is newer than the partition's. Try again (KIP-320)."""


class UnknownTopicOrPartition(RetriableError):
    """No such topic or partition here, by name."""


class UnknownTopicId(RetriableError):
    """No topic has this id (any more)."""


class InconsistentTopicId(TailraceError):
    """The topic's id is another than the caller said."""


class TopicAlreadyExists(TailraceError):
    """A topic of this name is there."""


class InvalidTopicName(TailraceError):
    """The name is not allowed, or collides with another topic's."""


class InvalidPartitions(TailraceError):
    """The partition count is not allowed."""


class InvalidReplicationFactor(TailraceError):
    """The replication factor is not allowed with the brokers there are."""


class InvalidReplicaAssignment(TailraceError):
    """The manual assignment is not consistent."""


class InvalidConfig(TailraceError):
    """A configuration name or value is not allowed; the text says which and what is."""


class InvalidRequest(TailraceError):
    """The request contradicts itself."""


class CorruptBatch(TailraceError):
    """A batch does not match its CRC or its length. A producer sends it again."""


class InvalidRecord(TailraceError):
    """A batch breaks a rule that no retry can mend."""


class RecordsRefused(TailraceError):
    """Some records of a batch break a rule; the batch is refused as a whole. Its text is Kafka's."""

    def __init__(self, records: "list[tuple[int, str]]") -> None:
        shown = ", ".join(f"RecordError(batchIndex={index}, message='{reason}')" for index, reason in records[:3])
        super().__init__(
            f"One or more records have been rejected due to {len(records)} record errors in total, "
            f"and only showing the first three errors at most: [{shown}]"
        )
        self.records = records
        """Place in the batch, from 0, and why."""


class InvalidTimestamp(TailraceError):
    """A timestamp lies outside of what the topic accepts."""


class MessageTooLarge(TailraceError):
    """A batch is larger than max.message.bytes."""


class RecordListTooLarge(TailraceError):
    """A batch is larger than a segment may be."""


class UnsupportedCompression(TailraceError):
    """The request's version does not know this codec."""


class InvalidRequiredAcks(TailraceError):
    """acks is -1, 0 or 1."""


class OutOfOrderSequence(TailraceError):
    """A sequence number does not follow the last one (KIP-98)."""


class InvalidProducerEpoch(TailraceError):
    """A newer instance of this producer has written (KIP-98)."""


class InvalidTransactionState(TailraceError):
    """The batch does not belong to an open transaction."""


class UnsupportedForVersion(TailraceError):
    """What is asked for needs a later version of the request."""


class DataCorrupt(TailraceError):
    """Stored bytes do not match their checksum. They are never served; the log and a metric name the place."""


class MissingObject(TailraceError):
    """The object store has no object of this key."""


class ObjectExists(TailraceError):
    """A create-only put found the key taken."""


class InvalidSettings(TailraceError):
    """The settings do not allow a start: the text names file, key, value and what is allowed."""


class DataFolderInUse(TailraceError):
    """Another process holds the lock of the data folder."""


class FormatTooNew(TailraceError):
    """Stored data was written by a newer version of the program."""
