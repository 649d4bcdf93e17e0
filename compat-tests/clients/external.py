"""Clients in other languages: small programs of ours (`programs/`), driven by one JSON object a line.

A program is built on first use, into ~/.cache/tailrace under a name that its sources decide, and runs for the whole
session. Members of groups live inside of the program that joined them.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import itertools
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from clients.drivers import OFFSET_UNKNOWN, Driver
from harness.batches import Record
from harness.kafka import class_path
from harness.process import need

PROGRAMS = Path(__file__).parent / "programs"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tailrace"
CALL_TIMEOUT = 90
"""Seconds; the programs bound their own calls by less."""


class ClientError(Exception):
    """What the client said."""


class Polled(NamedTuple):
    """What a member owns now, and the records that came since it was last asked, with their partitions."""

    assignment: frozenset[tuple[str, int]]
    records: list[tuple[int, Record]]


class External(Driver):
    """A program in another language. `build` gives the command that runs it."""

    assignors: tuple[str, ...] = ("range",)

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        self._members = itertools.count(1)

    def build(self) -> list[str]:
        raise NotImplementedError

    def call(self, operation: str, bootstrap: str = "", **arguments: Any) -> Any:
        """The operation's result. Raises ClientError with the client's words."""
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self.close()
                self._process = subprocess.Popen(
                    self.build(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
                )
            process = self._process
            assert process.stdin is not None
            assert process.stdout is not None
            watchdog = threading.Timer(CALL_TIMEOUT, process.kill)
            watchdog.start()
            try:
                process.stdin.write(json.dumps({"op": operation, "bootstrap": bootstrap, **arguments}) + "\n")
                process.stdin.flush()
                line = process.stdout.readline()
            finally:
                watchdog.cancel()
        if not line:
            raise ClientError(f"{self.name} ended, or did not answer {operation} within {CALL_TIMEOUT} s")
        answer = json.loads(line)
        if "error" in answer:
            raise ClientError(answer["error"])
        return answer["result"]

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            with contextlib.suppress(BrokenPipeError), self._process:
                self._process = None

    def produce(
        self,
        bootstrap: str,
        topic: str,
        partition: int,
        records: Sequence[Record],
        *,
        codec: str = "none",
        acks: str = "all",
        idempotent: bool = False,
    ) -> list[int]:
        offsets: list[int] = self.call(
            "produce",
            bootstrap,
            topic=topic,
            partition=partition,
            records=[_written(record) for record in records],
            codec=codec,
            acks=acks,
            idempotent=idempotent,
        )
        return [offset if offset >= 0 else OFFSET_UNKNOWN for offset in offsets]

    def consume(self, bootstrap: str, topic: str, partition: int, count: int, offset: int = 0) -> list[Record]:
        found = self.call("consume", bootstrap, topic=topic, partition=partition, count=count, offset=offset)
        return [_read(record) for record in found]

    def offset_at(self, bootstrap: str, topic: str, partition: int, timestamp: int) -> int | None:
        found: int | None = self.call("offset_at", bootstrap, topic=topic, partition=partition, timestamp=timestamp)
        return found

    def create_topic(self, bootstrap: str, topic: str, partitions: int, configs: dict[str, str]) -> None:
        self.call("create_topic", bootstrap, topic=topic, partitions=partitions, configs=configs)

    def create_partitions(self, bootstrap: str, topic: str, total: int) -> None:
        self.call("create_partitions", bootstrap, topic=topic, partitions=total)

    def delete_topic(self, bootstrap: str, topic: str) -> None:
        self.call("delete_topic", bootstrap, topic=topic)

    def partition_count(self, bootstrap: str, topic: str) -> int | None:
        found: int | None = self.call("partition_count", bootstrap, topic=topic)
        return found

    # --- configs, groups

    def topic_configs(self, bootstrap: str, topic: str) -> dict[str, str]:
        found: dict[str, str] = self.call("topic_configs", bootstrap, topic=topic)
        return found

    def alter_topic(self, bootstrap: str, topic: str, configs: dict[str, str]) -> None:
        self.call("alter_topic", bootstrap, topic=topic, configs=configs)

    def delete_records(self, bootstrap: str, topic: str, partition: int, offset: int) -> int:
        """The low watermark, or the offset that was asked for where the client does not tell."""
        found: int = self.call("delete_records", bootstrap, topic=topic, partition=partition, offset=offset)
        return found

    def join(
        self, bootstrap: str, group: str, topics: Sequence[str], *, instance: str = "", assignor: str = "range"
    ) -> int:
        """Start a member; gives its number. It consumes from the committed offsets, else from the start."""
        member = next(self._members)
        self.call(
            "join", bootstrap, member=member, group=group, topics=list(topics), instance=instance, assignor=assignor
        )
        return member

    def poll(self, member: int) -> Polled:
        answer = self.call("poll", member=member)
        return Polled(
            frozenset((place["topic"], place["partition"]) for place in answer["assignment"]),
            [(record["partition"], _read(record)) for record in answer["records"]],
        )

    def commit(self, member: int) -> None:
        """Commit all that the member was given."""
        self.call("commit", member=member)

    def seek(self, member: int, topic: str, partition: int, offset: int) -> None:
        """Go on with one of the member's partitions from this offset."""
        self.call("seek", member=member, topic=topic, partition=partition, offset=offset)

    def leave(self, member: int) -> None:
        self.call("leave", member=member, leave=True)

    def committed(self, bootstrap: str, group: str, topic: str, partition: int) -> int | None:
        found: int | None = self.call("committed", bootstrap, group=group, topic=topic, partition=partition)
        return found

    def commit_offset(self, bootstrap: str, group: str, topic: str, partition: int, offset: int) -> None:
        """Set the offset of a group without members."""
        self.call("commit_offset", bootstrap, group=group, topic=topic, partition=partition, offset=offset)

    def groups(self, bootstrap: str) -> list[str]:
        found: list[str] = self.call("groups", bootstrap)
        return found

    def group_state(self, bootstrap: str, group: str) -> tuple[str, int]:
        """Kafka's word for the state, and how many members there are."""
        answer = self.call("group_state", bootstrap, group=group)
        return answer["state"].lower().replace("_", ""), answer["members"]

    def delete_group(self, bootstrap: str, group: str) -> None:
        self.call("delete_group", bootstrap, group=group)


