"""What each of Kafka's configs does here: it works, it is accepted without effect, or it is refused; and a sentence of
ours that says so, which DescribeConfigs and docs/configs.md show.

A config that is one of our settings works, and its sentence is the setting's, unless a rule here says otherwise. Of the
rules, the first that fits a name counts; the last one fits all, so that no config is without a sentence.
"""

from enum import Enum
from fnmatch import fnmatchcase
from typing import Final


class ConfigState(Enum):
    """What setting a config does."""

    WORKS = "works"
    WITHOUT_EFFECT = "accepted without effect"
    REFUSED = "refused"
    UNSAID = "our setting's"
    """Of the table of rules only: the setting of that name says it."""


_WORKS: Final = ConfigState.WORKS
_NONE: Final = ConfigState.WITHOUT_EFFECT
_REFUSED: Final = ConfigState.REFUSED

_NO_COMPACTION: Final = "log compaction is not built yet; everything is kept."
_NO_FILES: Final = "a partition has no segment files of its own: batches go through the write-ahead log into objects."
_NO_REPLICAS: Final = "one node has all partitions; replication between brokers is not built yet."
_TIER: Final = "all data goes to the object store; what is kept near is bounded by engine.hot_bytes and cache.*."
_LOOP: Final = "requests are served by one event loop without thread pools or queues."
_QUOTAS: Final = "quotas are not built yet."
_SECURITY: Final = "encryption and authentication are not built yet; listeners are plain."
_CONTROLLER: Final = "the controller is part of the process and keeps its metadata in SQLite; there is no quorum."
_TRANSACTIONS: Final = "transactions are not built yet."
_SHARE: Final = "share groups are not built yet."
_STREAMS: Final = "streams groups are not built yet."
_CONSUMER: Final = "the consumer group protocol of KIP-848 is not built yet; classic groups are."
_PLUGINS: Final = "classes of Java cannot be loaded."
_METRICS: Final = "metrics are served in Prometheus' format over HTTP."

_TOPICS: Final[tuple[tuple[str, ConfigState, str], ...]] = (
    (
        "cleanup.policy",
        _WORKS,
        "delete: records go by age and size. compact: accepted, but " + _NO_COMPACTION,
    ),
    (
        "compression.type",
        _WORKS,
        "How batches are kept: as their producer compressed them (producer), or recompressed.",
    ),
    ("compression.*.level", _WORKS, "Level of this codec where the broker recompresses."),
    ("delete.retention.ms", _NONE, _NO_COMPACTION),
    ("*.compaction.lag.ms", _NONE, _NO_COMPACTION),
    ("min.cleanable.dirty.ratio", _NONE, _NO_COMPACTION),
    ("flush.*", _NONE, "wal.sync says when what is written is synced, for all topics."),
    ("file.delete.delay.ms", _NONE, "object_store.delete_grace_ms says how long deleted data is kept."),
    ("index.interval.bytes", _NONE, _NO_FILES),
    ("preallocate", _NONE, _NO_FILES),
    ("segment.index.bytes", _NONE, _NO_FILES),
    ("segment.jitter.ms", _NONE, _NO_FILES),
    (
        "segment.ms",
        _WORKS,
        "Milliseconds after which a partition's batches are uploaded, and make a segment, where that is less than "
        "upload.interval_ms.",
    ),
    (
        "segment.bytes",
        _WORKS,
        "Bytes of a partition that are uploaded together as a segment, at most upload.bytes; and its largest batch.",
    ),
    ("*.replication.throttled.replicas", _NONE, _NO_REPLICAS),
    ("unclean.leader.election.enable", _NONE, _NO_REPLICAS),
    ("local.retention.*", _NONE, _TIER),
    ("remote.*", _NONE, _TIER),
    ("max.message.bytes", _WORKS, "Largest record batch in bytes, as it is sent."),
    ("message.timestamp.type", _WORKS, "Whose time a record carries: its producer's or the broker's."),
    ("message.timestamp.after.max.ms", _WORKS, "Milliseconds that a record's time may lie after the broker's."),
    ("message.timestamp.before.max.ms", _WORKS, "Milliseconds that a record's time may lie before the broker's."),
    ("min.insync.replicas", _WORKS, "Replicas that must have a write with acks=all, at most all there are: one."),
    ("retention.bytes", _WORKS, "Bytes of a partition beyond which its oldest records go. -1: no limit."),
    ("retention.ms", _WORKS, "Milliseconds that records are kept at least. -1: for ever."),
    (
        "tailrace.durability",
        _WORKS,
        "When a write is acknowledged. local: after the write-ahead log. object is refused: it is not built yet.",
    ),
)

