"""librdkafka's broker tests, each in a process of its own, against one broker with auto-creation and 4 partitions.

Those of tests.allow must pass. `python librdkafka/run.py` runs all there are and says when that file is out of date.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from harness.process import Broker
from librdkafka.suite import SETTINGS, TIMEOUT, Listed, built_runner, read_tests, run_test

QUICK_SECONDS = 3
"""Tests that take no longer are part of the smoke run."""

ALLOWED = read_tests("tests.allow")


@pytest.fixture(scope="session")
def suite_broker(start_broker, tmp_path_factory: pytest.TempPathFactory) -> Broker:  # type: ignore[no-untyped-def]
    built_runner()
    broker: Broker = start_broker(tmp_path_factory.mktemp("librdkafka"), SETTINGS)
    return broker


@pytest.mark.parametrize(
    "test",
    [pytest.param(test, marks=() if test.seconds <= QUICK_SECONDS else (pytest.mark.full,)) for test in ALLOWED],
    ids=lambda test: test.number,
)
@pytest.mark.timeout(TIMEOUT + 20)
def test_of_librdkafka_passes(test: Listed, suite_broker: Broker, tmp_path: Path) -> None:
    outcome = run_test(test.number, suite_broker.bootstrap, tmp_path, TIMEOUT)
    if outcome.exit_code != 0:
        end = outcome.log.read_text(errors="replace")[-6000:]
        raise AssertionError(f"exit status {outcome.exit_code} after {outcome.seconds:.0f} s\n{end}")
