"""The clients of the soak. Each is a thread that does one thing, again and again, through restarts of the broker.

An actor that loses its connection makes a new one and goes on; anything else that it does not expect ends the run. The
rates are moderate: the soak looks for what grows, not for how fast.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

from harness import wire
from harness.batches import Batch, Record, make_batch, parse_batches
from harness.groups import Group, subscription
from kio.schema.errors import ErrorCode

from soak.ledger import Ledger, Lost, Place

KIB = 1 << 10
PLAIN, IDEMPOTENT = "soak-plain", "soak-idempotent"
PARTITIONS = {PLAIN: 4, IDEMPOTENT: 2}
CONFIGS = {
    PLAIN: {"retention.ms": "60000", "retention.bytes": str(24 << 20)},
    IDEMPOTENT: {"retention.ms": "120000"},
}
GROUP = "soak-group"
RETRIED = {code for code in ErrorCode if code.retriable} | {ErrorCode.coordinator_load_in_progress}
REJOIN = {ErrorCode.rebalance_in_progress, ErrorCode.unknown_member_id, ErrorCode.illegal_generation}


class Shared:
    """What the actors and the one who watches them have in common."""

    def __init__(self, host: str, port: int, seed: int) -> None:
        self.host = host
        self.port = port
        self.seed = seed
        self.ledger = Ledger()
        self.over = threading.Event()
        self.quiet = threading.Event()
        """Set while the broker is restarted and checked: producers make nothing new."""
        self.failure: BaseException | None = None
        self.produce_seconds: list[float] = []
        self.delivery_seconds: list[float] = []
        """From just before a record was sent until a consumer has it."""
        self.counts: dict[str, int] = {}
        self.deleted: dict[Place, int] = {}
        """How far DeleteRecords went."""

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def connect(self, timeout: float = 30) -> wire.Connection:
        return wire.Connection(self.host, self.port, timeout=timeout, client_id="soak")


class Retry(Exception):
    """The broker says that this may work later."""


def expect(code: ErrorCode, what: str) -> None:
    """No error; Retry for one that passes."""
    if code != ErrorCode.none:
        if code in RETRIED or code in REJOIN:
            raise Retry(f"{what}: {code.name}")
        raise AssertionError(f"{what}: {code.name}")


class Actor(threading.Thread):
    """`step` is called on an open connection until the run is over."""

    pause_seconds = 0.0

    def __init__(self, shared: Shared, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.shared = shared
        self.chance = random.Random(f"{shared.seed}/{name}")

    def run(self) -> None:
        shared = self.shared
        while not shared.over.is_set():
            try:
                with shared.connect() as connection:
                    self.begin(connection)
                    while not shared.over.is_set():
                        self.step(connection)
                        shared.over.wait(self.pause_seconds)
                    self.end(connection)
            except (OSError, wire.ConnectionClosed, Retry):
                shared.count(f"{self.name} started again")
                shared.over.wait(0.2)
            except BaseException as error:
                shared.failure = shared.failure or error
                shared.over.set()
                raise

    def begin(self, connection: wire.Connection) -> None:
        """On each new connection."""

    def step(self, connection: wire.Connection) -> None:
        raise NotImplementedError

    def end(self, connection: wire.Connection) -> None:
        """Before the connection is closed in peace."""


def _records(chance: random.Random, first: int, count: int) -> list[Record]:
    stamp = struct.pack(">q", time.monotonic_ns())
    return [Record(stamp + b"%d " % (first + n) + chance.randbytes(900), timestamp=_now_ms()) for n in range(count)]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class PlainProducer(Actor):
    """Batches of ten records to a random partition, acks=all."""

    pause_seconds = 0.04

    def step(self, connection: wire.Connection) -> None:
        if self.shared.quiet.is_set():
            return
        partition = self.chance.randrange(PARTITIONS[PLAIN])
        batch = make_batch(_records(self.chance, 0, 10), codec=self.chance.choice(("none", "none", "lz4", "zstd")))
        began = time.monotonic()
        answer = connection.produce(PLAIN, {partition: batch})[partition]
        self.shared.produce_seconds.append(time.monotonic() - began)
        expect(answer.error_code, "produce")
        self.shared.ledger.on_acknowledged((PLAIN, partition), answer.base_offset, batch, 10)


class IdempotentProducer(Actor):
    """Numbers, one after another, each exactly once whatever happens: what is not answered is sent again."""

    pause_seconds = 0.04

    def __init__(self, shared: Shared, name: str, partition: int) -> None:
        super().__init__(shared, name)
        self._partition = partition
        self._producer_id = -1
        self._next = 0
        self._unanswered: bytes | None = None

    def begin(self, connection: wire.Connection) -> None:
        if self._producer_id < 0:
            self._producer_id = connection.new_producer_id()

    def step(self, connection: wire.Connection) -> None:
        if self._unanswered is None:
            if self.shared.quiet.is_set():
                return
            self._unanswered = make_batch(
                _records(self.chance, self._next, 5),
                producer_id=self._producer_id,
                producer_epoch=0,
                base_sequence=self._next,
            )
        answer = connection.produce(IDEMPOTENT, {self._partition: self._unanswered})[self._partition]
        if answer.error_code != ErrorCode.duplicate_sequence_number:
            expect(answer.error_code, "idempotent produce")
            place = (IDEMPOTENT, self._partition)
            self.shared.ledger.on_acknowledged(place, answer.base_offset, self._unanswered, 5)
        self._next += 5
        self._unanswered = None


class Member(Actor):
    """One consumer of the group: joins, reads what it is given, commits, heartbeats; `stays` seconds at a time."""

    def __init__(self, shared: Shared, name: str, stays: float) -> None:
        super().__init__(shared, name)
        self._stays = stays
        self._away = False
        self._member_id = ""
        """Kept over connections, as clients do: nobody has to wait for the session of who comes back to end."""

    def begin(self, connection: wire.Connection) -> None:
        if self._away:
            self.shared.over.wait(self._stays / 2)
            self._away = False
        self._group = group = Group(connection, GROUP)
        group.find()
        group.member_id, self._member_id = self._member_id, ""
        answer = group.join_twice(protocols=(("range", subscription(PLAIN)),), session_timeout_ms=10_000)
        expect(answer.error_code, "join")
        self._member_id = group.member_id
        assignments = {}
        if answer.leader == group.member_id:
            members = sorted(member.member_id for member in answer.members)
            for place, member in enumerate(members):
                assignments[member] = bytes(range(place, PARTITIONS[PLAIN], len(members)))
        synced = group.sync(assignments)
        expect(synced.error_code, "sync")
        self._began = self._told = time.monotonic()
        self._offsets: dict[int, int] = {}
        committed = group.fetch({PLAIN: list(synced.assignment)}) if synced.assignment else {}
        for partition in synced.assignment:
            offset = committed[PLAIN, partition][0]
            earliest = connection.list_offset(PLAIN, partition, -2)
            expect(earliest.error_code, "list offsets")
            self._offsets[partition] = max(offset, earliest.offset)

    def step(self, connection: wire.Connection) -> None:
        shared, now = self.shared, time.monotonic()
        if now - self._told > 1:
            self._told = now
            self._tell()
        if self._stays and now - self._began > self._stays:
            self._group.leave()
            self._away, self._member_id = True, ""
            raise Retry("has left")
        if not self._offsets:
            shared.over.wait(0.2)
            return
        for partition, answer in connection.fetch(PLAIN, self._offsets, max_wait_ms=200).items():
            if answer.error_code == ErrorCode.offset_out_of_range:
                self._offsets[partition] = connection.list_offset(PLAIN, partition, -2).offset
                continue
            expect(answer.error_code, "fetch")
            for batch in parse_batches(answer.records):
                self._offsets[partition] = batch.last_offset + 1
                sent = struct.unpack_from(">q", next(batch.records()).value or b"")[0] / 1e9
                shared.delivery_seconds.append(time.monotonic() - sent)
                shared.count("batches consumed")

    def _tell(self) -> None:
        expect(self._group.heartbeat(), "heartbeat")
        if not self._offsets:
            return
        offsets = dict(self._offsets)
        for partition, code in self._group.commit(PLAIN, offsets).items():
            expect(code, "commit")
            self.shared.ledger.on_committed(GROUP, (PLAIN, partition), offsets[partition])

    def end(self, connection: wire.Connection) -> None:
        self._group.leave()


class LateReader(Actor):
    """Reads each partition from its beginning, so mostly from the object store, and compares with what was told."""

    pause_seconds = 5

    def step(self, connection: wire.Connection) -> None:
        for place in self.shared.ledger.places():
            verify(self.shared, connection, place)
            self.shared.over.wait(0.5)


def verify(shared: Shared, connection: wire.Connection, place: Place) -> None:
    """All that was acknowledged of a partition before now, and is not below its log start, is there."""
    topic, partition = place
    end = shared.ledger.end(place)
    expected = shared.ledger.expected(place, 0, end)
    offset = _earliest(connection, place)
    found: list[Batch] = []
    while offset < end:
        answer = connection.fetch(topic, {partition: offset}, max_wait_ms=0, partition_max_bytes=1 << 20)[partition]
        if answer.error_code == ErrorCode.offset_out_of_range:
            # Retention was faster.
            moved = _earliest(connection, place)
            if moved <= offset:
                raise Lost(f"{place}: offset {offset} of {moved} to {end} is out of range")
            offset = moved
            continue
        expect(answer.error_code, "late fetch")
        got = parse_batches(answer.records)
        if not got and _earliest(connection, place) <= offset:
            raise Lost(f"{place}: nothing at {offset}, acknowledged until {end}")
        found += got
        if got:
            offset = got[-1].last_offset + 1
            shared.count("batches read late")
    if topic == IDEMPOTENT:
        _check_sequence(place, found)
    earliest = _earliest(connection, place)
    shared.ledger.compare(place, {base: crc for base, crc in expected.items() if base >= earliest}, found)
    shared.ledger.forget_below(place, earliest)


def _check_sequence(place: Place, found: list[Batch]) -> None:
    """Batches of one idempotent producer follow each other without a gap or a repetition."""
    for one, next_one in itertools.pairwise(found):
        follows = next_one.base_offset == one.last_offset + 1
        if follows and next_one.base_sequence != one.base_sequence + one.count:
            raise Lost(f"{place}: sequence {next_one.base_sequence} after {one.base_sequence} of {one.count} records")


def _earliest(connection: wire.Connection, place: Place) -> int:
    answer = connection.list_offset(*place, -2)
    expect(answer.error_code, "list offsets")
    return int(answer.offset)


class Admin(Actor):
    """A topic's life in a second: created, written, read, configured, shortened, deleted."""

    pause_seconds = 2

    def __init__(self, shared: Shared, name: str) -> None:
        super().__init__(shared, name)
        self._number = 0

    def step(self, connection: wire.Connection) -> None:
        self._number += 1
        topic = f"soak-short-{self._number}"
        answer = connection.create_topic(topic, 3, configs={"retention.ms": "30000"})
        if answer.error_code != ErrorCode.topic_already_exists:
            expect(answer.error_code, "create")
        batch = make_batch([Record(self.chance.randbytes(5 * KIB), timestamp=_now_ms()) for _ in range(20)])
        answer = connection.produce(topic, {1: batch})[1]
        expect(answer.error_code, "produce to a new topic")
        found = connection.fetch(topic, {1: answer.base_offset})[1]
        expect(found.error_code, "fetch of a new topic")
        if [each.raw[61:] for each in parse_batches(found.records)][:1] != [batch[61:]]:
            raise Lost(f"{topic}: other records than were sent")
        value = str(self.chance.randrange(30_000, 60_000))
        change = {"name": "retention.ms", "config_operation": 0, "value": value}
        asked = [{"resource_type": 2, "resource_name": topic, "configs": [change]}]
        altered = connection.call("incremental_alter_configs", 1, resources=asked).responses[0]
        expect(altered.error_code, "alter configs")
        wanted = [{"resource_type": 2, "resource_name": topic, "configuration_keys": ["retention.ms"]}]
        described = connection.call("describe_configs", 4, resources=wanted).results[0]
        expect(described.error_code, "describe configs")
        assert described.configs[0].value == value, described
        asked = [{"name": topic, "partitions": [{"partition_index": 1, "offset": 5}]}]
        shortened = connection.call("delete_records", 2, topics=asked, timeout=10_000).topics[0].partitions[0]
        expect(shortened.error_code, "delete records")
        assert shortened.low_watermark == 5, shortened
        if self._number % 5 == 0:
            self._shorten(connection)
        deleted = connection.call("delete_topics", 4, topic_names=[topic], timeout=10_000).responses[0]
        expect(deleted.error_code, "delete")
        self.shared.count("topics created and deleted")

    def _shorten(self, connection: wire.Connection) -> None:
        place = (PLAIN, self.chance.randrange(PARTITIONS[PLAIN]))
        offset = max(self.shared.ledger.end(place) - 500, 0)
        asked = [{"name": PLAIN, "partitions": [{"partition_index": place[1], "offset": offset}]}]
        answer = connection.call("delete_records", 2, topics=asked, timeout=10_000).topics[0].partitions[0]
        expect(answer.error_code, "delete records")
        assert answer.low_watermark >= offset, answer
        self.shared.count("records deleted by request")


