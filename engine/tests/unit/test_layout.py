"""The object format's fixed parts: bytes that may not change without a new version, and versions to come."""

import pytest

from tailrace_core.errors import DataCorrupt, FormatTooNew
from tailrace_engine.tier import layout
from tailrace_engine.tier.layout import Footer, ObjectHeader

WHO = ObjectHeader(bytes(range(16)), 3, 77, 12)


def test_the_header_has_its_bytes() -> None:
    assert (
        layout.encode_header(WHO).hex()
        == ("54526f626a6563740001000102030405060708090a0b0c0d0e0f00000003000000000000004d000000000000000c")
        + layout.encode_header(WHO)[-4:].hex()
    )
    assert layout.parse_header("k", layout.encode_header(WHO)) == WHO


def test_the_trailer_ends_with_version_and_magic() -> None:
    encoded = layout.encode_footer(Footer((), 50, 0), 50)
    assert encoded[-10:].hex() == "000154526f626a656374"
    assert layout.parse_footer("k", 50 + len(encoded), encoded) == Footer((), 50, 0)


def test_a_newer_version_is_refused_by_name() -> None:
    header = bytearray(layout.encode_header(WHO))
    header[9] = 2
    with pytest.raises(FormatTooNew, match="object k has format version 2"):
        layout.parse_header("k", header)
    footer = bytearray(layout.encode_footer(Footer((), 50, 0), 50))
    footer[-9] = 2
    with pytest.raises(FormatTooNew, match="object k has format version 2"):
        layout.parse_footer("k", 50 + len(footer), footer)


@pytest.mark.parametrize("spoil", [0, 8])
def test_another_magic_or_version_0_is_corrupt(spoil: int) -> None:
    header = bytearray(layout.encode_header(WHO))
    header[spoil : spoil + 2] = bytes(2)
    with pytest.raises(DataCorrupt, match="object k"):
        layout.parse_header("k", header)
