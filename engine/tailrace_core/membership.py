"""Membership: what brokers need of a controller, and the values that pass between them.

The controller owns the metadata: topics, brokers, counters, and the catalog of objects and extents. Reads (`image`,
`extents`) are synchronous and answer from memory, with what is committed and nothing else. Changes are asynchronous:
they return when the change is durable, after every subscriber was told of it. A caller that is cancelled while it waits
does not take its change back.

All methods raise StorageUnavailable when the metadata store did not take the change; nothing has changed then, and the
same call may be made again.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import Enum, IntEnum
from typing import Final, NamedTuple, Protocol, TypeAlias

from tailrace_core.errors import TailraceError
from tailrace_core.extents import Extent, StoredObject
from tailrace_core.ids import NodeId, ProducerId, TopicId

EXTENTS_PER_OBJECT_MAX: Final = 4_096
"""So that the catalog's value of one object stays far below what one transaction of etcd may carry (1.5 MiB)."""
LOG_APPEND_TIME: Final = "LogAppendTime"
"""message.timestamp.type: records carry the broker's time."""
COMPACT: Final = "compact"
DELETE_ONLY: Final = ("delete",)
"""cleanup.policy: of each key the last record stays; records go by age and size, the default."""
INTERNAL_TOPICS: Final = frozenset({"__consumer_offsets", "__transaction_state", "__share_group_state"})


class Endpoint(NamedTuple):
    """Where clients reach a broker, on one listener."""

    host: str
    port: int


class Broker(NamedTuple):
    """A registered broker."""

    node_id: NodeId
    rack: str | None
    endpoints: Mapping[str, Endpoint]
    """By listener name."""
    broker_epoch: int
    leader_epoch: int
    """Of every partition that this broker leads since its last start."""


class BrokerStart(NamedTuple):
    """What a broker gets at each start: both epochs are larger than any before."""

    broker_epoch: int
    leader_epoch: int


class TopicConfigs(NamedTuple):
    """The settings in force of a topic that brokers act on, parsed. Kafka's names, units and special values."""

    cleanup_policy: tuple[str, ...]
    """Any of "compact" and "delete", sorted."""
    compression_type: str
    compression_gzip_level: int
    compression_lz4_level: int
    compression_zstd_level: int
    durability: str
    max_message_bytes: int
    message_timestamp_after_max_ms: int
    message_timestamp_before_max_ms: int
    message_timestamp_type: str
    """CreateTime or LogAppendTime."""
    min_insync_replicas: int
    retention_bytes: int
    """Per partition; -1 is without limit."""
    retention_ms: int
    """-1 is without limit."""
    segment_bytes: int
    segment_ms: int


class Topic(NamedTuple):
    """One incarnation of a topic. Immutable: a changed topic is another value."""

    name: str
    topic_id: TopicId
    partition_count: int
    overrides: Mapping[str, str]
    """The topic's own settings, as Kafka writes them."""
    configs: TopicConfigs

    @property
    def is_internal(self) -> bool:
        return self.name in INTERNAL_TOPICS


class ResourceType(IntEnum):
    """What has configs; the numbers are Kafka's."""

    TOPIC = 2
    BROKER = 4
    BROKER_LOGGER = 8
    """Of the process, not of the metadata."""
    CLIENT_METRICS = 16
    GROUP = 32


class ConfigResource(NamedTuple):
    """One thing that has configs. A broker's name is its node id; an empty name means all brokers."""

    type: ResourceType
    name: str


class ConfigSource(Enum):
    """Where the value of a setting comes from; the numbers are Kafka's (DescribeConfigs, CreateTopics v5)."""

    TOPIC = 1
    DYNAMIC_BROKER = 2
    DYNAMIC_DEFAULT_BROKER = 3
    STATIC_BROKER = 4
    DEFAULT = 5
    BROKER_LOGGER = 6
    CLIENT_METRICS = 7
    GROUP = 8


