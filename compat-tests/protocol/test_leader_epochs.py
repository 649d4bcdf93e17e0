"""Leader epochs over restarts (KIP-320, KIP-101, KIP-951): what each API says of them, with data of every epoch.

One broker of this module's own is stopped and killed in turn, and gets records between. With Tailrace the older of them
are in the object store by then, the newer ones in its write-ahead log.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from harness import wire
from harness.batches import parse_batches, simple_batch
from harness.process import Broker, Setting, poll
from harness.tailrace import Tailrace

FENCED, UNKNOWN_EPOCH = 74, 75
RESTARTS = 5
LONG_MS = 5_000


class History(NamedTuple):
    """A topic whose records were written in several leader epochs."""

    topic: str
    epochs: list[int]
    """Oldest first; the last one is in force."""
    starts: list[int]
    """The first offset of each."""
    end: int


class Lived(NamedTuple):
    broker: Broker
    history: History
    """Of records in each epoch."""
    quiet: History
    """Of records in the first epoch only."""


def leader_epoch(connection: wire.Connection, topic: str) -> int:
    """Waits until there is a leader."""

    def found() -> int | None:
        partition = connection.metadata([topic]).topics[0].partitions[0]
        return partition.leader_epoch + 1 if partition.error_code == 0 and partition.leader_id >= 0 else None

    return poll("the partition has a leader", found) - 1


@pytest.fixture(scope="module")
def lived(start_broker: Callable[..., Broker], tmp_path_factory: pytest.TempPathFactory) -> Lived:
    settings = {Setting.UPLOAD_INTERVAL_MS: 300}
    broker = start_broker(tmp_path_factory.mktemp("epochs"), settings)
    topics = [f"epochs-{uuid.uuid4()}", f"quiet-{uuid.uuid4()}"]
    epochs: list[int] = []
    starts: list[int] = []
    for life in range(RESTARTS + 1):
        with broker.connect() as connection:
            for topic in topics:
                if life == 0:
                    connection.create_usable_topic(topic)
                    connection.produce(topic, {0: simple_batch(b"first", b"first")})
            epochs.append(leader_epoch(connection, topics[0]))
            starts.append(connection.end_offset(topics[0]) if life else 0)
            for _ in range(life + 1):
                assert connection.produce(topics[0], {0: simple_batch(b"x", b"y")})[0].error_code == 0
            if isinstance(broker, Tailrace) and life < RESTARTS - 1:
                poll("everything is uploaded", lambda: "\ntailrace_upload_pending_bytes 0\n" in broker.http("/metrics"))
        if life < RESTARTS:
            if life % 2:
                broker.kill()
            else:
                broker.terminate()
            broker.start()
    with broker.connect() as connection:
        ends = [connection.end_offset(topic) for topic in topics]
        quiet_epochs = [epochs[0], leader_epoch(connection, topics[1])]
    return Lived(broker, History(topics[0], epochs, starts, ends[0]), History(topics[1], quiet_epochs, [0, 2], ends[1]))


@pytest.fixture
def connection(lived: Lived) -> Iterator[wire.Connection]:
    with lived.broker.connect() as opened:
        yield opened


def end_of(connection: wire.Connection, topic: str, epoch: int, current: int = -1) -> tuple[int, int, int]:
    """(error, epoch, end offset)."""
    asked = [{"topic": topic, "partitions": [{"partition": 0, "leader_epoch": epoch, "current_leader_epoch": current}]}]
    answer = connection.call("offset_for_leader_epoch", 4, replica_id=-1, topics=asked).topics[0].partitions[0]
    return int(answer.error_code), answer.leader_epoch, answer.end_offset


def fetch(connection: wire.Connection, topic: str, offset: int, version: int = 12, **fields: Any) -> Any:
    named = connection.topic_id(topic) if version >= 13 else topic
    request = wire.fetch_fields(named, {0: offset}, max_wait_ms=0)
    request["topics"][0]["partitions"][0].update(fields)
    return connection.receive("fetch", version, connection.send("fetch", version, request, lenient=True))


def data(answer: Any) -> Any:
    return answer.responses[0].partitions[0]


def test_every_start_has_a_larger_epoch(lived: Lived) -> None:
    epochs = lived.history.epochs
    assert epochs == sorted(set(epochs))
    assert len(epochs) == RESTARTS + 1


def test_batches_carry_the_epoch_that_they_were_written_in(lived: Lived, connection: wire.Connection) -> None:
    history = lived.history
    found = connection.read_all(history.topic)
    for batch in found:
        life = max(place for place, start in enumerate(history.starts) if start <= batch.base_offset)
        assert batch.leader_epoch == history.epochs[life]
    assert {batch.leader_epoch for batch in found} == set(history.epochs)


def test_an_epoch_ends_where_the_next_one_begins(lived: Lived, connection: wire.Connection) -> None:
    history = lived.history
    ends = [*history.starts[1:], history.end]
    for epoch, end in zip(history.epochs, ends, strict=True):
        assert end_of(connection, history.topic, epoch) == (0, epoch, end)
    newest = history.epochs[-1]
    assert end_of(connection, history.topic, newest + 1) == (0, -1, -1)
    # An epoch without records ends where the one before it does.
    quiet = lived.quiet
    assert end_of(connection, quiet.topic, quiet.epochs[0]) == (0, quiet.epochs[0], 2)
    for epoch in range(quiet.epochs[0] + 1, quiet.epochs[1]):
        assert end_of(connection, quiet.topic, epoch) == (0, quiet.epochs[0], 2)


def test_a_client_of_an_older_epoch_is_fenced_and_one_of_a_newer_epoch_is_told(
    lived: Lived, connection: wire.Connection
) -> None:
    history = lived.history
    newest = history.epochs[-1]
    for epoch, code in ((history.epochs[0], FENCED), (newest - 1, FENCED), (newest, 0), (newest + 1, UNKNOWN_EPOCH)):
        for version in (9, 12, 18):
            assert data(fetch(connection, history.topic, 0, version, current_leader_epoch=epoch)).error_code == code
        assert connection.list_offset(history.topic, 0, -1, current_leader_epoch=epoch).error_code == code
        assert end_of(connection, history.topic, history.epochs[0], epoch)[0] == code


@pytest.mark.parametrize("version", [9, 12, 15, 16, 18])
def test_a_fenced_client_is_told_the_leader(lived: Lived, connection: wire.Connection, version: int) -> None:
    history = lived.history
    answer = fetch(connection, history.topic, 0, version, current_leader_epoch=history.epochs[0])
    assert data(answer).error_code == FENCED
    if version >= 16:
        leader = connection.metadata([history.topic]).topics[0].partitions[0]
        told = data(answer).current_leader
        assert (told.leader_id, told.leader_epoch) == (leader.leader_id, history.epochs[-1])
        (node,) = answer.node_endpoints
        assert (node.node_id, node.host, node.port) == (leader.leader_id, lived.broker.host, lived.broker.port)
    elif version >= 12:
        assert data(answer).current_leader.leader_epoch == -1


def test_no_leader_is_told_without_need(lived: Lived, connection: wire.Connection) -> None:
    history = lived.history
    answer = fetch(connection, history.topic, 0, 18, current_leader_epoch=history.epochs[-1])
    assert (data(answer).current_leader.leader_id, answer.node_endpoints) == (-1, ())
    answer = fetch(connection, history.topic, 0, 18, current_leader_epoch=history.epochs[-1] + 1)
    assert (data(answer).current_leader.leader_id, answer.node_endpoints) == (-1, ())


def test_a_reader_that_came_from_another_branch_is_told_where_it_left(
    lived: Lived, connection: wire.Connection
) -> None:
    history = lived.history
    for place in range(RESTARTS):
        epoch, end = history.epochs[place], history.starts[place + 1]
        read = data(fetch(connection, history.topic, end, last_fetched_epoch=epoch))
        assert (read.error_code, read.diverging_epoch.epoch) == (0, -1)
        assert parse_batches(read.records)[0].base_offset == end
        beyond = data(fetch(connection, history.topic, end + 1, last_fetched_epoch=epoch))
        assert (beyond.error_code, beyond.records or b"") == (0, b"")
        assert (beyond.diverging_epoch.epoch, beyond.diverging_epoch.end_offset) == (epoch, end)


def test_an_offset_by_time_or_place_comes_with_its_epoch(lived: Lived, connection: wire.Connection) -> None:
    history = lived.history
    assert connection.list_offset(history.topic, 0, -2).leader_epoch == history.epochs[0]
    assert connection.list_offset(history.topic, 0, -1).leader_epoch == history.epochs[-1]
    of_last = [batch for batch in connection.read_all(history.topic) if batch.leader_epoch == history.epochs[-1]]
    found = connection.list_offset(history.topic, 0, of_last[0].max_timestamp)
    assert found.error_code == 0
    assert found.leader_epoch in history.epochs
    latest = connection.list_offset(lived.quiet.topic, 0, -1)
    assert (latest.offset, latest.leader_epoch) == (2, lived.quiet.epochs[1])
