"""`tailrace admin` against a running `tailrace serve`, as people and scripts use it."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import confluent_kafka
import pytest
from harness.batches import simple_batch
from harness.process import Broker, free_port, poll
from harness.tailrace import PACKAGES, Tailrace, default_command

SECONDS_MAX = 60


class Command:
    """The program, told where the broker is by TAILRACE_ADMIN_URL."""

    def __init__(self, broker: Tailrace, folder: Path) -> None:
        self.broker = broker
        self.url = f"http://127.0.0.1:{broker.http_port}"
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, PACKAGES)),
            "TAILRACE_ADMIN_URL": self.url,
        }
        self.program = folder / "bin" / "tailrace"
        self.program.parent.mkdir()
        self.program.write_text(f'#!/bin/sh\nexec {" ".join(default_command())} "$@"\n')
        self.program.chmod(0o755)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [self.program, "admin", *words]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=SECONDS_MAX)

    def done(self, *words: str) -> str:
        """What it says on standard output; it must succeed."""
        done = self.run(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def json(self, *words: str) -> Any:
        return json.loads(self.done(*words, "--json"))

    def refused(self, status: int, *words: str) -> str:
        """What it says on standard error; it must end with this status and say nothing else."""
        done = self.run(*words)
        assert (done.returncode, done.stdout) == (status, ""), done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr

    def on_terminal(self, answer: str, *words: str) -> tuple[int, str]:
        """Exit status and all output on a terminal, where a question is answered with this line."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [self.program, "admin", *words], stdin=theirs, stdout=theirs, stderr=theirs, env=self.environment
        )
        os.close(theirs)
        output, is_answered = b"", False
        deadline = time.monotonic() + SECONDS_MAX
        while time.monotonic() < deadline:
            if select.select([ours], [], [], 1)[0]:
                try:
                    came = os.read(ours, 4096)
                except OSError:  # the other end is closed
                    break
                output += came
                if b"[y/N]" in output and not is_answered:
                    is_answered = True
                    os.write(ours, f"{answer}\n".encode())
        os.close(ours)
        return process.wait(SECONDS_MAX), output.decode()


@pytest.fixture(scope="module")
def command(
    system: str, start_broker: Callable[..., Broker], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Command]:
    if system != "tailrace":
        pytest.skip("about Tailrace's own command")
    folder = tmp_path_factory.mktemp("admin")
    broker = start_broker(folder)
    assert isinstance(broker, Tailrace)
    yield Command(broker, folder)
    broker.close()


def produce(command: Command, topic: str, count: int) -> None:
    with command.broker.connect() as connection:
        assert connection.produce(topic, {0: simple_batch(*[b"v"] * count)})[0].error_code == 0


class Consumer:
    """An ordinary consumer of one topic."""

    def __init__(self, command: Command, group: str, topic: str) -> None:
        self._consumer = confluent_kafka.Consumer(
            {
                "bootstrap.servers": command.broker.bootstrap,
                "group.id": group,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
            }
        )
        self._consumer.subscribe([topic])

    def read(self, count: int) -> list[int]:
        """The offsets of the next records."""
        found: list[int] = []

        def more() -> bool:
            message = self._consumer.poll(0.1)
            if message is not None and message.error() is None:
                found.append(message.offset())
            return len(found) >= count

        poll(f"{count} records", more, timeout=SECONDS_MAX)
        return found

    def commit(self) -> None:
        self._consumer.commit(asynchronous=False)

    def close(self) -> None:
        self._consumer.close()


