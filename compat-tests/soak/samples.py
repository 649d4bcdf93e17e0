"""What is looked at each second, and what it comes to: slopes, drift, pauses of the loop."""

from __future__ import annotations

import re
import urllib.error
from dataclasses import dataclass, field
from pathlib import Path

from harness.tailrace import Tailrace

from soak.actors import Shared

MIB = 1 << 20
SCRAPE_SECONDS = 10.0
"""Metrics are read as seldom as a scraper does: each scrape is work on the loop that is measured."""
PAUSES = "tailrace_loop_pause_seconds"
GAUGES = {
    "wal": "tailrace_wal_used_bytes",
    "hot": "tailrace_hot_bytes",
    "connections": "tailrace_connections",
    "worker": "tailrace_worker_memory_bytes",
}


@dataclass
class Sample:
    """One second of the broker. Times in seconds since the run began, sizes in bytes, latencies in milliseconds."""

    at: float
    resident: int
    files: int
    threads: int
    waited: float
    """For how many seconds the loop's thread has waited for a core since the process began; from outside this is a
    pause like any other."""
    produce: tuple[float, float] | None
    """p50 and p99 of the requests that were answered since the last sample; None where there were none."""
    delivery: tuple[float, float] | None


@dataclass
class Life:
    """The broker from one start to its end."""

    began: float
    ended_by: str = "the run's end"
    samples: list[Sample] = field(default_factory=list)
    pauses: dict[float, int] = field(default_factory=dict)
    """Upper end of a bucket in seconds -> pauses in it and below, when last seen."""
    gauges: list[tuple[float, dict[str, float]]] = field(default_factory=list)
    """What was scraped, and when."""
    scraped: float = -SCRAPE_SECONDS

    def settled(self, warm_up: float) -> list[Sample]:
        """Without the first seconds, in which caches fill."""
        return [sample for sample in self.samples if sample.at - self.began >= warm_up]


def take(broker: Tailrace, shared: Shared, life: Life, at: float) -> None:
    """Add a sample; nothing while the broker does not answer."""
    folder = Path(f"/proc/{broker.pid}")
    try:
        resident = broker.resident_bytes()
        waited = int((folder / "task" / str(broker.pid) / "schedstat").read_text().split()[1]) / 1e9
        files, threads = len(list((folder / "fd").iterdir())), len(list((folder / "task").iterdir()))
        if at - life.scraped >= SCRAPE_SECONDS:
            _scrape(broker, life, at)
    except (OSError, urllib.error.URLError):
        return
    produce, shared.produce_seconds = shared.produce_seconds, []
    delivery, shared.delivery_seconds = shared.delivery_seconds, []
    life.samples.append(Sample(at, resident, files, threads, waited, _two(produce), _two(delivery)))


def _scrape(broker: Tailrace, life: Life, at: float) -> None:
    text = broker.http("/metrics")
    life.scraped = at
    life.gauges.append((at, {name: _value(text, metric) for name, metric in GAUGES.items()}))
    life.pauses = {
        float(found[1]): int(float(found[2]))
        for found in re.finditer(rf'^{PAUSES}_bucket{{le="([^"]+)"}} (\S+)$', text, re.MULTILINE)
    }


def _value(text: str, metric: str) -> float:
    found = re.search(rf"^{metric} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def _two(seconds: list[float]) -> tuple[float, float] | None:
    if not seconds:
        return None
    return 1000 * quantile(seconds, 0.5), 1000 * quantile(seconds, 0.99)


def quantile(values: list[float], share: float) -> float:
    """The value at this share of the sorted ones."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def slope(points: list[tuple[float, float]]) -> float:
    """Growth a second, by least squares; 0 for fewer than two points."""
    count = len(points)
    if count < 2:
        return 0.0
    mean_x, mean_y = sum(x for x, _ in points) / count, sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def pause_quantile(lives: list[Life], share: float) -> tuple[float, int]:
    """The upper end in seconds of the bucket that holds this share of all pauses, and how many there were."""
    together: dict[float, int] = {}
    for life in lives:
        for end, count in life.pauses.items():
            together[end] = together.get(end, 0) + count
    total = max(together.values(), default=0)
    return next((end for end in sorted(together) if total and together[end] >= share * total), 0.0), total
