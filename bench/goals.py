"""What Tailrace is to reach, as ratios to Apache Kafka in the same run or as plain bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

Medians = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Load, system, figure."""


@dataclass(frozen=True)
class Goal:
    """`figure` of `system` is at least (higher) or at most `bound` times that of `against`, or `bound` itself.

    against: (load, system, figure) that is the measure, or None for a plain bound.
    """

    load: str
    what: str
    system: str
    figure: str
    higher: bool
    bound: float
    against: tuple[str, str, str] | None
    unit: str

    def judge(self, medians: Medians) -> Verdict | None:
        """None when what it needs was not measured."""
        value = medians.get(self.load, {}).get(self.system, {}).get(self.figure)
        reference = None
        if self.against:
            load, system, figure = self.against
            reference = medians.get(load, {}).get(system, {}).get(figure)
        if value is None or (self.against and not reference):
            return None
        measure = value / reference if reference else value
        return Verdict(self, value, reference, measure, measure >= self.bound if self.higher else measure <= self.bound)


@dataclass(frozen=True)
class Verdict:
    """A goal beside what was measured. measure: the ratio, or the value where there is no reference."""

    goal: Goal
    value: float
    reference: float | None
    measure: float
    met: bool

    @property
    def bound_text(self) -> str:
        sign = ">=" if self.goal.higher else "<="
        return f"{sign} {self.goal.bound:g}" + ("x" if self.goal.against else f" {self.goal.unit}")


def _kafka(load: str, what: str, system: str, figure: str, higher: bool, bound: float, kafka: str, unit: str) -> Goal:
    return Goal(load, what, f"tailrace-{system}", figure, higher, bound, (load, f"kafka-{kafka}", figure), unit)


def _plain(load: str, what: str, figure: str, bound: float, unit: str) -> Goal:
    return Goal(load, what, "tailrace-always", figure, False, bound, None, unit)


GOALS = [
    _kafka("one", "one connection, requests/s", "always", "requests_per_s", True, 2, "synced", "/s"),
    _kafka("one", "one connection, requests/s", "interval", "requests_per_s", True, 2, "default", "/s"),
    _kafka("many", "64 x 5 in flight, requests/s", "always", "requests_per_s", True, 4, "synced", "/s"),
    _kafka("many", "64 x 5 in flight, CPU a request", "always", "cpu_us_per_request", False, 0.7, "default", "us"),
    _kafka("bulk_1k", "bulk produce 1 KiB", "always", "produce_mb_per_s", True, 1.5, "default", "MB/s"),
    _kafka("bulk_1k", "bulk produce 1 KiB, CPU", "always", "produce_cpu_s_per_gib", False, 0.4, "default", "s/GiB"),
    _kafka("bulk_100", "bulk produce 100 B", "always", "produce_mb_per_s", True, 1, "default", "MB/s"),
    _kafka("bulk_100", "bulk produce 100 B, CPU", "always", "produce_cpu_s_per_gib", False, 0.4, "default", "s/GiB"),
    _kafka("bulk_1k", "bulk consume 1 KiB", "always", "consume_mb_per_s", True, 0.85, "default", "MB/s"),
    _kafka("bulk_1k", "bulk consume 1 KiB, CPU", "always", "consume_cpu_s_per_gib", False, 1, "default", "s/GiB"),
    _kafka("bulk_100", "bulk consume 100 B", "always", "consume_mb_per_s", True, 0.85, "default", "MB/s"),
    _kafka("bulk_100", "bulk consume 100 B, CPU", "always", "consume_cpu_s_per_gib", False, 1, "default", "s/GiB"),
    Goal(
        "tier", "bulk consume from the store, CPU, to the hot log's", "tailrace-always", "consume_cpu_s_per_gib",
        False, 3, ("bulk_1k", "tailrace-always", "consume_cpu_s_per_gib"), "s/GiB",
    ),
    _kafka("latency", "produce to consume, p50", "always", "p50_ms", False, 0.8, "synced", "ms"),
    _kafka("latency", "produce to consume, p99", "always", "p99_ms", False, 0.2, "synced", "ms"),
    _kafka("latency", "produce to consume, p50", "interval", "p50_ms", False, 0.7, "default", "ms"),
    _kafka("latency", "produce to consume, p99", "interval", "p99_ms", False, 1, "default", "ms"),
    _kafka("join", "a group of 1, to the first record", "always", "join_1_ms", False, 1, "default", "ms"),
    _kafka("join", "a group of 100, to the first record", "always", "join_100_ms", False, 1, "default", "ms"),
    _kafka("commits", "64 consumers commit, commits/s", "always", "commits_per_s", True, 2, "synced", "/s"),
    _plain("heartbeats", "1,000 members heartbeat, CPU", "cpu_percent", 5, "% of a core"),
    _plain("start", "start on a fresh folder", "ready_s", 0.5, "s"),
    _plain("start", "resident memory when idle", "idle_rss_mib", 90, "MiB"),
    _plain("after_all", "resident memory after all loads", "rss_mib", 420, "MiB"),
    _plain("partitions", "2,000 partitions: until all are served", "usable_s", 0.5, "s"),
    _plain("partitions", "2,000 partitions: memory", "memory_mib", 10, "MiB"),
    _plain("partitions", "2,000 partitions: CPU when idle", "idle_cpu_percent", 1, "% of a core"),
    _plain("restart_16k", "restart, 1 GiB in the WAL, 16 KiB batches", "ready_s", 3, "s"),
    _plain("restart_1k", "restart, 1 GiB in the WAL, 1 KiB batches", "ready_s", 8, "s"),
]  # fmt: skip


def verdicts(medians: Medians) -> list[Verdict]:
    """Of all goals for which something was measured, in their order."""
    return [verdict for goal in GOALS if (verdict := goal.judge(medians))]


def medians_of(rounds: Mapping[str, Mapping[str, list[dict[str, float]]]]) -> dict[str, dict[str, dict[str, float]]]:
    """Load, system, figure: the median over the rounds."""
    return {
        load: {
            system: {figure: median(r[figure] for r in runs if figure in r) for figure in runs[0]}
            for system, runs in systems.items()
            if runs
        }
        for load, systems in rounds.items()
    }