def test_a_topic_from_its_creation_to_its_deletion(command: Command) -> None:
    assert command.done("topics", "create", "life", "--partitions", "2", "--config", "retention.ms=5000") == (
        "life made with 2 partitions\n"
    )
    assert command.done("topics", "add-partitions", "life", "--total", "3") == "life has 3 partitions\n"
    produce(command, "life", 7)
    listed = command.done("topics", "list").splitlines()
    assert listed[0].split() == ["TOPIC", "PARTITIONS", "REPLICAS", "SIZE"]
    assert any(line.split()[:3] == ["life", "3", "1"] for line in listed)
    described = command.done("topics", "describe", "life").splitlines()
    assert "7 offsets" in described[0]
    assert "retention.ms=5000" in described[1]
    assert described[3].split()[:5] == ["0", "1", "0", "0", "7"]
    assert "5" in command.done("topics", "delete-records", "life", "--before", "0=5")
    assert command.json("topics", "describe", "life")["partitions"][0]["log_start_offset"] == 5
    command.done("topics", "delete-records", "life", "--all")
    assert command.json("topics", "describe", "life")["partitions"][0]["log_start_offset"] == 7
    assert command.done("topics", "delete", "life") == "life deleted\n"
    assert "life" not in command.done("topics", "list")


@pytest.mark.parametrize(
    ("words", "path"),
    [
        (("topics", "list", "--internal"), "/v1/topics"),
        (("topics", "describe", "same"), "/v1/topics/same"),
        (("groups", "list"), "/v1/groups"),
        (("groups", "describe", "same"), "/v1/groups/same"),
        (("configs", "list"), "/v1/configs"),
        (("configs", "describe", "topics", "same", "--all"), "/v1/configs/topics/same"),
        (("configs", "describe", "brokers", "1", "--all"), "/v1/configs/brokers/1"),
        (("brokers", "list"), "/v1/brokers"),
    ],
)
def test_json_is_what_the_api_answers(command: Command, words: tuple[str, ...], path: str) -> None:
    if command.run("topics", "create", "same").returncode == 0:
        command.done("groups", "reset-offsets", "same", "--to-latest", "--topic", "same")
    assert command.json(*words) == json.loads(command.broker.http(path))


def test_groups_with_a_consumer_and_without(command: Command) -> None:
    command.done("topics", "create", "read")
    produce(command, "read", 10)
    consumer = Consumer(command, "readers", "read")
    assert consumer.read(10) == list(range(10))
    consumer.commit()
    produce(command, "read", 4)
    group = command.json("groups", "describe", "readers")
    assert (group["state"], group["lag"]) == ("Stable", 4)
    (member,) = group["members"]
    assert member["assignment"] == [{"topic": "read", "partitions": [0]}]
    text = command.done("groups", "describe", "readers")
    assert text.splitlines()[2].split()[:6] == ["read", "0", "10", "14", "4", member["member_id"]]
    assert "read:0" in command.done("groups", "describe", "readers", "--members")
    assert command.done("groups", "lag", "readers").splitlines()[1].split() == ["readers", "Stable", "read", "4"]
    lags = {one["group_id"]: one["topics"] for one in command.json("groups", "lag")["groups"]}
    assert lags["readers"] == {"read": 4}

    said = command.refused(1, "groups", "reset-offsets", "readers", "--to-earliest")
    assert said.startswith("tailrace admin: NON_EMPTY_GROUP: group 'readers' is Stable with 1 members")
    assert "NON_EMPTY_GROUP" in command.refused(1, "groups", "delete", "readers")
    consumer.close()

    def is_empty() -> bool:
        return bool(command.json("groups", "describe", "readers")["state"] == "Empty")

    poll("the consumer has left", is_empty)
    dry = command.json("groups", "reset-offsets", "readers", "--shift-by", "-3", "--dry-run")
    assert dry["offsets"] == [
        {"topic": "read", "partition": 0, "previous_offset": 10, "new_offset": 7, "is_clamped": False}
    ]
    assert command.json("groups", "describe", "readers")["lag"] == 4
    command.done("groups", "reset-offsets", "readers", "--shift-by", "-3", "--topic", "read:0")
    again = Consumer(command, "readers", "read")
    assert again.read(7) == list(range(7, 14))
    again.close()
    poll("the consumer has left", is_empty)
    command.done("groups", "delete-offsets", "readers", "--topic", "read")
    assert command.json("groups", "describe", "readers")["offsets"] == []
    assert command.done("groups", "delete", "readers") == "readers deleted\n"


