"""Apache Kafka's command-line tools: what they print, and what they do to the broker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from clients.members import ConfluentMember
from harness import wire
from harness.batches import Record, make_batch, simple_batch
from harness.groups import Group
from harness.java_tools import Tool, ToolError, run
from harness.process import Broker, poll

SLOW_SECONDS = 60
"""How long something that another request sets off may take to be seen."""


class Tools:
    """The tools against one broker."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    def __call__(self, tool: Tool, *words: str, data: str | None = None) -> str:
        return run(tool, *words, "--bootstrap-server", self._bootstrap, data=data)

    def rows(self, tool: Tool, *words: str) -> list[list[str]]:
        """The cells of a table's rows, without its head."""
        lines = [line.split() for line in self(tool, *words).splitlines() if line.strip()]
        return lines[1:]


@pytest.fixture
def tools(broker: Broker) -> Tools:
    return Tools(broker.bootstrap)


@pytest.fixture
def filled(connection: wire.Connection, topic_name: str) -> str:
    """A topic of two partitions with 5 and 3 records."""
    topic = connection.create_usable_topic(topic_name, 2)
    for partition, count in ((0, 5), (1, 3)):
        batch = simple_batch(*(b"%d" % number for number in range(count)))
        assert connection.produce(topic, {partition: batch})[partition].error_code == 0
    return topic


@pytest.fixture
def group(connection: wire.Connection, filled: str) -> Group:
    """A group without members that has read 2 and 3 records of `filled`."""
    group = Group(connection, filled)
    group.find()
    assert set(group.commit(filled, {0: 2, 1: 3}).values()) == {0}
    return group


def offsets_of(group: Group, topic: str) -> list[int]:
    return [offset for offset, _ in group.fetch({topic: [0, 1]}).values()]


@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_what_the_console_producer_reads_the_console_consumer_prints(
    tools: Tools, connection: wire.Connection, topic: str, codec: str
) -> None:
    properties = ("parse.key=true", "key.separator=:", "parse.headers=true", "null.marker=-")
    words = [word for each in properties for word in ("--reader-property", each)]
    sent = ["h:v,i:w\tk:one", "h:v\tключ:値", "h:v\tk:-"]
    tools(Tool.CONSOLE_PRODUCER, "--topic", topic, "--compression-codec", codec, *words, data="\n".join(sent) + "\n")
    assert connection.end_offset(topic) == len(sent)
    shown = ("print.key=true", "print.headers=true", "print.offset=true", "null.literal=NULL", "key.separator=|")
    printed = tools(
        Tool.CONSOLE_CONSUMER,
        *("--topic", topic, "--from-beginning", "--max-messages", "3", "--timeout-ms", "60000"),
        *(word for each in shown for word in ("--formatter-property", each)),
    )
    assert printed.splitlines() == [
        "Offset:0|h:v,i:w|k|one",
        "Offset:1|h:v|ключ|値",
        "Offset:2|h:v|k|NULL",
    ]


@pytest.mark.full
def test_the_console_consumer_reads_one_partition_from_an_offset(tools: Tools, filled: str) -> None:
    words = ("--topic", filled, "--partition", "0", "--offset", "3", "--max-messages", "2", "--timeout-ms", "60000")
    assert tools(Tool.CONSOLE_CONSUMER, *words).split() == ["3", "4"]


@pytest.mark.full
def test_a_group_of_the_console_consumer_goes_on_where_it_was(
    tools: Tools, connection: wire.Connection, topic: str
) -> None:
    Group(connection, topic).find()
    connection.produce(topic, {0: simple_batch(b"a", b"b", b"c")})
    words = ("--topic", topic, "--group", topic, "--from-beginning", "--timeout-ms", "60000", "--max-messages")
    assert tools(Tool.CONSOLE_CONSUMER, *words, "2").split() == ["a", "b"]
    assert tools(Tool.CONSOLE_CONSUMER, *words, "1").split() == ["c"]


def test_topics_are_created_listed_described_grown_and_deleted(tools: Tools, topic_name: str) -> None:
    named = ("--topic", topic_name)
    created = tools(Tool.TOPICS, "--create", *named, "--partitions", "2", "--config", "retention.ms=3600000")
    assert f"Created topic {topic_name}." in created
    with pytest.raises(ToolError, match="already exists"):
        tools(Tool.TOPICS, "--create", *named)
    assert topic_name in tools(Tool.TOPICS, "--list").split()
    tools(Tool.TOPICS, "--alter", *named, "--partitions", "3")
    poll("the third partition", lambda: "PartitionCount: 3" in tools(Tool.TOPICS, "--describe", *named), timeout=60)
    described = tools(Tool.TOPICS, "--describe", *named)
    assert "ReplicationFactor: 1" in described
    assert "retention.ms=3600000" in described
    assert described.count("Leader: 1\tReplicas: 1\tIsr: 1") == 3
    with pytest.raises(ToolError, match="currently has 3 partition"):
        tools(Tool.TOPICS, "--alter", *named, "--partitions", "2")
    tools(Tool.TOPICS, "--delete", *named)
    poll("it is gone", lambda: topic_name not in tools(Tool.TOPICS, "--list").split(), timeout=60)
    with pytest.raises(ToolError, match="does not exist"):
        tools(Tool.TOPICS, "--describe", *named)


