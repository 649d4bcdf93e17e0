"""Settings: what a person may choose, with Kafka's names where Kafka has the setting.

One frozen model per subject, all of them in `Settings`. They hold plain data; clocks, disks and stores are arguments of
those who need them. settings_load.py says where the values come from.

config/*.toml and config/REFERENCE.md are rendered from these models (tailrace_core.render).
"""

import os
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    PrivateAttr,
    model_validator,
)
from pydantic.fields import FieldInfo

from tailrace_core.addresses import Address, Listener, parse_address, parse_listeners

KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30
INT32_MAX: Final = (1 << 31) - 1
INT64_MAX: Final = (1 << 63) - 1

T = TypeVar("T")


class Section(BaseModel):
    """A subject of the settings. Its docstring is shown to users."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def setting(default: Any, doc: str, *, kafka: str | None = None, topic: str | None = None, **bounds: Any) -> Any:
    """A field of a section. doc states the unit.

    kafka: the broker setting's name in Kafka. topic: the name in a topic's configuration, of which this is the default.
    """
    return Field(default, description=doc, json_schema_extra={"kafka": kafka, "topic": topic}, **bounds)


def _empty_is_none(check: Callable[[object], T]) -> Callable[[object], T | None]:
    """Text sources say "not set" by nothing."""
    return lambda value: None if value is None or value == "" else check(value)


def _store_url(value: object) -> str:
    text = str(value)
    if not text.startswith("file:///"):
        raise ValueError(f"allowed: file:///PATH of a local folder; other stores are not built yet, not {text!r}")
    return text


def _only(built: str, why: str) -> AfterValidator:
    """For a choice that Kafka or the architecture has and this version does not do: refused rather than ignored."""

    def check(value: str) -> str:
        if value != built:
            raise ValueError(f"{value!r} is not built yet ({why}); allowed: {built!r}")
        return value

    return AfterValidator(check)


def _connection_overrides(value: object) -> tuple[tuple[str, int], ...]:
    """IP:COUNT, the last colon separates: IPv6 addresses have colons themselves, in brackets or not."""
    items = value.split(",") if isinstance(value, str) else value
    found = []
    for item in items if isinstance(items, list | tuple) else [items]:
        if isinstance(item, tuple | list):
            item = ":".join(map(str, item))
        if not (text := str(item).strip()):
            continue
        host, _, count = text.rpartition(":")
        try:
            found.append((str(ip_address(host.strip("[]"))), int(count)))
        except ValueError:
            raise ValueError(f"allowed: IP:COUNT, not {text!r}") from None
    return tuple(found)


ConnectionOverridesSetting = Annotated[tuple[tuple[str, int], ...], PlainValidator(_connection_overrides)]
AddressSetting = Annotated[Address, PlainValidator(parse_address)]
ListenersSetting = Annotated[tuple[Listener, ...], PlainValidator(parse_listeners)]
OptionalListenersSetting = Annotated[tuple[Listener, ...] | None, PlainValidator(_empty_is_none(parse_listeners))]
StoreUrlSetting = Annotated[str | None, PlainValidator(_empty_is_none(_store_url))]
OptionalTextSetting = Annotated[str | None, PlainValidator(_empty_is_none(str))]


class BrokerSettings(Section):
    """Who this broker is and where its data is."""

    node_id: int = setting(1, "The broker's number in its cluster.", kafka="node.id", ge=0, le=INT32_MAX)
    data_dir: Path = setting(
        Path("tailrace-data"),
        "Folder of the WAL, the metadata and, by default, the objects. One process at a time may use it.",
        kafka="log.dir",
    )
    rack: OptionalTextSetting = setting(None, "Rack or zone, told to clients. Default: none.", kafka="broker.rack")


class KafkaSettings(Section):
    """The Kafka protocol: where it is served and what one client may take."""

    listeners: ListenersSetting = setting(
        (Listener("PLAINTEXT", "127.0.0.1", 9092),),
        "Where clients connect: NAME://HOST:PORT, several with commas or as a list. No host means all interfaces.",
        kafka="listeners",
    )
    advertised_listeners: OptionalListenersSetting = setting(
        None,
        "What clients are told to connect to: for each name, an address that the clients of that listener reach. "
        "Default: as `listeners`. Port 0 tells the port that was bound.",
        kafka="advertised.listeners",
    )
    socket_request_max_bytes: int = setting(
        100 * MIB,
        "Largest request in bytes; a larger one closes the connection before it is read.",
        kafka="socket.request.max.bytes",
        ge=64 * KIB,
        le=INT32_MAX,
    )
    connections_max_idle_ms: int = setting(
        600_000,
        "A connection without traffic for so many milliseconds is closed. -1: never.",
        kafka="connections.max.idle.ms",
        ge=-1,
    )
    connections_max: int = setting(
        INT32_MAX,
        "Connections of all clients together; a further one is closed at once.",
        kafka="max.connections",
        ge=0,
    )
    connections_per_ip_max: int = setting(
        INT32_MAX,
        "Connections of one client address; a further one is closed at once.",
        kafka="max.connections.per.ip",
        ge=0,
    )
    connections_per_ip_overrides: ConnectionOverridesSetting = setting(
        (),
        "Addresses with another limit than connections_per_ip_max: IP:COUNT, several with commas or as a list.",
        kafka="max.connections.per.ip.overrides",
    )
    fetch_session_slots_max: int = setting(
        1_000,
        "Incremental fetch sessions that are kept; beyond, clients send full fetches. 0: none.",
        kafka="max.incremental.fetch.session.cache.slots",
        ge=0,
        le=100_000,
    )
    auto_create_topics_enable: bool = setting(
        True, "Make a topic when a client asks for one that is not there.", kafka="auto.create.topics.enable"
    )
    num_partitions: int = setting(
        1, "Partitions of a topic whose creator does not say.", kafka="num.partitions", ge=1, le=10_000
    )
    default_replication_factor: int = setting(
        1,
        "Replication factor of a topic whose creator does not say.",
        kafka="default.replication.factor",
        ge=1,
        le=32767,
    )
    fetch_max_bytes: int = setting(
        55 * MIB,
        "Most bytes of records in one fetch response; a first batch that is larger is still sent.",
        kafka="fetch.max.bytes",
        ge=1024,
        le=INT32_MAX,
    )
    produce_in_flight_requests_max: int = setting(
        1024,
        "Produce requests of one connection that may wait for durability; beyond, its socket is not read.",
        ge=1,
        le=1_000_000,
    )
    produce_in_flight_bytes_max: int = setting(
        64 * MIB,
        "Bytes of Produce requests of one connection that may wait for durability; beyond, its socket is not read. "
        "One request is always let in.",
        ge=1 * MIB,
    )
    response_pending_bytes_max: int = setting(
        128 * MIB,
        "Bytes of responses that a client has not taken yet; a consumer that lags by more is disconnected.",
        ge=1 * MIB,
    )
    receive_bytes: int = setting(
        256 * KIB,
        "Bytes of the receive buffer, one for all connections: the most that one read takes from a socket.",
        ge=16 * KIB,
        le=16 * MIB,
    )
    busy_poll_us: int = setting(
        150,
        "Microseconds that the broker looks for the next request before it sleeps, while few clients are connected and "
        "it pays: lower latency for a client that sends one request after another. 0: never.",
        ge=0,
        le=10_000,
    )

    @property
    def advertised(self) -> tuple[Listener, ...]:
        """What clients are told, in the order of `listeners`; a port of 0 stands for the one that was bound."""
        told = {listener.name: listener for listener in self.advertised_listeners or self.listeners}
        return tuple(told[listener.name] for listener in self.listeners if listener.name in told)

    @model_validator(mode="after")
    def _listeners_are_reachable(self) -> Self:
        if not self.listeners:
            raise ValueError("listeners: at least one NAME://HOST:PORT is needed")
        bound = [listener.address for listener in self.listeners if listener.port]
        if len(set(bound)) != len(bound):
            raise ValueError("listeners: two listeners have the same address")
        if self.advertised_listeners is not None:
            names = {listener.name for listener in self.listeners}
            for listener in self.advertised_listeners:
                if listener.name not in names:
                    raise ValueError(
                        f"advertised_listeners: {listener.name} is not among listeners ({', '.join(sorted(names))})"
                    )
        if not self.advertised:
            raise ValueError("advertised_listeners: at least one listener must be advertised")
        for listener in self.advertised:
            if listener.host in ("", "0.0.0.0", "::"):
                raise ValueError(
                    f"advertised_listeners: clients cannot connect to {listener}; "
                    f"say {listener.name}://HOST:{listener.port} with a host that they reach"
                )
        return self

    @model_validator(mode="after")
    def _a_full_response_fits(self) -> Self:
        if self.response_pending_bytes_max < self.fetch_max_bytes:
            raise ValueError(
                f"response_pending_bytes_max = {self.response_pending_bytes_max}: at least fetch_max_bytes "
                f"({self.fetch_max_bytes}), or one full response would close its connection"
            )
        return self


class HttpSettings(Section):
    """Health, metrics and administration over HTTP."""

    listen: AddressSetting = setting(
        Address("127.0.0.1", 9644),
        "HOST:PORT of /healthz, /readyz, /metrics and the admin API, which asks nobody who they are.",
    )


WAL_SEGMENTS_MAX: Final = 800
"""A segment's header names all that are still needed."""


