"""Options and fixtures: which system is tested, a broker shared by tests that only talk, brokers of one's own for the
rest.

The shared broker is never restarted or paused; tests name their topics by the `topic` fixture, so they do not meet.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import wire
from harness.kafka import Kafka
from harness.process import RUNNING, Broker, Settings
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
    group.addoption(
        "--kills", type=int, default=int(os.environ.get("TAILRACE_COMPAT_KILLS", "20")), help="restarts after kill -9"
    )


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
