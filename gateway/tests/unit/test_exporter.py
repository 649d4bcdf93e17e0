"""From cells and functions to Prometheus' text."""

import asyncio
import subprocess
import sys

import pytest

from tailrace_core.telemetry import METRICS, Histogram, Kind, Registry
from tailrace_gateway.observability.exporter import Exporter


def scrape(registry: Registry) -> list[str]:
    return asyncio.run(Exporter(registry).scrape()).splitlines()


def test_counters_and_gauges_are_read_at_the_scrape() -> None:
    registry = Registry()
    accepted = registry.counter("tailrace_connections_accepted_total")
    registry.observe("tailrace_connections", lambda: 3)
    registry.observe("tailrace_start_seconds", lambda: 0.25)
    accepted.value += 7
    lines = scrape(registry)
    assert "# TYPE tailrace_connections_accepted_total counter" in lines
    assert "tailrace_connections_accepted_total 7" in lines
    assert "# TYPE tailrace_connections gauge" in lines
    assert "tailrace_connections 3" in lines
    assert "tailrace_start_seconds 0.25" in lines


def test_labels_are_written_in_the_order_of_the_table_and_escaped() -> None:
    registry = Registry()
    said = {"durability": "local", "wal_sync": "always", "wal_backend": 'a"b\\c\nd', "version": "1"}
    registry.observe("tailrace_info", lambda: 1, said)
    registry.observe_by_label("tailrace_requests_total", lambda: {"Produce": 4, "Fetch": 5})
    lines = scrape(registry)
    expected = 'tailrace_info{version="1",wal_backend="a\\"b\\\\c\\nd",wal_sync="always",durability="local"} 1'
    assert expected in lines
    assert 'tailrace_requests_total{api="Produce"} 4' in lines
    assert 'tailrace_requests_total{api="Fetch"} 5' in lines


def test_a_histogram_is_cumulative_and_in_the_unit_of_its_name() -> None:
    registry = Registry()
    cell = registry.histogram("tailrace_wal_write_seconds")
    for microseconds in (50, 51, 100, 20_000_000):
        cell.observe(microseconds)
    lines = scrape(registry)
    assert 'tailrace_wal_write_seconds_bucket{le="5e-05"} 1' in lines
    assert 'tailrace_wal_write_seconds_bucket{le="0.0001"} 3' in lines
    assert 'tailrace_wal_write_seconds_bucket{le="10"} 3' in lines
    assert 'tailrace_wal_write_seconds_bucket{le="+Inf"} 4' in lines
    assert "tailrace_wal_write_seconds_sum 20.000201" in lines
    assert "tailrace_wal_write_seconds_count 4" in lines


def test_what_is_registered_after_the_first_scrape_appears_in_the_next() -> None:
    registry = Registry()
    exporter = Exporter(registry)

    async def twice() -> tuple[str, str]:
        first = await exporter.scrape()
        registry.observe("tailrace_topics", lambda: 2)
        return first, await exporter.scrape()

    first, second = asyncio.run(twice())
    assert "tailrace_topics" not in first
    assert "tailrace_topics 2" in second.splitlines()


def test_counters_are_told_as_totals_at_every_scrape() -> None:
    registry = Registry()
    cell = registry.counter("tailrace_received_bytes_total")
    cell.value = 5
    exporter = Exporter(registry)

    async def twice() -> list[str]:
        return [await exporter.scrape(), await exporter.scrape()]

    assert all("tailrace_received_bytes_total 5" in text.splitlines() for text in asyncio.run(twice()))


def test_the_loop_gets_its_turn_within_a_scrape_and_the_text_keeps_the_order_of_the_table() -> None:
    registry = Registry()
    for row in METRICS:
        labels = dict.fromkeys(row.labels, "x")
        if row.kind is Kind.HISTOGRAM:
            registry.histogram(row.name, labels)
        else:
            registry.observe(row.name, lambda: 1, labels)
    exporter = Exporter(registry)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def second_scrape() -> tuple[str, int]:
        await exporter.scrape()
        task = asyncio.create_task(others())
        await asyncio.sleep(0)
        before = turns
        text = await exporter.scrape()
        task.cancel()
        return text, turns - before

    text, turns_within = asyncio.run(second_scrape())
    told = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert told == [row.name for row in METRICS]
    assert turns_within >= len(METRICS) // 10


def test_names_and_labels_outside_of_the_table_are_refused() -> None:
    registry = Registry()
    with pytest.raises(ValueError, match="not in the table"):
        registry.observe("tailrace_conections", lambda: 1)
    with pytest.raises(ValueError, match="labels"):
        registry.counter("tailrace_requests_total")
    with pytest.raises(ValueError, match="is a gauge"):
        registry.counter("tailrace_connections")
    with pytest.raises(ValueError, match="is a counter"):
        registry.histogram("tailrace_received_bytes_total")
    with pytest.raises(ValueError, match="other than one label"):
        registry.observe_by_label("tailrace_connections", dict)
    assert registry.missing() == [metric.name for metric in METRICS]


def test_what_nobody_counts_is_known() -> None:
    registry = Registry()
    registry.observe("tailrace_topics", lambda: 1)
    assert "tailrace_topics" not in registry.missing()
    assert len(registry.missing()) == len(METRICS) - 1


def test_names_follow_prometheus_conventions() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER), metric.name
        assert bool(metric.bounds) == (metric.kind is Kind.HISTOGRAM), metric.name
        assert list(metric.bounds) == sorted(set(metric.bounds))


def test_a_value_on_a_bound_belongs_to_its_bucket() -> None:
    histogram = Histogram((10, 20))
    for value in (0, 10, 11, 20, 21):
        histogram.observe(value)
    assert histogram.counts == [2, 2, 1]
    assert histogram.total == 62


def test_the_sdk_is_not_imported_before_the_first_scrape() -> None:
    program = "import sys, tailrace_gateway.observability.health; print('opentelemetry.sdk' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert done.stdout.strip() == "False"
