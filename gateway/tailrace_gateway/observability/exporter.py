"""Metrics as Prometheus' text format, computed when they are asked for.

Histograms are written from their cells by a collector of our own: the SDK's histograms want a call per observation, and
the hot path has none to give. Counters and gauges go through the OpenTelemetry SDK as observable instruments, so that
another exporter (OTLP) needs a reader more and nothing else. The SDK is imported at the first scrape: it takes a fifth
of a second that a start does not have.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from tailrace_core.telemetry import METRICS, Histogram, Kind, Labels, Metric, Number, Registry, metric

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Observation

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Exporter:
    """The text of all metrics of one registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._sdk: _Sdk | None = None
        self._loading = asyncio.Lock()

    async def scrape(self) -> str:
        """Every registered metric, in the order of the table."""
        async with self._loading:
            if self._sdk is None:
                # In a thread: the import would stop the loop, and with it every client, for its whole time.
                await asyncio.to_thread(_import_sdk)
                self._sdk = _Sdk(self._registry)
        points = self._sdk.collect()
        lines: list[str] = []
        for row in METRICS:
            if row.kind is Kind.HISTOGRAM:
                cells = self._registry.histograms.get(row.name, [])
                samples = [line for labels, cell in cells for line in _histogram_lines(row, labels, cell)]
            else:
                samples = [f"{row.name}{_label_text(labels)} {_number(value)}" for labels, value in points[row.name]]
            if samples:
                lines += [f"# HELP {row.name} {row.meaning}", f"# TYPE {row.name} {row.kind.value}", *samples]
        return "\n".join(lines) + "\n"


def _import_sdk() -> None:
    import opentelemetry.sdk.metrics.export  # noqa: F401


class _Sdk:
    """The registry's counters and gauges as observable instruments with a reader in memory."""

    def __init__(self, registry: Registry) -> None:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.sdk.resources import Resource

        self._registry = registry
        self._reader: InMemoryMetricReader = InMemoryMetricReader()
        provider = MeterProvider([self._reader], Resource({"service.name": "tailrace"}), shutdown_on_exit=False)
        meter = provider.get_meter("tailrace")
        for row in METRICS:
            if row.kind is Kind.COUNTER:
                meter.create_observable_counter(row.name, [self._observer(row)], description=row.meaning)
            elif row.kind is Kind.GAUGE:
                meter.create_observable_gauge(row.name, [self._observer(row)], description=row.meaning)

    def _observer(self, row: Metric) -> Callable[["CallbackOptions"], Iterable["Observation"]]:
        from opentelemetry.metrics import Observation

        def observe(_: "CallbackOptions") -> Iterable["Observation"]:
            return [Observation(value, dict(labels)) for labels, value in _read(self._registry, row)]

        return observe

    def collect(self) -> Mapping[str, list[tuple[Labels, Number]]]:
        points: dict[str, list[tuple[Labels, Number]]] = {row.name: [] for row in METRICS}
        data = self._reader.get_metrics_data()
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                for collected in scope.metrics:
                    names = metric(collected.name).labels
                    for point in collected.data.data_points:
                        attributes: Mapping[str, Any] = point.attributes or {}
                        labels = tuple((name, str(attributes[name])) for name in names)
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
