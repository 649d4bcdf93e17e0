"""The same declarations read as `construct` codecs: one small class per rule of the wire format, easy to check by eye.

This is what the compiled functions are compared with, byte by byte and value by value, and what to reach for when a
frame has to be taken apart by hand. The product's path never imports it: it is slow, and `construct` is not small.

The wire format: Kafka's protocol guide; tag sections and compact lengths are KIP-482, nullable structs KIP-893.
"""

from __future__ import annotations

from functools import cache
from io import BytesIO
from typing import Any, Final, TypeVar

import construct
from construct import Bytes, Construct, Flag, Float64b, Int8sb, Int16sb, Int16ub, Int32sb, Int64sb
from construct import Struct as Sequence

from tailrace_core.schema.declare import (
    AnyKind,
    Array,
    Blob,
    Buffer,
    Field,
    Fixed,
    Message,
    RecordBuffers,
    Struct,
    binary,
    boolean,
    float64,
    int8,
    int16,
    int32,
    int64,
    raw_records,
    string,
    uint16,
    uuid,
)
from tailrace_core.schema.errors import DecodeError, EncodeError, UnsupportedVersion
from tailrace_core.schema.wire import STRING_BYTES_MAX

M = TypeVar("M", bound=Message)

FIXED: Final = {
    boolean: Flag,
    int8: Int8sb,
    int16: Int16sb,
    uint16: Int16ub,
    int32: Int32sb,
    int64: Int64sb,
    float64: Float64b,
    uuid: Bytes(16),
}


class UnsignedVarInt(Construct):  # type: ignore[misc]
    """LEB128 in at most five bytes and 32 bits; construct's own VarInt has no end."""

    def _parse(self, stream: Any, context: Any, path: str) -> int:
        value = 0
        byte: int
        for shift in range(0, 35, 7):
            (byte,) = construct.stream_read(stream, 1, path)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
        else:
            raise construct.IntegerError("a varint of more than five bytes", path=path)
        if value >> 32:
            raise construct.IntegerError("a varint of more than 32 bits", path=path)
        return value

    def _build(self, obj: int, stream: Any, context: Any, path: str) -> int:
        construct.VarInt._build(obj, stream, context, path)
        return obj


class OneMore(construct.Adapter):  # type: ignore[misc]
    """A compact length: one more than it means, so that null (here -1) is 0."""

    def _decode(self, obj: int, context: Any, path: str) -> int:
        return obj - 1

    def _encode(self, obj: int, context: Any, path: str) -> int:
        return obj + 1


class Nullable(Construct):  # type: ignore[misc]
    """What follows a length or count, or null for a length of -1."""

    def __init__(self, length: Construct, *, nullable: bool) -> None:
        super().__init__()
        self.length = length
        self.nullable = nullable

    def _parse(self, stream: Any, context: Any, path: str) -> Any:
        length = self.length._parsereport(stream, context, path)
        if length == -1 and self.nullable:
            return None
        if length < 0:
            raise construct.RangeError(f"a length of {length}", path=path)
        return self._parse_content(length, stream, context, path)

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        if obj is not None:
            self._build_content(obj, stream, context, path)
        elif self.nullable:
            self.length._build(-1, stream, context, path)
        else:
            raise construct.RangeError("null where none is allowed", path=path)
        return obj


class Content(Nullable):
    """A string, bytes or records."""

    def __init__(self, kind: Blob, length: Construct, *, nullable: bool) -> None:
        super().__init__(length, nullable=nullable)
        self.kind = kind

    def _parse_content(self, length: int, stream: Any, context: Any, path: str) -> str | bytes:
        if self.kind is string and length > STRING_BYTES_MAX:
            raise construct.RangeError(f"a string of {length} bytes", path=path)
        content: bytes = construct.stream_read(stream, length, path)
        return content.decode() if self.kind is string else content

    def _build_content(self, obj: Any, stream: Any, context: Any, path: str) -> None:
        if isinstance(obj, RecordBuffers) and self.kind is raw_records:
            obj = b"".join(obj.parts)
        content = obj.encode() if self.kind is string else bytes(memoryview(obj))
        self.length._build(len(content), stream, context, path)
        construct.stream_write(stream, content, len(content), path)


class Elements(Nullable):
    """An array."""

    def __init__(self, element: Construct, length: Construct, *, nullable: bool) -> None:
        super().__init__(length, nullable=nullable)
        self.element = element

    def _parse_content(self, length: int, stream: Any, context: Any, path: str) -> list[Any]:
        return [self.element._parsereport(stream, context, f"{path}[{index}]") for index in range(length)]

    def _build_content(self, obj: list[Any], stream: Any, context: Any, path: str) -> None:
        self.length._build(len(obj), stream, context, path)
        for index, element in enumerate(obj):
            self.element._build(element, stream, context, f"{path}[{index}]")


class NullableStruct(Construct):  # type: ignore[misc]
    """A byte that says whether the struct is null (-1) or follows (1)."""

    def __init__(self, inside: Construct) -> None:
        super().__init__()
        self.inside = inside

    def _parse(self, stream: Any, context: Any, path: str) -> Any:
        marker = Int8sb._parsereport(stream, context, path)
        if marker not in (-1, 1):
            raise construct.RangeError("a struct neither null nor present", path=path)
        return self.inside._parsereport(stream, context, path) if marker == 1 else None

    def _build(self, obj: Any, stream: Any, context: Any, path: str) -> Any:
        Int8sb._build(-1 if obj is None else 1, stream, context, path)
        if obj is not None:
            self.inside._build(obj, stream, context, path)
        return obj


