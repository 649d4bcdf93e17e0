"""What is asked of a group coordinator, and what it answers. Both protocols and the admin interface translate to these.

An outcome is the answer's type, or one of tailrace_core.errors. Members' metadata and assignments are opaque bytes.
Times are milliseconds. A member id of "" is one that is not known yet.
"""

from typing import Final, NamedTuple, TypeAlias

from tailrace_core.errors import TailraceError
from tailrace_core.ids import TopicId

NO_GENERATION: Final = -1
"""The generation id of a commit that does not come from a member (a simple consumer)."""


class JoinGroup(NamedTuple):
    """Outcome: JoinedGroup. MemberIdRequired carries the id to join with."""

    group_id: str
    member_id: str
    group_instance_id: str | None
    client_id: str
    client_host: str
    session_timeout_ms: int
    rebalance_timeout_ms: int
    protocol_type: str
    protocols: tuple[tuple[str, bytes], ...]
    """(name, metadata), the member's favourite first."""
    requires_known_member_id: bool
    """KIP-394: a new dynamic member is told its id first (JoinGroup v4+)."""
    supports_skipping_assignment: bool
    """KIP-814: the leader may be told to keep the assignment as it is (v9+)."""
    reason: str = ""


class JoinedMember(NamedTuple):
    member_id: str
    group_instance_id: str | None
    metadata: bytes


class JoinedGroup(NamedTuple):
    member_id: str
    generation_id: int
    protocol_type: str
    protocol_name: str
    leader: str
    skip_assignment: bool
    members: tuple[JoinedMember, ...]
    """For the leader only; empty for the others."""


class SyncGroup(NamedTuple):
    """Outcome: SyncedGroup."""

    group_id: str
    generation_id: int
    member_id: str
    group_instance_id: str | None
    protocol_type: str | None
    """None: not said (below v5), not checked."""
    protocol_name: str | None
    assignments: tuple[tuple[str, bytes], ...]
    """(member id, assignment), from the leader."""


class SyncedGroup(NamedTuple):
    protocol_type: str
    protocol_name: str
    assignment: bytes


class Heartbeat(NamedTuple):
    """Outcome: None."""

    group_id: str
    generation_id: int
    member_id: str
    group_instance_id: str | None


class LeavingMember(NamedTuple):
    member_id: str
    group_instance_id: str | None
    reason: str = ""


class LeaveGroup(NamedTuple):
    """Outcome: LeftGroup."""

    group_id: str
    members: tuple[LeavingMember, ...]


class LeftGroup(NamedTuple):
    members: tuple[tuple[LeavingMember, TailraceError | None], ...]
    """In the order of the request."""


class OffsetToCommit(NamedTuple):
    topic_name: str
    topic_id: TopicId
    """The id that the topic has now: a recreated topic must not inherit what was committed for its predecessor."""
    partition: int
    offset: int
    leader_epoch: int
    metadata: str


class CommitOffsets(NamedTuple):
    """Outcome: CommittedOffsets. The gateway has taken out unknown topics and partitions."""

    group_id: str
    generation_id: int
    member_id: str
    group_instance_id: str | None
    offsets: tuple[OffsetToCommit, ...]
    retention_time_ms: int = -1
    """OffsetCommit v2-4; -1 is the broker's."""
    missing_group_is_illegal_generation: bool = False
    """Below v9 a generation of a group that is not there is IllegalGeneration; from v9 on it is GroupIdNotFound."""


class CommittedOffsets(NamedTuple):
    errors: tuple[TailraceError | None, ...]
    """One for each offset, in order."""


ONE_COMMITTED: Final = CommittedOffsets((None,))
"""The outcome of most commits: of one offset, without an error."""


class FetchOffsets(NamedTuple):
    """Outcome: FetchedOffsets, also of a group that is not there."""

    group_id: str
    member_id: str | None
    """None with member_epoch -1: asked from outside of the group, nothing is checked."""
    member_epoch: int
    partitions: tuple[tuple[str, TopicId, int], ...] | None
    """(topic name, the id that the topic has now, partition); None asks for all that was committed."""
    require_stable: bool = False


class FetchedOffset(NamedTuple):
    topic_name: str
    topic_id: TopicId
    partition: int
    offset: int
    """-1: none."""
    leader_epoch: int
    metadata: str
    error: TailraceError | None = None


class FetchedOffsets(NamedTuple):
    offsets: tuple[FetchedOffset, ...]


class DeleteOffsets(NamedTuple):
    """Outcome: DeletedOffsets; GroupIdNotFound, NonEmptyGroup (of a group that is not a consumer group)."""

    group_id: str
    partitions: tuple[tuple[str, int], ...]


class DeletedOffsets(NamedTuple):
    errors: tuple[TailraceError | None, ...]
    """One for each partition, in order."""


class DescribeGroup(NamedTuple):
    """Outcome: DescribedGroup, GroupIdNotFound."""

    group_id: str


class DescribedMember(NamedTuple):
    member_id: str
    group_instance_id: str | None
    client_id: str
    client_host: str
    metadata: bytes
    assignment: bytes


class DescribedGroup(NamedTuple):
    group_id: str
    state: str
    """Kafka's words: PreparingRebalance, CompletingRebalance, Stable, Dead, Empty."""
    protocol_type: str
    protocol_name: str
    """"" while the group is rebalancing."""
    members: tuple[DescribedMember, ...]


class ListGroups(NamedTuple):
    """Asked of every shard. Outcome: a tuple of ListedGroup."""

    states: tuple[str, ...] = ()
    """Empty: all. Compared without regard to case."""
    types: tuple[str, ...] = ()
    """classic, consumer, share; empty: all. Compared without regard to case."""


class ListedGroup(NamedTuple):
    group_id: str
    protocol_type: str
    state: str
    group_type: str


class DeleteGroup(NamedTuple):
    """Outcome: None; GroupIdNotFound, NonEmptyGroup."""

    group_id: str


class TopicsDeleted(NamedTuple):
    """Told to every shard when topics are gone: their offsets are forgotten. Outcome: None."""

    topics: tuple[tuple[str, TopicId], ...]


GroupRequest: TypeAlias = (
    JoinGroup
    | SyncGroup
    | Heartbeat
    | LeaveGroup
    | CommitOffsets
    | FetchOffsets
    | DeleteOffsets
    | DescribeGroup
    | DeleteGroup
)
"""What is asked about one group, and goes to the shard that its id hashes to."""
