"""Answers read by kio, and whether one says that the broker did not know what happened."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from kio.index import load_response_schema
from kio.schema.errors import ErrorCode
from kio.serial import entity_reader

from fuzz.tokens import fields_of

API_VERSIONS = 18

Find = Callable[[Any], list[ErrorCode]]


@functools.cache
def _reader(key: int, version: int) -> tuple[int, Any, Find]:
    schema = load_response_schema(key, version)
    return (5 if schema.__flexible__ and key != API_VERSIONS else 4), entity_reader(schema), _finder(schema)


def read(key: int, version: int, frame: bytes) -> list[ErrorCode]:
    """The error codes in an answer, header included in `frame`; raises what is wrong with its bytes."""
    if key == API_VERSIONS and frame[4:6] == b"\0\x23":
        version = 0  # a version that is not known
    start, reader, find = _reader(key, version)
    if start == 5 and frame[4]:
        raise ValueError("tags in the header")
    entity, size = reader(frame, start)
    if start + size != len(frame):
        raise ValueError(f"{len(frame) - start - size} bytes left over")
    return find(entity)


@functools.cache
def _finder(schema: Any) -> Find:
    """What collects the error codes of an entity of this schema."""
    codes, inner = [], []
    for field in fields_of(schema):
        if field.kind == "error_code":
            codes.append((field.name, field.is_array))
        elif field.kind == "struct" and (find := _finder(field.struct)) is not _nothing:
            inner.append((field.name, field.is_array, find))
    if not codes and not inner:
        return _nothing

    def collect(entity: Any) -> list[ErrorCode]:
        found = [getattr(entity, name) for name, _ in codes]
        for name, is_array, find in inner:
            value = getattr(entity, name)
            for each in value or () if is_array else () if value is None else (value,):
                found += find(each)
        return found

    return collect


def _nothing(_: Any) -> list[ErrorCode]:
    return []
