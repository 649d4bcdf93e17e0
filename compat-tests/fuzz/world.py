"""What the frames speak of: topics, groups, members, sessions and producers that exist, and some that do not.

Frames are made with stand-ins for what only the broker can give (topic ids, member ids, generations, session ids). They
are replaced as a frame is sent, so a seed makes the same frames in every run, and a frame out of a report can be sent
to another broker.
"""

from __future__ import annotations

import contextlib
import random
import re
import struct
from typing import Any

from harness import wire
from harness.batches import CODECS, Record, make_batch
from harness.groups import Group, subscription

from fuzz.tokens import stand_in_uuid

MIB = 1 << 20
LONG_AGO = 1_700_000_000_000
"""Records' timestamp: fixed, so that frames are; the topics keep data of any age."""
TOPICS: dict[str, dict[str, str]] = {
    "fuzz-plain": {},
    "fuzz-gzip": {"compression.type": "gzip"},
    "fuzz-zstd": {"compression.type": "zstd"},
    "fuzz-uncompressed": {"compression.type": "uncompressed"},
    "fuzz-append-time": {"message.timestamp.type": "LogAppendTime"},
    "fuzz-small": {"max.message.bytes": "2000"},
    "fuzz-compacted": {"cleanup.policy": "compact"},
}
PARTITIONS = 4
KEPT = {"retention.ms": "-1", "retention.bytes": str(4 * MIB)}
DOOMED = tuple(f"fuzz-doomed-{number}" for number in range(3))
GROUPS = tuple(f"fuzz-group-{number}" for number in range(4))
PRODUCERS = 3

MEMBER_ID_SIZE = len("fuzz-") + 36
"""A member id is the client id and a UUID."""
_STAND_IN = re.compile(
    rb"\x5e\xed\x5e\xed\0{11}[\0-\x0f]|fuzz-stand-in-for-member-[0-9]{%d}|\x7eGN[\0-\x0f]|\x7eSI[\0-\x0f]"
    % (MEMBER_ID_SIZE - len("fuzz-stand-in-for-member-"))
)


def member_stand_in(number: int) -> str:
    """In the place of the id of the member of the number-th group."""
    return "fuzz-stand-in-for-member-" + str(number).rjust(MEMBER_ID_SIZE - len("fuzz-stand-in-for-member-"), "0")


def generation_stand_in(number: int) -> int:
    """In the place of the generation of the number-th group."""
    return 0x7E474E00 | number


def session_stand_in(number: int) -> int:
    """In the place of the id of the number-th fetch session."""
    return 0x7E534900 | number


class World:
    """The objects at the broker, as they are now; `refresh` makes those again that frames have destroyed."""

    def __init__(self, host: str, port: int, keep_prefix: str) -> None:
        self._host = host
        self._port = port
        self._keep_prefix = keep_prefix
        self._replacements: dict[bytes, bytes] = {}
        self._connection = self._connect()
        self.producer_ids = [self._connection.new_producer_id() for _ in range(PRODUCERS)]
        self.refresh()

    def _connect(self, timeout: float = 30) -> wire.Connection:
        return wire.Connection(self._host, self._port, timeout=timeout, client_id="fuzz")

    def close(self) -> None:
        self._connection.close()

    def live(self, frame: bytes) -> bytes:
        """The frame with the broker's values in the places of the stand-ins."""
        return _STAND_IN.sub(lambda found: self._replacements.get(found[0], found[0]), frame)

    def refresh(self) -> None:
        """Topics that are missing are created, those that frames created deleted; groups get one member each."""
        self._refresh_topics()
        self._refresh_groups()
        self._refresh_sessions()

    def _refresh_topics(self) -> None:
        connection = self._connection
        there = {topic.name: topic.topic_id for topic in connection.metadata(None).topics if not topic.is_internal}
        strangers = [name for name in there if name not in TOPICS and not name.startswith(self._keep_prefix)]
        if strangers:
            connection.call("delete_topics", 4, topic_names=strangers, timeout=30_000)
        for name, configs in TOPICS.items():
            if name not in there:
                connection.create_topic(name, PARTITIONS, configs=KEPT | configs)
        named = connection.metadata(list(TOPICS)).topics
        ids = {topic.name: topic.topic_id for topic in named if topic.topic_id}
        for number, name in enumerate(TOPICS):
            if name in ids:
                self._replacements[stand_in_uuid(number)] = ids[name].bytes

    def _refresh_groups(self) -> None:
        for number, group_id in enumerate(GROUPS):
            # Where frames have left members that never come again, a join may wait for them; then it goes without.
            with self._connect(timeout=1) as connection, contextlib.suppress(TimeoutError, AssertionError):
                self._refresh_group(number, Group(connection, group_id))

    def _refresh_group(self, number: int, group: Group) -> None:
        group.find()
        if members := [member.member_id for member in group.describe().members]:
            leaving = [{"member_id": member, "group_instance_id": None} for member in members]
            group.call("leave_group", 4, {"group_id": group.group_id, "members": leaving})
        group.become_stable(protocols=(("range", subscription("fuzz-plain")),), session_timeout_ms=60_000)
        if len(group.member_id) == MEMBER_ID_SIZE:
            self._replacements[member_stand_in(number).encode()] = group.member_id.encode()
            self._replacements[struct.pack(">i", generation_stand_in(number))] = struct.pack(">i", group.generation)

    def _refresh_sessions(self) -> None:
        for number in range(3):
            fields = wire.fetch_fields("fuzz-plain", {0: 0}, max_wait_ms=0, max_bytes=1000) | {"session_epoch": 0}
            answer = self._connection.receive("fetch", 11, self._connection.send("fetch", 11, fields, lenient=True))
            self._replacements[struct.pack(">i", session_stand_in(number))] = struct.pack(">i", answer.session_id)


