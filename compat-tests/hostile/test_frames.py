"""Frames and batches no honest client sends: Kafka's error or a closed connection, and nobody else notices.

Every test has a neighbour: a connection that was opened before and must work after, on a broker of this module's own.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from contextlib import suppress

import pytest
from harness import wire
from harness.batches import CONTROL, Record, make_batch, parse_records, simple_batch
from harness.process import Broker

CORRUPT_MESSAGE, MESSAGE_TOO_LARGE, INVALID_RECORD = 2, 10, 87
MIB = 1 << 20


@pytest.fixture(scope="module")
def victim(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, start_broker) -> Broker:
    """The broker that is shouted at."""
    if request.config.getoption("--bootstrap"):
        return request.getfixturevalue("broker")
    return start_broker(tmp_path_factory.mktemp("victim"))


@pytest.fixture
def neighbour(victim: Broker, topic_name: str) -> Iterator[tuple[wire.Connection, str]]:
    """A connection and a topic that must be as good after the test as before."""
    with victim.connect() as connection:
        topic = connection.create_usable_topic(topic_name)
        assert connection.produce(topic, {0: simple_batch(b"before")})[0].base_offset == 0
        yield connection, topic
        end = connection.end_offset(topic)
        assert connection.produce(topic, {0: simple_batch(b"after")})[0].base_offset == end
        found = [record.value for batch in connection.read_all(topic) for record in batch.records()]
        assert (found[0], found[-1]) == (b"before", b"after")
    assert victim.is_alive()
    with victim.connect() as fresh:
        assert fresh.call("api_versions", 0).error_code == 0


@pytest.fixture
def topic(neighbour: tuple[wire.Connection, str]) -> str:
    return neighbour[1]


@pytest.fixture
def connection(victim: Broker, neighbour: object) -> Iterator[wire.Connection]:
    with victim.connect() as opened:
        yield opened


@pytest.mark.parametrize("size", [-1, -(2**31), 100 * MIB + 1, 2**31 - 1])
def test_an_impossible_size_closes_the_connection(connection: wire.Connection, size: int) -> None:
    connection.send_bytes(struct.pack(">i", size) + b"x" * 100)
    assert connection.is_closed_by_peer()


def test_an_empty_frame_closes_the_connection(connection: wire.Connection) -> None:
    connection.send_frame(b"")
    assert connection.is_closed_by_peer()


@pytest.mark.parametrize("key", [-1, 4, 7, 52, 94, 999, 32767])
def test_an_unknown_key_closes_the_connection(connection: wire.Connection, key: int) -> None:
    connection.send_frame(wire.encode_header(key, 0, 1, "compat", flexible=False))
    assert connection.is_closed_by_peer()


@pytest.mark.parametrize(("key", "version"), [(0, 2), (0, 14), (0, -1), (1, 3), (1, 99), (2, 0), (3, 99), (19, 1)])
def test_an_unsupported_version_closes_the_connection(connection: wire.Connection, key: int, version: int) -> None:
    connection.send_frame(wire.encode_header(key, version, 1, "compat", flexible=False) + b"\0" * 40)
    assert connection.is_closed_by_peer()


@pytest.mark.parametrize(
    "head", [b"\0", b"\0\x12", b"\0\x12\0\0", b"\0\x12\0\0\0\0\0\1", b"\0\x12\0\0\0\0\0\1\x7f\xff"]
)
def test_a_truncated_header_closes_the_connection(connection: wire.Connection, head: bytes) -> None:
    connection.send_frame(head)
    assert connection.is_closed_by_peer()


def bodies(topic: str) -> dict[str, bytes]:
    """One good frame of each kind that a first broker serves."""
    batch = simple_batch(b"v" * 20, b"w" * 20)
    created = {"name": f"{topic}-new", "num_partitions": 1, "replication_factor": 1, "assignments": [], "configs": []}
    partition = {"partition_index": 0, "timestamp": -1, "current_leader_epoch": -1}
    epoch = {"partition": 0, "current_leader_epoch": -1, "leader_epoch": 0}
    requests = [
        ("produce", 9, wire.produce_fields(topic, {0: batch})),
        ("produce", 7, wire.produce_fields(topic, {0: batch})),
        ("fetch", 12, wire.fetch_fields(topic, {0: 0}, max_wait_ms=0)),
        ("fetch", 4, wire.fetch_fields(topic, {0: 0}, max_wait_ms=0)),
        ("list_offsets", 7, {"replica_id": -1, "topics": [{"name": topic, "partitions": [partition]}]}),
        (
            "metadata",
            12,
            {"topics": [{"name": topic, "topic_id": wire.NO_TOPIC_ID}], "allow_auto_topic_creation": False},
        ),
        ("create_topics", 7, {"topics": [created], "validate_only": True}),
        ("init_producer_id", 4, {"transactional_id": None, "producer_id": -1, "producer_epoch": -1}),
        ("offset_for_leader_epoch", 4, {"replica_id": -1, "topics": [{"topic": topic, "partitions": [epoch]}]}),
        ("api_versions", 3, {"client_software_name": "compat", "client_software_version": "1"}),
        ("find_coordinator", 4, {"coordinator_keys": ["g"], "key_type": 0}),
        ("describe_topic_partitions", 0, {"topics": [{"name": topic}], "response_partition_limit": 5}),
    ]
    return {
        f"{api} v{version}": wire.encode_request(api, version, fields, lenient=True)
        for api, version, fields in requests
    }


def test_a_body_cut_anywhere_closes_the_connection(victim: Broker, topic: str, neighbour: object) -> None:
    for kind, frame in bodies(topic).items():
        header = 8 + 2 + len("compat")
        # Behind its last required byte an ApiVersions body is complete: v0 to v2 have none.
        for size in sorted({*range(header, len(frame), max(1, len(frame) // 12)), len(frame) - 1}):
            with victim.connect() as connection:
                connection.send_frame(frame[:size])
                assert connection.is_closed_by_peer(), f"{kind} cut at {size} of {len(frame)}"


def test_mutated_frames_are_answered_or_close_the_connection(victim: Broker, topic: str, neighbour: object) -> None:
    chance = random.Random(7)
    connection = victim.connect(timeout=5)
    for kind, frame in bodies(topic).items():
        for _ in range(40):
            mutated = bytearray(frame)
            for _ in range(chance.choice((1, 1, 2, 5))):
                mutated[chance.randrange(8, len(mutated))] = chance.choice(
                    (0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256))
                )
            try:
                connection.send_frame(bytes(mutated))
                # Where the mutation asked for a long wait, or for no answer at all, the neighbours are what matters.
                connection.socket.settimeout(0.5)
                connection.receive_frame()
            except (wire.ConnectionClosed, TimeoutError):
                connection.close()
                connection = victim.connect(timeout=5)
            assert victim.is_alive(), (kind, mutated.hex())
    connection.close()


def test_a_negative_version_of_api_versions_is_answered_like_an_unknown_one_or_closes(
    connection: wire.Connection,
) -> None:
    connection.send_frame(wire.encode_header(18, -1, 1, "compat", flexible=False))
    with suppress(wire.ConnectionClosed):
        assert connection.receive("api_versions", 0, 1).error_code == 35


@pytest.mark.parametrize("count", [2**31 - 1, 2**30, 14])
def test_a_count_beyond_the_frame_is_no_allocation(victim: Broker, connection: wire.Connection, count: int) -> None:
    header = wire.encode_header(3, 4, 1, "compat", flexible=False)
    before = victim.resident_bytes() if victim.process else 0
    connection.send_frame(header + struct.pack(">i", count) + b"\0" * 25)
    assert connection.is_closed_by_peer()
    if victim.bounds_memory and victim.process:
        assert victim.resident_bytes() - before < 32 * MIB


def test_huge_frames_that_never_end_do_not_fill_the_memory(victim: Broker, neighbour: object) -> None:
    if not (victim.bounds_memory and victim.process):
        pytest.skip("about the memory bound of a broker of one's own")
    before = victim.resident_bytes()
    connections = [victim.connect() for _ in range(50)]
    for connection in connections:
        connection.send_bytes(struct.pack(">i", 90 * MIB) + b"\0\0\0\x09" + b"x" * MIB)
    assert victim.resident_bytes() - before < 256 * MIB
    for connection in connections:
        connection.close()


GOOD = [Record(b"a" * 30, b"k"), Record(b"b" * 30), Record(b"c" * 30)]


def flipped(batch: bytes, at: int) -> bytes:
    return batch[:at] + bytes([batch[at] ^ 0x55]) + batch[at + 1 :]


BAD_BATCHES = {
    "a flipped bit in the records": (flipped(make_batch(GOOD), 70), {CORRUPT_MESSAGE}),
    "a flipped bit in the header": (flipped(make_batch(GOOD), 30), {CORRUPT_MESSAGE}),
    "a wrong crc": (make_batch(GOOD, crc=12345), {CORRUPT_MESSAGE}),
    "magic 1": (make_batch(GOOD, magic=1), {CORRUPT_MESSAGE, INVALID_RECORD}),
    "magic 3": (make_batch(GOOD, magic=3), {CORRUPT_MESSAGE, INVALID_RECORD, -1}),
    "a base offset that is not 0": (make_batch(GOOD, base_offset=5), {INVALID_RECORD}),
    "a count of 0": (make_batch([], last_offset_delta=0), {INVALID_RECORD}),
    "a negative count": (make_batch(GOOD, count=-3), {INVALID_RECORD}),
    "fewer records than counted": (make_batch(GOOD, count=4), {INVALID_RECORD}),
    "a last offset delta of another count": (make_batch(GOOD, last_offset_delta=7), {INVALID_RECORD}),
    "a count that the body cannot hold": (
        make_batch(GOOD, count=1 << 30, last_offset_delta=(1 << 30) - 1),
        {INVALID_RECORD, CORRUPT_MESSAGE},
    ),
    "an id without a sequence": (make_batch(GOOD, producer_id=9, producer_epoch=0), {INVALID_RECORD}),
    "a control batch": (make_batch(GOOD[:1], attributes=CONTROL), {INVALID_RECORD}),
    "two batches": (simple_batch(b"a") + simple_batch(b"b"), {INVALID_RECORD}),
    "no batch": (b"", {INVALID_RECORD, CORRUPT_MESSAGE, 42}),
    "a batch that is cut": (make_batch(GOOD)[:-5], {CORRUPT_MESSAGE, INVALID_RECORD}),
    "a part of a header": (make_batch(GOOD)[:40], {CORRUPT_MESSAGE, INVALID_RECORD}),
    "a length that goes beyond": (
        struct.pack(">qi", 0, 10_000) + make_batch(GOOD)[12:],
        {CORRUPT_MESSAGE, INVALID_RECORD},
    ),
    "a negative length": (struct.pack(">qi", 0, -5) + make_batch(GOOD)[12:], {CORRUPT_MESSAGE, INVALID_RECORD}),
    "rubbish": (random.Random(3).randbytes(300), {CORRUPT_MESSAGE, INVALID_RECORD}),
}


@pytest.mark.parametrize("what", BAD_BATCHES)
@pytest.mark.parametrize("version", [3, 9])
def test_a_bad_batch_is_refused_and_not_stored(
    connection: wire.Connection, topic: str, what: str, version: int
) -> None:
    batch, codes = BAD_BATCHES[what]
    try:
        answer = connection.produce(topic, {0: batch}, version=version)[0]
    except wire.ConnectionClosed:
        return
    assert answer.error_code in codes
    assert answer.base_offset == -1


def test_null_records_are_refused(connection: wire.Connection, topic: str, system: str) -> None:
    if system == "kafka":
        pytest.skip("Apache Kafka never answers these, nor closes the connection")
    with suppress(wire.ConnectionClosed):
        assert connection.produce(topic, {0: None})[0].error_code in (INVALID_RECORD, 42, CORRUPT_MESSAGE)


def test_rubbish_behind_a_codec_bit_never_reaches_a_consumer(
    victim: Broker, connection: wire.Connection, topic: str, system: str
) -> None:
    """Kafka unpacks compressed batches and refuses these; in header mode they are stored as they came, which is on
    the list of differences. Either way the broker lives and the batch is no other than what was sent."""
    topic = connection.create_usable_topic(f"{topic}-rubbish")
    for codec in range(1, 8):
        batch = make_batch(GOOD, attributes=codec)
        try:
            answer = connection.produce(topic, {0: batch})[0]
        except wire.ConnectionClosed:
            connection = victim.connect()
            continue
        if system == "kafka" or codec > 4:
            assert answer.error_code != 0, codec
        elif answer.error_code == 0:
            (stored,) = connection.read_all(topic, 0, answer.base_offset)
            assert stored.raw[16:] == batch[16:]


def test_a_decompression_bomb_does_not_fill_the_memory(
    victim: Broker, connection: wire.Connection, neighbour: tuple[wire.Connection, str]
) -> None:
    if not (victim.bounds_memory and victim.process):
        pytest.skip("about the memory bound of a broker of one's own")
    name = f"{neighbour[1]}-bomb"
    connection.create_usable_topic(name, configs={"message.timestamp.type": "LogAppendTime"})
    bomb = make_batch([Record(b"\0" * (200 * MIB))], codec="zstd")
    assert len(bomb) < 100_000
    before = victim.resident_bytes()
    answer = connection.produce(name, {0: bomb})[0]
    assert victim.resident_bytes() - before < 256 * MIB
    if answer.error_code == 0:
        assert len(parse_records(connection.fetch(name, {0: 0})[0].records)) == 1


def test_a_client_that_never_reads_does_not_hold_up_the_others(
    victim: Broker, neighbour: tuple[wire.Connection, str]
) -> None:
    mine, topic = neighbour
    for _ in range(8):
        assert mine.produce(topic, {0: simple_batch(b"x" * 900_000)})[0].error_code == 0
    before = victim.resident_bytes() if victim.process else 0
    with victim.connect() as deaf:
        for _ in range(200):
            deaf.send("fetch", 11, wire.fetch_fields(topic, {0: 0}), lenient=True)
        for _ in range(20):
            assert mine.fetch(topic, {0: 0}, max_bytes=1000)[0].error_code == 0
        if victim.bounds_memory and victim.process:
            assert victim.resident_bytes() - before < 256 * MIB
