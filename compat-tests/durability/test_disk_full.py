"""The disk fills up under load: an error that clients retry, reads that go on, and a recovery once there is room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from durability.image import make_image, mounted, require_loop_devices
from harness import wire
from harness.batches import simple_batch
from harness.process import Broker, Setting

MIB = 1 << 20
DISK_BYTES = 320 * MIB
"""Room for a few WAL segments of 64 MiB."""
VALUE = b"x" * 900_000


def test_a_full_disk_is_a_retriable_error_and_no_acknowledged_record_is_lost(
    start_broker: Callable[..., Broker], tmp_path: Path, system: str
) -> None:
    if system != "tailrace":
        pytest.skip("Apache Kafka ends its process when its only disk is full")
    require_loop_devices()
    with mounted(make_image(tmp_path / "disk.img", DISK_BYTES), tmp_path / "disk") as disk:
        held_back = {Setting.UPLOAD_BYTES: 1 << 30, Setting.UPLOAD_INTERVAL_MS: 3_600_000}
        filler = disk / "filler"
        filler.write_bytes(bytes(64 * MIB))
        broker = start_broker(tmp_path, held_back, data_dir=disk / "data")
        try:
            with broker.connect(timeout=30) as connection:
                topic = connection.create_usable_topic("full")
                acknowledged = fill(connection, topic)
                assert count(connection, topic) >= acknowledged, "reads go on"
            assert broker.is_alive()
            broker.kill()
            filler.unlink()
            broker.start()
            with broker.connect() as connection:
                assert count(connection, topic) >= acknowledged
                assert connection.produce(topic, {0: simple_batch(b"goes on")})[0].error_code == 0
        finally:
            broker.close()


def fill(connection: wire.Connection, topic: str) -> int:
    """Produce until it fails, retriably; how many batches were acknowledged."""
    batch = simple_batch(VALUE)
    for number in range(DISK_BYTES // len(batch)):
        answer = connection.produce(topic, {0: batch})[0]
        if answer.error_code != 0:
            assert answer.error_code.retriable, answer
            return number
        assert answer.base_offset == number
    raise AssertionError("more was acknowledged than the disk can hold")


def count(connection: wire.Connection, topic: str) -> int:
    batches = connection.read_all(topic)
    assert all(record.value == VALUE for batch in batches for record in batch.records())
    assert [batch.base_offset for batch in batches] == list(range(len(batches)))
    return len(batches)
