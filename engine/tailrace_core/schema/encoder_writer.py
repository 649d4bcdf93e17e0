"""Writes encoders."""

from __future__ import annotations

from tailrace_core.schema.declare import (
    AnyKind,
    Array,
    Blob,
    Field,
    Fixed,
    Message,
    Struct,
    boolean,
    raw_records,
    string,
    uuid,
)
from tailrace_core.schema.wire import write_uvarint
from tailrace_core.schema.writer import CodecWriter, is_compact, layout


class EncoderWriter(CodecWriter):
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
        self.names[packer] = layout(codes).pack
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
