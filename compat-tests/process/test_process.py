"""Tailrace as a process: starting, ending, its folder, its settings, its HTTP port."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from durability.load import Audit, Load
from harness.batches import simple_batch
from harness.process import Broker, Setting, poll
from harness.tailrace import Tailrace


@pytest.fixture(autouse=True)
def _only_tailrace(system: str) -> None:
    if system != "tailrace":
        pytest.skip("about Tailrace's own command")


def run_to_its_end(broker: Tailrace) -> tuple[int, str]:
    """Exit status and output of a start that is expected to fail."""
    done = subprocess.run(broker.command(), env=broker.environment(), capture_output=True, text=True, timeout=20)
    return done.returncode, done.stdout + done.stderr


def test_one_line_says_where_it_listens_and_how_it_keeps_data(
    start_broker: Callable[..., Broker], tmp_path: Path
) -> None:
    broker = start_broker(tmp_path, {Setting.WAL_SYNC: "always", Setting.WAL_BACKEND: "threads"})
    (line,) = [line for line in broker.log_tail(1000).splitlines() if broker.bootstrap in line]
    for word in (str(broker.data_dir), "always", "threads"):
        assert word in line


def test_sigterm_under_load_ends_in_time_with_status_0_and_loses_nothing(
    start_broker: Callable[..., Broker], tmp_path: Path
) -> None:
    broker = start_broker(tmp_path)
    with broker.connect() as connection:
        topic = connection.create_usable_topic("ended", 4)
    with Load(broker, topic, 4) as load:
        for _ in range(3):
            before = load.acknowledged_count
            poll("records are acknowledged", lambda: load.acknowledged_count > before + 100)  # noqa: B023
            started = time.monotonic()
            assert broker.terminate() == 0
            assert time.monotonic() - started < 5
            acknowledged = load.acknowledged()
            broker.start()
            audit = Audit(topic, 4).read(broker)
            assert not audit.faults, audit.faults[:5]
            assert not (lost := audit.missing(acknowledged)), (len(lost), lost[:5])


def test_a_second_process_on_the_data_folder_refuses_to_start(
    start_broker: Callable[..., Broker], tmp_path: Path
) -> None:
    first = start_broker(tmp_path)
    status, output = run_to_its_end(Tailrace(tmp_path, data_dir=first.data_dir))
    assert status != 0
    assert str(first.data_dir) in output
    assert "Traceback" not in output
    with first.connect() as connection:
        assert connection.call("api_versions", 0).error_code == 0


@pytest.mark.parametrize(
    ("key", "value"), [("wal.sync", "sometimes"), ("no.such", "1"), ("wal.backend", "7"), ("engine.hot_bytes", "-1")]
)
def test_a_wrong_setting_stops_the_start_and_is_named(tmp_path: Path, key: str, value: str) -> None:
    broker = Tailrace(tmp_path)
    broker.settings[key] = value  # type: ignore[index]
    status, output = run_to_its_end(broker)
    assert status != 0
    assert key.partition(".")[2] in output
    assert "Traceback" not in output


def test_http_tells_health_and_metrics(start_broker: Callable[..., Broker], tmp_path: Path) -> None:
    broker = start_broker(tmp_path)
    assert isinstance(broker, Tailrace)
    with broker.connect() as connection:
        topic = connection.create_usable_topic("counted")
        connection.produce(topic, {0: simple_batch(b"v")})
    broker.http("/healthz")
    broker.http("/readyz")
    lines = broker.http("/metrics").splitlines()
    assert [line for line in lines if line.startswith("tailrace_")]


def test_a_leader_epoch_is_new_at_every_start(start_broker: Callable[..., Broker], tmp_path: Path) -> None:
    broker = start_broker(tmp_path)
    with broker.connect() as connection:
        topic = connection.create_usable_topic("epochs")
    epochs = []
    for count in range(3):
        with broker.connect() as connection:
            epochs.append(connection.metadata([topic]).topics[0].partitions[0].leader_epoch)
            assert connection.produce(topic, {0: simple_batch(b"v")})[0].base_offset == count
            ends = [end_of_epoch(connection, topic, epoch) for epoch in epochs]
            assert ends == list(range(1, count + 2))
        broker.kill()
        broker.start()
    assert epochs == sorted(set(epochs))


def end_of_epoch(connection: object, topic: str, epoch: int) -> int:
    asked = [{"topic": topic, "partitions": [{"partition": 0, "leader_epoch": epoch, "current_leader_epoch": -1}]}]
    answer = connection.call("offset_for_leader_epoch", 4, replica_id=-1, topics=asked)  # type: ignore[attr-defined]
    return int(answer.topics[0].partitions[0].end_offset)