def _text(content: bytes | None) -> str | None:
    return None if content is None else base64.b64encode(content).decode()


def _content(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


def _written(record: Record) -> dict[str, Any]:
    return {
        "key": _text(record.key),
        "value": _text(record.value),
        "headers": [{"name": name, "value": _text(value)} for name, value in record.headers],
        "timestamp": record.timestamp,
    }


def _read(record: dict[str, Any]) -> Record:
    headers = tuple((header["name"], _content(header["value"])) for header in record["headers"])
    return Record(_content(record["value"]), _content(record["key"]), headers, record["timestamp"], record["offset"])


def _built(kind: str, command: Sequence[str]) -> Path:
    """A copy of programs/KIND, built by command in place; made once for each state of the sources."""
    sources = PROGRAMS / kind
    digest = hashlib.sha256()
    files = [path for path in sorted(sources.rglob("*")) if path.is_file() and "node_modules" not in path.parts]
    for path in files:
        digest.update(str(path.relative_to(sources)).encode() + b"\0" + path.read_bytes())
    target = CACHE / f"clients-{kind}-{digest.hexdigest()[:12]}"
    if target.exists():
        return target
    CACHE.mkdir(parents=True, exist_ok=True)
    work = CACHE / f"{target.name}.building-{os.getpid()}"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(sources, work, ignore=shutil.ignore_patterns("node_modules"))
    done = subprocess.run(command, cwd=work, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    shutil.rmtree(target, ignore_errors=True)
    work.rename(target)
    return target


def _built_go() -> Path:
    need("go")
    return _built("go", ["go", "build", "-o", "bin/", "./..."]) / "bin"


class FranzGo(External):
    name = "franz-go"
    assignors = ("range", "cooperative")

    def build(self) -> list[str]:
        return [str(_built_go() / "franz")]


class Sarama(External):
    name = "sarama"
    lacks = frozenset({"seek in a group"})

    def build(self) -> list[str]:
        return [str(_built_go() / "sarama")]


class Kafkajs(External):
    name = "kafkajs"
    lacks = frozenset({"static members"})

    def build(self) -> list[str]:
        need("node", "npm")
        folder = _built("node", ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        return ["node", str(folder / "kafkajs.mjs")]


class Java(External):
    """Apache Kafka's own clients."""

    name = "java"
    assignors = ("range", "cooperative")

    def build(self) -> list[str]:
        need("java", "javac")
        jars = class_path()
        folder = _built("java", ["javac", "-nowarn", "-cp", jars, "-d", ".", "Program.java"])
        return ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{folder}:{jars}", "Program"]


EXTERNAL: tuple[External, ...] = (FranzGo(), Sarama(), Kafkajs(), Java())