class ConfigSynonym(NamedTuple):
    """One of the places that a value may come from."""

    name: str
    value: str
    source: ConfigSource


class ConfigEntry(NamedTuple):
    """One setting in force."""

    name: str
    value: str | None
    """None: not set, and without a default."""
    source: ConfigSource
    synonyms: tuple[ConfigSynonym, ...] = ()
    """All that say something, the one in force first; the last ones in their own units (log.retention.hours)."""


class ConfigOperation(Enum):
    """The numbers are Kafka's (IncrementalAlterConfigs)."""

    SET = 0
    DELETE = 1
    APPEND = 2
    SUBTRACT = 3


class ConfigChange(NamedTuple):
    """What is asked of one config."""

    name: str
    value: str | None
    operation: ConfigOperation = ConfigOperation.SET


class NewTopic(NamedTuple):
    """A topic to create. -1 asks for the default; assignments (partition to node ids) need both to be -1."""

    name: str
    partition_count: int = -1
    replication_factor: int = -1
    assignments: Mapping[int, Sequence[NodeId]] = {}
    configs: Mapping[str, str | None] = {}


class TopicDefaults(NamedTuple):
    """What -1 stands for: num.partitions and default.replication.factor."""

    partition_count: int = 1
    replication_factor: int = 1


class CreatedTopic(NamedTuple):
    """A topic as it was, or with validate_only would be, created (its id is then all zero)."""

    topic: Topic
    replication_factor: int
    config_entries: tuple[ConfigEntry, ...]


class NewPartitions(NamedTuple):
    """Grow a topic to partition_count in all; assignments are those of the new partitions, in order."""

    name: str
    partition_count: int
    assignments: Sequence[Sequence[NodeId]] | None = None


class RefusalReason(Enum):
    """Why an extent was not taken into the catalog."""

    NOT_REGISTERED = "the object's registration does not stand"
    UNKNOWN_PARTITION = "no such partition"
    LEADER_EPOCH = "not the partition's leader epoch"
    OFFSET = "does not continue the partition's committed data"
    REPLACED = "what it was to replace is not there any more"
    COMMITTED_WITHOUT = "the object was committed without it"


class RefusedExtent(NamedTuple):
    extent: Extent
    reason: RefusalReason


class CommitResult(NamedTuple):
    """What a commit left out; all other extents of the object stand."""

    refused: tuple[RefusedExtent, ...]


class ObjectRef(NamedTuple):
    """An object in the store."""

    object_id: int
    key: str
    size: int
    """Bytes; 0 for an upload that was never committed."""


class PlacedExtent(NamedTuple):
    """An extent, and the object it lies in."""

    object: ObjectRef
    extent: Extent
    generation: int = 0
    """0 as it was uploaded; else more than that of every extent in whose place it was put."""