CONFIGS = (
    *("retention.ms", "retention.bytes", "compression.type", "cleanup.policy", "max.message.bytes", "segment.ms"),
    *("message.timestamp.type", "segment.bytes", "min.insync.replicas", "no.such.config", "log.retention.ms"),
    *("message.max.bytes", "log.segment.bytes", "log.cleaner.threads", "num.io.threads"),
)
CONFIG_VALUES = (
    *("-1", "1000000", "604800000", "gzip", "zstd", "producer", "delete", "compact", "compact,delete", ""),
    *("CreateTime", "LogAppendTime", "1", "2147483647", "9223372036854775808", "true"),
)


class Values:
    """Chooses the values of valid requests; half of them name what exists."""

    def __init__(self, chance: random.Random, producer_ids: list[int], broker_id: int) -> None:
        self._chance = chance
        self._broker_id = broker_id
        self._batches = list(_batches(producer_ids))
        self._producer_ids = producer_ids
        self.acks: int | None = None
        """What the last Produce request said."""

    def choose(self, struct_name: str, field: str, kind: str, nullable: bool) -> Any:
        """As `tokens.Choose`."""
        chance = self._chance
        if kind == "array":
            return self._count(struct_name, field, nullable)
        if kind == "tag":
            return chance.random() < 0.2
        if field in _FIXED:
            value = chance.choice(_FIXED[field])
            if field == "acks":
                self.acks = int(value)
            return value
        if kind == "records":
            return chance.choice(self._batches)
        if kind == "uuid":
            return self._topic_id(struct_name)
        if kind == "string":
            return self._text(struct_name, field, nullable)
        if kind == "bool":
            return chance.random() < 0.3
        if kind == "bytes":
            return chance.choice((subscription("fuzz-plain"), subscription(), b"all of it", b""))
        return self._number(field)

    def _count(self, struct_name: str, field: str, nullable: bool) -> int | None:
        if nullable and self._chance.random() < 0.15:
            return None
        if field == "configuration_keys" or struct_name.startswith("Create"):
            return self._chance.choice((0, 0, 1, 2))
        return self._chance.choice((0, 1, 1, 1, 1, 2, 3))

    def _topic_id(self, struct_name: str) -> bytes:
        chance = self._chance
        if chance.random() < (0.05 if struct_name.startswith("Delete") else 0.6):
            return stand_in_uuid(chance.randrange(len(TOPICS)))
        return bytes(16) if chance.random() < 0.7 else chance.randbytes(16)

    def _text(self, struct_name: str, field: str, nullable: bool) -> str | None:
        chance = self._chance
        if field.startswith("group") or field in ("coordinator_keys", "key"):
            if field == "group_instance_id":
                return None if chance.random() < 0.7 else chance.choice(("instance-1", "instance-2"))
            return chance.choice(GROUPS) if chance.random() < 0.6 else f"fuzz-group-{chance.randrange(10, 60)}"
        if field == "member_id":
            if nullable and chance.random() < 0.5:
                return None
            return (
                member_stand_in(chance.randrange(len(GROUPS)))
                if chance.random() < 0.6
                else chance.choice(("", "nobody"))
            )
        if struct_name == "JoinGroupRequestProtocol":
            return chance.choice(("range", "roundrobin", "cooperative-sticky"))
        if ("Config" in struct_name and field == "name") or field == "configuration_keys":
            return chance.choice(CONFIGS)
        if field == "value":
            return None if chance.random() < 0.1 else chance.choice(CONFIG_VALUES)
        if field == "resource_name" and chance.random() < 0.3:
            return chance.choice(("", str(self._broker_id), "client"))
        if nullable and chance.random() < 0.2:
            return None
        if struct_name.startswith("Delete") and "Topic" in struct_name and "Record" not in struct_name:
            return chance.choice(DOOMED) if chance.random() < 0.95 else chance.choice(tuple(TOPICS))
        if chance.random() < 0.75:
            return chance.choice(tuple(TOPICS))
        return chance.choice((*DOOMED, *DOOMED, "fuzz-not-there", "__consumer_offsets"))

    def _number(self, field: str) -> int:
        chance = self._chance
        if "producer_id" in field:
            return chance.choice((-1, *self._producer_ids))
        if field.startswith("generation"):
            return (
                generation_stand_in(chance.randrange(len(GROUPS))) if chance.random() < 0.6 else chance.choice((-1, 1))
            )
        if field == "session_id":
            return session_stand_in(chance.randrange(3)) if chance.random() < 0.4 else 0
        if field == "broker_ids":
            return self._broker_id
        if "timeout" in field or "wait" in field:
            return chance.choice((0, 10, 50))
        return chance.choice((0, 0, 1, 1, 2, 3, 5, -1))


