"""Records of __consumer_offsets beside those that Apache Kafka 4.3.1 wrote, and beside kio's own reading of a value."""

import struct

import pytest
from group_support import Groups, subscription

from tailrace_core.schema.errors import DecodeError
from tailrace_core.schema.reference import encode as encode_by_reference
from tailrace_engine.coordinator.decision import Record
from tailrace_engine.coordinator.records import (
    GroupMetadataKey,
    GroupMetadataValue,
    MemberMetadata,
    OffsetCommitKey,
    OffsetCommitValue,
    group_metadata_key,
    group_metadata_record,
    offset_commit_key,
    offset_commit_value,
    read_group_metadata_key,
    read_group_metadata_value,
    read_offset_commit_key,
    read_offset_commit_value,
    subscribed_topics,
)

TOPIC_ID = bytes.fromhex("0755dbc326f447d8bc65fc5ec289815b")
MEMBER_ID = "reader-98a71bfd-9db5-48f2-9191-d3c9276226e9"
ASSIGNMENT = bytes.fromhex("00000000000100066f726465727300000002000000000000000100000000")

OFFSET_KEY = bytes.fromhex("0001000762696c6c696e6700066f726465727300000000")
OFFSET_VALUE = bytes.fromhex("000400000000000000020000000001000001a20d43abb50100100755dbc326f447d8bc65fc5ec289815b")
OFFSET_VALUE_WITH_TEXT = bytes.fromhex(
    "00040000000000000001ffffffff086e61c3af766500000001a20d43abae0100100755dbc326f447d8bc65fc5ec289815b"
)
GROUP_KEY = bytes.fromhex("0002000762696c6c696e67")
STABLE_GROUP = bytes.fromhex(
    "00030008636f6e73756d657200000001000572616e6765002b7265616465722d39386137316266642d396462352d343866322d393139312d64"
    "3363393237363232366539000001a20d43ab1d00000001002b7265616465722d39386137316266642d396462352d343866322d393139312d64"
    "3363393237363232366539ffff0006726561646572000a2f3132372e302e302e31000493e00000afc80000001c00030000000100066f726465"
    "72730000000000000000ffffffff00000000001e00000000000100066f726465727300000002000000000000000100000000"
)
EMPTY_GROUP = bytes.fromhex("00030008636f6e73756d657200000002ffffffff000001a20d43aca400000000")
NEW_GROUP = bytes.fromhex("0003000000000000ffffffff000001a20d43ab0c00000000")


def kafkas_offset(offset: int, leader_epoch: int, metadata: str, commit_timestamp: int) -> OffsetCommitValue:
    return OffsetCommitValue(
        offset=offset,
        leader_epoch=leader_epoch,
        metadata=metadata,
        commit_timestamp=commit_timestamp,
        topic_id=TOPIC_ID,
    )


def kafkas_group() -> GroupMetadataValue:
    member = MemberMetadata(
        member_id=MEMBER_ID,
        client_id="reader",
        client_host="/127.0.0.1",
        rebalance_timeout=300_000,
        session_timeout=45_000,
        subscription=bytes.fromhex("00030000000100066f72646572730000000000000000ffffffff0000"),
        assignment=ASSIGNMENT,
    )
    return GroupMetadataValue(
        protocol_type="consumer",
        generation=1,
        protocol="range",
        leader=MEMBER_ID,
        current_state_timestamp=1_795_518_868_253,
        members=[member],
    )


def test_an_offset_is_written_as_kafka_writes_it() -> None:
    assert offset_commit_key("billing", "orders", 0) == OFFSET_KEY
    assert offset_commit_value(kafkas_offset(2, 0, "", 1_795_518_868_405)) == OFFSET_VALUE
    assert offset_commit_value(kafkas_offset(1, -1, "na\xefve\0", 1_795_518_868_398)) == OFFSET_VALUE_WITH_TEXT


def test_a_group_is_written_as_kafka_writes_it() -> None:
    assert group_metadata_record("billing", kafkas_group()) == Record(GROUP_KEY, STABLE_GROUP)
    empty = GroupMetadataValue(
        protocol_type="consumer", generation=2, protocol=None, leader=None, current_state_timestamp=1_795_518_868_644
    )
    assert group_metadata_record("billing", empty).value == EMPTY_GROUP


def test_kafkas_records_are_read() -> None:
    assert read_offset_commit_key(OFFSET_KEY) == OffsetCommitKey(group="billing", topic="orders", partition=0)
    assert read_group_metadata_key(GROUP_KEY) == GroupMetadataKey(group="billing")
    assert read_offset_commit_value(OFFSET_VALUE) == kafkas_offset(2, 0, "", 1_795_518_868_405)
    assert read_group_metadata_value(STABLE_GROUP) == kafkas_group()
    new = read_group_metadata_value(NEW_GROUP)
    assert new is not None
    assert (new.protocol_type, new.generation, new.protocol, new.leader, new.members) == ("", 0, None, None, [])


