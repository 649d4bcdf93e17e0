"""A Grafana dashboard of all metrics.

Panels name metrics through the table of telemetry.py alone: a name or a label that is not in it stops the rendering. A
test holds that each metric of the table has its panel.
"""

import json
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from tailrace_core.telemetry import Kind, metric

_WIDTH: Final = 24
_PANEL: Final = (8, 8)
"""Width and height of a panel; three fill a line."""


class Query(NamedTuple):
    expression: str
    legend: str
    """{{label}} stands for the label's value."""


class Panel(NamedTuple):
    title: str
    unit: str
    """Grafana's name of it."""
    queries: tuple[Query, ...]
    about: str = ""


def _selected(name: str) -> str:
    """A metric of the table, of the brokers that are chosen. Raises KeyError."""
    return metric(name).name + '{instance=~"$instance"}'


def _now(name: str, legend: str = "{{instance}}") -> Query:
    return Query(_selected(name), legend)


def _rate(name: str, *labels: str) -> Query:
    """A counter's growth a second, by broker and these labels."""
    if metric(name).kind is not Kind.COUNTER:
        raise ValueError(f"{name} is no counter")
    if not set(labels) <= set(metric(name).labels):
        raise ValueError(f"{name} has the labels {metric(name).labels}, not {labels}")
    legend = " ".join("{{" + label + "}}" for label in labels) or "{{instance}}"
    return Query(f"sum by ({', '.join(('instance', *labels))}) (rate({_selected(name)}[$__rate_interval]))", legend)


def _quantile(share: float, name: str, *labels: str) -> Query:
    """The bound below which this share of a histogram's observations lies."""
    if metric(name).kind is not Kind.HISTOGRAM:
        raise ValueError(f"{name} is no histogram")
    series = _selected(name).replace(name, f"{name}_bucket", 1)
    legend = " ".join([f"p{share * 100:g}", *("{{" + label + "}}" for label in labels)])
    inner = f"sum by ({', '.join(('instance', 'le', *labels))}) (rate({series}[$__rate_interval]))"
    return Query(f"histogram_quantile({share}, {inner})", legend)


def _quantiles(name: str, *labels: str) -> tuple[Query, ...]:
    return _quantile(0.5, name, *labels), _quantile(0.99, name, *labels)


def _one(title: str, unit: str, query: Query, about: str = "") -> Panel:
    return Panel(title, unit, (query,), about)


