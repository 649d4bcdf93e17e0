"""Options and fixtures: which system is tested, a broker shared by tests that only talk, brokers of one's own for the
rest.

The shared broker is never restarted or paused; tests name their topics by the `topic` fixture, so they do not meet.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from clients.versions import client_versions
from harness import wire
from harness.kafka import Kafka
from harness.process import RUNNING, Broker, Settings
from harness.report import belongs
from harness.tailrace import Tailrace

StartBroker = Callable[..., Broker]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("compat")
    group.addoption(
        "--system", default=os.environ.get("TAILRACE_COMPAT_SYSTEM", "tailrace"), choices=("tailrace", "kafka")
    )
    group.addoption(
        "--bootstrap",
        default=os.environ.get("TAILRACE_COMPAT_BOOTSTRAP"),
        help="HOST:PORT of a running broker; tests that kill or measure one are skipped",
    )
    group.addoption("--outcomes", help="file for what MATRIX.md is rendered from")
    group.addoption(
        "--kills", type=int, default=int(os.environ.get("TAILRACE_COMPAT_KILLS", "20")), help="restarts after kill -9"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--outcomes"):
        config.pluginmanager.register(Outcomes(config.getoption("--outcomes")))


class Outcomes:
    """Keeps what became of the tests that MATRIX.md counts, with what was tested."""

    def __init__(self, path: str) -> None:
        self._path = Path(path).absolute()
        self._outcomes: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        is_told = report.when == "call" or report.outcome != "passed"
        if is_told and belongs(report.nodeid) and self._outcomes.get(report.nodeid) != "failed":
            self._outcomes[report.nodeid] = report.outcome

    def pytest_sessionfinish(self) -> None:
        revision = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short=12", "HEAD"]
        kept = {
            "date": datetime.now(UTC).date().isoformat(),
            "commit": subprocess.run(revision, check=True, capture_output=True, text=True).stdout.strip(),
            "versions": client_versions(),
            "outcomes": dict(sorted(self._outcomes.items())),
        }
        self._path.write_text(json.dumps(kept, indent=1) + "\n")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report: pytest.TestReport = yield  # type: ignore[assignment,misc]
    if report.failed:
        for broker in RUNNING:
            report.sections.append((f"log of {broker.name} at {broker.bootstrap}", broker.log_tail()))
    return report  # type: ignore[return-value]


@pytest.fixture(scope="session")
def system(request: pytest.FixtureRequest) -> str:
    """`tailrace` or `kafka`, for the few places where the two differ on purpose."""
    name: str = request.config.getoption("--system")
    return name


@pytest.fixture(scope="session")
def start_broker(system: str, request: pytest.FixtureRequest) -> Iterator[StartBroker]:
    """start_broker(folder, settings={}, **more): a running broker of the tested system, ended with the session at the
    latest."""
    started: list[Broker] = []

    def start(folder: Path, settings: Settings | None = None, **more: Any) -> Broker:
        if request.config.getoption("--bootstrap"):
            pytest.skip("needs a broker of its own, and --bootstrap names a running one")
        broker = (Kafka if system == "kafka" else Tailrace)(folder, settings, **more)
        started.append(broker)
        broker.start()
        return broker

    yield start
    for broker in started:
        broker.close()


@pytest.fixture(scope="session")
def broker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, start_broker: StartBroker
) -> Broker:
    """The shared broker."""
    if address := request.config.getoption("--bootstrap"):
        host, _, port = address.rpartition(":")
        return Broker(host, int(port))
    return start_broker(tmp_path_factory.mktemp("shared"))


@pytest.fixture
def connection(broker: Broker) -> Iterator[wire.Connection]:
    with broker.connect() as opened:
        yield opened


@pytest.fixture
def topic_name(request: pytest.FixtureRequest) -> str:
    """A name for a topic that no other test uses."""
    name = re.sub(r"[^a-zA-Z0-9-]+", "-", request.node.name).strip("-")[:150]
    return f"{name}-{os.getpid():x}-{next(_numbers)}"


@pytest.fixture
def topic(connection: wire.Connection, topic_name: str) -> str:
    """An existing topic of one partition."""
    return connection.create_usable_topic(topic_name)


_numbers = iter(range(1_000_000))