def test_configs_are_changed_and_their_sources_told(command: Command) -> None:
    command.done("topics", "create", "conf")
    changed = command.done(
        "topics", "alter", "conf", "--set", "retention.ms=7000", "--append", "cleanup.policy=compact"
    )
    assert "DYNAMIC_TOPIC_CONFIG" in changed
    text = command.done("configs", "describe", "topics", "conf")
    assert [line.split()[:2] for line in text.splitlines()[1:]] == [
        ["cleanup.policy", "delete,compact"],
        ["retention.ms", "7000"],
    ]
    docs = command.done("configs", "describe", "topics", "conf", "retention.ms", "--docs")
    assert "DYNAMIC_TOPIC_CONFIG: retention.ms=7000" in docs
    command.done("configs", "alter", "topics", "conf", "--delete", "retention.ms", "--dry-run")
    assert "7000" in command.done("configs", "describe", "topics", "conf")
    command.done("configs", "alter", "brokers", "default", "--set", "log.retention.ms=99000")
    command.done("configs", "alter", "topics", "conf", "--delete", "retention.ms")
    (entry,) = command.json("configs", "describe", "topics", "conf", "retention.ms")["configs"]
    assert (entry["value"], entry["source"]) == ("99000", "DYNAMIC_DEFAULT_BROKER_CONFIG")
    command.done("configs", "alter", "brokers", "default", "--delete", "log.retention.ms")


def test_a_broker_tells_its_health_and_storage(command: Command) -> None:
    assert f"PLAINTEXT://{command.broker.bootstrap}" in command.done("brokers", "list")
    text = command.done("brokers", "describe")
    assert str(command.broker.data_dir) in text
    assert command.json("brokers", "describe", "1")["is_ready"] is True


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("topics", "describe", "nearbye"),
            "UNKNOWN_TOPIC_OR_PARTITION: there is no topic 'nearbye'; did you mean 'nearby'?",
        ),
        (("topics", "delete", "nearbye"), "did you mean 'nearby'?"),
        (("topics", "create", "nearby"), "TOPIC_ALREADY_EXISTS"),
        (("topics", "create", "x", "--partitions", "0"), "INVALID_PARTITIONS"),
        (("topics", "create", "../x"), "INVALID_TOPIC_EXCEPTION"),
        (("topics", "alter", "nearby", "--set", "retention.mss=1"), "did you mean 'retention.ms'"),
        (("configs", "alter", "brokers", "default", "--set", "log.retention.mss=1"), "did you mean 'log.retention.ms'"),
        (("configs", "alter", "brokers", "1", "--set", "node.id=4"), "node.id"),
        (("configs", "describe", "topics", "nearby", "retention"), "did you mean"),
        (("groups", "describe", "nobody"), "GROUP_ID_NOT_FOUND"),
        (("groups", "reset-offsets", "g", "--to-latest", "--topic", "nearbye"), "did you mean 'nearby'?"),
        (("brokers", "describe", "9"), "BROKER_ID_NOT_REGISTERED: there is no broker '9'; allowed: 1"),
    ],
)
def test_a_refusal_ends_with_1_and_says_what_is_allowed(command: Command, words: tuple[str, ...], said: str) -> None:
    command.run("topics", "create", "nearby")
    assert said in command.refused(1, *words)


def test_an_error_of_one_partition_is_told_beside_the_others(command: Command) -> None:
    command.done("topics", "create", "partly")
    done = command.run("topics", "delete-records", "partly", "--before", "0=0", "--before", "4=0")
    assert done.returncode == 1
    assert "there is no partition 4" in done.stdout


def test_wrong_words_end_with_2_and_no_broker_with_3(command: Command) -> None:
    assert "choose from" in command.refused(2, "topics", "destroy")
    nobody = f"http://127.0.0.1:{free_port()}"
    assert nobody in command.refused(3, "topics", "list", "--url", nobody)
    kafka = f"http://{command.broker.bootstrap}"
    assert "tailrace admin: " in command.refused(3, "topics", "list", "--url", kafka)