class TagSection(Construct):  # type: ignore[misc]
    """Fields by tag. Those at their default are left out, those unknown are passed over."""

    def __init__(self, tagged: dict[int, tuple[Field, Construct]]) -> None:
        super().__init__()
        self.tagged = tagged

    def _parse(self, stream: Any, context: Any, path: str) -> dict[str, Any]:
        found = {}
        for _ in range(UVARINT._parsereport(stream, context, path)):
            tag = UVARINT._parsereport(stream, context, path)
            size = UVARINT._parsereport(stream, context, path)
            content = construct.stream_read(stream, size, path)
            if tag in self.tagged:
                field, inside = self.tagged[tag]
                rest = BytesIO(content)
                found[field.name] = inside._parsereport(rest, context, f"{path} -> {field.name}")
                if rest.tell() != size:
                    raise construct.TerminatedError(f"tag {tag} is too long", path=path)
        return found

    def _build(self, obj: dict[str, Any], stream: Any, context: Any, path: str) -> dict[str, Any]:
        UVARINT._build(len(obj), stream, context, path)
        for tag, (field, inside) in sorted(self.tagged.items()):
            if field.name in obj:
                content = BytesIO()
                inside._build(obj[field.name], content, context, path)
                UVARINT._build(tag, stream, context, path)
                UVARINT._build(len(content.getvalue()), stream, context, path)
                construct.stream_write(stream, content.getvalue(), len(content.getvalue()), path)
        return obj


class Object(construct.Adapter):  # type: ignore[misc]
    """An object of the declared class, made from its fields in sequence and its tag section."""

    def __init__(self, cls: type[Struct], sequence: Construct, version: int) -> None:
        super().__init__(sequence)
        self.cls = cls
        self.version = version

    def _decode(self, obj: Any, context: Any, path: str) -> Struct:
        tags = obj.pop("tags", {})
        return self.cls(**{name: value for name, value in obj.items() if name != "_io"}, **tags)

    def _encode(self, obj: Struct, context: Any, path: str) -> dict[str, Any]:
        if not isinstance(obj, self.cls):
            raise construct.StreamError(f"{obj!r} is not a {self.cls.__name__}", path=path)
        default = self.cls()
        values: dict[str, Any] = {"tags": {}}
        for field in self.cls.fields:
            value = getattr(obj, field.name)
            is_set = value != getattr(default, field.name)
            if self.version in field.versions:
                if field.tag is None:
                    values[field.name] = value
                elif is_set:
                    values["tags"][field.name] = value
            elif is_set and not field.ignorable:
                raise construct.CheckError(f"{field.name} is set, but not in version {self.version}", path=path)
        return values


UVARINT: Final = UnsignedVarInt()
LENGTHS: Final = {"h": Int16sb, "i": Int32sb}


def _length(code: str, compact: bool) -> Construct:
    return OneMore(UVARINT) if compact else LENGTHS[code]


def _kind(kind: AnyKind, version: int, flexible: bool, compact: bool, nullable: bool) -> Construct:
    if isinstance(kind, Fixed):
        return FIXED[kind]
    if isinstance(kind, Blob):
        assert kind in (string, binary, raw_records)
        return Content(kind, _length(kind.length_code, compact), nullable=nullable)
    if isinstance(kind, Array):
        element = _kind(kind.element, version, flexible, compact, False)
        return Elements(element, _length("i", compact), nullable=nullable)
    assert isinstance(kind, type)
    inside = _struct(kind, version, flexible)
    return NullableStruct(inside) if nullable else inside


def _struct(cls: type[Struct], version: int, flexible: bool) -> Construct:
    sequence, tagged = [], {}
    for field in cls.fields:
        if version in field.versions:
            nullable = version in field.nullable and not (field.tag is not None and isinstance(field.kind, type))
            inside = _kind(field.kind, version, flexible, flexible and version in field.compact, nullable)
            if field.tag is None:
                sequence.append(field.name / inside)
            else:
                tagged[field.tag] = (field, inside)
    if flexible:
        sequence.append("tags" / TagSection(tagged))
    return Object(cls, Sequence(*sequence), version)


@cache
def codec(cls: type[Message], version: int) -> Construct:
    """The construct of one version; it parses to and builds from objects of cls. Raises UnsupportedVersion."""
    if version not in cls.versions:
        raise UnsupportedVersion(f"{cls.__name__} has no version {version}")
    return _struct(cls, version, version in cls.flexible)


def decode(cls: type[M], version: int, buffer: Buffer) -> tuple[M, int]:
    """The message at the start of a buffer, and how many bytes it took. Raises DecodeError."""
    stream = BytesIO(buffer)
    try:
        return codec(cls, version).parse_stream(stream), stream.tell()
    except (construct.ConstructError, UnicodeDecodeError) as error:
        raise DecodeError(f"{cls.__name__} v{version}: {error}") from error


def encode(cls: type[M], version: int, message: M) -> bytes:
    """The bytes of a message. Raises EncodeError."""
    try:
        built: bytes = codec(cls, version).build(message)
    except (construct.ConstructError, TypeError, AttributeError, UnicodeEncodeError) as error:
        raise EncodeError(f"{cls.__name__} v{version}: {error}") from error
    return built
