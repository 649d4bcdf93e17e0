"""Writes straight-line Python functions for one version of a message, and compiles them.

The functions do what the declaration says with nothing left to decide at run time: runs of fields of fixed width are
one `struct` call (which takes the length of the following string, or the count of the following tag section, along),
structs and arrays are unrolled into the one function, and a length below 128 costs one comparison. `reference` says
the same at leisure; the tests hold the two together.

What a decoder relies on: `struct` and indexing raise beyond the end of the buffer, slicing does not. So every length
is compared with what remains before it is used, and every count with the least that its elements can take, before
anything is allocated for them. The one `try` around the function costs nothing until it is needed.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from tailrace_gateway.kafka.schema.declare import (
    AnyKind,
    Array,
    Blob,
    Buffer,
    Field,
    Fixed,
    Kind,
    Message,
    RecordBuffers,
    Struct,
    binary,
    boolean,
    raw_records,
    string,
    uuid,
)
from tailrace_gateway.kafka.schema.errors import DecodeError, EncodeError

UVARINT_BYTES_MAX: Final = 5
MISSING: Final = object()


def compile_decoder(cls: type[Message], version: int) -> Callable[[Buffer, int], tuple[Message, int]]:
    """See `Message.decoder`."""
    return _DecoderWriter(cls, version).function("decode")  # type: ignore[no-any-return]


def compile_encoder(cls: type[Message], version: int) -> Callable[[Message], bytearray]:
    """See `Message.encoder`."""
    return _EncoderWriter(cls, version, in_parts=False).function("encode")  # type: ignore[no-any-return]


def compile_parts_encoder(cls: type[Message], version: int) -> Callable[[Message], list[Buffer]]:
    """See `Message.parts_encoder`."""
    return _EncoderWriter(cls, version, in_parts=True).function("encode_parts")  # type: ignore[no-any-return]


def compile_constructor(cls: type[Struct]) -> Callable[..., None]:
    """The `__init__` of a struct: keywords only, each with the declared default."""
    return _ConstructorWriter(cls).function("__init__")  # type: ignore[no-any-return]


# What the generated code calls when it leaves its fast path.


def read_long_uvarint(buf: Buffer, pos: int, first: int) -> tuple[int, int]:
    """The value of a varint whose first byte, the one before pos, had its high bit set; and the position after it."""
    value = first & 0x7F
    for shift in range(7, 7 * UVARINT_BYTES_MAX, 7):
        byte = buf[pos]
        pos += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 32:
                break
            return value, pos
    raise DecodeError(f"the varint before byte {pos} is longer than 32 bits")


def read_uvarint(buf: Buffer, pos: int) -> tuple[int, int]:
    """A varint and the position after it."""
    first = buf[pos]
    return (first, pos + 1) if first < 0x80 else read_long_uvarint(buf, pos + 1, first)


def skip_tags(buf: Buffer, pos: int, count: int, end: int) -> int:
    """The position after a tag section of which only the count was read, all of its tags unknown."""
    if count > 0x7F:
        count, pos = read_long_uvarint(buf, pos, count)
    for _ in range(count):
        _, pos = read_uvarint(buf, pos)
        size, pos = read_uvarint(buf, pos)
        pos += size
        if pos > end:
            raise DecodeError(f"a tagged field of {size} bytes ends {pos - end} bytes too late")
    return pos


def bad_length(field: str, length: int, left: int) -> DecodeError:
    """The error for a length or count that is null, negative, or more than what remains could hold."""
    if length == -1:
        return DecodeError(f"{field} is null")
    return DecodeError(f"{field} has a length of {length} where {left} bytes remain")


def write_uvarint(value: int) -> bytes:
    """The varint of a value that is not negative."""
    if value < 1 << 14:
        return bytes((value & 0x7F | 0x80, value >> 7)) if value > 0x7F else bytes((value,))
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


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


class _Writer:
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


class _ConstructorWriter(_Writer):
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


class _CodecWriter(_Writer):
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


class _DecoderWriter(_CodecWriter):
    """The run holds pairs of a struct letter and the target that its value is assigned to."""

    def write(self) -> None:
        with self.block("def decode(buf, pos=0):"):
            self.line("end = len(buf)")
            self.line("view = memoryview(buf)")
            with self.block("try:"):
                made = self.struct(self.cls)
                self.flush()
                self.line(f"return {made}, pos")
            with self.block("except (struct_error, IndexError):"):
                text = f"{self.title} ends too early: at byte {{pos}} of {{end}} there is more to come"
                self.line(f"raise DecodeError(f{text!r}) from None")
            with self.block("except UnicodeDecodeError as error:"):
                self.line(f"raise DecodeError(f'{self.title} has a string that is not UTF-8: {{error}}') from None")

    def flush(self) -> None:
        if not self.run:
            return
        codes = "".join(code for code, _ in self.run)
        if codes == "B":
            self.line(f"{self.run[0][1]} = buf[pos]")
        else:
            unpacker = f"unpack_{codes.replace('?', 'o')}"
            self.names[unpacker] = struct.Struct(">" + codes).unpack_from
            targets = "".join(target + ", " for _, target in self.run)
            self.line(f"({targets.rstrip()}) = {unpacker}(buf, pos)")
        self.line(f"pos += {struct.calcsize('>' + codes)}")
        self.run.clear()

    def uvarint(self) -> str:
        value = self.fresh("n")
        self.run.append(("B", value))
        self.flush()
        with self.block(f"if {value} > 127:"):
            self.line(f"{value}, pos = read_long_uvarint(buf, pos, {value})")
        return value

    def struct(self, cls: type[Struct]) -> str:
        made = self.fresh("o")
        self.line(f"{made} = new({self.class_name(cls)})")
        fields, tagged = self.fields_and_tags(cls)
        for field in fields:
            compact = is_compact(field, self.version, self.flexible)
            self.value(field.kind, f"{made}.{field.name}", self.path(cls, field), self.is_nullable(field), compact)
        for field in cls.fields:
            if field not in fields:
                self.line(f"{made}.{field.name} = {self.new_default(field)}")
        if self.flexible:
            self.tag_section(cls, made, tagged)
        return made

    def tag_section(self, cls: type[Struct], made: str, tagged: list[Field]) -> None:
        count = self.fresh("n")
        self.run.append(("B", count))
        self.flush()
        if not tagged:
            with self.block(f"if {count}:"):
                self.line(f"pos = skip_tags(buf, pos, {count}, end)")
            return
        with self.block(f"if {count}:"):
            with self.block(f"if {count} > 127:"):
                self.line(f"{count}, pos = read_long_uvarint(buf, pos, {count})")
            with self.branch(f"for _ in range({count}):"):
                tag, size, stop = self.uvarint(), self.uvarint(), self.fresh("e")
                self.line(f"{stop} = pos + {size}")
                with self.block(f"if {stop} > end:"):
                    self.line(f"raise bad_length('{self.title}: a tagged field', {size}, end - pos)")
                for number, field in enumerate(tagged):
                    with self.branch(f"{'elif' if number else 'if'} {tag} == {field.tag}:"):
                        # A tagged struct is never marked as present: it is there because its tag is.
                        nullable = self.is_nullable(field) and not isinstance(field.kind, type)
                        self.value(field.kind, f"{made}.{field.name}", self.path(cls, field), nullable, True)
                with self.block("else:"):
                    self.line(f"pos = {stop}")
                with self.block(f"if pos != {stop}:"):
                    text = f"{self.title}: the tagged field {{{tag}}} of {cls.__name__} is not {{{size}}} bytes long"
                    self.line(f"raise DecodeError(f{text!r})")

    def value(self, kind: AnyKind, target: str, path: str, nullable: bool, compact: bool) -> None:
        if isinstance(kind, Fixed):
            self.run.append((kind.code, target))
        elif isinstance(kind, Blob):
            self.blob(kind, target, path, nullable, compact)
        elif isinstance(kind, Array):
            self.array(kind.element, target, path, nullable, compact)
        elif isinstance(kind, type):
            self.inner_struct(kind, target, path, nullable)

    def inner_struct(self, cls: type[Struct], target: str, path: str, nullable: bool) -> None:
        if not nullable:
            made = self.struct(cls)
            self.line(f"{target} = {made}")
            return
        present = self.fresh("n")
        self.run.append(("b", present))
        self.flush()
        with self.branch(f"if {present} == 1:"):
            made = self.struct(cls)
            self.line(f"{target} = {made}")
        with self.block(f"elif {present} == -1:"):
            self.line(f"{target} = None")
        with self.block("else:"):
            self.line(f"raise DecodeError({path + ' is neither null nor present'!r})")

    def length(self, code: str, compact: bool) -> str:
        """A variable with the length or count that comes next; -1 stands for null."""
        if compact:
            value = self.uvarint()
            self.line(f"{value} -= 1")
            return value
        value = self.fresh("n")
        self.run.append((code, value))
        self.flush()
        return value

    def blob(self, kind: Blob, target: str, path: str, nullable: bool, compact: bool) -> None:
        length, stop = self.length(kind.length_code, compact), self.fresh("e")
        if nullable:
            with self.block(f"if {length} == -1:"):
                self.line(f"{target} = None")
            head = "else:"
        else:
            head = ""
        inside = {
            string: f"str(buf[pos:{stop}], 'utf-8')",
            binary: f"bytes(buf[pos:{stop}])",
            raw_records: f"view[pos:{stop}]",
        }[kind]

        def body() -> None:
            self.line(f"{stop} = pos + {length}")
            with self.block(f"if not pos <= {stop} <= end:"):
                self.line(f"raise bad_length({path!r}, {length}, end - pos)")
            self.line(f"{target} = {inside}")
            self.line(f"pos = {stop}")

        if head:
            with self.block(head):
                body()
        else:
            body()

    def array(self, element: AnyKind, target: str, path: str, nullable: bool, compact: bool) -> None:
        count, least = self.length("i", compact), max(1, least_size(element, self.version, compact))
        if nullable:
            with self.block(f"if {count} == -1:"):
                self.line(f"{target} = None")
            with self.branch("else:"):
                self.elements(element, target, path, count, least, compact)
        else:
            self.elements(element, target, path, count, least, compact)

    def elements(self, element: AnyKind, target: str, path: str, count: str, least: int, compact: bool) -> None:
        with self.block(f"if not 0 <= {count} * {least} <= end - pos:"):
            self.line(f"raise bad_length({path!r}, {count}, end - pos)")
        if element is uuid:
            self.line(f"{target} = [bytes(buf[at:at + 16]) for at in range(pos, pos + {count} * 16, 16)]")
            self.line(f"pos += {count} * 16")
        elif isinstance(element, Fixed):
            self.line(f"{target} = list(unpack_from(f'>{{{count}}}{element.code}', buf, pos))")
            self.line(f"pos += {count} * {element.size}")
        else:
            found = self.fresh("a")
            self.line(f"{target} = {found} = []")
            with self.branch(f"for _ in range({count}):"):
                item = self.fresh("i")
                if isinstance(element, type):
                    item = self.struct(element)
                else:
                    self.value(element, item, path, False, compact)
                self.flush()
                self.line(f"{found}.append({item})")


class _EncoderWriter(_CodecWriter):
    """The run holds pairs of a struct letter and the expression of its value ("" for the zero byte "x")."""

    def __init__(self, cls: type[Message], version: int, *, in_parts: bool) -> None:
        super().__init__(cls, version)
        self.in_parts = in_parts

    def write(self) -> None:
        with self.block(f"def {'encode_parts' if self.in_parts else 'encode'}(o):"):
            if self.in_parts:
                self.line("parts = []")
            with self.block("try:"):
                self.line("out = bytearray()")
                self.struct(self.cls, "o")
                self.flush()
            with self.block("except (struct_error, TypeError, AttributeError, UnicodeEncodeError) as error:"):
                self.line(f"raise EncodeError(f'{self.title}: {{error}}') from error")
            if self.in_parts:
                with self.block("if out:"):
                    self.line("parts.append(out)")
            self.line(f"return {'parts' if self.in_parts else 'out'}")

    def flush(self) -> None:
        if not self.run:
            return
        if len(self.run) == 1 and self.run[0][0] == "B":
            self.line(f"out.append({self.run[0][1]})")
        else:
            self.line(f"out += {self.packed(self.run)}")
        self.run.clear()

    def packed(self, run: list[tuple[str, str]]) -> str:
        codes = "".join(code for code, _ in run)
        if codes.strip("x") == "":
            return repr(bytes(len(codes)))
        packer = f"pack_{codes.replace('?', 'o')}"
        self.names[packer] = struct.Struct(">" + codes).pack
        return f"{packer}({', '.join(expression for _, expression in run if expression)})"

    def struct(self, cls: type[Struct], made: str) -> None:
        fields, tagged = self.fields_and_tags(cls)
        for field in cls.fields:
            if self.version not in field.versions and not field.ignorable:
                with self.block(f"if {self.is_set(field, made)}:"):
                    self.line(f"raise EncodeError({self.path(cls, field) + ' is set, but not in this version'!r})")
        for field in fields:
            compact = is_compact(field, self.version, self.flexible)
            self.value(field.kind, f"{made}.{field.name}", self.path(cls, field), self.is_nullable(field), compact)
        if self.flexible:
            self.tag_section(cls, made, tagged)

    def is_set(self, field: Field, made: str) -> str:
        """An expression: the field is not its default."""
        value = f"{made}.{field.name}"
        if not field.default_is_new:
            return f"{value} is not None" if field.default is None else f"{value} != {field.default!r}"
        if isinstance(field.kind, type):
            return "(" + " or ".join(self.is_set(inner, value) for inner in field.kind.fields) + ")"
        return f"len({value}) != 0"

    def tag_section(self, cls: type[Struct], made: str, tagged: list[Field]) -> None:
        if not tagged:
            self.run.append(("x", ""))
            return
        conditions = []
        for field in tagged:
            conditions.append(self.fresh("c"))
            self.line(f"{conditions[-1]} = {self.is_set(field, made)}")
        self.run.append(("B", " + ".join(conditions)))
        self.flush()
        for field, condition in zip(tagged, conditions, strict=True):
            with self.branch(f"if {condition}:"):
                whole = self.fresh("w")
                self.line(f"{whole} = out")
                self.line("out = bytearray()")
                nullable = self.is_nullable(field) and not isinstance(field.kind, type)
                self.value(field.kind, f"{made}.{field.name}", self.path(cls, field), nullable, True)
                self.flush()
                assert field.tag is not None
                self.line(f"{whole} += {write_uvarint(field.tag)!r}")
                self.line(f"{whole} += write_uvarint(len(out))")
                self.line(f"{whole} += out")
                self.line(f"out = {whole}")

    def value(self, kind: AnyKind, value: str, path: str, nullable: bool, compact: bool) -> None:
        if isinstance(kind, Fixed):
            self.fixed(kind, value, path)
        elif isinstance(kind, Blob):
            self.blob(kind, value, path, nullable, compact)
        elif isinstance(kind, Array):
            self.array(kind.element, value, path, nullable, compact)
        elif isinstance(kind, type):
            self.inner_struct(kind, value, nullable)

    def fixed(self, kind: Fixed, value: str, path: str) -> None:
        if kind is uuid:
            # The struct module cuts or pads silently.
            with self.block(f"if len({value}) != 16:"):
                self.line(f"raise EncodeError({path + ' is not 16 bytes long'!r})")
        self.run.append((kind.code, value))

    def inner_struct(self, cls: type[Struct], value: str, nullable: bool) -> None:
        made = self.fresh("o")
        self.line(f"{made} = {value}")
        if not nullable:
            self.struct(cls, made)
            return
        with self.branch(f"if {made} is None:"):
            self.run.append(("b", "-1"))
        with self.branch("else:"):
            self.run.append(("b", "1"))
            self.struct(cls, made)

    def length(self, code: str, length: str, compact: bool) -> None:
        """Write the run and a length; in a compact field the length is one more, and 0 for null."""
        if not compact:
            self.run.append((code, length))
            self.flush()
            return
        run = [*self.run, ("B", length)]
        before = f"{self.packed(self.run)} + " if self.run else ""
        self.run.clear()
        with self.block(f"if {length} < 128:"):
            self.line(f"out.append({length})" if len(run) == 1 else f"out += {self.packed(run)}")
        with self.block("else:"):
            self.line(f"out += {before}write_uvarint({length})")

    def blob(self, kind: Blob, value: str, path: str, nullable: bool, compact: bool) -> None:
        content, length, more = self.fresh("b"), self.fresh("n"), " + 1" if compact else ""
        self.line(f"{content} = {value}")
        with self.block(f"if {content} is None:"):
            if nullable:
                self.line(f"{length} = {0 if compact else -1}")
                self.line(f"{content} = b''")
            else:
                self.line(f"raise EncodeError({path + ' is None'!r})")
        if kind is raw_records:
            with self.block(f"elif type({content}) is RecordBuffers:"):
                self.line(f"{length} = {content}.size{more}")
        with self.block("else:"):
            if kind is string:
                self.line(f"{content} = {content}.encode()")
            self.line(f"{length} = len({content}){more}")
        self.length(kind.length_code, length, compact)
        if kind is raw_records:
            self.records(content, f"{length} > {int(compact)}")
        else:
            self.line(f"out += {content}")

    def records(self, content: str, has_some: str) -> None:
        with self.block(f"if {has_some}:"):
            if self.in_parts:
                self.line("parts.append(out)")
                self.line("out = bytearray()")
                with self.block(f"if type({content}) is RecordBuffers:"):
                    self.line(f"parts.extend({content}.parts)")
                with self.block("else:"):
                    self.line(f"parts.append({content})")
            else:
                with self.block(f"if type({content}) is RecordBuffers:"):
                    with self.block(f"for part in {content}.parts:"):
                        self.line("out += part")
                with self.block("else:"):
                    self.line(f"out += {content}")

    def array(self, element: AnyKind, value: str, path: str, nullable: bool, compact: bool) -> None:
        items, count, more = self.fresh("a"), self.fresh("n"), " + 1" if compact else ""
        self.line(f"{items} = {value}")
        if nullable:
            with self.block(f"if {items} is None:"):
                self.line(f"{count} = {0 if compact else -1}")
                self.line(f"{items} = ()")
            with self.block("else:"):
                self.line(f"{count} = len({items}){more}")
        else:
            self.line(f"{count} = len({items}){more}")
        self.length("i", count, compact)
        if isinstance(element, Fixed) and element not in (uuid, boolean):
            self.line(f"out += pack(f'>{{len({items})}}{element.code}', *{items})")
            return
        item = self.fresh("o")
        with self.branch(f"for {item} in {items}:"):
            if isinstance(element, type):
                self.struct(element, item)
            else:
                self.value(element, item, path, False, compact)
