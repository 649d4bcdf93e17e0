"""DescribeLogDirs, over sockets."""

from pathlib import Path
from typing import Any

import pytest

from tailrace_gateway.kafka.schema.messages.describe_log_dirs import DescribableLogDirTopic, DescribeLogDirsRequest

T0 = 1_700_000_000_000
Sizes = dict[tuple[str, int], int]


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The broker in parts has the default folder, which is relative."""
    (tmp_path / "tailrace-data").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "tailrace-data"


@pytest.fixture
def filled(broker: Any, record_batch: Any) -> Any:
    broker.topic("x", 2)
    broker.topic("y")
    broker.produce("x", record_batch([T0]))
    broker.produce("x", record_batch([T0] * 3))
    return broker


def describe(broker: Any, version: int, topics: dict[str, list[int]] | None) -> tuple[Any, Sizes]:
    """The one folder, and the bytes of the partitions in it."""
    asked = None if topics is None else [DescribableLogDirTopic(topic=n, partitions=p) for n, p in topics.items()]
    response = broker.ask(DescribeLogDirsRequest(topics=asked), version)
    assert response.error_code == 0
    (folder,) = response.results
    sizes: Sizes = {}
    for topic in folder.topics:
        for each in topic.partitions:
            assert (each.offset_lag, each.is_future_key) == (0, False)
            assert (topic.name, each.partition_index) not in sizes
            sizes[topic.name, each.partition_index] = each.partition_size
    return folder, sizes


@pytest.mark.parametrize("version", range(1, 6))
def test_every_partition_is_in_the_data_folder(filled: Any, record_batch: Any, data_folder: Path, version: int) -> None:
    folder, sizes = describe(filled, version, None)
    written = len(record_batch([T0])) + len(record_batch([T0] * 3))
    assert sizes == {("x", 0): written, ("x", 1): 0, ("y", 0): 0}
    assert (folder.error_code, folder.log_dir, folder.is_cordoned) == (0, str(data_folder), False)
    if version >= 4:
        assert 0 < folder.usable_bytes < folder.total_bytes
    else:
        assert (folder.usable_bytes, folder.total_bytes) == (-1, -1)


def test_only_what_is_asked_for_and_there_is_described(filled: Any) -> None:
    assert set(describe(filled, 4, {"x": [1, 7, -1, 1], "missing": [0]})[1]) == {("x", 1)}
    assert describe(filled, 4, {})[1] == {}
    assert describe(filled, 4, {"missing": [0]})[0].topics == []


def test_many_partitions_are_described_in_steps(filled: Any) -> None:
    filled.topic("many", 1_200)
    assert len(describe(filled, 4, None)[1]) == 1_203


def test_what_is_deleted_does_not_count(filled: Any) -> None:
    filled.run(filled.engine.delete_records(filled.engine.partition("x", 0), -1))
    assert describe(filled, 4, {"x": [0]})[1] == {("x", 0): 0}
