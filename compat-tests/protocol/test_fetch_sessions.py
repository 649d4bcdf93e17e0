"""Incremental fetch sessions (KIP-227), by raw frames."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from harness import wire
from harness.batches import parse_records, simple_batch
from harness.process import Broker, poll

NOT_FOUND, WRONG_EPOCH, TOPIC_ID_ERROR = 70, 71, 106
UNKNOWN_TOPIC, OUT_OF_RANGE, UNKNOWN_ID, INCONSISTENT_ID = 3, 1, 100, 103
LONG_MS = 5_000
VERSIONS = (7, 11, 12, 13, 18)


class Session:
    """A client's side of a session: `poll` sends one Fetch, the epoch goes on by itself."""

    def __init__(self, connection: wire.Connection, version: int = 12) -> None:
        self.connection = connection
        self.version = version
        self.session_id = 0
        self.epoch = 0

    def send(
        self,
        topic: str,
        offsets: Mapping[int, int] | None = None,
        *,
        forget: Sequence[int] = (),
        epoch: int | None = None,
        session_id: int | None = None,
        version: int | None = None,
        **options: Any,
    ) -> int:
        version = version or self.version
        named: str | uuid.UUID = self.topic_ids[topic] if version >= 13 else topic
        fields = wire.fetch_fields(named, offsets or {}, **{"max_wait_ms": 0, **options})
        if not offsets:
            fields["topics"] = []
        if forget:
            names = {"topic_id": named} if version >= 13 else {"topic": named}
            fields["forgotten_topics_data"] = [{**names, "partitions": list(forget)}]
        fields["session_id"] = self.session_id if session_id is None else session_id
        fields["session_epoch"] = self.epoch if epoch is None else epoch
        return self.connection.send("fetch", version, fields, lenient=True)

    def poll(self, topic: str, offsets: Mapping[int, int] | None = None, **options: Any) -> dict[int, Any]:
        """Partition -> its answer, in the answer's order."""
        return self.receive(self.send(topic, offsets, **options))

    def receive(self, correlation_id: int) -> dict[int, Any]:
        answer = self.connection.receive("fetch", self.version, correlation_id)
        assert answer.error_code == 0, answer.error_code
        self.session_id = answer.session_id
        self.epoch += 1
        return {part.partition_index: part for asked in answer.responses for part in asked.partitions}

    def refused(self, topic: str, offsets: Mapping[int, int] | None = None, **options: Any) -> tuple[int, int, int]:
        """(error code, session id, topics) of an answer."""
        version = options.get("version") or self.version
        answer = self.connection.receive("fetch", version, self.send(topic, offsets, **options))
        return int(answer.error_code), answer.session_id, len(answer.responses)

    topic_ids: dict[str, uuid.UUID]

    def open(self, topic: str, offsets: Mapping[int, int], **options: Any) -> dict[int, Any]:
        self.topic_ids = {topic: self.connection.topic_id(topic)}
        found = self.poll(topic, offsets, **options)
        assert self.session_id > 0
        return found


def values(data: Any) -> list[bytes | None]:
    return [record.value for record in parse_records(data.records)]


@pytest.fixture
def topic(connection: wire.Connection, topic_name: str) -> str:
    """Of three partitions."""
    return connection.create_usable_topic(topic_name, 3)


@pytest.fixture(params=VERSIONS)
def session(request: pytest.FixtureRequest, connection: wire.Connection) -> Session:
    return Session(connection, request.param)


@pytest.fixture
def one_session(connection: wire.Connection) -> Session:
    return Session(connection)


def test_a_full_fetch_tells_all_and_the_next_ones_what_is_new(
    connection: wire.Connection, session: Session, topic: str
) -> None:
    assert sorted(session.open(topic, {0: 0, 1: 0, 2: 0})) == [0, 1, 2]
    first_id = session.session_id
    assert session.poll(topic) == {}
    connection.produce(topic, {1: simple_batch(b"a")})
    found = session.poll(topic)
    assert list(found) == [1]
    assert (values(found[1]), found[1].high_watermark) == ([b"a"], 1)
    assert list(session.poll(topic)) == [1], "the client has not moved on"
    assert session.poll(topic, {1: 1}) == {}
    assert session.session_id == first_id