class WalSettings(Section):
    """The direct-I/O write-ahead log."""

    backend: Literal["auto", "uring", "threads", "buffered"] = setting(
        "auto",
        "How it is written: uring (io_uring, O_DIRECT), threads (pwritev, O_DIRECT and O_DSYNC), buffered (write and "
        "fdatasync). auto takes the first of them that works here.",
    )
    sync: Literal["always", "interval"] = setting(
        "always",
        "always: acknowledged means synced to the disk. interval: acknowledged means handed to the operating system; "
        "a power cut may lose the last sync_interval_ms.",
    )
    sync_interval_ms: int = setting(
        50, "With sync = interval: milliseconds until what was written is synced.", ge=1, le=60_000
    )
    segment_bytes: int = setting(
        64 * MIB, "Bytes of one file; files are made one ahead.", ge=4 * MIB, le=1 * GIB, multiple_of=4 * KIB
    )
    capacity_bytes: int = setting(8 * GIB, "Bytes of all files together; full means back-pressure.", ge=16 * MIB)

    @model_validator(mode="after")
    def _segments_fit(self) -> Self:
        if self.capacity_bytes > WAL_SEGMENTS_MAX * self.segment_bytes:
            raise ValueError(
                f"capacity_bytes = {self.capacity_bytes}: at most {WAL_SEGMENTS_MAX} segments "
                f"(segment_bytes = {self.segment_bytes})"
            )
        if self.capacity_bytes < 4 * self.segment_bytes:
            raise ValueError(
                f"capacity_bytes = {self.capacity_bytes}: at least four segments (segment_bytes = {self.segment_bytes})"
            )
        return self