ROWS: Final[tuple[tuple[str, tuple[Panel, ...]], ...]] = (
    (
        "State",
        (
            _one("Ready", "bool_yes_no", _now("tailrace_ready")),
            _one(
                "What runs",
                "none",
                _now("tailrace_info", "{{version}} WAL {{wal_backend}} {{wal_sync}} {{durability}}"),
            ),
            _one("Offline partitions", "none", _now("tailrace_partitions_offline"), "Their data is damaged."),
            _one("Corrupt data found", "cps", _rate("tailrace_corrupt_total", "place")),
            Panel("Topics", "none", (_now("tailrace_topics", "topics"), _now("tailrace_partitions", "partitions"))),
            _one("Last start took", "s", _now("tailrace_start_seconds")),
        ),
    ),
    (
        "Traffic",
        (
            _one("Produced", "Bps", _rate("tailrace_appended_bytes_total")),
            _one("Fetched, by where it was", "Bps", _rate("tailrace_fetched_bytes_total", "source")),
            Panel(
                "Records and batches appended",
                "cps",
                (
                    _rate("tailrace_appended_records_total")._replace(legend="records"),
                    _rate("tailrace_appended_batches_total")._replace(legend="batches"),
                ),
            ),
            _one("Requests, by API", "reqps", _rate("tailrace_requests_total", "api")),
            _one("Errors answered", "cps", _rate("tailrace_request_errors_total", "error")),
            _one("Malformed requests", "cps", _rate("tailrace_malformed_requests_total", "reason")),
            Panel(
                "Bytes of connections",
                "Bps",
                (
                    _rate("tailrace_received_bytes_total")._replace(legend="received"),
                    _rate("tailrace_sent_bytes_total")._replace(legend="sent"),
                ),
            ),
            Panel(
                "Compressed anew",
                "Bps",
                (_rate("tailrace_recompressed_bytes_total"),),
                "Batches of topics whose compression.type is another than their producers'.",
            ),
            _one("Batches compressed anew", "cps", _rate("tailrace_recompressed_batches_total")),
        ),
    ),
    (
        "Latency",
        (
            Panel("Produce, until its answer", "s", _quantiles("tailrace_produce_seconds")),
            Panel("WAL write, until durable", "s", _quantiles("tailrace_wal_write_seconds")),
            Panel("Requests to the object store", "s", _quantiles("tailrace_object_request_seconds", "operation")),
            Panel("Metadata commits", "s", _quantiles("tailrace_metadata_commit_seconds")),
            Panel("Compressing anew", "s", _quantiles("tailrace_recompress_seconds")),
        ),
    ),
    (
        "WAL",
        (
            Panel(
                "Used, and what it may take",
                "bytes",
                (_now("tailrace_wal_used_bytes", "used"), _now("tailrace_wal_capacity_bytes", "capacity")),
            ),
            _one(
                "Left without uploads",
                "s",
                _now("tailrace_wal_left_seconds"),
                "How long the object store may be away at the present rate before producers are held back.",
            ),
            _one("Written", "Bps", _rate("tailrace_wal_written_bytes_total")),
            Panel("Group commits", "bytes", _quantiles("tailrace_wal_group_bytes")),
            _one("Waits for durability", "bytes", _now("tailrace_produce_in_flight_bytes")),
            _one("Fenced", "bool_yes_no", _now("tailrace_wal_fenced"), "A write error has stopped all writes."),
            Panel(
                "Disk of the data folder",
                "bytes",
                (_now("tailrace_disk_free_bytes", "free"), _now("tailrace_disk_bytes", "size")),
            ),
        ),
    ),
    (
        "Memory",
        (
            _one("Resident", "bytes", _now("process_resident_memory_bytes")),
            Panel(
                "Hot log",
                "bytes",
                (_now("tailrace_hot_bytes", "used"), _now("tailrace_hot_budget_bytes", "budget")),
            ),
            _one("Left memory before their upload", "cps", _rate("tailrace_hot_evicted_batches_total")),
            _one("Cold cache", "bytes", _now("tailrace_cold_cache_bytes")),
            Panel(
                "Cold cache: found and not",
                "cps",
                (
                    _rate("tailrace_cold_cache_hits_total")._replace(legend="hits"),
                    _rate("tailrace_cold_cache_misses_total")._replace(legend="misses"),
                ),
            ),
            _one("Idempotent producers", "none", _now("tailrace_producer_ids")),
            _one("Responses not taken yet", "bytes", _now("tailrace_response_pending_bytes")),
        ),
    ),
    (
        "Uploads and the tier",
        (
            _one("Waits for upload", "bytes", _now("tailrace_upload_pending_bytes")),
            _one("Oldest that waits", "s", _now("tailrace_upload_oldest_seconds")),
            _one("Uploaded", "Bps", _rate("tailrace_uploaded_bytes_total")),
            Panel(
                "Objects",
                "cps",
                (
                    _rate("tailrace_uploaded_objects_total")._replace(legend="uploaded"),
                    _rate("tailrace_deleted_objects_total")._replace(legend="deleted"),
                ),
            ),
            _one("Failed requests to the store", "cps", _rate("tailrace_object_errors_total", "operation")),
            Panel(
                "Compaction of internal topics",
                "Bps",
                (
                    _rate("tailrace_compaction_read_bytes_total")._replace(legend="read"),
                    _rate("tailrace_compaction_written_bytes_total")._replace(legend="written"),
                ),
            ),
            Panel(
                "Compaction runs",
                "cps",
                (
                    _rate("tailrace_compaction_runs_total")._replace(legend="runs"),
                    _rate("tailrace_compaction_failures_total")._replace(legend="failures"),
                ),
            ),
            _one("Share of time in compaction", "percentunit", _rate("tailrace_compaction_seconds_total")),
            _one("Worker's memory", "bytes", _now("tailrace_worker_memory_bytes")),
            _one("Workers started", "cps", _rate("tailrace_workers_started_total")),
        ),
    ),
    (
        "Consumer groups",
        (
            _one("Groups, by state", "none", _now("tailrace_groups", "{{state}}")),
            _one("Members", "none", _now("tailrace_group_members")),
            _one("Memory of members", "bytes", _now("tailrace_group_member_bytes")),
            _one("Member ids not joined with yet", "none", _now("tailrace_group_pending_members")),
            _one("Committed offsets", "none", _now("tailrace_group_offsets")),
            _one("Records of coordinators", "cps", _rate("tailrace_coordinator_appended_records_total", "topic")),
            _one("Loading", "none", _now("tailrace_coordinator_loading", "{{topic}}")),
            Panel(
                "Loads and losses",
                "cps",
                (
                    _rate("tailrace_coordinator_loads_total")._replace(legend="loaded"),
                    _rate("tailrace_coordinator_lost_total")._replace(legend="lost"),
                ),
            ),
            _one("Records loaded", "cps", _rate("tailrace_coordinator_loaded_records_total", "topic")),
            _one("Share of time loading", "percentunit", _rate("tailrace_coordinator_load_seconds_total", "topic")),
        ),
    ),
    (
        "Connections",
        (
            _one("Open", "none", _now("tailrace_connections")),
            _one("Accepted", "cps", _rate("tailrace_connections_accepted_total")),
            _one("Closed, by reason", "cps", _rate("tailrace_connections_closed_total", "reason")),
            _one("Refused, by limit", "cps", _rate("tailrace_connections_refused_total", "limit")),
            _one("Told to wait", "cps", _rate("tailrace_throttled_total")),
            _one("Told to wait for", "s", _now("tailrace_throttle_seconds")),
            Panel(
                "Fetch sessions",
                "none",
                (
                    _now("tailrace_fetch_sessions", "sessions"),
                    _now("tailrace_fetch_session_partitions", "partitions"),
                ),
            ),
            _one("Fetch sessions evicted", "cps", _rate("tailrace_fetch_sessions_evicted_total")),
        ),
    ),
    (
        "Loop",
        (
            Panel(
                "Pauses of the loop",
                "s",
                (
                    *_quantiles("tailrace_loop_pause_seconds"),
                    _quantile(0.999, "tailrace_loop_pause_seconds"),
                ),
            ),
            Panel("Pauses by the collector", "s", _quantiles("tailrace_gc_pause_seconds")),
            _one("CPU", "percentunit", _rate("process_cpu_seconds_total"), "1 is a core: all that the loop can use."),
        ),
    ),
)


