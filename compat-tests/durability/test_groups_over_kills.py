"""kill -9 with groups at work: what was committed is there, and who was a member goes on without a rebalance."""

from __future__ import annotations

import random
import struct
import threading
import time
from pathlib import Path
from typing import Any, Self

import pytest
from harness import wire
from harness.groups import Group
from harness.process import Broker, Setting, poll
from kio.schema.errors import ErrorCode

MEMBERS = 3
SYNCS = ("always", "interval")
UPLOADS = (
    {Setting.UPLOAD_BYTES: 64 << 20, Setting.UPLOAD_INTERVAL_MS: 60_000},
    {Setting.UPLOAD_BYTES: 64 << 10, Setting.UPLOAD_INTERVAL_MS: 200},
)


class Committer:
    """Commits ever larger offsets of one partition as a simple consumer, over restarts of the broker."""

    def __init__(self, broker: Broker, group_id: str, topic: str, partition: int) -> None:
        self._broker, self._group_id, self._topic, self._partition = broker, group_id, topic, partition
        self.acknowledged = 0
        """The largest offset that the broker said is committed."""
        self.sent = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                with self._broker.connect(timeout=5) as connection:
                    group = Group(connection, self._group_id)
                    while not self._ended.is_set():
                        self.sent += 1
                        errors = group.commit(self._topic, {self._partition: (self.sent, f"at {self.sent}")})
                        if errors[self._partition] == ErrorCode.none:
                            self.acknowledged = self.sent
                        else:
                            assert errors[self._partition].retriable, errors
                            time.sleep(0.01)
            except (OSError, wire.ConnectionClosed, struct.error):
                time.sleep(0.01)


@pytest.mark.timeout(300)
def test_what_was_committed_survives_every_kill(start_broker: Any, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    rounds = max(pytestconfig.getoption("--kills") // 4, 2)
    seed = random.randrange(1 << 32)
    print(f"seed of the moments of the kills: {seed}")
    chance = random.Random(seed)
    broker: Broker = start_broker(tmp_path, {Setting.WAL_SYNC: SYNCS[0], **UPLOADS[0]})
    with broker.connect() as connection:
        topic = connection.create_usable_topic("topic", MEMBERS)
        Group(connection, "simple-0").find()
    names = [f"simple-{number}" for number in range(MEMBERS)]
    with (
        Committer(broker, names[0], topic, 0) as a,
        Committer(broker, names[1], topic, 1) as b,
        Committer(broker, names[2], topic, 2) as c,
    ):
        committers = (a, b, c)
        for number in range(1, rounds + 1):
            before = [each.acknowledged for each in committers]
            poll(
                "offsets are committed",
                lambda: all(each.acknowledged > begin + 20 for each, begin in zip(committers, before, strict=True)),  # noqa: B023
            )
            time.sleep(chance.uniform(0, 0.3))
            broker.kill()
            acknowledged = [each.acknowledged for each in committers]
            broker.settings.update({Setting.WAL_SYNC: SYNCS[number % 2], **UPLOADS[number // 2 % 2]})
            broker.start()
            with broker.connect() as connection:
                for partition, (name, least) in enumerate(zip(names, acknowledged, strict=True)):
                    group = Group(connection, name)
                    group.find()
                    ((offset, metadata),) = group.fetch({topic: [partition]}).values()
                    assert least <= offset <= committers[partition].sent
                    assert metadata == f"at {offset}"
    print(f"{rounds} kills, {sum(each.acknowledged for each in committers)} commits")
    broker.close()


def test_members_go_on_in_the_same_generation(start_broker: Any, tmp_path: Path) -> None:
    broker: Broker = start_broker(tmp_path)
    with broker.connect() as connection:
        topic = connection.create_usable_topic("topic")
        static, dynamic = Group(connection, "static", instance="one"), Group(connection, "dynamic")
        for group in (static, dynamic):
            group.find()
            group.become_stable()
            assert group.commit(topic, {0: (5, group.group_id)}) == {0: ErrorCode.none}
    for _ in range(2):
        broker.kill()
        broker.start()
        with broker.connect() as connection:
            for group in (static, dynamic):
                group.connection = connection
                group.find()
                described = group.describe()
                assert (described.group_state, described.protocol_data) == ("Stable", "range")
                (member,) = described.members
                assert (member.member_id, member.member_assignment) == (group.member_id, b"all of it")
                assert member.group_instance_id == group.instance
                assert group.heartbeat() == ErrorCode.none
                assert group.generation == 1
                assert group.fetch({topic: [0]}) == {(topic, 0): (5, group.group_id)}
                assert group.commit(topic, {0: (5, group.group_id)}) == {0: ErrorCode.none}
                assert group.sync({}).assignment == b"all of it"
    # The static one comes back as another process: it gets its assignment in the same generation.
    with broker.connect() as connection:
        again = Group(connection, "static", instance="one")
        joined = again.join()
        assert (joined.error_code, joined.generation_id) == (ErrorCode.none, 1)
        assert again.sync({}).assignment == b"all of it"
        static.connection = connection
        assert static.heartbeat() == ErrorCode.fenced_instance_id
    broker.close()


def test_what_was_deleted_stays_deleted(start_broker: Any, tmp_path: Path) -> None:
    broker: Broker = start_broker(tmp_path)
    with broker.connect() as connection:
        topic = connection.create_usable_topic("topic", 2)
        group, other = Group(connection, "deleted"), Group(connection, "other")
        group.find()
        other.find()
        group.commit(topic, {0: 1})
        other.commit(topic, {0: 1, 1: 2})
        assert group.delete() == ErrorCode.none
        assert other.delete_offsets({topic: [0]}).error_code == ErrorCode.none
    broker.kill()
    broker.start()
    with broker.connect() as connection:
        group.connection = other.connection = connection
        group.find()
        other.find()
        assert group.state() == "Dead"
        assert group.listed() is None
        assert other.fetch(None) == {(topic, 1): (2, "")}
    broker.close()


def test_a_member_that_died_with_the_broker_is_removed(start_broker: Any, tmp_path: Path) -> None:
    broker: Broker = start_broker(tmp_path)
    with broker.connect() as connection:
        group = Group(connection, "group")
        group.find()
        group.become_stable(session_timeout_ms=6_000)
    broker.kill()
    broker.start()
    with broker.connect() as connection:
        group.connection = connection
        group.find()
        assert group.state() == "Stable"
        poll("its session ends", lambda: group.state() == "Empty", timeout=20)
    broker.close()