class EngineSettings(Section):
    """What is kept in memory, and what is checked."""

    hot_bytes: int | None = setting(
        None,
        "Bytes of memory for the newest batches (the hot log). Default: a quarter of memory, at most 1 GiB.",
        ge=8 * MIB,
    )
    validation: Annotated[Literal["header", "full"], _only("header", "full unpacks every record")] = setting(
        "header",
        "What is checked in a produced batch: its header and CRC (header). Every record (full) is not built yet.",
    )
    durability: Annotated[Literal["local", "object"], _only("local", "object waits for the object store")] = setting(
        "local",
        "When a write is acknowledged: after the WAL (local). After the object is committed (object) is not built yet.",
    )
    producer_id_expiration_ms: int = setting(
        86_400_000,
        "Milliseconds after which an idempotent producer that writes nothing is forgotten.",
        kafka="producer.id.expiration.ms",
        ge=1,
    )

    def hot_bytes_for(self, memory_bytes: int) -> int:
        """The budget of the hot log on a machine, or in a container, of so much memory."""
        if self.hot_bytes is not None:
            return self.hot_bytes
        return max(8 * MIB, min(memory_bytes // 4, 1 * GIB))


class UploadSettings(Section):
    """When batches go to the object store: by size, by age, or early because memory or the WAL fills up."""

    bytes: int = setting(64 * MIB, "Bytes of batches that make an object.", ge=64 * KIB, le=1 * GIB)
    interval_ms: int = setting(
        60_000, "Milliseconds that a batch waits at most, also in a partition that has gone quiet.", ge=10
    )
    pressure_ratio: float = setting(
        0.75, "Share of the hot log's budget, or of the WAL's capacity, from which uploads start early.", gt=0, le=1
    )


class CompactionSettings(Section):
    """Compaction of the internal topics, in a worker process: what a restart has to replay of them stays little."""

    dirty_bytes: int = setting(
        8 * MIB,
        "Bytes of batches in the object store, of all internal topics, that wait for compaction at most; more is right "
        "where they hold more that is still in use.",
        ge=64 * KIB,
    )
    check_interval_ms: int = setting(
        15_000, "Milliseconds between two looks for what is due, besides one after each upload.", ge=100
    )
    memory_bytes: int = setting(128 * MIB, "Bytes of data that the worker may hold.", ge=8 * MIB)


class CacheSettings(Section):
    """Reads of what is no longer in the hot log."""

    block_bytes: int = setting(1 * MIB, "Bytes of a cached block.", ge=64 * KIB, le=16 * MIB)
    cold_bytes: int = setting(64 * MIB, "Bytes of memory for blocks read back from the object store.", ge=4 * MIB)
    read_ahead_bytes_min: int = setting(512 * KIB, "Bytes that a sequential reader's read-ahead begins with.", ge=0)
    read_ahead_bytes_max: int = setting(32 * MIB, "Bytes that one reader's read-ahead grows to.", ge=0)
    read_ahead_budget_bytes: int = setting(32 * MIB, "Bytes of read-ahead of all readers together.", ge=0)
    bandwidth_bytes_per_second: int = setting(
        400_000_000, "Bytes per second of all such reads, so that tailing consumers do not feel them.", ge=1_000_000
    )

    @model_validator(mode="after")
    def _sizes_are_ordered(self) -> Self:
        if not self.read_ahead_bytes_min <= self.read_ahead_bytes_max <= self.read_ahead_budget_bytes:
            raise ValueError(
                f"read_ahead_bytes_min ({self.read_ahead_bytes_min}) <= read_ahead_bytes_max "
                f"({self.read_ahead_bytes_max}) <= read_ahead_budget_bytes ({self.read_ahead_budget_bytes}) must hold"
            )
        if self.cold_bytes < 2 * self.block_bytes:
            raise ValueError(f"cold_bytes = {self.cold_bytes}: at least two blocks (block_bytes = {self.block_bytes})")
        return self


class ObjectStoreSettings(Section):
    """Where uploaded data lives."""

    url: StoreUrlSetting = setting(None, "file:///PATH of a local folder. Default: `objects` in the data folder.")
    sweep_interval_ms: int = setting(
        30_000, "Milliseconds between two looks for objects that nothing refers to any more.", ge=10
    )
    delete_grace_ms: int = setting(
        60_000, "Milliseconds that such an object is kept for those who still read it.", ge=0
    )

    def url_for(self, data_dir: Path) -> str:
        """The store's URL, with the default applied."""
        return self.url if self.url is not None else (data_dir.absolute() / "objects").as_uri()


class LogSettings(Section):
    """Defaults of topics. A topic's own configuration goes before them."""

    message_max_bytes: int = setting(
        1_048_588,
        "Largest record batch in bytes, as it is sent.",
        kafka="message.max.bytes",
        topic="max.message.bytes",
        ge=0,
        le=INT32_MAX,
    )
    retention_ms: int | None = setting(
        None,
        "Milliseconds that records are kept at least. -1: for ever. Default: retention_minutes, else retention_hours.",
        kafka="log.retention.ms",
        topic="retention.ms",
        ge=-1,
        le=INT64_MAX,
    )
    retention_minutes: int | None = setting(
        None,
        "The same in minutes, where retention_ms does not say it.",
        kafka="log.retention.minutes",
        ge=-1,
        le=INT32_MAX,
    )
    retention_hours: int = setting(
        168,
        "The same in hours, where neither retention_ms nor retention_minutes says it.",
        kafka="log.retention.hours",
        ge=-1,
        le=INT32_MAX,
    )
    retention_bytes: int = setting(
        -1,
        "Bytes of a partition beyond which its oldest records go. -1: no limit.",
        kafka="log.retention.bytes",
        topic="retention.bytes",
        ge=-1,
        le=INT64_MAX,
    )
    retention_check_interval_ms: int = setting(
        300_000,
        "Milliseconds between two looks at what may go.",
        kafka="log.retention.check.interval.ms",
        ge=1,
    )
    segment_bytes: int = setting(
        1 * GIB,
        "Bytes of a partition that make a segment, and the largest batch. A segment is what one upload holds of a "
        "partition: with so much to upload (or upload.bytes, if that is less) it is uploaded. Retention works on whole "
        "ones.",
        kafka="log.segment.bytes",
        topic="segment.bytes",
        ge=1 * MIB,
        le=INT32_MAX,
    )
    segment_ms: int | None = setting(
        None,
        "Milliseconds after which a partition's batches are uploaded, and make a segment, where that is less than "
        "upload.interval_ms. Default: as segment_hours says.",
        kafka="log.roll.ms",
        topic="segment.ms",
        ge=1,
        le=INT64_MAX,
    )
    segment_hours: int = setting(
        168,
        "The same in hours, where segment_ms does not say it.",
        kafka="log.roll.hours",
        ge=1,
        le=INT32_MAX,
    )
    message_timestamp_type: Literal["CreateTime", "LogAppendTime"] = setting(
        "CreateTime",
        "Whose time a record carries: its producer's (CreateTime) or the broker's (LogAppendTime).",
        kafka="log.message.timestamp.type",
        topic="message.timestamp.type",
    )
    message_timestamp_before_max_ms: int = setting(
        INT64_MAX,
        "Milliseconds that a record's time may lie before the broker's.",
        kafka="log.message.timestamp.before.max.ms",
        topic="message.timestamp.before.max.ms",
        ge=0,
        le=INT64_MAX,
    )
    message_timestamp_after_max_ms: int = setting(
        3_600_000,
        "Milliseconds that a record's time may lie after the broker's.",
        kafka="log.message.timestamp.after.max.ms",
        topic="message.timestamp.after.max.ms",
        ge=0,
        le=INT64_MAX,
    )
    compression_type: Literal["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"] = setting(
        "producer",
        "How batches are kept: as their producer compressed them (producer), or compressed anew where that differs.",
        kafka="compression.type",
        topic="compression.type",
    )
    cleanup_policy: Literal["delete", "compact", "compact,delete", "delete,compact"] = setting(
        "delete",
        "What happens to old records. delete: they go by age and size. compact: accepted, but everything is kept, as "
        "log compaction is not built yet.",
        kafka="log.cleanup.policy",
        topic="cleanup.policy",
    )
    min_insync_replicas: int = setting(
        1,
        "Replicas that must have a write with acks=all.",
        kafka="min.insync.replicas",
        topic="min.insync.replicas",
        ge=1,
        le=32767,
    )


class GroupSettings(Section):
    """Consumer groups and the topic that keeps them."""

    initial_rebalance_delay_ms: int = setting(
        3_000,
        "Milliseconds that the first members of an empty group wait for more, so that they are not rebalanced at once.",
        kafka="group.initial.rebalance.delay.ms",
        ge=0,
        le=INT32_MAX,
    )
    session_timeout_ms_min: int = setting(
        6_000, "Shortest session timeout that a member may ask for.", kafka="group.min.session.timeout.ms", ge=1
    )
    session_timeout_ms_max: int = setting(
        1_800_000, "Longest session timeout that a member may ask for.", kafka="group.max.session.timeout.ms", ge=1
    )
    members_max: int = setting(INT32_MAX, "Most members of one group.", kafka="group.max.size", ge=1, le=INT32_MAX)
    member_bytes_max: int = setting(
        64 * MIB,
        "Memory for the members of all groups: what they say of themselves and what they are assigned, and 1,000 bytes "
        "for each. Beyond it no new ones join.",
        ge=MIB,
    )
    offset_metadata_bytes_max: int = setting(
        4_096, "Longest text beside a committed offset, in bytes.", kafka="offset.metadata.max.bytes", ge=0
    )
    offsets_retention_minutes: int = setting(
        10_080,
        "Minutes that offsets are kept after their group has become empty (or after the last commit, without members).",
        kafka="offsets.retention.minutes",
        ge=1,
    )
    offsets_retention_check_interval_ms: int = setting(
        600_000,
        "Milliseconds between two looks for offsets that may go.",
        kafka="offsets.retention.check.interval.ms",
        ge=1,
    )
    offsets_topic_num_partitions: int = setting(
        50,
        "Partitions of __consumer_offsets, when it is created.",
        kafka="offsets.topic.num.partitions",
        ge=1,
        le=10_000,
    )

    @model_validator(mode="after")
    def _timeouts_are_ordered(self) -> Self:
        if self.session_timeout_ms_min > self.session_timeout_ms_max:
            raise ValueError(
                f"session_timeout_ms_min ({self.session_timeout_ms_min}) must not be above "
                f"session_timeout_ms_max ({self.session_timeout_ms_max})"
            )
        return self


class LoggingSettings(Section):
    """What the process says about itself, on the standard error stream."""

    level: Literal["debug", "info", "warning", "error"] = setting("info", "The least important level that is written.")
    format: Literal["auto", "human", "json"] = setting(
        "auto", "human: a line for people. json: an object a line. auto: human on a terminal, json otherwise."
    )


class Settings(Section):
    """All settings of a broker."""

    broker: BrokerSettings = BrokerSettings()
    kafka: KafkaSettings = KafkaSettings()
    http: HttpSettings = HttpSettings()
    wal: WalSettings = WalSettings()
    engine: EngineSettings = EngineSettings()
    upload: UploadSettings = UploadSettings()
    compaction: CompactionSettings = CompactionSettings()
    cache: CacheSettings = CacheSettings()
    object_store: ObjectStoreSettings = ObjectStoreSettings()
    log: LogSettings = LogSettings()
    groups: GroupSettings = GroupSettings()
    logging: LoggingSettings = LoggingSettings()
    _without_effect: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def without_effect(self) -> Mapping[str, str]:
        """Broker configs of Kafka's that were given and do nothing here, as texts."""
        return self._without_effect


class KafkaNames(NamedTuple):
    """What Kafka calls a setting: as a broker's, and as a topic's."""

    broker: str | None
    topic: str | None


def kafka_names(field: FieldInfo) -> KafkaNames:
    """Kafka's names of a field that was made by `setting`."""
    extra = field.json_schema_extra
    assert isinstance(extra, dict), "fields of a section are made by setting()"
    broker, topic = extra["kafka"], extra["topic"]
    assert broker is None or isinstance(broker, str)
    assert topic is None or isinstance(topic, str)
    return KafkaNames(broker, topic)


class Place(NamedTuple):
    """Where a setting stands in the models."""

    section: str
    key: str


def each_field() -> Iterator[tuple[Place, FieldInfo]]:
    """All settings in the order of the models."""
    for section, section_field in Settings.model_fields.items():
        model = section_field.annotation
        assert isinstance(model, type)
        assert issubclass(model, Section)
        for key, field in model.model_fields.items():
            yield Place(section, key), field


def memory_bytes() -> int:
    """Bytes of memory that this process may use: the machine's, or its container's when that is less."""
    bounds = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for limit in (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")):
        try:
            text = limit.read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.isdigit():
            bounds.append(int(text))
    return min(bounds)