@pytest.mark.full
def test_an_unknown_config_of_a_new_topic_is_named(tools: Tools, topic_name: str) -> None:
    with pytest.raises(ToolError, match=r"(?i)no\.such\.config"):
        tools(Tool.TOPICS, "--create", "--topic", topic_name, "--config", "no.such.config=1")


def _settings(text: str) -> dict[str, str]:
    """name -> value of what kafka-configs prints."""
    pairs = (line.strip().split(" sensitive=")[0] for line in text.splitlines() if " sensitive=" in line)
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


@pytest.mark.full
def test_a_topics_configs_are_altered_and_described(tools: Tools, topic: str) -> None:
    entity = ("--entity-type", "topics", "--entity-name", topic)

    def described(*words: str) -> dict[str, str]:
        return _settings(tools(Tool.CONFIGS, *entity, "--describe", *words))

    tools(Tool.CONFIGS, *entity, "--alter", "--add-config", "retention.ms=7200000,max.message.bytes=2000")
    poll("two configs", lambda: described().get("retention.ms") == "7200000", timeout=SLOW_SECONDS)
    assert described()["max.message.bytes"] == "2000"
    tools(Tool.CONFIGS, *entity, "--alter", "--delete-config", "max.message.bytes")
    poll("the default", lambda: "max.message.bytes" not in described(), timeout=SLOW_SECONDS)
    everything = described("--all")
    assert (everything["max.message.bytes"], everything["retention.ms"]) == ("1048588", "7200000")
    with pytest.raises(ToolError, match=r"retention\.ms"):
        tools(Tool.CONFIGS, *entity, "--alter", "--add-config", "retention.ms=soon")


@pytest.mark.full
def test_configs_of_brokers_and_groups(tools: Tools, topic_name: str) -> None:
    everything = _settings(tools(Tool.CONFIGS, "--entity-type", "brokers", "--entity-name", "1", "--describe", "--all"))
    assert len(everything) >= 300
    default = ("--entity-type", "brokers", "--entity-default")
    tools(Tool.CONFIGS, *default, "--alter", "--add-config", "log.message.timestamp.after.max.ms=3600001")
    try:
        poll(
            "the cluster's default",
            lambda: (
                _settings(tools(Tool.CONFIGS, *default, "--describe")).get("log.message.timestamp.after.max.ms")
                == "3600001"
            ),
            timeout=SLOW_SECONDS,
        )
    finally:
        tools(Tool.CONFIGS, *default, "--alter", "--delete-config", "log.message.timestamp.after.max.ms")
    group = ("--entity-type", "groups", "--entity-name", topic_name)
    tools(Tool.CONFIGS, *group, "--alter", "--add-config", "consumer.session.timeout.ms=46000")
    poll(
        "the group's config",
        lambda: _settings(tools(Tool.CONFIGS, *group, "--describe")).get("consumer.session.timeout.ms") == "46000",
        timeout=SLOW_SECONDS,
    )


def test_groups_are_listed_and_described_with_their_lag(
    tools: Tools, broker: Broker, filled: str, group: Group
) -> None:
    assert [filled, "Empty"] in tools.rows(Tool.CONSUMER_GROUPS, "--list", "--state")
    rows = tools.rows(Tool.CONSUMER_GROUPS, "--describe", "--group", filled)
    assert sorted(row[:6] for row in rows) == [
        [filled, filled, "0", "2", "5", "3"],
        [filled, filled, "1", "3", "3", "0"],
    ]
    with ConfluentMember(broker.bootstrap, filled, filled) as member:
        poll("it has joined", lambda: member.assigned == {0, 1}, timeout=SLOW_SECONDS)
        (state,) = tools.rows(Tool.CONSUMER_GROUPS, "--describe", "--group", filled, "--state")
        assert [state[0], *state[-3:]] == [filled, "range", "Stable", "1"]
        (row,) = tools.rows(Tool.CONSUMER_GROUPS, "--describe", "--group", filled, "--members", "--verbose")
        assert (row[0], row[3]) == (filled, "rdkafka")
        assert f"{filled}:0,1" in row