class Visitors(Actor):
    """Connections that come, ask something and go, some of them in the middle of an answer."""

    pause_seconds = 0.1

    def step(self, connection: wire.Connection) -> None:
        for _ in range(4):
            with self.shared.connect() as visitor:
                visitor.call("api_versions", 0)
                if self.chance.random() < 0.5:
                    visitor.send("fetch", 11, wire.fetch_fields(PLAIN, {0: 1 << 40}, max_wait_ms=5_000), lenient=True)
                else:
                    visitor.metadata(None)
            self.shared.count("visits")


class ShortGroups(Actor):
    """Groups that come and go: a member joins, commits and leaves, the group is deleted."""

    pause_seconds = 1

    def __init__(self, shared: Shared, name: str) -> None:
        super().__init__(shared, name)
        self._number = 0

    def step(self, connection: wire.Connection) -> None:
        self._number += 1
        group = Group(connection, f"soak-short-group-{self._number}")
        group.find()
        answer = group.join_twice()
        expect(answer.error_code, "join of a short group")
        expect(group.sync({group.member_id: b"all"}).error_code, "sync of a short group")
        expect(group.commit(PLAIN, {0: 7})[0], "commit of a short group")
        expect(group.leave()[0], "leave")
        expect(group.delete(), "delete of a group")
        self.shared.count("groups created and deleted")