_FIXED: dict[str, tuple[Any, ...]] = {
    "acks": (-1, -1, -1, 1, 0),
    "client_software_name": ("fuzz", "fuzz.er"),
    "client_software_version": ("1.0", "2"),
    "cluster_id": ("other",),
    "committed_metadata": (None, "", "where it was"),
    "config_operation": (0, 0, 1, 2, 3),
    "count": (5, 6, 20),
    "current_leader_epoch": (-1, -1, -1, 0, 1),
    "endpoint_type": (1, 1, 2),
    "fetch_offset": (0, 0, 1, 5, 100, 1 << 40),
    "high_watermark": (0, 7),
    "include_documentation": (False, False, False, True),
    "isolation_level": (0, 0, 1),
    "key_type": (0, 0, 0, 1, 2),
    "last_fetched_epoch": (-1, -1, 0),
    "max_bytes": (0, 1, 1000, 100_000),
    "max_wait": (0, 0, 10, 50),
    "member_epoch": (-1,),
    "min_bytes": (0, 0, 1, 1000),
    "num_partitions": (-1, 1, 2, 4, 50),
    "offset": (0, 1, -1, 10),
    "partition_max_bytes": (1, 1000, 100_000),
    "producer_epoch": (-1, 0),
    "protocol_name": ("range", None),
    "protocol_type": ("consumer", "consumer", "connect"),
    "rack_id": ("", "rack"),
    "reason": (None, "to be fuzzed"),
    "rebalance_timeout": (300, 1000),
    "replica_epoch": (-1, 0),
    "replica_id": (-1, -1, -1, -1, -2, 1),
    "replication_factor": (-1, 1, 1, 3),
    "resource_type": (2, 2, 2, 4, 8, 16, 32),
    "resource_types": (2, 4, 8, 16, 32),
    "response_partition_limit": (2000, 1, 5),
    "retention_time": (-1, 1000),
    "session_epoch": (-1, -1, -1, 0, 1, 2),
    "session_timeout": (6000, 10_000),
    "states_filter": ("Stable", "Empty", "dead"),
    "timestamp": (-1, -2, -3, -4, -5, 0, LONG_AGO, LONG_AGO + 1),
    "transaction_timeout": (1000, 60_000),
    "transactional_id": (None, None, None, None, "fuzz-transaction"),
    "types_filter": ("classic", "consumer"),
}


def _batches(producer_ids: list[int]) -> Any:
    records = [
        Record(b"v" * 30, b"k", timestamp=LONG_AGO),
        Record(None, b"k2", (("h", b"1"), ("h", None)), LONG_AGO + 1),
    ]
    for codec in CODECS:
        yield make_batch(records, codec=codec)
        yield make_batch([Record(b"%d" % number, timestamp=LONG_AGO) for number in range(100)], codec=codec)
    for producer_id in producer_ids:
        for sequence in (0, 2, 4, 0x7FFFFFFF):
            yield make_batch(records, producer_id=producer_id, producer_epoch=0, base_sequence=sequence)
    yield make_batch([Record(b"x" * 3000, timestamp=LONG_AGO)])


def bombs() -> list[bytes]:
    """Batches that are a thousand times larger when they are unpacked."""
    huge = [Record(bytes(100 * MIB), timestamp=LONG_AGO)]
    return [make_batch(huge, codec=codec) for codec in ("gzip", "zstd", "lz4")]