@pytest.mark.full
def test_offsets_of_a_group_are_reset_and_deleted_and_the_group_too(tools: Tools, filled: str, group: Group) -> None:
    def reset(*how: str, partitions: str = "") -> list[list[str]]:
        named = ("--group", filled, "--topic", filled + partitions)
        return sorted(tools.rows(Tool.CONSUMER_GROUPS, "--reset-offsets", *named, *how))

    expected = [[filled, filled, "0", "0"], [filled, filled, "1", "0"]]
    assert reset("--to-earliest", "--dry-run") == expected
    assert offsets_of(group, filled) == [2, 3]
    assert reset("--to-earliest", "--execute") == expected
    assert offsets_of(group, filled) == [0, 0]
    for how, found in (
        (("--to-latest",), [5, 3]),
        (("--shift-by", "-2"), [3, 1]),
        (("--to-offset", "1"), [1, 1]),
        (("--to-datetime", "2001-01-01T00:00:00.000"), [0, 0]),
    ):
        reset(*how, "--execute")
        assert offsets_of(group, filled) == found, how
    reset("--to-offset", "2", "--execute", partitions=":1")
    assert offsets_of(group, filled) == [0, 2]
    tools(Tool.CONSUMER_GROUPS, "--delete-offsets", "--group", filled, "--topic", f"{filled}:0")
    assert offsets_of(group, filled) == [-1, 2]
    tools(Tool.CONSUMER_GROUPS, "--delete", "--group", filled)
    assert filled not in tools(Tool.CONSUMER_GROUPS, "--list").split()
    assert "GroupIdNotFoundException" in tools(Tool.CONSUMER_GROUPS, "--delete", "--group", filled)


@pytest.mark.full
def test_offsets_are_got_by_place_and_by_time(tools: Tools, connection: wire.Connection, topic: str) -> None:
    base = Record(None).timestamp
    connection.produce(topic, {0: make_batch([Record(b"v", timestamp=base + step) for step in (0, 20, 10)])})
    for time, offset in (("latest", 3), ("earliest", 0), ("max-timestamp", 1), (str(base + 11), 1), (str(base + 1), 1)):
        assert tools(Tool.GET_OFFSETS, "--topic", topic, "--time", time).split() == [f"{topic}:0:{offset}"], time


@pytest.mark.full
def test_records_are_deleted_up_to_an_offset(
    tools: Tools, connection: wire.Connection, filled: str, tmp_path: Path
) -> None:
    asked = [{"topic": filled, "partition": 0, "offset": 4}, {"topic": filled, "partition": 1, "offset": -1}]
    (tmp_path / "offsets.json").write_text(json.dumps({"version": 1, "partitions": asked}))
    printed = tools(Tool.DELETE_RECORDS, "--offset-json-file", str(tmp_path / "offsets.json"))
    assert {f"partition: {filled}-0\tlow_watermark: 4", f"partition: {filled}-1\tlow_watermark: 3"} <= set(
        printed.splitlines()
    )
    assert [connection.list_offset(filled, partition, -2).offset for partition in (0, 1)] == [4, 3]


@pytest.mark.full
def test_log_dirs_say_the_size_of_each_partition(tools: Tools, filled: str) -> None:
    printed = tools(Tool.LOG_DIRS, "--describe", "--topic-list", filled).splitlines()[-1]
    (described,) = json.loads(printed)["brokers"]
    found = {each["partition"]: each for folder in described["logDirs"] for each in folder["partitions"]}
    assert set(found) == {f"{filled}-0", f"{filled}-1"}
    assert found[f"{filled}-0"]["size"] > found[f"{filled}-1"]["size"] > 0
    assert not any(each["isFuture"] for each in found.values())


@pytest.mark.full
def test_the_cluster_tells_its_id_and_its_brokers(tools: Tools, broker: Broker, connection: wire.Connection) -> None:
    cluster_id = connection.metadata([]).cluster_id
    assert tools(Tool.CLUSTER, "cluster-id").strip() == f"Cluster ID: {cluster_id}"
    ((node, host, port, *_),) = tools.rows(Tool.CLUSTER, "list-endpoints")
    assert (node, f"{host}:{port}") == ("1", broker.bootstrap)


@pytest.mark.full
def test_the_versions_of_all_apis_are_usable(tools: Tools, broker: Broker) -> None:
    printed = tools(Tool.BROKER_API_VERSIONS)
    assert printed.startswith(f"{broker.bootstrap} (id: 1 rack: null")
    for name in (
        "Produce(0)",
        "Fetch(1)",
        "Metadata(3)",
        "OffsetCommit(8)",
        "JoinGroup(11)",
        "IncrementalAlterConfigs(44)",
    ):
        (line,) = [line for line in printed.splitlines() if line.strip().startswith(f"{name}:")]
        assert "usable: " in line, line