def test_partitions_come_and_go(connection: wire.Connection, session: Session, topic: str) -> None:
    connection.produce(topic, {p: simple_batch(b"%d" % p) for p in range(3)})
    session.open(topic, {0: 0})
    assert list(session.poll(topic, {0: 1, 2: 0})) == [2]
    assert list(session.poll(topic, {1: 0}, forget=[2])) == [1]
    assert list(session.poll(topic, forget=[1, 7])) == []
    connection.produce(topic, {p: simple_batch(b"again") for p in range(3)})
    assert list(session.poll(topic)) == [0]


def test_a_session_without_partitions_is_closed(session: Session, topic: str) -> None:
    session.open(topic, {0: 0})
    before = session.session_id
    assert session.poll(topic, forget=[0]) == {}
    assert session.session_id == 0
    assert session.refused(topic, session_id=before) == (NOT_FOUND, 0, 0)


def test_wrong_epochs_and_ids_are_refused_and_the_session_stands(session: Session, topic: str) -> None:
    session.open(topic, {0: 0})
    for epoch in (2, 5, 2**31 - 1, -2):
        assert session.refused(topic, epoch=epoch) == (WRONG_EPOCH, 0, 0)
    assert session.refused(topic, session_id=session.session_id ^ 1) == (NOT_FOUND, 0, 0)
    assert session.refused(topic, session_id=0, epoch=1) == (NOT_FOUND, 0, 0)
    assert session.poll(topic) == {}
    assert session.refused(topic, epoch=1) == (WRONG_EPOCH, 0, 0)


def test_the_final_epoch_closes_and_answers_in_full(connection: wire.Connection, session: Session, topic: str) -> None:
    session.open(topic, {0: 0})
    closed = session.session_id
    connection.produce(topic, {1: simple_batch(b"a")})
    found = session.poll(topic, {0: 0, 1: 0}, epoch=-1)
    assert (list(found), session.session_id) == ([0, 1], 0)
    assert session.refused(topic, session_id=closed, epoch=1) == (NOT_FOUND, 0, 0)


def test_a_full_fetch_with_a_session_replaces_it(session: Session, topic: str) -> None:
    session.open(topic, {0: 0})
    first = session.session_id
    session.epoch = 0
    assert list(session.poll(topic, {0: 0, 1: 0})) == [0, 1]
    assert session.session_id not in (0, first)
    assert session.refused(topic, session_id=first, epoch=1) == (NOT_FOUND, 0, 0)


def test_no_session_is_made_before_version_7(connection: wire.Connection, topic: str) -> None:
    fields = {**wire.fetch_fields(topic, {0: 0}, max_wait_ms=0), "session_epoch": 0}
    answer = connection.receive("fetch", 6, connection.send("fetch", 6, fields, lenient=True))
    assert len(answer.responses) == 1


def test_a_full_fetch_of_nothing(one_session: Session, topic: str) -> None:
    one_session.topic_ids = {}
    assert one_session.poll(topic, max_wait_ms=LONG_MS) == {}
    assert one_session.session_id > 0
    assert one_session.poll(topic, max_wait_ms=LONG_MS) == {}
    assert one_session.session_id == 0


def test_names_and_ids_do_not_mix_in_a_session(connection: wire.Connection, topic: str) -> None:
    by_name, by_id = Session(connection, 12), Session(connection, 13)
    by_name.open(topic, {0: 0})
    by_id.open(topic, {0: 0})
    assert by_name.refused(topic, version=13) == (TOPIC_ID_ERROR, 0, 0)
    assert by_id.refused(topic, version=12) == (TOPIC_ID_ERROR, 0, 0)
    assert by_name.poll(topic) == {}
    assert by_id.poll(topic) == {}


