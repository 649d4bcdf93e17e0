"""The words in which messages are declared.

A message is a class whose attributes are fields: `name: type = f(kind, "versions", ...)`. The class is at once the
declaration that all codecs are made from and the type of the objects that they take and return. One class spans all
versions; a field that a version does not have holds its default.

Versions are written as Kafka's definitions write them ("3-13", "9+", "2", "none") and held as ranges.

The codecs of a version are made when first asked for, and so is the constructor: a broker pays for what it speaks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, TypeAlias, dataclass_transform

from tailrace_core.schema.errors import UnsupportedVersion

OPEN_END: Final = 1 << 15
"""Exclusive end of a range of versions that is still open: versions are int16."""


def version_range(text: str) -> range:
    """Parse "3-13", "9+", "2" or "none"."""
    if text == "none":
        return range(0)
    if text.endswith("+"):
        return range(int(text[:-1]), OPEN_END)
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


class RecordBuffers:
    """Record batches that lie in several buffers; encoders pass them on without joining them.

    size is the sum of the lengths of parts, in bytes. It is believed: a wrong one spoils the response.
    """

    __slots__ = ("parts", "size")

    def __init__(self, parts: Sequence[Buffer], size: int) -> None:
        self.parts = parts
        self.size = size


Buffer: TypeAlias = bytes | bytearray | memoryview
Records: TypeAlias = Buffer | RecordBuffers


class Kind:
    """What a field holds and how it looks on the wire."""

    __slots__ = ()


class Fixed(Kind):
    """A value of fixed width; `code` is its letter for the struct module (big endian)."""

    __slots__ = ("code", "default", "size")

    def __init__(self, code: str, size: int, default: object) -> None:
        self.code = code
        self.size = size
        self.default = default


class Blob(Kind):
    """A value that its length goes before; `default` is also what tells the three blobs apart."""

    __slots__ = ("default", "length_code")

    def __init__(self, length_code: str, default: object) -> None:
        self.length_code = length_code
        self.default = default


class Array(Kind):
    """A list of one kind of elements, which are never null."""

    __slots__ = ("element",)

    def __init__(self, element: AnyKind) -> None:
        self.element = element


boolean: Final = Fixed("?", 1, False)
int8: Final = Fixed("b", 1, 0)
int16: Final = Fixed("h", 2, 0)
uint16: Final = Fixed("H", 2, 0)
int32: Final = Fixed("i", 4, 0)
int64: Final = Fixed("q", 8, 0)
float64: Final = Fixed("d", 8, 0.0)
uuid: Final = Fixed("16s", 16, bytes(16))
"""The 16 bytes as they are; all zero means none."""
string: Final = Blob("h", "")
binary: Final = Blob("i", b"")
raw_records: Final = Blob("i", None)
"""Record batches, left as they came: decoders give a view into their input, so the input must stay as it is."""

array = Array

_IMPLICIT: Final = object()


class Field:
    """One declared field; see `f`."""

    __slots__ = ("compact", "default", "default_is_new", "ignorable", "kind", "name", "nullable", "tag", "versions")

    def __init__(
        self, kind: AnyKind, versions: str, nullable: str, tag: int | None, default: Any, ignorable: bool, flexible: str
    ) -> None:
        self.name = ""
        self.kind = kind
        self.versions = version_range(versions)
        self.nullable = version_range(nullable)
        self.tag = tag
        self.ignorable = ignorable
        self.compact = version_range(flexible)
        """The versions in which the field may be compact, if its message is flexible in them."""
        if default is _IMPLICIT and isinstance(kind, Fixed | Blob):
            default = b"" if kind is raw_records and not self.nullable else kind.default
        self.default = default
        self.default_is_new = default is _IMPLICIT
        """The default is a new empty list or a new struct of defaults, and `default` says nothing."""


def f(
    kind: AnyKind,
    versions: str,
    *,
    nullable: str = "none",
    tag: int | None = None,
    default: Any = _IMPLICIT,
    ignorable: bool = False,
    flexible: str = "0+",
) -> Any:
    """Declare a field.

    nullable: the versions in which it may be None. tag: the field stands in the tag section, in all its versions.
    default: without it, zero, "", an empty list, a struct of defaults; for records None if they ever may be.
    ignorable: an encoder drops a value that the version has no field for, instead of refusing it. flexible: the
    versions in which its length may be compact (the client id of the request header never is).
    """
    return Field(kind, versions, nullable, tag, default, ignorable, flexible)


class StructType(type):
    """Turns the declared fields into slots."""

    fields: tuple[Field, ...]

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> StructType:
        fields = []
        for key, value in list(namespace.items()):
            if isinstance(value, Field):
                value.name = key
                fields.append(value)
                del namespace[key]
        namespace["__slots__"] = tuple(field.name for field in fields)
        namespace["fields"] = tuple(fields)
        for key, value in options.items():
            namespace[key] = version_range(value) if isinstance(value, str) else value
        return super().__new__(mcs, name, bases, namespace)

    def __init__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> None:
        super().__init__(name, bases, namespace)


@dataclass_transform(kw_only_default=True)
class Struct(metaclass=StructType):
    """A group of fields. Constructed by keywords; what is not given has its default."""

    if not TYPE_CHECKING:

        def __init__(self, **values: object) -> None:
            from tailrace_core.schema.compile import compile_constructor

            cls = type(self)
            cls.__init__ = compile_constructor(cls)
            cls.__init__(self, **values)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, field.name) == getattr(other, field.name) for field in type(self).fields)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        inside = ", ".join(f"{field.name}={getattr(self, field.name)!r}" for field in type(self).fields)
        return f"{type(self).__name__}({inside})"


AnyKind: TypeAlias = Kind | type[Struct]


class Message(Struct):
    """A body (or header) that has versions of its own.

    Declared with `versions` and `flexible` (in Kafka's notation) and, for requests and responses, `api_key`.
    """

    api_key: ClassVar[int] = -1
    versions: ClassVar[range] = range(0)
    flexible: ClassVar[range] = range(0)

    @classmethod
    def decoder(cls, version: int) -> Callable[[Buffer, int], tuple[Self, int]]:
        """The function `decode(buffer, position)` of a version; it returns the object and the position after it.

        Bytes after that position are for the caller to judge. Raises UnsupportedVersion; the function raises
        DecodeError.
        """
        return cls._codec("decoder", version)  # type: ignore[no-any-return]

    @classmethod
    def encoder(cls, version: int) -> Callable[[Self], bytearray]:
        """The function `encode(message)` of a version. Raises UnsupportedVersion; the function raises EncodeError."""
        return cls._codec("encoder", version)  # type: ignore[no-any-return]

    @classmethod
    def parts_encoder(cls, version: int) -> Callable[[Self], list[Buffer]]:
        """As `encoder`, but the records are not copied: they are buffers of their own in the list that is returned."""
        return cls._codec("parts_encoder", version)  # type: ignore[no-any-return]

    @classmethod
    def _codec(cls, role: str, version: int) -> Any:
        codecs = cls.__dict__.get("_codecs")
        if codecs is None:
            codecs = cls._codecs = {}  # type: ignore[attr-defined]
        made = codecs.get((role, version))
        if made is None:
            if version not in cls.versions:
                raise UnsupportedVersion(f"{cls.__name__} has no version {version}")
            from tailrace_core.schema import compile

            made = codecs[role, version] = getattr(compile, f"compile_{role}")(cls, version)
        return made
