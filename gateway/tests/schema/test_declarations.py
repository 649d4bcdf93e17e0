"""The declarations against a table of Kafka 4.3's APIs, and what it costs to have them."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from tailrace_core.schema.declare import Message, StructType, version_range
from tailrace_gateway.kafka import schema

APIS = list(csv.DictReader((Path(__file__).parent / "api_versions.tsv").read_text().splitlines(), delimiter="\t"))


def test_there_is_every_api_of_kafka() -> None:
    assert {int(api["key"]): api["name"] for api in APIS} == schema.API_KEYS


@pytest.mark.parametrize("api", APIS, ids=lambda api: api["name"])
def test_versions_and_headers_are_those_of_the_table(api: dict[str, str]) -> None:
    key = int(api["key"])
    for cls in (schema.request(key), schema.response(key)):
        assert cls.api_key == key
        assert cls.versions == version_range(api["request_versions"])
        assert cls.flexible == version_range(api["flexible_versions"])
    flexible, header_1 = version_range(api["flexible_versions"]), api["response_header_v1_from"]
    for version in (*version_range(api["request_versions"]), 99):
        assert schema.is_flexible(key, version) == (version in flexible)
        assert schema.request_header_version(key, version) == (2 if version in flexible else 1)
        expected = header_1 != "never" and version in version_range(header_1)
        assert schema.response_header_version(key, version) == int(expected)


def test_tags_of_a_struct_differ_and_need_flexible_versions(message: type[Message]) -> None:
    def check(cls: StructType) -> None:
        tags = [field.tag for field in cls.fields if field.tag is not None]
        assert len(tags) == len(set(tags))
        for field in cls.fields:
            if field.tag is not None:
                assert all(v in message.flexible for v in message.versions if v in field.versions)
            kind = getattr(field.kind, "element", field.kind)
            if isinstance(kind, StructType):
                check(kind)

    check(message)


@pytest.mark.parametrize("name", ["Produce", "LeaderAndIsrRequest", "NoSuchRequest", "NoSuchData", ""])
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(schema.UnknownMessage):
        schema.message(name)


@pytest.mark.parametrize("api_key", [-1, 4, 7, 93, 32767])
def test_an_unknown_key_is_refused(api_key: int) -> None:
    for find in (schema.request, schema.response):
        with pytest.raises(schema.UnknownMessage):
            find(api_key)


def test_only_what_is_asked_for_is_loaded() -> None:
    program = """
import sys
from tailrace_gateway.kafka import schema
def loaded():
    return sorted(m.rpartition(".")[2] for m in sys.modules if m.startswith("tailrace_gateway.kafka.schema.messages."))
assert loaded() == []
assert "tailrace_core.schema.compile" not in sys.modules
cls = schema.request(18)
assert loaded() == ["api_versions"]
cls.decoder(3)
schema.message("RequestHeader")
assert loaded() == ["api_versions", "headers"]
assert "construct" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, env={"PYTHONPATH": ":".join(filter(None, sys.path))})
