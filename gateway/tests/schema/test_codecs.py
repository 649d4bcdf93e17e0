"""Three codecs say the same bytes: the compiled functions, the construct reference, and the independent package kio.

For every message and every version, on generated values with defaults, nulls and tagged fields among them.
"""

from __future__ import annotations

import dataclasses
import io
import typing
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from kio.index import load_entity_schema
from kio.schema.errors import ErrorCode
from kio.schema.index import schema_name_map
from kio.serial import entity_writer

from tailrace_core.schema import reference
from tailrace_core.schema.declare import Field, Message, RecordBuffers, Struct, boolean, raw_records
from tailrace_gateway.kafka import schema
from tailrace_gateway.kafka.schema.messages.headers import ResponseHeader

Fill = Callable[[type[Message], int, int], Message]

KIO = {
    (load_entity_schema(name, version, kind).__name__, version): load_entity_schema(name, version, kind)
    for name, versions in schema_name_map.items()
    for version, kinds in versions.items()
    for kind in kinds
}


def kio_bytes(message: Message, version: int) -> bytes:
    cls = KIO[type(message).__name__, version]
    out = io.BytesIO()
    entity_writer(cls)(out, kio_entity(cls, message, version))
    return out.getvalue()


def kio_entity(cls: Any, struct: Struct, version: int) -> Any:
    values = {}
    there = {field.name: field for field in dataclasses.fields(cls)}
    for field in type(struct).fields:
        if version in field.versions:
            name = next(n for n in (field.name, field.name.removesuffix("_ms"), field.name + "_") if n in there)
            values[name] = kio_value(there[name], getattr(struct, field.name), version)
    return cls(**values)


def kio_value(field: Any, value: Any, version: int) -> Any:
    if value is None:
        return None
    if isinstance(value, list):
        return tuple(kio_value(field, element, version) for element in value)
    if isinstance(value, Struct):
        return kio_entity(inner_class(field.type), value, version)
    match field.metadata.get("kafka_type"):
        case "uuid":
            return UUID(bytes=value) if any(value) else None
        case "error_code":
            return ErrorCode(value)
        case "timedelta_i32" | "timedelta_i64":
            return timedelta(milliseconds=value)
        case "datetime_i64":
            return None if value == -1 else datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=value)
    return value


def inner_class(annotation: Any) -> Any:
    if dataclasses.is_dataclass(annotation):
        return annotation
    return next(filter(None, (inner_class(argument) for argument in typing.get_args(annotation))), None)


def test_kio_has_every_message_and_version_that_is_declared(message: type[Message]) -> None:
    assert [version for name, version in sorted(KIO) if name == message.__name__] == list(message.versions)


def test_every_codec_writes_the_same_bytes(message: type[Message], fill: Fill, examples: range) -> None:
    for version in message.versions:
        for value in [message(), *(fill(message, version, seed) for seed in examples)]:
            expected = kio_bytes(value, version)
            assert message.encoder(version)(value) == expected
            assert b"".join(message.parts_encoder(version)(value)) == expected
            assert reference.encode(message, version, value) == expected


def test_what_was_written_is_read_back(message: type[Message], fill: Fill, examples: range) -> None:
    for version in message.versions:
        for seed in examples:
            value = fill(message, version, seed)
            encoded = message.encoder(version)(value)
            end = len(encoded)
            decode = message.decoder(version)
            assert decode(encoded, 0) == (value, end)
            assert decode(memoryview(b"before" + encoded + b"after"), 6) == (value, end + 6)
            assert reference.decode(message, version, encoded) == (value, end)


class TagSectionWithStrangers(reference.TagSection):
    """Adds fields that this broker has never heard of."""

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        known = io.BytesIO()
        super()._build(obj, known, context, path)
        reference.UVARINT._build(len(obj) + 3, stream, context, path)
        stream.write(known.getvalue()[1:])
        stream.write(b"\x64\x00" + b"\x65\x03abc" + b"\xff\xff\xff\xff\x0f\xc8\x01" + b"z" * 200)
        return obj


def test_unknown_tags_are_skipped_at_every_level(
    message: type[Message], fill: Fill, examples: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, "TagSection", TagSectionWithStrangers)
    for version in message.versions:
        if version in message.flexible:
            for seed in examples:
                value = fill(message, version, seed)
                encoded = reference._struct(message, version, True).build(value)
                assert len(encoded) > len(message.encoder(version)(value))
                assert message.decoder(version)(encoded, 0) == (value, len(encoded))


def test_a_tag_section_of_more_than_127_tags_is_skipped() -> None:
    tags = b"".join(tag.to_bytes(1) + b"\x00" for tag in range(128)) + b"\x80\x01\x00" * 2
    encoded = b"\x00\x00\x00\x07\x82\x01" + tags
    assert ResponseHeader.decoder(1)(encoded, 0) == (ResponseHeader(correlation_id=7), len(encoded))


