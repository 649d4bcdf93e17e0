"""Clients that are slow, many, gone, deaf or in a hurry: the others are served meanwhile, and memory stays bounded."""

from __future__ import annotations

import contextlib
import random
import re
import resource
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import wire
from harness.batches import Record, make_batch, simple_batch
from harness.process import Broker, Setting, poll
from harness.tailrace import Tailrace

MIB = 1 << 20
IDLE_CONNECTIONS = 5_000


@pytest.fixture(scope="module")
def victim(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, start_broker) -> Broker:
    if request.config.getoption("--bootstrap"):
        return request.getfixturevalue("broker")
    return start_broker(tmp_path_factory.mktemp("victim"))


@pytest.fixture
def neighbour(victim: Broker, topic_name: str) -> Iterator[Neighbour]:
    """A connection that was there before, and must be served during and after."""
    with victim.connect() as connection:
        one = Neighbour(victim, connection, connection.create_usable_topic(topic_name))
        one.is_served()
        yield one
        one.is_served()
    assert victim.is_alive()


class Neighbour:
    def __init__(self, victim: Broker, connection: wire.Connection, topic: str) -> None:
        self.victim = victim
        self.connection = connection
        self.topic = topic

    def is_served(self) -> None:
        answer = self.connection.produce(self.topic, {0: simple_batch(b"mine")})[0]
        assert answer.error_code == 0
        found = self.connection.fetch(self.topic, {0: answer.base_offset}, max_bytes=1)[0]
        assert (found.error_code, found.high_watermark > answer.base_offset) == (0, True)


def metric(victim: Broker, sample: str) -> float:
    """A sample of /metrics by its name and labels."""
    assert isinstance(victim, Tailrace)
    found = re.search(rf"^{re.escape(sample)} (\S+)$", victim.http("/metrics"), re.MULTILINE)
    assert found, sample
    return float(found[1])


def open_files(victim: Broker) -> int:
    return len(list(Path(f"/proc/{victim.pid}/fd").iterdir()))


def encoded(api: str, version: int, fields: dict[str, Any], number: int = 1) -> bytes:
    """A whole frame."""
    payload = wire.encode_request(api, version, fields, number, lenient=True)
    return struct.pack(">i", len(payload)) + payload


def test_a_request_that_comes_a_byte_at_a_time_is_served(victim: Broker, neighbour: Neighbour) -> None:
    fields = wire.produce_fields(neighbour.topic, {0: simple_batch(b"slow")})
    frame = encoded("produce", 9, fields, 77)
    with victim.connect() as slow:
        for place in range(len(frame)):
            slow.send_bytes(frame[place : place + 1])
            if place % 16 == 0:
                neighbour.is_served()
        assert slow.receive("produce", 9, 77).responses[0].partition_responses[0].error_code == 0


def test_requests_that_never_end_hold_nobody_up_and_end_with_their_connection(
    victim: Broker, neighbour: Neighbour
) -> None:
    frame = encoded("metadata", 12, {"topics": None})
    with contextlib.ExitStack() as opened:
        halves = [opened.enter_context(victim.connect()) for _ in range(200)]
        for place, half in enumerate(halves):
            half.send_bytes(frame[: 1 + place % (len(frame) - 1)])
        neighbour.is_served()
        for half in halves[:100]:
            half.socket.shutdown(socket.SHUT_WR)
        for half in halves[:100]:
            assert half.is_closed_by_peer()
        neighbour.is_served()
        for place, half in list(enumerate(halves))[100:]:
            half.send_bytes(frame[1 + place % (len(frame) - 1) :])
            assert half.receive("metadata", 12).cluster_id


