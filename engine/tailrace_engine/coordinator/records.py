"""The records of __consumer_offsets, as Apache Kafka 4.3 writes and reads them.

An int16 stands before each key and value. Before a key it names the kind of record: 0 and 1 an offset, 2 a classic
group, higher ones what later group protocols keep. Before a value it is the version of the value's format.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct as Layout
from typing import Final

from tailrace_core.ids import NO_TOPIC_ID, TopicId
from tailrace_core.schema.declare import Message, Struct, array, binary, f, int32, int64, string, uuid
from tailrace_engine.coordinator.decision import Record

_OFFSET_KINDS: Final = (b"\x00\x01", b"\x00\x00")
"""The kind that is written, and its legacy."""
_GROUP_KIND: Final = b"\x00\x02"
_BARE_VALUE: Final = Layout(">hqiBqBBB16s")
"""Version 4 of an offset's value without metadata, as nearly all are: an empty string, one tag of 16 bytes."""
_CACHED_LENGTH_MAX: Final = 64
"""Keys with longer group ids are encoded anew each time, so that what is remembered stays within a few megabytes."""


class OffsetCommitKey(Message, versions="0", flexible="none"):
    """Also the key of the legacy kind, which differs in nothing else."""

    group: str = f(string, "0+")
    topic: str = f(string, "0+")
    partition: int = f(int32, "0+")


class OffsetCommitValue(Message, versions="0-4", flexible="4+"):
    offset: int = f(int64, "0+")
    leader_epoch: int = f(int32, "3+", default=-1, ignorable=True)
    metadata: str = f(string, "0+")
    commit_timestamp: int = f(int64, "0+")
    expire_timestamp: int = f(int64, "1", default=-1, ignorable=True)
    topic_id: TopicId = f(uuid, "4+", tag=0, ignorable=True)


class GroupMetadataKey(Message, versions="0", flexible="none"):
    group: str = f(string, "0+")


class MemberMetadata(Struct):
    member_id: str = f(string, "0+")
    group_instance_id: str | None = f(string, "3+", nullable="3+", default=None, ignorable=True)
    client_id: str = f(string, "0+")
    client_host: str = f(string, "0+")
    rebalance_timeout: int = f(int32, "1+", default=-1, ignorable=True)
    session_timeout: int = f(int32, "0+")
    subscription: bytes = f(binary, "0+")
    assignment: bytes = f(binary, "0+")


class GroupMetadataValue(Message, versions="0-4", flexible="4+"):
    protocol_type: str = f(string, "0+")
    generation: int = f(int32, "0+")
    protocol: str | None = f(string, "0+", nullable="0+")
    leader: str | None = f(string, "0+", nullable="0+")
    current_state_timestamp: int = f(int64, "2+", default=-1, ignorable=True)
    members: list[MemberMetadata] = f(array(MemberMetadata), "0+")


class ConsumerProtocolSubscription(Message, versions="0", flexible="none"):
    """What members of type "consumer" say of themselves: the part that all versions begin with."""

    topics: list[str] = f(array(string), "0+")
    user_data: bytes | None = f(binary, "0+", nullable="0+")


_encode_offset_key = OffsetCommitKey.encoder(0)
_encode_offset_value = OffsetCommitValue.encoder(4)
_encode_legacy_offset_value = OffsetCommitValue.encoder(1)
_encode_group_key = GroupMetadataKey.encoder(0)
_encode_group_value = GroupMetadataValue.encoder(3)
_decode_offset_key = OffsetCommitKey.decoder(0)
_decode_group_key = GroupMetadataKey.decoder(0)
_offset_value_decoders = {
    version.to_bytes(2, "big"): OffsetCommitValue.decoder(version) for version in OffsetCommitValue.versions
}
_group_value_decoders = {
    version.to_bytes(2, "big"): GroupMetadataValue.decoder(version) for version in GroupMetadataValue.versions
}
_decode_subscription = ConsumerProtocolSubscription.decoder(0)


def offset_commit_key(group_id: str, topic_name: str, partition: int) -> bytes:
    """The key under which the offset of a group in a partition is kept."""
    return _offset_key(group_id, topic_name, partition)[0]


def _offset_key(group_id: str, topic_name: str, partition: int) -> tuple[bytes, OffsetCommitKey]:
    key = OffsetCommitKey(group=group_id, topic=topic_name, partition=partition)
    return _OFFSET_KINDS[0] + _encode_offset_key(key), key


_cached_offset_key = lru_cache(maxsize=8_192)(_offset_key)


def offset_commit_value(value: OffsetCommitValue) -> bytes:
    """Version 4, which has the topic id; version 1 for an offset with a time of expiry of its own, as only that has
    a place for it."""
    if value.expire_timestamp != -1:
        return b"\x00\x01" + _encode_legacy_offset_value(value)
    if value.metadata == "" and value.topic_id != NO_TOPIC_ID:
        return _BARE_VALUE.pack(
            4, value.offset, value.leader_epoch, 1, value.commit_timestamp, 1, 0, 16, value.topic_id
        )
    return b"\x00\x04" + _encode_offset_value(value)


def offset_commit_record(group_id: str, topic_name: str, partition: int, value: OffsetCommitValue) -> Record:
    """The record that keeps an offset, with (key, value) as its decoded form. value is not changed any more."""
    find = _cached_offset_key if len(group_id) <= _CACHED_LENGTH_MAX else _offset_key
    encoded_key, key = find(group_id, topic_name, partition)
    # Version 1 keeps neither leader epoch nor topic id: what is read back is not value.
    decoded = (key, value) if value.expire_timestamp == -1 else None
    return Record(encoded_key, offset_commit_value(value), decoded)


def group_metadata_key(group_id: str) -> bytes:
    """The key under which a classic group is kept."""
    return _GROUP_KIND + _encode_group_key(GroupMetadataKey(group=group_id))


def group_metadata_record(group_id: str, value: GroupMetadataValue) -> Record:
    """A classic group as it is to be kept, in version 3."""
    return Record(group_metadata_key(group_id), b"\x00\x03" + _encode_group_value(value))


def read_offset_commit_key(key: bytes) -> OffsetCommitKey | None:
    """None when the key is of another kind. Raises DecodeError."""
    return _decode_offset_key(key, 2)[0] if key[:2] in _OFFSET_KINDS else None


def read_group_metadata_key(key: bytes) -> GroupMetadataKey | None:
    """None when the key is of another kind. Raises DecodeError."""
    return _decode_group_key(key, 2)[0] if key[:2] == _GROUP_KIND else None


def read_offset_commit_value(value: bytes) -> OffsetCommitValue | None:
    """None when it is of a later version. Raises DecodeError."""
    decode = _offset_value_decoders.get(value[:2])
    return None if decode is None else decode(value, 2)[0]


def read_group_metadata_value(value: bytes) -> GroupMetadataValue | None:
    """None when it is of a later version. Raises DecodeError."""
    decode = _group_value_decoders.get(value[:2])
    return None if decode is None else decode(value, 2)[0]


def subscribed_topics(metadata: bytes) -> list[str]:
    """The topics in the metadata of a member of a group of type "consumer". Raises DecodeError."""
    return _decode_subscription(metadata, 2)[0].topics