def cast(shared: Shared) -> list[Actor]:
    """All actors, not started."""
    return [
        PlainProducer(shared, "producer-1"),
        PlainProducer(shared, "producer-2"),
        IdempotentProducer(shared, "idempotent-0", 0),
        IdempotentProducer(shared, "idempotent-1", 1),
        Member(shared, "member-1", 0),
        Member(shared, "member-2", 0),
        Member(shared, "member-3", 15),
        LateReader(shared, "late reader"),
        Admin(shared, "admin"),
        Visitors(shared, "visitors"),
        ShortGroups(shared, "short groups"),
    ]


def check_commits(shared: Shared, expected: dict[tuple[str, Place], int], connection: wire.Connection) -> None:
    """No committed offset is lower than one that was acknowledged."""
    for group_id in {group for group, _ in expected}:
        group = Group(connection, group_id)
        group.find()
        places = [place for group, place in expected if group == group_id]
        found = group.fetch({PLAIN: [partition for _, partition in places]})
        for place in places:
            if found[place][0] < expected[group_id, place]:
                raise Lost(f"{group_id} at {place}: {found[place][0]}, acknowledged {expected[group_id, place]}")


def retrying(step: Callable[[], Any], seconds: float = 60) -> None:
    """Again while the broker is starting."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(Retry, OSError, wire.ConnectionClosed):
            step()
            return
        assert time.monotonic() < deadline, "the broker does not come back"
        time.sleep(0.1)
