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

from collections.abc import Callable

from tailrace_core.schema.declare import Buffer, Message, Struct
from tailrace_core.schema.decoder_writer import DecoderWriter
from tailrace_core.schema.encoder_writer import EncoderWriter
from tailrace_core.schema.writer import ConstructorWriter


def compile_decoder(cls: type[Message], version: int) -> Callable[[Buffer, int], tuple[Message, int]]:
    """See `Message.decoder`."""
    return DecoderWriter(cls, version).function("decode")  # type: ignore[no-any-return]


def compile_encoder(cls: type[Message], version: int) -> Callable[[Message], bytearray]:
    """See `Message.encoder`."""
    return EncoderWriter(cls, version, in_parts=False).function("encode")  # type: ignore[no-any-return]


def compile_parts_encoder(cls: type[Message], version: int) -> Callable[[Message], list[Buffer]]:
    """See `Message.parts_encoder`."""
    return EncoderWriter(cls, version, in_parts=True).function("encode_parts")  # type: ignore[no-any-return]


def compile_constructor(cls: type[Struct]) -> Callable[..., None]:
    """The `__init__` of a struct: keywords only, each with the declared default."""
    return ConstructorWriter(cls).function("__init__")  # type: ignore[no-any-return]