@pytest.mark.parametrize("metadata", ["", "text"])
@pytest.mark.parametrize("topic_id", [TOPIC_ID, bytes(16)])
@pytest.mark.parametrize("number", [0, -1, (1 << 31) - 1])
def test_an_offset_is_written_as_it_is_declared(metadata: str, topic_id: bytes, number: int) -> None:
    value = OffsetCommitValue(
        offset=number, leader_epoch=number, metadata=metadata, commit_timestamp=number, topic_id=topic_id
    )
    assert offset_commit_value(value) == b"\x00\x04" + encode_by_reference(OffsetCommitValue, 4, value)


@pytest.mark.parametrize("version", OffsetCommitValue.versions)
def test_every_version_of_an_offset_is_read(version: int) -> None:
    value = kafkas_offset(7, 3, "text", 1_700_000_000_000)
    value.expire_timestamp = 1_700_000_060_000
    written = read_offset_commit_value(struct.pack(">h", version) + OffsetCommitValue.encoder(version)(value))
    assert written is not None
    assert (written.offset, written.metadata, written.commit_timestamp) == (7, "text", 1_700_000_000_000)
    assert written.leader_epoch == (3 if version >= 3 else -1)
    assert written.expire_timestamp == (1_700_000_060_000 if version == 1 else -1)
    assert written.topic_id == (TOPIC_ID if version >= 4 else bytes(16))


@pytest.mark.parametrize("version", GroupMetadataValue.versions)
def test_every_version_of_a_group_is_read(version: int) -> None:
    value = kafkas_group()
    value.members[0].group_instance_id = "one"
    written = read_group_metadata_value(struct.pack(">h", version) + GroupMetadataValue.encoder(version)(value))
    assert written is not None
    member = written.members[0]
    assert (written.generation, written.leader, member.assignment) == (1, MEMBER_ID, ASSIGNMENT)
    assert member.rebalance_timeout == (300_000 if version >= 1 else -1)
    assert written.current_state_timestamp == (1_795_518_868_253 if version >= 2 else -1)
    assert member.group_instance_id == ("one" if version >= 3 else None)


@pytest.mark.parametrize("version", GroupMetadataValue.versions)
def test_the_declarations_mean_what_the_reference_says(version: int) -> None:
    assert GroupMetadataValue.encoder(version)(kafkas_group()) == encode_by_reference(
        GroupMetadataValue, version, kafkas_group()
    )
    offset = kafkas_offset(7, 3, "text", 1_700_000_000_000)
    assert OffsetCommitValue.encoder(version)(offset) == encode_by_reference(OffsetCommitValue, version, offset)


def test_an_offset_with_its_own_expiry_is_written_in_the_version_that_has_it() -> None:
    value = kafkas_offset(7, 3, "", 1_700_000_000_000)
    value.expire_timestamp = 1_700_000_060_000
    assert offset_commit_value(value)[:2] == b"\x00\x01"


def test_a_legacy_key_is_an_offset() -> None:
    assert read_offset_commit_key(b"\x00\x00" + OFFSET_KEY[2:]) == read_offset_commit_key(OFFSET_KEY)


@pytest.mark.parametrize("key", [b"\x00\x03\x00\x01g", b"\x00\x15\x00\x01g", b"\x7f\xff"])
def test_records_of_other_group_protocols_are_passed_over(key: bytes) -> None:
    groups = Groups()
    groups.shard.replay(Record(key, b"\x00\x00anything"))
    groups.shard.replay(Record(key, None))
    assert groups.shard.counts == Groups().shard.counts


@pytest.mark.parametrize("key", [OFFSET_KEY, GROUP_KEY])
def test_values_of_later_versions_are_passed_over(key: bytes) -> None:
    groups = Groups()
    groups.shard.replay(Record(key, b"\x00\x05anything"))
    assert groups.shard.counts == Groups().shard.counts


@pytest.mark.parametrize("record", [Record(OFFSET_KEY[:9], None), Record(GROUP_KEY, b"\x00\x03")])
def test_a_torn_record_is_an_error(record: Record) -> None:
    with pytest.raises(DecodeError):
        Groups().shard.replay(record)


def test_a_stable_group_of_kafkas_goes_on() -> None:
    groups = Groups()
    groups.log = [Record(GROUP_KEY, STABLE_GROUP), Record(OFFSET_KEY, OFFSET_VALUE)]
    groups.restart()
    assert groups.heartbeat(MEMBER_ID, 1) is None
    described = groups.describe()
    assert (described.state, described.protocol_name) == ("Stable", "range")
    assert described.members[0].assignment == ASSIGNMENT
    assert groups.fetch(topic_id=TOPIC_ID).offset == 2
    assert groups.log[2:] == []
    groups.restart()
    assert groups.commit(3, generation_id=1, member_id=MEMBER_ID, topic_id=TOPIC_ID) is None
    assert groups.log[2].key == OFFSET_KEY


def test_topics_are_read_from_subscriptions_of_any_version() -> None:
    assert subscribed_topics(subscription("a", "b")) == ["a", "b"]
    assert subscribed_topics(kafkas_group().members[0].subscription) == ["orders"]
    with pytest.raises(DecodeError):
        subscribed_topics(b"\x00\x00\x00\x00\x00\x09")


def test_group_keys_are_utf_8() -> None:
    key = read_group_metadata_key(group_metadata_key("gr\xfc\xdfe"))
    assert key is not None
    assert key.group == "gr\xfc\xdfe"
