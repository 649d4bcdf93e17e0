"""The loads: what is sent, what is measured, and what must be true for the measurement to count.

A load gets a server and answers figures by name. Shared loads run on brokers that stay up for the whole bench, warm,
one broker loaded at a time; the others start brokers of their own. Every load checks what it did (offsets, counts,
order) and raises when anything is missing: a figure of a load that lost records is worse than none.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

import generators
import members
from server import Server, machine_busy_s
from tailrace_server import EAGER_UPLOAD, SMALL_HOT_LOG, UPLOAD_HELD_BACK, TailraceAlways
from wire import Wire, WireError, wire

Figures = dict[str, float]
Settings = dict[str, int | str]

BULK_PARTITIONS = 8
BULK_FIRST = 1  # what the producer sends to each partition before its clock starts
BATCH_HEADER_BYTES, RECORD_HEADER_BYTES = 61, 9
MIB = 1 << 20
GIB = 1 << 30
_topic_numbers = itertools.count()


@dataclass(frozen=True)
class Scale:
    """How much of everything. bulk_bytes is in record values; the hot part of it is read `hot_passes` times over."""

    seconds: int
    latency_seconds: int
    bulk_bytes: int
    hot_passes: int
    idle_seconds: float
    partitions: int
    more_partitions: int
    wal_bytes: int
    joins: int
    groups: int
    """Of ten members each, for the heartbeats."""


FULL = Scale(5, 10, 600_000 * 1024, 4, 5, 2000, 10_000, 1020 * MIB, 5, 100)
WARM_UP = Scale(3, 3, 200_000 * 1024, 4, 0, 0, 0, 0, 3, 20)
SMOKE = Scale(1, 1, 16_000 * 1024, 2, 0.5, 100, 200, 16 * MIB, 2, 5)


@dataclass(frozen=True)
class Load:
    """A load and where it runs. seconds: what it takes at full scale for one system, for the estimate of time to go."""

    name: str
    title: str
    run: Callable[[Server, Scale], Figures]
    seconds: float
    own_broker: bool = False
    systems: tuple[str, ...] = ("kafka-default", "kafka-synced", "tailrace-always", "tailrace-interval")


class Cost:
    """What the broker spent inside a `with cost(server)` block, and how busy everything together was meanwhile."""

    cpu_s = 0.0
    uploaded_mib = 0.0
    elapsed_s = 0.0
    machine_cpu_s = 0.0

    def other_cores(self, client_cpu_s: float) -> float:
        """Cores that were busy with neither broker nor client: the kernel's own threads, and whoever disturbs."""
        return max(self.machine_cpu_s - self.cpu_s - client_cpu_s, 0) / self.elapsed_s


@contextmanager
def cost(server: Server) -> Iterator[Cost]:
    measured = Cost()
    uploaded = server.uploaded_bytes()
    begin, machine_cpu_s, cpu_s = time.perf_counter(), machine_busy_s(), server.cpu_s()
    yield measured
    measured.cpu_s = server.cpu_s() - cpu_s
    measured.machine_cpu_s = machine_busy_s() - machine_cpu_s
    measured.elapsed_s = time.perf_counter() - begin
    measured.uploaded_mib = (server.uploaded_bytes() - uploaded) / MIB


@contextmanager
def fresh_topic(server: Server, partitions: int) -> Iterator[str]:
    """A new topic, usable when the block starts and deleted at its end."""
    name = f"bench-{next(_topic_numbers)}"
    with wire(server.port) as connection:
        create_usable(connection, name, partitions)
        yield name
        connection.delete_topic(name)


def create_usable(connection: Wire, name: str, partitions: int, limit_s: float = 60) -> tuple[float, float]:
    """Creates a topic. Returns the seconds to the answer, and until every partition has a leader that serves it."""
    begin = time.perf_counter()
    connection.create_topic(name, partitions)
    answered_s = time.perf_counter() - begin
    while True:
        try:
            if connection.partitions_led(name) == partitions:
                connection.offsets(name, partitions)
                return answered_s, time.perf_counter() - begin
        except WireError:
            if time.perf_counter() - begin > limit_s:
                raise
        if time.perf_counter() - begin > limit_s:
            raise RuntimeError(f"{name}: no leaders for {partitions} partitions after {limit_s} s")
        time.sleep(0.005)


