"""Writes decoders."""

from __future__ import annotations

from tailrace_core.schema.declare import (
    AnyKind,
    Array,
    Blob,
    Field,
    Fixed,
    Struct,
    binary,
    raw_records,
    string,
    uuid,
)
from tailrace_core.schema.wire import STRING_BYTES_MAX
from tailrace_core.schema.writer import CodecWriter, is_compact, layout, least_size


class DecoderWriter(CodecWriter):
    """The run holds pairs of a struct letter and the target that its value is assigned to."""

    def write(self) -> None:
        with self.block("def decode(buf, pos=0):"):
            self.line("end = len(buf)")
            if self.holds_records(self.cls):
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

    def holds_records(self, cls: type[Struct]) -> bool:
        kinds = [field.kind for field in cls.fields if self.version in field.versions]
        inner = [kind.element if isinstance(kind, Array) else kind for kind in kinds]
        return any(kind is raw_records or (isinstance(kind, type) and self.holds_records(kind)) for kind in inner)

    def flush(self) -> None:
        if not self.run:
            return
        codes = "".join(code for code, _ in self.run)
        if codes == "B":
            self.line(f"{self.run[0][1]} = buf[pos]")
        else:
            unpacker = f"unpack_{codes.replace('?', 'o')}"
            self.names[unpacker] = layout(codes).unpack_from
            targets = "".join(target + ", " for _, target in self.run)
            self.line(f"({targets.rstrip()}) = {unpacker}(buf, pos)")
        self.line(f"pos += {layout(codes).size}")
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
            if compact and kind is string:
                with self.block(f"if not pos <= {stop} <= end or {length} > {STRING_BYTES_MAX}:"):
                    self.line(f"raise bad_string({path!r}, {length}, end - pos)")
            else:
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
