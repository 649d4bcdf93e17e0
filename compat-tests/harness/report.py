"""MATRIX.md: which client was seen doing what, rendered from the outcomes of one run of the tests.

    python -m pytest --outcomes ../docs/compat.json       # a full run writes the outcomes
    python harness/report.py                              # renders MATRIX.md from them

A test's id says the client, and FEATURES says the feature. A cell counts the tests that passed and those that ran.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).resolve().parents[1]
OUTCOMES = FOLDER.parent / "docs" / "compat.json"
MATRIX = FOLDER / "MATRIX.md"


class Client(NamedTuple):
    name: str
    words: tuple[str, ...]
    """A test is this client's when its parameters, or else its path, hold one of them."""


CLIENTS = (
    Client("kcat", ("kcat",)),
    Client("confluent-kafka", ("confluent-kafka", "Confluent", "librdkafka_appends")),
    Client("aiokafka", ("aiokafka", "Aiokafka")),
    Client("kafka-python", ("kafka-python", "KafkaPython")),
    Client("kafkajs", ("kafkajs",)),
    Client("sarama", ("sarama",)),
    Client("franz-go", ("franz-go",)),
    Client("Java client", ("java",)),
    Client("Kafka's tools", ("java-tools/",)),
)

FEATURES: dict[str, tuple[str, ...]] = {
    "produce, and read what every client wrote": (
        "test_every_client_reads_what_all_clients_wrote",
        "test_files_are_sent_whole_and_printed_as_json",
        "test_what_the_console_producer_reads_the_console_consumer_prints",
    ),
    "all codecs; headers, nulls, timestamps": ("test_records_of_every_codec_are_stored_as_sent_and_read_back",),
    "acks 0, 1, all": ("test_all_records_arrive_with_every_kind_of_acks",),
    "idempotence": ("test_an_idempotent_producer_leaves_its_id_and_sequences_in_the_log",),
    "records of 900 KB": ("test_a_record_of_900_kb_is_read_back_whole",),
    "a batch that is too large": ("test_a_batch_over_max_message_bytes_is_refused_and_the_next_one_taken",),
    "LogAppendTime": ("test_log_append_time_replaces_the_producers_time",),
    "auto-creation": ("test_producing_to_an_unknown_topic_creates_it",),
    "reading from an offset": (
        "test_consuming_starts_in_the_middle_of_a_batch",
        "test_a_window_of_offsets_is_read",
        "test_the_console_consumer_reads_one_partition_from_an_offset",
    ),
    "offsets by time": (
        "test_an_offset_is_found_by_time",
        "test_a_window_of_time_is_read",
        "test_offsets_are_got_by_place_and_by_time",
    ),
    "groups: sharing, rebalance, leaving": (
        "test_the_work_is_shared_as_members_come_and_go",
        "test_members_share_the_work_and_go_on_from_what_was_committed",
        "test_balanced_consumers_share_a_topic_commit_and_hand_over",
    ),
    "groups: commit and go on": (
        "test_a_member_goes_on_where_the_last_one_had_committed",
        "test_members_share_the_work_and_go_on_from_what_was_committed",
        "test_balanced_consumers_share_a_topic_commit_and_hand_over",
        "test_a_group_of_the_console_consumer_goes_on_where_it_was",
    ),
    "groups: seek": ("test_members_seek", "test_members_of_programs_seek"),
    "groups: static members": (
        "test_a_static_member_that_comes_back_disturbs_nobody",
        "test_a_static_member_that_comes_back_has_its_share",
    ),
    "groups: a killed broker": ("test_members_go_on_after_the_broker_was_killed",),
    "groups: listed, described, offsets set, deleted": (
        "test_offsets_of_a_group_are_set_read_and_deleted",
        "test_groups_are_listed_and_described_with_their_lag",
        "test_offsets_of_a_group_are_reset_and_deleted_and_the_group_too",
    ),
    "topics: create, grow, delete": (
        "test_a_topic_is_created_grown_and_deleted",
        "test_creating_a_topic_twice_is_an_error",
        "test_an_unknown_config_is_an_error",
        "test_topics_are_created_listed_described_grown_and_deleted",
        "test_an_unknown_config_of_a_new_topic_is_named",
    ),
    "listing": ("test_kcat_lists_topics_and_partitions", "test_the_metadata_is_listed_as_json"),
    "configs: describe, alter": (
        "test_a_topics_configs_are_described_and_altered",
        "test_a_value_that_is_not_allowed_is_an_error",
        "test_the_brokers_configs_are_described",
        "test_librdkafka_appends_to_lists_and_deletes",
        "test_the_configs_of_a_topic_are_read_and_changed",
        "test_a_topics_configs_are_altered_and_described",
        "test_configs_of_brokers_and_groups",
    ),
    "deleting records": ("test_records_are_deleted_up_to_an_offset",),
    "log dirs, cluster, API versions": (
        "test_log_dirs_say_the_size_of_each_partition",
        "test_the_cluster_tells_its_id_and_its_brokers",
        "test_the_versions_of_all_apis_are_usable",
    ),
}
SUITES = (("librdkafka", "librdkafka/tests.all"), ("kafka-python", None))


