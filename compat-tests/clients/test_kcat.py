"""kcat at work: balanced consumers, windows of offsets and of time, listings."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from harness import wire
from harness.batches import Record, make_batch, simple_batch
from harness.groups import Group
from harness.process import Broker, poll

TIMEOUT = 60
PARTITIONS = 4
RECORDS = 10
"""Of each partition."""


def kcat(broker: Broker, *words: str, data: str = "") -> str:
    command = ["kcat", "-b", broker.bootstrap, *words]
    done = subprocess.run(command, input=data, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def topic(connection: wire.Connection, topic_name: str) -> str:
    """A topic with the same records in each partition."""
    topic = connection.create_usable_topic(topic_name, PARTITIONS)
    batch = simple_batch(*(b"%d" % number for number in range(RECORDS)))
    connection.produce(topic, dict.fromkeys(range(PARTITIONS), batch))
    return topic


@contextmanager
def balanced(broker: Broker, group: str, topic: str, folder: Path, name: str) -> Iterator[Path]:
    """A kcat in a group, and the file that it prints into; see `seen`. It ends as a user ends it, with a commit."""
    output = folder / name
    settings = ("auto.offset.reset=earliest", "heartbeat.interval.ms=300")
    words = ["-G", group, "-u", "-f", "%p %o\\n", *(word for setting in settings for word in ("-X", setting))]
    with output.open("wb") as sink:
        process = subprocess.Popen(
            ["kcat", "-b", broker.bootstrap, *words, topic], stdout=sink, stderr=subprocess.DEVNULL
        )
    try:
        yield output
    finally:
        process.terminate()
        assert process.wait(TIMEOUT) == 0


def seen(output: Path) -> list[tuple[int, int]]:
    """(partition, offset) of all that it has read, sorted."""
    lines = output.read_text().splitlines(keepends=True)
    pairs = (line.split() for line in lines if line.endswith("\n"))
    return sorted((int(partition), int(offset)) for partition, offset in pairs)


def test_balanced_consumers_share_a_topic_commit_and_hand_over(
    broker: Broker, connection: wire.Connection, topic: str, tmp_path: Path
) -> None:
    group = Group(connection, topic)
    group.find()

    def is_committed(end: int) -> bool:
        """What is not committed when the members change is read twice. kcat commits every five seconds."""
        return {offset for offset, _ in group.fetch({topic: range(PARTITIONS)}).values()} == {end}

    everything = [(partition, offset) for partition in range(PARTITIONS) for offset in range(RECORDS)]
    with balanced(broker, topic, topic, tmp_path, "first") as first:
        poll("everything is read", lambda: seen(first) == everything, timeout=TIMEOUT)
        poll("and committed", lambda: is_committed(RECORDS), timeout=TIMEOUT)
        with balanced(broker, topic, topic, tmp_path, "second") as second:
            poll(
                "two members", lambda: (group.state(), len(group.describe().members)) == ("Stable", 2), timeout=TIMEOUT
            )
            connection.produce(topic, dict.fromkeys(range(PARTITIONS), simple_batch(b"new")))
            poll("it is read and committed", lambda: is_committed(RECORDS + 1), timeout=TIMEOUT)
            poll("and printed", lambda: len(seen(second)) == PARTITIONS // 2, timeout=TIMEOUT)
        poll("one member", lambda: (group.state(), len(group.describe().members)) == ("Stable", 1), timeout=TIMEOUT)
        connection.produce(topic, dict.fromkeys(range(PARTITIONS), simple_batch(b"newer")))
        poll(
            "the one that stays reads everything",
            lambda: {(partition, RECORDS + 1) for partition in range(PARTITIONS)} <= set(seen(first)),
            timeout=TIMEOUT,
        )
    assert is_committed(RECORDS + 2)
    together = seen(first) + seen(second)
    assert sorted(together) == [(partition, offset) for partition in range(PARTITIONS) for offset in range(RECORDS + 2)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("-o", "beginning", "-c", "2"), [0, 1]),
        (("-o", "7"), [7, 8, 9]),
        (("-o", "-3"), [7, 8, 9]),
        (("-o", "4", "-c", "2"), [4, 5]),
        (("-o", "end"), []),
    ],
)
def test_a_window_of_offsets_is_read(broker: Broker, topic: str, words: tuple[str, ...], expected: list[int]) -> None:
    printed = kcat(broker, "-C", "-t", topic, "-p", "1", "-e", "-q", "-f", "%o %s\\n", *words)
    assert printed.splitlines() == [f"{offset} {offset}" for offset in expected]


def test_a_window_of_time_is_read(broker: Broker, connection: wire.Connection, topic_name: str) -> None:
    topic = connection.create_usable_topic(topic_name)
    base = Record(None).timestamp
    connection.produce(topic, {0: make_batch([Record(b"%d" % at, timestamp=base + 10 * at) for at in range(8)])})
    words = ("-C", "-t", topic, "-q", "-e", "-f", "%s %T\\n", "-o", f"s@{base + 15}", "-o", f"e@{base + 50}")
    assert kcat(broker, *words).splitlines() == [f"{at} {base + 10 * at}" for at in (2, 3, 4)]


def test_the_metadata_is_listed_as_json(broker: Broker, topic: str) -> None:
    listed = json.loads(kcat(broker, "-L", "-J", "-t", topic))
    (described,) = listed["topics"]
    assert described["topic"] == topic
    assert [each["partition"] for each in described["partitions"]] == list(range(PARTITIONS))
    assert {each["leader"] for each in described["partitions"]} == {listed["controllerid"]}
    assert broker.bootstrap in {each["name"] for each in listed["brokers"]}


def test_files_are_sent_whole_and_printed_as_json(
    broker: Broker, connection: wire.Connection, topic_name: str, tmp_path: Path
) -> None:
    topic = connection.create_usable_topic(topic_name)
    files = []
    for name, content in (("one", "a\nb\n"), ("two", "{}")):
        (tmp_path / name).write_text(content)
        files.append(str(tmp_path / name))
    kcat(broker, "-P", "-t", topic, "-k", "key", "-H", "h=v", *files)
    lines = kcat(broker, "-C", "-t", topic, "-e", "-q", "-J").splitlines()
    found = [json.loads(line) for line in lines]
    assert sorted(each["payload"] for each in found) == ["a\nb\n", "{}"]
    assert {(each["key"], tuple(each["headers"])) for each in found} == {("key", ("h", "v"))}