def expect_records(server: Server, topic: str, partitions: int, records: int) -> None:
    """The log ends say that exactly so many records were appended."""
    with wire(server.port) as connection:
        found = sum(connection.offsets(topic, partitions))
    if found != records:
        raise RuntimeError(f"{server.label}: {topic} holds {found} records, {records} were acknowledged")


def _requests(server: Server, scale: Scale, partitions: int, connections: int, in_flight: int) -> Figures:
    with fresh_topic(server, partitions) as topic:
        with cost(server) as spent:
            got = generators.requests(
                "produce", port=server.port, topic=topic, partitions=partitions, connections=connections,
                inflight=in_flight, seconds=scale.seconds,
            )  # fmt: skip
        expect_records(server, topic, partitions, int(got["requests"]))
    return {
        "requests_per_s": got["requests"] / got["elapsed_s"],
        "p50_us": got["p50_us"],
        "p99_us": got["p99_us"],
        "cpu_us_per_request": spent.cpu_s / got["requests"] * 1e6,
        "client_cpu_us_per_request": got["client_cpu_s"] / got["requests"] * 1e6,
        "other_cores": spent.other_cores(got["client_cpu_s"]),
    }


def one_connection(server: Server, scale: Scale) -> Figures:
    return _requests(server, scale, partitions=1, connections=1, in_flight=1)


def many_connections(server: Server, scale: Scale) -> Figures:
    return _requests(server, scale, partitions=16, connections=64, in_flight=5)


def _bulk_figures(prefix: str, got: dict[str, float], spent: Cost, value_bytes: int) -> Figures:
    moved = got["records"] * value_bytes
    return {
        f"{prefix}_mb_per_s": moved / got["elapsed_s"] / 1e6,
        f"{prefix}_cpu_s_per_gib": spent.cpu_s / (moved / GIB),
        f"{prefix}_uploaded_mib": spent.uploaded_mib,
        f"{prefix}_client_cpu_s": got["client_cpu_s"],
        f"{prefix}_other_cores": spent.other_cores(got["client_cpu_s"]),
    }