def test_a_thousand_produce_requests_in_flight_are_answered_in_order(victim: Broker, neighbour: Neighbour) -> None:
    topic = neighbour.connection.create_usable_topic(f"{neighbour.topic}-many", 4)
    fields = [wire.produce_fields(topic, {p: simple_batch(b"%d" % p)}, acks=p % 2 or -1) for p in range(4)]
    with victim.connect(timeout=60) as busy:
        sent = b"".join(encoded("produce", 9, fields[n % 4], n) for n in range(1_000))
        busy.send_bytes(sent)
        neighbour.is_served()
        for number in range(1_000):
            answer = busy.receive("produce", 9, number).responses[0].partition_responses[0]
            assert (answer.error_code, answer.base_offset) == (0, number // 4)
    assert [neighbour.connection.end_offset(topic, p) for p in range(4)] == [250] * 4


def test_a_thousand_mixed_requests_in_flight_are_answered_in_order(victim: Broker, neighbour: Neighbour) -> None:
    topic = neighbour.connection.create_usable_topic(f"{neighbour.topic}-mixed")
    chance = random.Random(5)
    kinds = [
        ("produce", 9, wire.produce_fields(topic, {0: simple_batch(b"x")})),
        ("fetch", 12, wire.fetch_fields(topic, {0: 0}, max_wait_ms=0, max_bytes=1)),
        ("metadata", 12, {"topics": [{"name": topic, "topic_id": wire.NO_TOPIC_ID}]}),
        ("api_versions", 0, {}),
        ("list_offsets", 5, {"replica_id": -1, "topics": [{"name": topic, "partitions": [OF_LATEST]}]}),
    ]
    order = [chance.choice(kinds) for _ in range(1_000)]
    with victim.connect(timeout=60) as busy:
        for number, (api, version, fields) in enumerate(order):
            busy.send_bytes(encoded(api, version, fields, number))
        neighbour.is_served()
        produced = 0
        for number, (api, version, _) in enumerate(order):
            answer = busy.receive(api, version, number)
            if api == "produce":
                assert answer.responses[0].partition_responses[0].base_offset == produced
                produced += 1
            elif api == "list_offsets":
                assert answer.topics[0].partitions[0].offset == produced, "what was asked before is seen"


OF_LATEST = {"partition_index": 0, "timestamp": -1, "current_leader_epoch": -1}


def test_a_client_that_never_takes_its_answers_is_not_answered_without_end(
    victim: Broker, neighbour: Neighbour
) -> None:
    if not (victim.bounds_memory and victim.process):
        pytest.skip("about the memory bound of a broker of one's own")
    before = victim.resident_bytes()
    frame = encoded("metadata", 12, {"topics": None}) * 200
    with contextlib.ExitStack() as opened:
        for _ in range(20):
            deaf = opened.enter_context(victim.connect())
            deaf.socket.setblocking(False)
            # Until the broker reads no more, or cuts it off.
            with contextlib.suppress(BlockingIOError, ConnectionError):
                for _ in range(2_000):
                    deaf.socket.send(frame)
            neighbour.is_served()
        assert victim.resident_bytes() - before < 128 * MIB


def test_thousands_of_idle_connections_cost_kilobytes_each(
    victim: Broker, neighbour: Neighbour, start_broker: Callable[..., Broker], tmp_path: Path
) -> None:
    if not (victim.bounds_memory and victim.process):
        pytest.skip("about the memory bound of a broker of one's own")
    limit, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < IDLE_CONNECTIONS + 500:
        pytest.skip(f"only {hard} open files are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    fresh = start_broker(tmp_path)
    with contextlib.ExitStack() as opened:
        opened.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (limit, hard))
        opened.callback(fresh.close)
        with fresh.connect() as first:
            first.call("api_versions", 0)
        before = fresh.resident_bytes()
        idle = [opened.enter_context(fresh.connect()) for _ in range(IDLE_CONNECTIONS)]
        for connection in idle:
            connection.send("api_versions", 0)
        for connection in idle:
            assert connection.receive("api_versions", 0).error_code == 0
        assert fresh.resident_bytes() - before < 100 * MIB
        assert metric(fresh, "tailrace_connections") >= IDLE_CONNECTIONS
        neighbour.is_served()


def test_storms_of_connections_leave_nothing_behind(victim: Broker, neighbour: Neighbour) -> None:
    if not victim.process:
        pytest.skip("about the files of a broker of one's own")
    before = open_files(victim)
    chance = random.Random(6)
    whole = encoded("fetch", 12, wire.fetch_fields(neighbour.topic, {0: 1 << 20}, max_wait_ms=60_000))
    whole += encoded("produce", 9, wire.produce_fields(neighbour.topic, {0: simple_batch(b"storm")}))
    for number in range(2_000):
        connection = victim.connect()
        if number % 4:
            connection.send_bytes(whole[: chance.randrange(len(whole) + 1)])
        if number % 2:
            # Closed by a reset.
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        if number % 200 == 0:
            neighbour.is_served()
    poll("all files are closed", lambda: open_files(victim) <= before + 5)
    if isinstance(victim, Tailrace):
        poll("all connections are gone", lambda: metric(victim, "tailrace_connections") <= 2)


def test_a_limit_per_address_closes_what_is_beyond_it(start_broker: Callable[..., Broker], tmp_path: Path) -> None:
    limits = {Setting.MAX_CONNECTIONS_PER_IP: 1000, Setting.MAX_CONNECTIONS_PER_IP_OVERRIDES: "127.0.0.1:10"}
    broker = start_broker(tmp_path, limits)
    with contextlib.ExitStack() as opened:
        # Kafka counts the connection of the start's own check until it has seen it close.
        inside: list[wire.Connection] = []

        def fills_up() -> bool:
            connection = broker.connect()
            try:
                connection.call("api_versions", 0)
            except (wire.ConnectionClosed, OSError):
                connection.close()
                return len(inside) >= 10
            inside.append(opened.enter_context(connection))
            return False

        poll("ten are inside", fills_up)
        assert len(inside) == 10
        for connection in inside:
            assert connection.call("api_versions", 0).error_code == 0
        if isinstance(broker, Tailrace):
            assert metric(broker, 'tailrace_connections_refused_total{limit="connections_per_ip"}') >= 1
        inside[0].close()

        def is_let_in() -> bool:
            with contextlib.suppress(wire.ConnectionClosed, OSError), broker.connect() as connection:
                return connection.call("api_versions", 0).error_code == 0
            return False

        poll("room is used again", is_let_in)


def test_a_limit_of_all_connections_closes_what_is_beyond_it(
    start_broker: Callable[..., Broker], tmp_path: Path, system: str
) -> None:
    if system == "kafka":
        pytest.skip("Apache Kafka lets connections beyond max.connections wait to be accepted")
    broker = start_broker(tmp_path, {Setting.MAX_CONNECTIONS: 5})
    with contextlib.ExitStack() as opened:
        poll("the start's check has left", lambda: metric(broker, "tailrace_connections") == 0)
        for _ in range(5):
            opened.enter_context(broker.connect()).call("api_versions", 0)
        for _ in range(20):
            with broker.connect() as beyond:
                assert beyond.is_closed_by_peer()
        assert metric(broker, 'tailrace_connections_refused_total{limit="connections"}') == 20
        assert metric(broker, "tailrace_connections") == 5


def test_a_full_log_slows_producers_down_before_it_stops_them(
    start_broker: Callable[..., Broker], tmp_path: Path, system: str
) -> None:
    if system == "kafka":
        pytest.skip("about the write-ahead log")
    small = {
        Setting.WAL_SEGMENT_BYTES: 4 * MIB,
        Setting.WAL_CAPACITY_BYTES: 32 * MIB,
        Setting.UPLOAD_BYTES: 1 << 30,
        Setting.UPLOAD_INTERVAL_MS: 3_600_000,
        Setting.UPLOAD_PRESSURE_RATIO: 1,
    }
    broker = start_broker(tmp_path, small)
    batch = simple_batch(*[b"x" * 1000] * 500)
    with broker.connect(timeout=60) as connection, broker.connect() as reader:
        topic = connection.create_usable_topic("filling")
        told = []
        for _ in range(80):
            fields = wire.produce_fields(topic, {0: batch})
            answer = connection.receive("produce", 9, connection.send("produce", 9, fields, lenient=True))
            assert answer.responses[0].partition_responses[0].error_code == 0
            told.append(int(answer.throttle_time.total_seconds() * 1000))
            if told[-1] > 200:
                break
        assert told[0] == 0
        assert 200 < max(told) <= 1000
        assert reader.fetch(topic, {0: 0}, max_bytes=1)[0].error_code == 0
        assert metric(broker, "tailrace_throttled_total") >= 1


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a" * 250, "a b", "a/b", "a:b", "é", "a\0b", "\n", "../../etc/passwd", "a" * 32_000]
)
def test_a_name_that_no_topic_may_have_is_refused_everywhere(victim: Broker, neighbour: Neighbour, name: str) -> None:
    connection = neighbour.connection
    assert connection.create_topic(name).error_code == 17
    answer = connection.metadata([name], create=True).topics[0]
    assert answer.error_code in (17, 3)
    assert connection.fetch(name, {0: 0}, max_wait_ms=0)[0].error_code == 3
    assert connection.produce(name, {0: simple_batch(b"x")})[0].error_code in (17, 3)


