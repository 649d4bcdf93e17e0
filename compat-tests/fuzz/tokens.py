"""Requests as lists of tokens, made from kio's schemas: each length, count, number, text and tag section is one.

A mutation changes one token, say a count, and leaves the bytes around it as they are; that is what reaches the places
that a flipped bit does not. The encoder here is not kio's, so that tokens are known; `check` holds both to each other.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import io
import typing
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

from harness import wire
from kio.index import load_request_schema
from kio.serial import entity_reader, entity_writer


class Kind(enum.Enum):
    """What a token's bytes say."""

    HEADER = enum.auto()
    INTEGER = enum.auto()
    UUID = enum.auto()
    FIXED_SIZE = enum.auto()
    """A length or count as a big-endian integer."""
    VARINT_SIZE = enum.auto()
    """A length or count plus one, as a varint; 0 is null."""
    TEXT = enum.auto()
    BLOB = enum.auto()
    RECORDS = enum.auto()
    TAGS = enum.auto()
    """The number of tagged fields that follow."""
    TAGGED = enum.auto()
    """A whole tagged field: number, size, content."""
    PRESENCE = enum.auto()
    """Whether a nullable struct follows."""


class Token(NamedTuple):
    """One piece of a request."""

    kind: Kind
    data: bytes


WIDTHS = {"int8": 1, "int16": 2, "int32": 4, "int64": 8, "timedelta_i32": 4, "timedelta_i64": 8, "bool": 1}

Choose = Callable[[str, str, str, bool], Any]
"""choose(struct, field, kind, nullable): a value; for an array the kind is "array" and the value its size. None is
null."""


class Field(NamedTuple):
    """A field of a kio schema, read once."""

    name: str
    kind: str
    """kio's kafka_type, or "struct"."""
    struct: Any
    is_array: bool
    nullable: bool
    tag: int | None


@functools.cache
def fields_of(schema: Any) -> tuple[Field, ...]:
    """The fields of a schema's class, in the order of the wire."""
    hints = typing.get_type_hints(schema)
    found = []
    for field in dataclasses.fields(schema):
        hint = hints[field.name]
        options = [each for each in typing.get_args(hint) if each is not type(None)]
        nullable = len(options) != len(typing.get_args(hint)) and typing.get_origin(hint) is not tuple
        inner = options[0] if nullable else hint
        is_array = typing.get_origin(inner) is tuple
        if is_array:
            inner = typing.get_args(inner)[0]
        kind = field.metadata.get("kafka_type") or "struct"
        struct = inner if kind == "struct" else None
        found.append(Field(field.name, kind, struct, is_array, nullable, field.metadata.get("tag")))
    return tuple(found)


def varint(value: int) -> bytes:
    """An unsigned varint; negative numbers as their 32 bits."""
    value &= 0xFFFFFFFF
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def header(key: int, version: int, client_id: str | None, *, flexible: bool) -> list[Token]:
    """A request header with correlation id 0."""
    name = (client_id or "").encode()
    size = -1 if client_id is None else len(name)
    tokens = [
        Token(Kind.HEADER, key.to_bytes(2, "big") + version.to_bytes(2, "big") + bytes(4)),
        Token(Kind.FIXED_SIZE, size.to_bytes(2, "big", signed=True)),
        Token(Kind.TEXT, name),
    ]
    return [*tokens, Token(Kind.TAGS, b"\0")] if flexible else tokens


def request(key: int, version: int, choose: Choose, client_id: str | None = "fuzz") -> list[Token]:
    """A request whose values `choose` gives, header first."""
    schema = load_request_schema(key, version)
    tokens = header(key, version, client_id, flexible=schema.__flexible__)
    _struct(schema, choose, tokens)
    return tokens


def _struct(schema: Any, choose: Choose, out: list[Token]) -> None:
    flexible = schema.__flexible__
    tagged: list[Token] = []
    for field in fields_of(schema):
        if field.tag is None:
            _field(schema, field, choose, flexible, out)
        elif choose(schema.__name__, field.name, "tag", True):
            inner: list[Token] = []
            _field(schema, field._replace(nullable=False), choose, flexible, inner)
            data = joined(inner)
            tagged.append(Token(Kind.TAGGED, varint(field.tag) + varint(len(data)) + data))
    if flexible:
        out.append(Token(Kind.TAGS, varint(len(tagged))))
        out += tagged


def _field(schema: Any, field: Field, choose: Choose, flexible: bool, out: list[Token]) -> None:
    name = schema.__name__
    if field.is_array:
        count = choose(name, field.name, "array", field.nullable)
        out.append(_size(count, 4, flexible))
        for _ in range(count or 0):
            _item(schema, field._replace(nullable=False), choose, flexible, out)
    else:
        _item(schema, field, choose, flexible, out)


def _item(schema: Any, field: Field, choose: Choose, flexible: bool, out: list[Token]) -> None:
    kind = field.kind
    if kind == "struct":
        if field.nullable:
            present = choose(schema.__name__, field.name, "array", True) is not None
            out.append(Token(Kind.PRESENCE, b"\x01" if present else b"\xff"))
            if not present:
                return
        _struct(field.struct, choose, out)
        return
    value = choose(schema.__name__, field.name, kind, field.nullable)
    if width := WIDTHS.get(kind):
        out.append(Token(Kind.INTEGER, int(value).to_bytes(width, "big", signed=True)))
    elif kind == "uuid":
        out.append(Token(Kind.UUID, value or bytes(16)))
    elif kind in ("string", "bytes", "records"):
        data = value.encode() if isinstance(value, str) else value
        out.append(_size(None if data is None else len(data), 2 if kind == "string" else 4, flexible))
        what = {"string": Kind.TEXT, "bytes": Kind.BLOB, "records": Kind.RECORDS}[kind]
        out.append(Token(what, data or b""))
    else:
        raise NotImplementedError(f"{schema.__name__}.{field.name} is a {kind}")


def _size(size: int | None, width: int, flexible: bool) -> Token:
    if flexible:
        return Token(Kind.VARINT_SIZE, varint(0 if size is None else size + 1))
    return Token(Kind.FIXED_SIZE, (-1 if size is None else size).to_bytes(width, "big", signed=True))


def joined(tokens: list[Token]) -> bytes:
    """The bytes of a request."""
    return b"".join(token.data for token in tokens)


def check(key: int, version: int, tokens: list[Token]) -> None:
    """kio reads the request to its end and writes the same bytes again. Tagged fields that hold their default are
    written here and not there, so what has any is only read."""
    schema = load_request_schema(key, version)
    data = joined(tokens)
    start = len(wire.encode_header(key, version, 0, "fuzz", flexible=schema.__flexible__))
    entity, size = entity_reader(schema)(data, start)
    assert start + size == len(data), f"{schema.__name__} v{version}: kio leaves bytes"
    if not any(token.kind is Kind.TAGGED for token in tokens):
        again = io.BytesIO()
        entity_writer(schema)(again, entity)
        assert again.getvalue() == data[start:], f"{schema.__name__} v{version}: kio writes other bytes"


def stand_in_uuid(number: int) -> bytes:
    """Sixteen bytes that stand for the number-th id until the broker has given one."""
    return uuid.UUID(int=(0x5EED5EED << 96) | number).bytes
