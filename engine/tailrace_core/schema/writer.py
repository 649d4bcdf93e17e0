"""The parts of a code generator that decoders, encoders and constructors have in common."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

from tailrace_core.schema.declare import (
    AnyKind,
    Array,
    Blob,
    Field,
    Fixed,
    Kind,
    Message,
    RecordBuffers,
    Struct,
)
from tailrace_core.schema.errors import DecodeError, EncodeError
from tailrace_core.schema.wire import bad_length, bad_string, read_long_uvarint, read_uvarint, skip_tags, write_uvarint

MISSING: Final = object()


@cache
def layout(codes: str) -> struct.Struct:
    """Values one after the other, big endian. Many functions share few layouts."""
    return struct.Struct(">" + codes)


def is_compact(field: Field, version: int, flexible: bool) -> bool:
    """Whether the lengths inside of a field are varints."""
    return flexible and version in field.compact


def least_size(kind: AnyKind, version: int, compact: bool) -> int:
    """The fewest bytes that an element of an array can take."""
    if isinstance(kind, Fixed):
        return kind.size
    if isinstance(kind, Blob):
        return 1 if compact else struct.calcsize(kind.length_code)
    if isinstance(kind, Kind):
        return 1 if compact else 4
    size = int(compact)
    for field in kind.fields:
        if version in field.versions and field.tag is None:
            nullable_struct = isinstance(field.kind, type) and version in field.nullable
            size += 1 if nullable_struct else least_size(field.kind, version, is_compact(field, version, compact))
    return size


class Writer:
    """Lines of one function, and the objects that it names."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.lines: list[str] = []
        self.depth = 0
        self.names: dict[str, Any] = {
            "new": object.__new__,
            "struct_error": struct.error,
            "unpack_from": struct.unpack_from,
            "pack": struct.pack,
            "read_long_uvarint": read_long_uvarint,
            "read_uvarint": read_uvarint,
            "skip_tags": skip_tags,
            "bad_length": bad_length,
            "bad_string": bad_string,
            "write_uvarint": write_uvarint,
            "DecodeError": DecodeError,
            "EncodeError": EncodeError,
            "RecordBuffers": RecordBuffers,
            "MISSING": MISSING,
        }
        self.counts: dict[str, int] = {}

    def line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Indented lines in which nothing is read or written: what is held back stays held back."""
        self.line(head)
        self.depth += 1
        yield
        self.depth -= 1

    def fresh(self, letter: str) -> str:
        """A variable that is used nowhere else."""
        self.counts[letter] = self.counts.get(letter, 0) + 1
        return f"{letter}{self.counts[letter]}"

    def class_name(self, cls: type[Struct]) -> str:
        self.names[cls.__name__] = cls
        return cls.__name__

    def write(self) -> None:
        raise NotImplementedError

    def function(self, name: str) -> Any:
        self.write()
        source = "\n".join(self.lines)
        exec(compile(source, f"<{name} of {self.title}>", "exec"), self.names)
        return self.names[name]

    def new_default(self, field: Field) -> str:
        """An expression for a field's default, after the lines that make it."""
        if not field.default_is_new:
            return repr(field.default)
        if isinstance(field.kind, Array):
            return "[]"
        assert isinstance(field.kind, type)
        made = self.fresh("d")
        self.line(f"{made} = new({self.class_name(field.kind)})")
        for inner in field.kind.fields:
            self.line(f"{made}.{inner.name} = {self.new_default(inner)}")
        return made


class ConstructorWriter(Writer):
    def __init__(self, cls: type[Struct]) -> None:
        super().__init__(cls.__name__)
        self.cls = cls

    def write(self) -> None:
        fields = self.cls.fields
        arguments = [f"{field.name}={'MISSING' if field.default_is_new else repr(field.default)}" for field in fields]
        with self.block(f"def __init__(self{', *, ' if fields else ''}{', '.join(arguments)}):"):
            self.line("pass")
            for field in fields:
                if field.default_is_new:
                    with self.block(f"if {field.name} is MISSING:"):
                        self.line(f"{field.name} = {self.new_default(field)}")
                self.line(f"self.{field.name} = {field.name}")


class CodecWriter(Writer):
    def __init__(self, cls: type[Message], version: int) -> None:
        super().__init__(f"{cls.__name__} v{version}")
        self.cls = cls
        self.version = version
        self.flexible = version in cls.flexible
        self.run: list[tuple[str, str]] = []

    @contextmanager
    def branch(self, head: str) -> Iterator[None]:
        """Indented lines that read or write, maybe not, maybe often: no run reaches across their ends."""
        self.flush()
        with self.block(head):
            yield
            self.flush()

    def flush(self) -> None:
        """Read or write the run of fixed-width fields that was held back to become one call."""
        raise NotImplementedError

    def fields_and_tags(self, cls: type[Struct]) -> tuple[list[Field], list[Field]]:
        """The fields of this version: those in sequence, and those in the tag section by ascending tag."""
        present = [field for field in cls.fields if self.version in field.versions]
        tagged = [(field.tag, field) for field in present if field.tag is not None]
        return [field for field in present if field.tag is None], [field for _, field in sorted(tagged, key=_first)]

    def path(self, cls: type[Struct], field: Field) -> str:
        """How errors name a field."""
        return f"{self.title}: {cls.__name__}.{field.name}"

    def is_nullable(self, field: Field) -> bool:
        return self.version in field.nullable


def _first(pair: tuple[int, Field]) -> int:
    return pair[0]