_BROKERS: Final[tuple[tuple[str, ConfigState, str], ...]] = (
    ("log.cleanup.policy", *_TOPICS[0][1:]),
    ("log.cleaner.*", _NONE, _NO_COMPACTION),
    ("compression.type", *_TOPICS[1][1:]),
    ("compression.*.level", *_TOPICS[2][1:]),
    ("log.flush.*", _NONE, "wal.sync says when what is written is synced."),
    ("log.segment.delete.delay.ms", _NONE, "object_store.delete_grace_ms says how long deleted data is kept."),
    ("log.index.*", _NONE, _NO_FILES),
    ("log.preallocate", _NONE, _NO_FILES),
    ("log.roll.jitter.*", _NONE, _NO_FILES),
    (
        "log.roll.*",
        _WORKS,
        "Age after which a partition's batches are uploaded, and make a segment, where that is less than "
        "upload.interval_ms.",
    ),
    ("log.local.retention.*", _NONE, _TIER),
    ("log.dirs", _NONE, "there is one data folder, log.dir."),
    ("log.dir.failure.timeout.ms", _NONE, "a failed disk stops writes at once."),
    ("cordoned.log.dirs", _REFUSED, "there is one data folder, which cannot be cordoned."),
    ("num.recovery.threads.per.data.dir", _NONE, "one thread recovers the write-ahead log."),
    ("broker.id", _NONE, "node.id is the broker's number."),
    ("process.roles", _NONE, "a process is broker and controller."),
    ("delete.topic.enable", _NONE, "topics can be deleted."),
    ("unclean.leader.election.enable", _NONE, _NO_REPLICAS),
    ("auto.leader.rebalance.enable", _NONE, _NO_REPLICAS),
    ("leader.imbalance.*", _NONE, _NO_REPLICAS),
    ("leader.replication.*", _NONE, _NO_REPLICAS),
    ("follower.*", _NONE, _NO_REPLICAS),
    ("replica*", _NONE, _NO_REPLICAS),
    ("num.replica.*", _NONE, _NO_REPLICAS),
    ("alter.log.dirs.*", _NONE, _NO_REPLICAS),
    ("inter.broker.*", _NONE, _NO_REPLICAS),
    ("broker.heartbeat.*", _NONE, _NO_REPLICAS),
    ("broker.session.*", _NONE, _NO_REPLICAS),
    ("initial.broker.*", _NONE, _CONTROLLER),
    ("controlled.shutdown.enable", _NONE, _NO_REPLICAS),
    ("remote.*", _NONE, _TIER),
    ("num.*.threads", _NONE, _LOOP),
    ("background.threads", _NONE, _LOOP),
    ("queued.*", _NONE, _LOOP),
    ("*.purgatory.*", _NONE, _LOOP),
    ("request.timeout.ms", _NONE, _LOOP),
    ("max.request.partition.size.limit", _NONE, "pages of DescribeTopicPartitions have at most 2000 partitions."),
    ("socket.listen.backlog.size", _NONE, "the backlog is 1024."),
    ("socket.*.buffer.bytes", _NONE, "the operating system sizes a socket's buffers."),
    ("socket.connection.setup.*", _NONE, "the broker opens no connections."),
    ("max.connection.creation.rate", _NONE, _QUOTAS),
    ("quota.*", _NONE, _QUOTAS),
    ("controller.quota.*", _NONE, _QUOTAS),
    ("client.quota.*", _NONE, _PLUGINS),
    ("connections.max.reauth.ms", _NONE, _SECURITY),
    ("connection.failed.*", _NONE, _SECURITY),
    ("ssl.*", _REFUSED, _SECURITY),
    ("sasl.*", _REFUSED, _SECURITY),
    ("security.*", _REFUSED, _SECURITY),
    ("listener.security.protocol.map", _REFUSED, _SECURITY),
    ("delegation.*", _REFUSED, _SECURITY),
    ("authorizer.class.name", _REFUSED, "access control is not built yet."),
    ("principal.builder.class", _REFUSED, _PLUGINS),
    ("*.policy.class.name", _REFUSED, _PLUGINS),
    ("config.providers", _REFUSED, _PLUGINS),
    ("early.start.listeners", _NONE, _CONTROLLER),
    ("controller.*", _NONE, _CONTROLLER),
    ("metadata.*", _NONE, _CONTROLLER),
    ("metric*", _NONE, _METRICS),
    ("kafka.metrics.*", _NONE, _METRICS),
    ("telemetry.max.bytes", _NONE, "client metrics are kept, but not collected yet."),
    ("add.partitions.to.txn.*", _NONE, _TRANSACTIONS),
    ("transaction*", _NONE, _TRANSACTIONS),
    ("group.consumer.*", _NONE, _CONSUMER),
    ("group.share.*", _NONE, _SHARE),
    ("share.*", _NONE, _SHARE),
    ("group.streams.*", _NONE, _STREAMS),
    ("group.coordinator.*", _NONE, "coordinators run on the event loop."),
    ("offsets.commit.timeout.ms", _NONE, "commits are answered when they are durable."),
    ("offsets.load.buffer.size", _NONE, "coordinators load in steps of a fixed size."),
    ("offsets.topic.compression.codec", _NONE, "offsets are kept uncompressed."),
    ("offsets.topic.replication.factor", _NONE, _NO_REPLICAS),
    ("offsets.topic.segment.bytes", _NONE, _NO_FILES),
    ("*", ConfigState.UNSAID, ""),
)

_GROUPS: Final[tuple[tuple[str, ConfigState, str], ...]] = (
    ("consumer.*", _NONE, _CONSUMER),
    ("share.*", _NONE, _SHARE),
    ("streams.*", _NONE, _STREAMS),
)

_CLIENT_METRICS: Final[tuple[tuple[str, ConfigState, str], ...]] = (
    ("*", _NONE, "kept and shown; metrics of clients are not collected yet."),
)

_RULES: Final = {"topic": _TOPICS, "broker": _BROKERS, "group": _GROUPS, "client_metrics": _CLIENT_METRICS}


def _fits(name: str, pattern: str) -> bool:
    # Nearly all are a name or the beginning of one, and a start looks up all names.
    head, star, tail = pattern.partition("*")
    if not star:
        return name == pattern
    return name.startswith(head) and (not tail or fnmatchcase(name, pattern))


def state_of(resource: str, name: str) -> tuple[ConfigState, str]:
    """What a config does, and the sentence that says so; resource as kafka_configs.tsv writes it."""
    for pattern, state, about in _RULES[resource]:
        if _fits(name, pattern):
            if state is _NONE:
                return state, f"Accepted without effect: {about}"
            return state, f"Refused: {about}" if state is _REFUSED else about
    raise AssertionError(f"no rule fits the {resource} config {name}")
