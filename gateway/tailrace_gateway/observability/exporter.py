"""Metrics as Prometheus' text format, computed when they are asked for.

Histograms are written from their cells by a collector of our own: the SDK's histograms want a call per observation, and
the hot path has none to give. Counters and gauges go through the OpenTelemetry SDK as observable instruments, so that
another exporter (OTLP) needs a reader more and nothing else. The SDK is imported at the first scrape: it takes a fifth
of a second that a start does not have.

To collect everything at once would stop the loop for 3 to 5 ms. Counters need no common instant, so the table is cut
into parts, each with a provider of its own, and the loop gets its turn between them.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from tailrace_core.telemetry import METRICS, Histogram, Kind, Labels, Metric, Number, Registry

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Observation

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_PART_METRICS: Final = 8
"""Told in one turn of the loop: 0.3 ms, when nothing of it is in the core's caches."""


class Exporter:
    """The text of all metrics of one registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._parts: list[_Part] = []
        self._loading = asyncio.Lock()

    async def scrape(self) -> str:
        """Every registered metric, in the order of the table."""
        async with self._loading:
            if not self._parts:
                # In a thread: the import would stop the loop, and with it every client, for its whole time.
                await asyncio.to_thread(_import_sdk)
                for first in range(0, len(METRICS), _PART_METRICS):
                    self._parts.append(_Part(self._registry, METRICS[first : first + _PART_METRICS]))
                    await asyncio.sleep(0)
        lines: list[str] = []
        for part in self._parts:
            lines += part.lines()
            await asyncio.sleep(0)
        return "\n".join(lines) + "\n"


def _import_sdk() -> None:
    import opentelemetry.sdk.metrics.export  # noqa: F401


class _Part:
    """Some rows of the table. Their counters and gauges are observable instruments with a reader in memory."""

    def __init__(self, registry: Registry, rows: Sequence[Metric]) -> None:
        from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.sdk.resources import Resource

        self._registry = registry
        self._rows = rows
        self._reader: InMemoryMetricReader = InMemoryMetricReader()
        provider = MeterProvider(
            [self._reader],
            Resource({"service.name": "tailrace"}),
            shutdown_on_exit=False,
            exemplar_filter=AlwaysOffExemplarFilter(),
        )
        meter = provider.get_meter("tailrace")
        for row in rows:
            if row.kind is Kind.COUNTER:
                meter.create_observable_counter(row.name, [self._observer(row)], description=row.meaning)
            elif row.kind is Kind.GAUGE:
                meter.create_observable_gauge(row.name, [self._observer(row)], description=row.meaning)

    def _observer(self, row: Metric) -> Callable[["CallbackOptions"], Iterable["Observation"]]:
        from opentelemetry.metrics import Observation

        def observe(_: "CallbackOptions") -> Iterable["Observation"]:
            return [Observation(value, dict(labels)) for labels, value in _read(self._registry, row)]

        return observe

    def lines(self) -> Iterable[str]:
        """The text of these rows, now."""
        points = self._collect()
        for row in self._rows:
            if row.kind is Kind.HISTOGRAM:
                cells = self._registry.histograms.get(row.name, [])
                samples = [line for labels, cell in cells for line in _histogram_lines(row, labels, cell)]
            else:
                samples = [f"{row.name}{_label_text(labels)} {_number(value)}" for labels, value in points[row.name]]
            if samples:
                yield f"# HELP {row.name} {row.meaning}"
                yield f"# TYPE {row.name} {row.kind.value}"
                yield from samples

    def _collect(self) -> Mapping[str, list[tuple[Labels, Number]]]:
        labels_of = {row.name: row.labels for row in self._rows}
        points: dict[str, list[tuple[Labels, Number]]] = {name: [] for name in labels_of}
        data = self._reader.get_metrics_data()
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                for collected in scope.metrics:
                    for point in collected.data.data_points:
                        attributes: Mapping[str, Any] = point.attributes or {}
                        labels = tuple((name, str(attributes[name])) for name in labels_of[collected.name])
                        points[collected.name].append((labels, point.value))  # type: ignore[union-attr]
        return points


def _read(registry: Registry, row: Metric) -> Iterable[tuple[Labels, Number]]:
    for labels, read in registry.reads.get(row.name, ()):
        yield labels, read()
    for read_labels in registry.label_reads.get(row.name, ()):
        for label, value in read_labels().items():
            yield ((row.labels[0], label),), value


def _histogram_lines(row: Metric, labels: Labels, cell: Histogram) -> Iterable[str]:
    cumulative = 0
    for bound, count in zip(row.bounds, cell.counts, strict=False):
        cumulative += count
        yield f"{row.name}_bucket{_label_text((*labels, ('le', _number(bound / row.scale))))} {cumulative}"
    cumulative += cell.counts[-1]
    yield f"{row.name}_bucket{_label_text((*labels, ('le', '+Inf')))} {cumulative}"
    yield f"{row.name}_sum{_label_text(labels)} {_number(cell.total / row.scale)}"
    yield f"{row.name}_count{_label_text(labels)} {cumulative}"


def _label_text(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: Number) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))