def test_partitions_that_gave_records_go_to_the_end(
    connection: wire.Connection, one_session: Session, topic: str
) -> None:
    for _ in range(3):
        connection.produce(topic, {p: simple_batch(b"x" * 500) for p in range(3)})
    session = one_session
    # With room for one batch, each answer's first partition is the one that has waited longest.
    assert values(session.open(topic, {2: 0, 0: 0, 1: 0}, max_bytes=1)[2])
    served = []
    offsets = {2: 1, 0: 0, 1: 0}
    moved: dict[int, int] = {2: 1}
    for _ in range(6):
        found = session.poll(topic, moved, max_bytes=1)
        (partition,) = [index for index, data in found.items() if values(data)]
        served.append(partition)
        offsets[partition] += 1
        moved = {partition: offsets[partition]}
    assert served == [2, 0, 1, 2, 0, 1]


def test_a_long_poll_of_a_session_is_woken(
    broker: Broker, connection: wire.Connection, session: Session, topic: str
) -> None:
    session.open(topic, {0: 0, 1: 0, 2: 0})
    assert session.poll(topic, max_wait_ms=50) == {}
    waiting = session.send(topic, max_wait_ms=LONG_MS)
    with broker.connect() as other:
        other.produce(topic, {2: simple_batch(b"awake")})
        found = session.receive(waiting)
    assert (list(found), values(found[2])) == ([2], [b"awake"])


def test_a_long_poll_of_a_session_counts_bytes_over_its_partitions(
    broker: Broker, session: Session, topic: str
) -> None:
    batch = simple_batch(b"x" * 1000)
    session.open(topic, {0: 0, 1: 0, 2: 0})
    waiting = session.send(topic, max_wait_ms=LONG_MS, min_bytes=3 * len(batch))
    with broker.connect() as other:
        other.produce(topic, {0: batch})
        other.produce(topic, {0: batch})
        assert session.connection.has_nothing_to_read(0.2)
        other.produce(topic, {1: batch})
        found = session.receive(waiting)
    assert {index: len(data.records) for index, data in found.items()} == {0: 2 * len(batch), 1: len(batch)}


def test_what_was_too_little_is_told_when_the_time_is_up(broker: Broker, session: Session, topic: str) -> None:
    session.open(topic, {0: 0, 1: 0})
    waiting = session.send(topic, max_wait_ms=400, min_bytes=1 << 20)
    with broker.connect() as other:
        other.produce(topic, {1: simple_batch(b"little")})
        found = session.receive(waiting)
    assert (list(found), values(found[1])) == ([1], [b"little"])


def test_an_error_is_told_again_and_its_end_is_told(connection: wire.Connection, session: Session, topic: str) -> None:
    connection.produce(topic, {0: simple_batch(b"a", b"b")})
    found = session.open(topic, {0: 9, 1: 0})
    assert (found[0].error_code, found[0].high_watermark) == (OUT_OF_RANGE, -1)
    for _ in range(2):
        found = session.poll(topic, max_wait_ms=LONG_MS)
        assert {index: data.error_code for index, data in found.items()} == {0: OUT_OF_RANGE}
    found = session.poll(topic, {0: 2})
    assert {index: (data.error_code, data.high_watermark) for index, data in found.items()} == {0: (0, 2)}
    assert session.poll(topic) == {}


def test_an_unknown_partition_does_not_end_the_wait_of_others(
    broker: Broker, connection: wire.Connection, session: Session, topic: str
) -> None:
    found = session.open(topic, {0: 0, 9: 0})
    assert found[9].error_code == UNKNOWN_TOPIC
    waiting = session.send(topic, max_wait_ms=LONG_MS)
    assert connection.has_nothing_to_read(0.2)
    with broker.connect() as other:
        other.produce(topic, {0: simple_batch(b"a")})
        found = session.receive(waiting)
    assert {index: data.error_code for index, data in found.items()} == {0: 0, 9: UNKNOWN_TOPIC}


def test_a_full_fetch_waits_beside_an_unknown_partition(
    broker: Broker, connection: wire.Connection, topic: str
) -> None:
    fields = wire.fetch_fields(topic, {0: 0, 9: 0}, max_wait_ms=LONG_MS)
    waiting = connection.send("fetch", 11, fields, lenient=True)
    assert connection.has_nothing_to_read(0.2)
    with broker.connect() as other:
        other.produce(topic, {0: simple_batch(b"a")})
        answer = connection.receive("fetch", 11, waiting)
    assert [data.error_code for data in answer.responses[0].partitions] == [0, UNKNOWN_TOPIC]