class PartitionCatalog(Protocol):
    """A partition's committed data: a sequence of extents in offset order, without gaps above log_start_offset but for
    offsets that were given up (skip_offsets).

    It is the live state, not a copy: positions move when the log start does, and when extents are replaced. Look up
    again after an await.
    """

    @property
    def log_start_offset(self) -> int: ...

    @property
    def committed_end(self) -> int:
        """Exclusive end of what was ever committed. It outlives the data, so that offsets never restart.

        A log start that was moved beyond it stands above it: the next offset is at least the larger of both.
        """

    @property
    def data_bytes(self) -> int:
        """Bytes of the raw batches in all extents: what retention.bytes counts."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> PlacedExtent: ...

    def index_at(self, offset: int) -> int:
        """Index of the first extent that ends beyond offset; len(self) when there is none."""


class ClusterImage(Protocol):
    """The committed metadata, as a view that follows every change."""

    @property
    def revision(self) -> int:
        """Moves with every change of topics, settings or brokers (not of the catalog): a key for caches."""

    @property
    def cluster_id(self) -> str: ...

    @property
    def controller_id(self) -> NodeId:
        """-1 until a broker has started."""

    @property
    def leader_epoch(self) -> int:
        """Of every partition, on one node; -1 until a broker has started."""

    @property
    def brokers(self) -> Sequence[Broker]:
        """By node id."""

    @property
    def topics(self) -> Sequence[Topic]:
        """By name."""

    def topic(self, name: str) -> Topic | None: ...

    def topic_by_id(self, topic_id: TopicId) -> Topic | None: ...

    @property
    def dynamic_broker_configs(self) -> Mapping[str, str]:
        """What was changed at run time and is in force on this node: its own over those of all brokers. Checked."""

    def config_entries(self, resource: ConfigResource) -> tuple[ConfigEntry, ...]:
        """All configs of a resource, by name; of all brokers together (the empty name) those that are set.

        Groups and client metrics need not exist. Raises UnknownTopicOrPartition, InvalidTopicName and InvalidRequest.
        """

    def config_resources(self, resource_type: ResourceType) -> Sequence[str]:
        """The groups, or the client metrics, that have configs, by name."""


class TopicCreated(NamedTuple):
    topic: Topic


class TopicDeleted(NamedTuple):
    topic: Topic


class PartitionsCreated(NamedTuple):
    topic: Topic
    previous_count: int


class ConfigChanged(NamedTuple):
    """The topic's own settings changed, or a broker's from which it has some."""

    topic: Topic
    previous: Topic


class BrokerConfigsChanged(NamedTuple):
    """ClusterImage.dynamic_broker_configs is another."""


class ObjectCommitted(NamedTuple):
    object: ObjectRef
    extents: tuple[Extent, ...]
    """Those that were taken."""


class LogStartMoved(NamedTuple):
    topic_id: TopicId
    partition: int
    log_start_offset: int


ChangeEvent: TypeAlias = (
    TopicCreated
    | TopicDeleted
    | PartitionsCreated
    | ConfigChanged
    | BrokerConfigsChanged
    | ObjectCommitted
    | LogStartMoved
)


class Membership(Protocol):
    """The controller, as a broker sees it."""

    @property
    def image(self) -> ClusterImage: ...

    def extents(self, topic_id: TopicId, partition: int) -> PartitionCatalog:
        """The committed data of a partition; empty (log start and end 0) where there is none, or no such topic."""

    def subscribe(self, callback: Callable[[ChangeEvent], object]) -> Callable[[], None]:
        """Call callback on the loop after each change, before the change's caller has its answer.

        The callback must not raise. Returns what ends the subscription.
        """

    async def start_broker(
        self, node_id: NodeId, rack: str | None, endpoints: Mapping[str, tuple[str, int]]
    ) -> BrokerStart:
        """Register this start of a broker, with its endpoints by listener name.

        One commit gives every partition it leads a new leader epoch. Raises InvalidSettings when the metadata belongs
        to a broker of another node id.
        """

    async def create_topics(
        self, topics: Sequence[NewTopic], defaults: TopicDefaults, validate_only: bool = False
    ) -> list[CreatedTopic | TailraceError]:
        """One answer for each topic, in order; all that may be created are created in one commit.

        The errors: InvalidRequest, InvalidTopicName, TopicAlreadyExists, InvalidPartitions, InvalidReplicationFactor,
        InvalidReplicaAssignment, InvalidConfig.
        """

    async def delete_topics(self, topics: Sequence[str | TopicId]) -> list[Topic | TailraceError]:
        """Delete topics by name (str) or id (bytes); each answer is the topic that was, or the error.

        The errors: UnknownTopicOrPartition, UnknownTopicId, InvalidRequest for a topic that is named twice.
        """

    async def create_partitions(
        self, topics: Sequence[NewPartitions], validate_only: bool = False
    ) -> list[Topic | TailraceError]:
        """Each answer is the grown topic, or the error.

        The errors: UnknownTopicOrPartition, InvalidPartitions, InvalidReplicaAssignment, InvalidRequest.
        """

    async def alter_topic_configs(self, name: str, changes: Mapping[str, str | None]) -> Topic:
        """Set a topic's own settings, None removes one: alter_configs in short. Returns the topic after it."""

    async def alter_configs(
        self,
        resource: ConfigResource,
        changes: Sequence[ConfigChange],
        replaces: bool = False,
        validate_only: bool = False,
    ) -> None:
        """Change the configs of a topic, a broker, all brokers, a group or client metrics: all of it, or nothing.

        replaces: what is not among the changes loses its own value. Topics follow the brokers' configs at once. Raises
        UnknownTopicOrPartition, InvalidTopicName, InvalidConfig and InvalidRequest.
        """

    async def allocate_producer_ids(self, count: int) -> ProducerId:
        """The first of count consecutive producer ids that nobody has had."""

    async def reserve_object_ids(self, count: int) -> int:
        """The first of count consecutive object ids that nobody has had. Unused ones are lost at a restart."""

    async def register_object(self, object_id: int, key: str, expires_at_ms: int) -> None:
        """Announce the PUT of an object, before it begins; each reserved id is registered at most once.

        The key is stored, so that the object of an upload that never ends is found and deleted. Raises InvalidRequest
        for an id that was not reserved, or is registered or committed.
        """

    async def renew_registration(self, object_id: int, expires_at_ms: int) -> bool:
        """Move the expiry; False when the registration does not stand any more: the upload is void."""

    async def commit_object(self, stored: StoredObject, now_ms: int) -> CommitResult:
        """Take an object that is durable in the store into the catalog.

        Each extent is judged by itself: its leader epoch is the partition's, and it continues the committed data, that
        is its base offset is committed_end, or lies above it but not above the log start. Idempotent by object id:
        after an unknown outcome the same commit is made again. An object of which nothing was taken is deleted by the
        sweep. Raises InvalidRequest for an object that contradicts itself.
        """

    async def replace_extents(
        self, stored: StoredObject, replaced: Sequence[PlacedExtent], now_ms: int
    ) -> CommitResult:
        """Put the extents of a new object in the place of others, as commit_object does for what is new.

        Each extent is judged by itself: its leader epoch is the partition's, and what it covers is exactly what
        `replaced` says of that partition: those extents, in those objects, from the first one's base offset to the last
        one's end offset. After a trim that dropped one of them, or another replacement, it is refused. At most one
        extent of a partition. Idempotent by object id. The objects that lose their last extent are deleted by the
        sweep, and so is a new one of which nothing was taken. Raises InvalidRequest for an object that contradicts
        itself.
        """

    async def trim(self, topic_id: TopicId, partition: int, log_start_offset: int) -> int:
        """Move the log start up (never down) and drop the extents that end at or below it.

        It may pass committed_end. Returns the log start in force. Raises UnknownTopicId and UnknownTopicOrPartition.
        """

    async def skip_offsets(self, topic_id: TopicId, partition: int, end_offset: int) -> int:
        """Give up the offsets from committed_end up to end_offset (exclusive): they are lost, and never used again.

        The next extent begins at end_offset or later. Returns the committed_end in force. Raises UnknownTopicId and
        UnknownTopicOrPartition.
        """

    async def expire_registrations(self, now_ms: int) -> list[ObjectRef]:
        """End the registrations that expired: their objects can no longer be committed, and go the way of unreferenced
        ones. For the sweep.
        """

    async def objects_to_delete(self, now_ms: int, grace_ms: int) -> list[ObjectRef]:
        """Objects that nothing refers to since grace_ms, some of them in each call. For the sweep.

        The first call after an object lost its last extent notes the time in the store; grace_ms begins there. It must
        be longer than any read, and than the longest PUT. Delete them from the object store, then forget_objects.
        """

    async def forget_objects(self, object_ids: Sequence[int]) -> None:
        """Drop unreferenced objects from the catalog, after they were deleted from the store."""

    async def close(self) -> None:
        """Wait for what was handed in, and close the store. Changes that come later raise StorageUnavailable."""
