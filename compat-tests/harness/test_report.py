"""The rendered matrix is that of the kept outcomes, and every test that it names exists."""

from __future__ import annotations

import json

import pytest

from harness import report


def test_the_matrix_is_rendered_from_the_kept_outcomes() -> None:
    assert report.MATRIX.read_text() == report.render(json.loads(report.OUTCOMES.read_text()))


def test_every_test_that_a_feature_names_exists() -> None:
    sources = "".join(path.read_text() for path in report.FOLDER.glob("*/test_*.py"))
    for tests in report.FEATURES.values():
        for test in tests:
            assert f"def {test}(" in sources, test


@pytest.mark.parametrize(
    ("node_id", "client"),
    [
        ("clients/test_admin.py::test_kcat_lists_topics_and_partitions", "kcat"),
        ("clients/test_configs.py::test_the_brokers_configs_are_described[KafkaPython]", "kafka-python"),
        ("clients/test_groups.py::test_the_work_is_shared[range-kafka-python]", "kafka-python"),
        ("clients/test_groups.py::test_members_seek[aiokafka]", "aiokafka"),
        ("clients/test_programs.py::test_members_share[java-range]", "Java client"),
        ("clients/test_configs.py::test_librdkafka_appends_to_lists_and_deletes", "confluent-kafka"),
        ("java-tools/test_tools.py::test_log_dirs", "Kafka's tools"),
        ("protocol/test_fetch.py::test_a_fetch[3]", None),
    ],
)
def test_a_tests_id_names_its_client(node_id: str, client: str | None) -> None:
    assert report.client_of(node_id) == client


def test_a_cell_counts_what_passed_of_what_ran() -> None:
    name = "test_an_offset_is_found_by_time"
    outcomes = {f"x::{name}[kafkajs]": "passed", f"x::{name}[sarama]": "failed", f"x::{name}[kcat]": "skipped"}
    rendered = report.render({"date": "d", "commit": "c", "versions": {"sarama": "v1"}, "outcomes": outcomes})
    (row,) = [line for line in rendered.splitlines() if line.startswith("| offsets by time |")]
    assert row == "| offsets by time |  |  |  |  | yes (1) | **0 of 1** |  |  |  |"
    assert "| sarama v1 |" in rendered