def test_a_partition_that_is_made_later_is_served(
    broker: Broker, connection: wire.Connection, session: Session, topic: str
) -> None:
    assert session.open(topic, {0: 0, 3: 0})[3].error_code == UNKNOWN_TOPIC
    asked = {"name": topic, "count": 4, "assignments": None}
    with broker.connect() as other:
        assert other.call("create_partitions", 3, topics=[asked], timeout=10_000).results[0].error_code == 0
        other.end_offset(topic, 3)
        other.produce(topic, {3: simple_batch(b"late")})
    poll("partition 3 is served", lambda: values(session.poll(topic, max_wait_ms=100).get(3, EMPTY)) == [b"late"])


class _Empty:
    records = b""


EMPTY = _Empty()


def test_a_topic_that_was_deleted_is_told(connection: wire.Connection, session: Session, topic: str) -> None:
    session.open(topic, {0: 0, 1: 0})
    session.poll(topic)
    connection.call("delete_topics", 5, topic_names=[topic], timeout=10_000)

    def codes() -> bool:
        found = session.poll(topic, max_wait_ms=100)
        return {index: data.error_code for index, data in found.items()} == {0: UNKNOWN_TOPIC, 1: UNKNOWN_TOPIC}

    poll("both partitions are unknown", codes)


@pytest.mark.parametrize("version", [12, 13, 18])
def test_a_topic_that_was_made_anew_is_another_by_its_id(connection: wire.Connection, topic: str, version: int) -> None:
    session = Session(connection, version)
    session.open(topic, {0: 0})
    session.poll(topic)
    connection.call("delete_topics", 5, topic_names=[topic], timeout=10_000)
    poll("deleted", lambda: connection.metadata([topic]).topics[0].error_code == UNKNOWN_TOPIC)
    connection.create_usable_topic(topic)
    connection.produce(topic, {0: simple_batch(b"new")})
    if version >= 13:
        poll("told", lambda: session.poll(topic, max_wait_ms=100)[0].error_code == INCONSISTENT_ID)
    else:
        poll("served", lambda: values(session.poll(topic, max_wait_ms=100).get(0, EMPTY)) == [b"new"])


def test_an_id_that_never_was_is_unknown_in_each_answer(connection: wire.Connection, topic: str) -> None:
    session = Session(connection, 13)
    session.open(topic, {0: 0})
    session.topic_ids["ghost"] = uuid.UUID("00000000-0000-4000-8000-0000000000ff")
    for _ in range(2):
        found = session.poll("ghost", {5: 0})
        assert {index: data.error_code for index, data in found.items()} == {5: UNKNOWN_ID}


def test_deleted_records_are_told_as_another_log_start(
    connection: wire.Connection, session: Session, topic: str
) -> None:
    connection.produce(topic, {0: simple_batch(b"a", b"b", b"c")})
    session.open(topic, {0: 3, 1: 0})
    assert session.poll(topic) == {}
    asked = {"name": topic, "partitions": [{"partition_index": 0, "offset": 2}]}
    done = connection.call("delete_records", 2, topics=[asked], timeout=10_000)
    assert done.topics[0].partitions[0].error_code == 0
    found = session.poll(topic)
    assert {index: (data.log_start_offset, data.records or b"") for index, data in found.items()} == {0: (2, b"")}
    assert session.poll(topic) == {}


def test_a_session_of_many_partitions_tells_of_the_few(connection: wire.Connection, topic_name: str) -> None:
    topic = connection.create_usable_topic(topic_name, 300)
    session = Session(connection, 13)
    assert len(session.open(topic, dict.fromkeys(range(300), 0))) == 300
    for partition in (299, 7, 150):
        connection.produce(topic, {partition: simple_batch(b"x")})
        found = session.poll(topic, max_wait_ms=LONG_MS)
        assert list(found) == [partition]
        assert session.poll(topic, {partition: 1}) == {}