def test_what_cannot_be_undone_is_asked_about_on_a_terminal(command: Command) -> None:
    command.done("topics", "create", "kept")
    status, text = command.on_terminal("n", "topics", "delete", "kept")
    assert status == 2
    assert "Delete kept with all records? [y/N]" in text
    assert "kept" in command.done("topics", "list")
    status, text = command.on_terminal("", "topics", "delete", "kept", "--yes")
    assert (status, "[y/N]" in text) == (0, False)
    command.done("topics", "create", "kept")
    assert command.on_terminal("y", "topics", "delete", "kept")[0] == 0
    assert "kept" not in command.done("topics", "list")


def test_colour_is_on_terminals_alone(command: Command) -> None:
    assert "\033[" in command.on_terminal("", "brokers", "list")[1]
    assert "\033[" not in command.done("brokers", "list")


def test_a_reader_that_has_seen_enough_is_no_error(command: Command) -> None:
    line = f"'{command.program}' admin configs describe brokers 1 --all --docs | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], env=command.environment, capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "0"


def complete_in_bash(command: Command, *words: str) -> list[str]:
    """What bash offers for the last word."""
    script = f"""
source <('{command.program}' admin completion bash)
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*"
_tailrace
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    line = ["bash", "-c", script, "bash", str(command.program), *words]
    done = subprocess.run(line, env=command.environment, capture_output=True, text=True, timeout=SECONDS_MAX)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split("\n")[:-1]


def test_bash_completes_words_and_the_names_that_there_are(command: Command) -> None:
    for topic in ("orders-eu", "orders-us"):
        command.run("topics", "create", topic)
    command.done("groups", "reset-offsets", "a group", "--to-latest", "--topic", "orders-eu")
    assert complete_in_bash(command, "a") == ["admin"]
    assert complete_in_bash(command, "admin", "t") == ["topics"]
    assert "reset-offsets" in complete_in_bash(command, "admin", "groups", "")
    assert complete_in_bash(command, "admin", "groups", "reset-offsets", "--to-e") == ["--to-earliest"]
    assert complete_in_bash(command, "admin", "topics", "describe", "orders-") == ["orders-eu", "orders-us"]
    assert complete_in_bash(command, "admin", "topics", "describe", "orders-eu", "orders-u") == ["orders-us"]
    assert complete_in_bash(command, "admin", "groups", "describe", "a") == ["a\\ group"]
    topic = ("admin", "groups", "reset-offsets", "g", "--topic")
    assert complete_in_bash(command, *topic, "orders-e") == ["orders-eu"]
    assert complete_in_bash(command, "admin", "configs", "describe", "cl") == ["client-metrics"]
    assert complete_in_bash(command, "admin", "configs", "describe", "topics", "orders-e") == ["orders-eu"]
    assert complete_in_bash(command, "admin", "configs", "describe", "brokers", "1") == ["1"]
    nobody = f"http://127.0.0.1:{free_port()}"
    assert complete_in_bash(command, "admin", "topics", "describe", "--url", nobody, "orders-") == [""]


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes_words_and_the_names_that_there_are(command: Command) -> None:
    command.run("topics", "create", "orders-eu")
    path = f"{command.program.parent}{os.pathsep}{command.environment['PATH']}"
    for line, expected in (
        ("tailrace admin to", ["topics"]),
        ("tailrace admin topics describe orders-e", ["orders-eu"]),
        ("tailrace admin groups reset-offsets g --to-l", ["--to-latest"]),
    ):
        script = f"tailrace admin completion fish | source; complete -C '{line}'"
        done = subprocess.run(
            ["fish", "--no-config", "-c", script],
            env={**command.environment, "PATH": path},
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
        )
        assert [offered.split("\t")[0] for offered in done.stdout.split()] == expected, done.stderr