def other_value(field: Field, default: Any) -> Any:
    """A value of the right type that is not the default."""
    if isinstance(default, Struct):
        first = type(default).fields[0]
        return type(default)(**{first.name: other_value(first, getattr(default, first.name))})
    if default is None:
        return b"x" if field.kind is raw_records or getattr(field.kind, "default", None) == b"" else "x"
    if isinstance(default, bytes):
        return b"\x01" * 16 if default else b"x"
    if isinstance(default, list):
        return [field.kind.element()] if isinstance(field.kind.element, type) else [1]  # type: ignore[union-attr]
    return "x" if isinstance(default, str) else not default if isinstance(default, bool) else default - 1


def test_a_field_that_the_version_lacks_is_dropped_if_ignorable_and_refused_if_not(message: type[Message]) -> None:
    for version in message.versions:
        plain = message.encoder(version)(message())
        for field in message.fields:
            if version in field.versions:
                continue
            value = message()
            setattr(value, field.name, other_value(field, getattr(value, field.name)))
            if field.ignorable:
                assert message.encoder(version)(value) == plain
                assert reference.encode(message, version, value) == plain
            else:
                with pytest.raises(schema.EncodeError, match=field.name):
                    message.encoder(version)(value)
                with pytest.raises(schema.EncodeError, match=field.name):
                    reference.encode(message, version, value)


def test_a_null_where_none_is_allowed_is_refused(message: type[Message]) -> None:
    for version in message.versions:
        for field in message.fields:
            # Anything has a truth value, so a null is false: the type checker is trusted with booleans.
            if version in field.versions and version not in field.nullable and field.kind is not boolean:
                value = message()
                setattr(value, field.name, None)
                with pytest.raises(schema.EncodeError):
                    message.encoder(version)(value)


@pytest.mark.parametrize(
    ("name", "version", "values"),
    [
        ("FetchRequest", 12, {"max_wait_ms": 1 << 31}),
        ("FetchRequest", 12, {"isolation_level": 128}),
        ("FetchRequest", 12, {"rack_id": b"a"}),
        ("FetchRequest", 12, {"rack_id": "\ud800"}),
        ("HeartbeatRequest", 3, {"group_id": "x" * 32768}),
        ("PushTelemetryRequest", 0, {"client_instance_id": b"short"}),
        ("PushTelemetryRequest", 0, {"metrics": "text"}),
        ("ListGroupsRequest", 5, {"types_filter": [None]}),
    ],
)
def test_a_value_out_of_range_is_refused(name: str, version: int, values: dict[str, Any]) -> None:
    cls = schema.message(name)
    with pytest.raises(schema.EncodeError, match=name):
        cls.encoder(version)(cls(**values))


def test_records_are_passed_on_without_a_copy() -> None:
    from tailrace_gateway.kafka.schema.messages.fetch import FetchableTopicResponse, FetchResponse, PartitionData

    one, two, three = b"1" * 200, memoryview(b"2" * 300), bytearray(b"3" * 100)
    for version in FetchResponse.versions:
        partitions = [
            PartitionData(partition_index=0, records=RecordBuffers([one, two], 500)),
            PartitionData(partition_index=1, records=None),
            PartitionData(partition_index=2, records=b""),
            PartitionData(partition_index=3, records=three),
        ]
        response = FetchResponse(responses=[FetchableTopicResponse(partitions=partitions)])
        parts = FetchResponse.parts_encoder(version)(response)
        assert parts[1] is one
        assert parts[2] is two
        assert parts[4] is three
        assert b"".join(parts) == FetchResponse.encoder(version)(response)
        assert b"".join(parts) == reference.encode(FetchResponse, version, response)


def test_records_are_decoded_as_views_into_the_frame() -> None:
    from tailrace_gateway.kafka.schema.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData

    topic = TopicProduceData(name="t", partition_data=[PartitionProduceData(records=b"r" * 100)])
    frame = bytes(ProduceRequest.encoder(9)(ProduceRequest(topic_data=[topic])))
    decoded, _ = ProduceRequest.decoder(9)(frame, 0)
    records = decoded.topic_data[0].partition_data[0].records
    assert isinstance(records, memoryview)
    assert records.obj is frame
    assert records == b"r" * 100


def test_new_structs_do_not_share_their_defaults() -> None:
    from tailrace_gateway.kafka.schema.messages.fetch import FetchRequest, FetchTopic

    first, second = FetchRequest(), FetchRequest()
    first.replica_state.replica_id = 5
    first.topics.append(FetchTopic())
    assert second == FetchRequest()
    decoded, _ = FetchRequest.decoder(15)(FetchRequest.encoder(15)(second), 0)
    decoded.replica_state.replica_id = 6
    assert FetchRequest().replica_state.replica_id == -1


def test_a_version_that_does_not_exist_is_refused() -> None:
    cls = schema.request(0)
    for make in (cls.decoder, cls.encoder, cls.parts_encoder):
        for version in (2, 14, -1):
            with pytest.raises(schema.UnsupportedVersion):
                make(version)
    with pytest.raises(schema.UnsupportedVersion):
        reference.codec(cls, 14)