def client_of(node_id: str) -> str | None:
    """The client whose test this is."""
    path, _, rest = node_id.partition("::")
    name, _, parameters = rest.partition("[")
    for text in (parameters, name, path):
        found = [
            (len(word), client.name)
            for client in CLIENTS
            for word in client.words
            if re.search(rf"(?<![a-z]){re.escape(word)}", text)
        ]
        if found:
            return max(found)[1]
    return None


def feature_tests(node_id: str) -> list[str]:
    """The features that this test shows."""
    name = node_id.partition("::")[2].partition("[")[0]
    return [feature for feature, tests in FEATURES.items() if name in tests]


def belongs(node_id: str) -> bool:
    """Whether the matrix counts this test."""
    return bool(feature_tests(node_id)) and client_of(node_id) is not None


def listed(path: Path) -> int:
    """How many tests a list names."""
    return sum(bool(line.partition("#")[0].strip()) for line in path.read_text().splitlines())


def render(kept: Mapping[str, Any]) -> str:
    """The text of MATRIX.md."""
    counts: dict[tuple[str, str], list[int]] = {}
    for node_id, outcome in kept["outcomes"].items():
        client = client_of(node_id)
        assert client is not None, node_id
        for feature in feature_tests(node_id):
            passed_and_ran = counts.setdefault((feature, client), [0, 0])
            passed_and_ran[0] += outcome == "passed"
            passed_and_ran[1] += outcome != "skipped"

    def cell(feature: str, client: str) -> str:
        passed, ran = counts.get((feature, client), (0, 0))
        if not ran:
            return ""
        return f"yes ({ran})" if passed == ran else f"**{passed} of {ran}**"

    heads = [f"{client.name} {kept['versions'].get(client.name, '')}".strip() for client in CLIENTS]
    lines = [
        "# What each client was seen doing",
        "",
        f"Rendered by `harness/report.py` from `docs/compat.json`: the run of {kept['date']} at {kept['commit']}.",
        "A cell says that all its tests passed, and how many they are; an empty one has no test. `make compat-full`",
        "makes it anew.",
        "",
        f"| | {' | '.join(heads)} |",
        f"|---|{'---|' * len(heads)}",
        *(f"| {feature} | {' | '.join(cell(feature, client.name) for client in CLIENTS)} |" for feature in FEATURES),
        "",
        "| the clients' own tests | pass | why not the others |",
        "|---|---|---|",
    ]
    for name, everything in SUITES:
        passing = str(listed(FOLDER / name / "tests.allow"))
        if everything is not None:
            passing += f" of {listed(FOLDER / everything)}"
        lines.append(f"| [{name}]({name}/README.md) | {passing} | [FINDINGS]({name}/FINDINGS.md) |")
    return "\n".join(lines) + "\n"


def main() -> None:
    MATRIX.write_text(render(json.loads(OUTCOMES.read_text())))


if __name__ == "__main__":
    sys.exit(main())
