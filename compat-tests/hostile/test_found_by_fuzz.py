"""Frames that the fuzz (`fuzz/`) found to break something, each by the rule that it broke."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness import wire
from harness.process import Broker
from kio.schema.errors import ErrorCode

LONG = "a" * 32_767
"""The longest string that a client can send in most fields."""


@pytest.fixture
def connection(broker: Broker) -> Iterator[wire.Connection]:
    with broker.connect() as opened:
        yield opened


@pytest.mark.parametrize("version", [0, 1])
def test_an_error_about_a_long_name_fits_into_its_answer(
    connection: wire.Connection, topic: str, version: int, system: str
) -> None:
    """Apache Kafka says UNKNOWN_SERVER_ERROR where the text does not fit."""
    config = {"name": LONG, "config_operation": 0, "value": LONG}
    asked = [{"resource_type": 2, "resource_name": name, "configs": [config]} for name in (topic, LONG)]
    answer = connection.call("incremental_alter_configs", version, resources=asked)
    codes = {each.error_code for each in answer.responses}
    assert ErrorCode.none not in codes
    created = connection.create_topic(f"{topic}-n", configs={LONG: LONG}, version=4)
    assert created.error_code != ErrorCode.none
    if system != "kafka":
        assert ErrorCode.unknown_server_error not in {*codes, created.error_code}