def _bulk(server: Server, scale: Scale, value_bytes: int) -> Figures:
    # Whole runs of 1,000 for every partition, so that all partitions get the same.
    step = 1000 * BULK_PARTITIONS
    count = max(scale.bulk_bytes // value_bytes // step, 1) * step
    hot = count // BULK_PARTITIONS // scale.hot_passes * BULK_PARTITIONS
    with fresh_topic(server, BULK_PARTITIONS) as topic:
        common: Settings = {"topic": topic, "partitions": BULK_PARTITIONS, "bytes": value_bytes}
        before_s = server.cpu_s()
        with cost(server) as produced:
            sent = generators.bulk("produce", server.port, count=count, **common)
        expect_records(server, topic, BULK_PARTITIONS, count + BULK_PARTITIONS * BULK_FIRST)
        server.settle()
        settled_s = server.cpu_s() - before_s
        with cost(server) as consumed:
            read = generators.bulk(
                "consume",
                server.port,
                count=hot,
                first=BULK_FIRST + (count - hot) // BULK_PARTITIONS,
                passes=scale.hot_passes,
                **common,
            )
    return {
        **_bulk_figures("produce", sent, produced, value_bytes),
        "produce_settled_cpu_s_per_gib": settled_s / (count * value_bytes / GIB),
        **_bulk_figures("consume", read, consumed, value_bytes),
    }


def bulk_1k(server: Server, scale: Scale) -> Figures:
    return _bulk(server, scale, 1024)


def bulk_100(server: Server, scale: Scale) -> Figures:
    return _bulk(server, scale, 100)


def latency(server: Server, scale: Scale) -> Figures:
    with fresh_topic(server, 1) as topic:
        with cost(server) as spent:
            got = generators.requests(
                "latency", port=server.port, topic=topic, rate=1000, seconds=scale.latency_seconds
            )
        expect_records(server, topic, 1, 1000 * scale.latency_seconds)
    return {
        "p50_ms": got["p50_us"] / 1000,
        "p99_ms": got["p99_us"] / 1000,
        "p999_ms": got["p999_us"] / 1000,
        "late_sends": got["late_sends"],
        "cpu_us_per_record": spent.cpu_s / got["requests"] * 1e6,
        "other_cores": spent.other_cores(got["client_cpu_s"]),
    }


def join(server: Server, scale: Scale) -> Figures:
    """New groups of 1 and of 100 members, each member until its first record; the medians."""
    figures: Figures = {}
    before_s = time.process_time()
    with cost(server) as spent:
        for count in (1, 100):
            with fresh_topic(server, count) as topic:
                generators.requests(
                    "produce", port=server.port, topic=topic, partitions=count, connections=count, count=count
                )
                seconds = []
                for number in range(scale.joins):
                    group = f"{topic}-join-{number}"
                    with wire(server.port) as connection:
                        connection.find_coordinator(group)
                        seconds.append(members.join(server.port, group, topic, count))
                        connection.delete_group(group)
                figures[f"join_{count}_ms"] = median(seconds) * 1000
    return {**figures, "other_cores": spent.other_cores(time.process_time() - before_s)}


def commits(server: Server, scale: Scale) -> Figures:
    """64 consumers of 8 groups, each commits its partition again when the last commit is answered."""
    groups = 8
    with fresh_topic(server, 64) as topic:
        names = [f"{topic}-{number}" for number in range(groups)]
        with wire(server.port) as connection:
            for name in names:
                connection.find_coordinator(name)
            with cost(server) as spent:
                got = generators.requests(
                    "commit", port=server.port, topic=topic, partitions=64, connections=64, groups=groups,
                    seconds=scale.seconds,
                )  # fmt: skip
            for name in names:
                connection.delete_group(name)
    return {
        "commits_per_s": got["requests"] / got["elapsed_s"],
        "p50_us": got["p50_us"],
        "p99_us": got["p99_us"],
        "cpu_us_per_commit": spent.cpu_s / got["requests"] * 1e6,
        "other_cores": spent.other_cores(got["client_cpu_s"]),
    }


def heartbeats(server: Server, scale: Scale) -> Figures:
    """Groups of ten members that do nothing but heartbeat, each every 3 seconds as clients do."""
    spent = Cost()
    client_s = 0.0

    @contextmanager
    def measured() -> Iterator[None]:
        nonlocal spent, client_s
        before_s = time.process_time()
        with cost(server) as spent:
            yield
        client_s = time.process_time() - before_s

    prefix = f"heartbeats-{next(_topic_numbers)}"
    with wire(server.port) as connection:
        connection.find_coordinator(prefix)
    beaten = members.heartbeats(server.port, prefix, scale.groups, 10, 3.0, scale.latency_seconds, measured)
    return {
        "cpu_percent": spent.cpu_s / spent.elapsed_s * 100,
        "heartbeats_per_s": beaten / spent.elapsed_s,
        "cpu_us_per_heartbeat": spent.cpu_s / beaten * 1e6,
        "other_cores": spent.other_cores(client_s),
    }


def start(server: Server, scale: Scale) -> Figures:
    ready_s = server.start()
    time.sleep(scale.idle_seconds / 2)
    return {"ready_s": ready_s, "idle_rss_mib": server.rss_mib()}


def partitions(server: Server, scale: Scale) -> Figures:
    server.start()
    server.settle()
    figures: Figures = {}
    before_mib = server.rss_mib()
    with wire(server.port) as connection:
        # Apache Kafka refuses more than 10,000 changes in one request, hence two topics for the second number.
        for prefix, topics, count in (("", 1, scale.partitions), ("more_", 2, scale.more_partitions // 2)):
            answered = usable = 0.0
            for number in range(topics):
                seconds = create_usable(connection, f"{prefix}many-{number}", count)
                answered += seconds[0]
                usable += seconds[1]
            server.settle()
            idle_from_s = server.cpu_s()
            time.sleep(scale.idle_seconds)
            figures |= {
                f"{prefix}create_s": answered,
                f"{prefix}usable_s": usable,
                f"{prefix}memory_mib": server.rss_mib() - before_mib,
                f"{prefix}idle_cpu_percent": (server.cpu_s() - idle_from_s) / scale.idle_seconds * 100,
            }
    last = "more_many-1"
    generators.requests("produce", port=server.port, topic=last, partitions=count, connections=16, count=160)
    with wire(server.port) as connection:
        if sum(connection.offsets(last, count)) != 160:
            raise RuntimeError(f"{server.label}: records are missing in {last}")
    return figures


def tier(server: Server, scale: Scale) -> Figures:
    """Bulk consume of 1 KiB records, all of them, from the object store."""
    assert isinstance(server, TailraceAlways)
    server.settings = {**SMALL_HOT_LOG, **EAGER_UPLOAD}
    server.start()
    step = 1000 * BULK_PARTITIONS
    count = max(scale.bulk_bytes // 1024 // step, 1) * step
    with wire(server.port) as connection:
        create_usable(connection, "tier", BULK_PARTITIONS)
    common: Settings = {"topic": "tier", "partitions": BULK_PARTITIONS, "bytes": 1024, "count": count}
    generators.bulk("produce", server.port, **common)
    deadline = time.monotonic() + 60
    while server.uploaded_bytes() < count * 1024 and time.monotonic() < deadline:
        time.sleep(0.1)
    if server.uploaded_bytes() < count * 1024:
        raise RuntimeError(f"only {server.uploaded_bytes() / MIB:.0f} MiB were uploaded in a minute")
    server.settle()
    server.stop()
    server.start(fresh=False)
    server.settle()
    with cost(server) as consumed:
        read = generators.bulk("consume", server.port, first=BULK_FIRST, **common)
    return {**_bulk_figures("consume", read, consumed, 1024), "rss_mib": server.rss_mib()}


def _restart(server: Server, scale: Scale, batch_records: int) -> Figures:
    """kill -9 with data in the WAL alone, then a start with the usual memory."""
    assert isinstance(server, TailraceAlways)
    server.settings = {**UPLOAD_HELD_BACK}
    server.start()
    batches = scale.wal_bytes // (BATCH_HEADER_BYTES + batch_records * (1024 + RECORD_HEADER_BYTES))
    with wire(server.port) as connection:
        create_usable(connection, "restart", 16)
    generators.requests(
        "produce", port=server.port, topic="restart", partitions=16, connections=64, inflight=5, count=batches,
        batch_records=batch_records,
    )  # fmt: skip
    in_wal = {"wal_used_mib": server.wal_used_bytes() / MIB, "uploaded_mib": server.uploaded_bytes() / MIB}
    server.kill()
    os.sync()
    del server.settings["engine.hot_bytes"]
    ready_s = server.start(fresh=False)
    figures = {"ready_s": ready_s, "rss_mib": server.rss_mib(), **in_wal}
    expect_records(server, "restart", 16, batches * batch_records)
    generators.bulk("consume", server.port, topic="restart", partitions=1, bytes=1024, count=batch_records)
    return figures


def restart_16k(server: Server, scale: Scale) -> Figures:
    return _restart(server, scale, batch_records=16)


def restart_1k(server: Server, scale: Scale) -> Figures:
    return _restart(server, scale, batch_records=1)


_ALONE = ("tailrace-always",)
LOADS = [
    Load("one", "one connection, 1 KiB, one after another", one_connection, 7),
    Load("many", "64 connections x 5 in flight, 16 partitions, 1 KiB", many_connections, 8),
    Load("bulk_1k", "bulk produce and consume, 1 KiB", bulk_1k, 9),
    Load("bulk_100", "bulk produce and consume, 100 B", bulk_100, 17),
    Load("latency", "1,000 records/s, produce to consume", latency, 12),
    Load("join", "new groups of 1 and of 100 members, to the first record", join, 15),
    Load("commits", "64 consumers commit offsets", commits, 8),
    Load("heartbeats", "1,000 members heartbeat", heartbeats, 20),
    Load("start", "start on a fresh folder, memory when idle", start, 7, True, ("kafka-default", "tailrace-always")),
    Load("partitions", "2,000 and 10,000 partitions", partitions, 45, True, ("kafka-default", "tailrace-always")),
    Load("tier", "bulk consume from the object store, 1 KiB", tier, 25, True, _ALONE),
    Load("restart_16k", "restart, 1 GiB in the WAL, batches of 16 KiB", restart_16k, 15, True, _ALONE),
    Load("restart_1k", "restart, 1 GiB in the WAL, batches of 1 KiB", restart_1k, 30, True, _ALONE),
]