def _panels() -> Iterator[dict[str, Any]]:
    number, y = 1, 0
    width, height = _PANEL
    for title, panels in ROWS:
        yield {
            "id": number,
            "type": "row",
            "title": title,
            "collapsed": False,
            "panels": [],
            "gridPos": _grid(0, y, _WIDTH, 1),
        }
        number, y = number + 1, y + 1
        for at, panel in enumerate(panels):
            column = at * width % _WIDTH
            yield {
                "id": number,
                "type": "timeseries",
                "title": panel.title,
                "description": panel.about,
                "datasource": {"type": "prometheus", "uid": "${datasource}"},
                "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
                "options": {"legend": {"displayMode": "list", "placement": "bottom"}},
                "targets": [
                    {"refId": chr(ord("A") + order), "expr": query.expression, "legendFormat": query.legend}
                    for order, query in enumerate(panel.queries)
                ],
                "gridPos": _grid(column, y + at * width // _WIDTH * height, width, height),
            }
            number += 1
        y += -(-len(panels) * width // _WIDTH) * height


def _grid(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


def dashboard() -> str:
    """config/telemetry/dashboard.json, as Grafana 10 and later import it."""
    value = {
        "uid": "tailrace",
        "title": "Tailrace",
        "tags": ["tailrace"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"},
                {
                    "name": "instance",
                    "type": "query",
                    "label": "Broker",
                    "datasource": {"type": "prometheus", "uid": "${datasource}"},
                    "query": "label_values(tailrace_ready, instance)",
                    "refresh": 2,
                    "multi": True,
                    "includeAll": True,
                    "allValue": ".*",
                    "current": {"text": "All", "value": "$__all"},
                },
            ]
        },
        "panels": list(_panels()),
    }
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