@pytest.mark.parametrize("partitions", [0, -2, -(2**31)])
def test_a_count_of_partitions_that_cannot_be_is_refused(victim: Broker, neighbour: Neighbour, partitions: int) -> None:
    assert neighbour.connection.create_topic(f"{neighbour.topic}-n", partitions).error_code == 37


@pytest.mark.parametrize("partitions", [10_000_000, 2**31 - 1])
def test_a_huge_count_of_partitions_is_no_allocation(
    victim: Broker, neighbour: Neighbour, partitions: int, system: str
) -> None:
    if system == "kafka":
        pytest.skip("Apache Kafka tries")
    before = victim.resident_bytes() if victim.process else 0
    assert neighbour.connection.create_topic(f"{neighbour.topic}-n", partitions).error_code in (37, 42, 44)
    asked = {"name": neighbour.topic, "count": partitions, "assignments": None}
    answer = neighbour.connection.call("create_partitions", 3, topics=[asked], timeout=10_000).results[0]
    assert answer.error_code in (37, 42, 44)
    if victim.process:
        assert victim.resident_bytes() - before < 16 * MIB


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("no.such.config", "1"),
        ("retention.ms", "soon"),
        ("retention.ms", "9" * 400),
        ("retention.ms", ""),
        ("segment.bytes", "-1"),
        ("cleanup.policy", "burn"),
        ("compression.type", "zip"),
        ("max.message.bytes", "1e9"),
        ("message.timestamp.type", "createtime"),
    ],
)
def test_a_config_that_cannot_be_is_refused(victim: Broker, neighbour: Neighbour, name: str, value: str) -> None:
    answer = neighbour.connection.create_topic(f"{neighbour.topic}-c", configs={name: value})
    assert answer.error_code == 40


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_a_decompression_bomb_is_bounded_when_it_is_searched(
    victim: Broker, neighbour: Neighbour, codec: str, system: str
) -> None:
    if not (victim.bounds_memory and victim.process):
        pytest.skip("about the memory bound of a broker of one's own")
    connection = neighbour.connection
    bomb = make_batch([Record(b"\0" * (16 * MIB))], codec=codec)
    topic = connection.create_usable_topic(f"{neighbour.topic}-{codec}", configs={"max.message.bytes": str(4 * MIB)})
    assert connection.produce(topic, {0: bomb})[0].error_code == 0
    before = victim.resident_bytes()
    with contextlib.ExitStack() as opened:
        asking = [opened.enter_context(victim.connect(timeout=60)) for _ in range(20)]
        asked = {"replica_id": -1, "topics": [{"name": topic, "partitions": [{**OF_LATEST, "timestamp": 1}]}]}
        for each in asking:
            each.send("list_offsets", 5, asked, lenient=True)
        neighbour.is_served()
        for each in asking:
            assert each.receive("list_offsets", 5).topics[0].partitions[0].offset in (0, -1)
    assert victim.resident_bytes() - before < 192 * MIB
