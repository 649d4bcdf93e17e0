"""Prometheus' scrape config and alert rules. A test holds their expressions to the table of telemetry.py."""

import json
from collections.abc import Sequence
from typing import Final, NamedTuple


class Alert(NamedTuple):
    """expression gives something while it is so; it must be so for `holds` before anybody is told."""

    name: str
    expression: str
    holds: str
    severity: str
    """page: somebody gets up. ticket: somebody looks by day."""
    summary: str
    what_to_do: str


JOB: Final = "tailrace"

ALERTS: Final = (
    Alert(
        "TailraceDown",
        "up{job='tailrace'} == 0",
        "1m",
        "page",
        "nothing answers at the broker's metrics",
        "See whether the process runs, and its log.",
    ),
    Alert(
        "TailraceNotReady",
        "tailrace_ready == 0",
        "2m",
        "page",
        "the broker lives and does not serve",
        "/readyz says why. A start replays the WAL first; a fenced WAL needs a restart.",
    ),
    Alert(
        "TailraceWalFenced",
        "tailrace_wal_fenced == 1",
        "0m",
        "page",
        "a write error has stopped all writes until a restart",
        "The log names the error. Mend or replace the disk, then restart: what was acknowledged is there.",
    ),
    Alert(
        "TailraceHoldsBack",
        "tailrace_throttle_seconds > 0",
        "5m",
        "page",
        "producers are told to wait",
        "The WAL or the memory is full until uploads catch up. See the WAL's row and the failed requests of the store.",
    ),
    Alert(
        "TailraceWalFullSoon",
        "tailrace_wal_left_seconds < 1800 and tailrace_upload_oldest_seconds > 120",
        "5m",
        "page",
        "the WAL is full in {{ $value | humanizeDuration }} at the present rate, and uploads do not come along",
        "See why uploads fail or are slow; a larger wal.capacity_bytes gains time.",
    ),
    Alert(
        "TailracePartitionsOffline",
        "tailrace_partitions_offline > 0",
        "0m",
        "page",
        "{{ $value }} partitions are not served because their data is damaged",
        "`tailrace admin brokers describe` names them and the damage. What to do: docs/operations.md, Damaged data.",
    ),
    Alert(
        "TailraceCorruptData",
        "sum by (instance, place) (increase(tailrace_corrupt_total[15m])) > 0",
        "0m",
        "page",
        "stored data ({{ $labels.place }}) does not match its checksum",
        "It was not served. The log names the place. Suspect the disk or the store.",
    ),
    Alert(
        "TailraceUploadsFail",
        "sum by (instance) (rate(tailrace_object_errors_total{operation='put'}[5m])) > 0",
        "10m",
        "page",
        "objects cannot be written to the store",
        "Acknowledged records are safe in the WAL meanwhile; see how long it lasts: tailrace_wal_left_seconds.",
    ),
    Alert(
        "TailraceStoreFails",
        "sum by (instance, operation) (rate(tailrace_object_errors_total{operation!='put'}[5m])) > 0",
        "10m",
        "ticket",
        "requests to the object store fail: {{ $labels.operation }}",
        "Reads of old data are refused meanwhile. The log has the errors.",
    ),
    Alert(
        "TailraceUploadsLag",
        "tailrace_upload_oldest_seconds > 3600",
        "5m",
        "ticket",
        "the oldest batch waits for its upload since {{ $value | humanizeDuration }}",
        "Compare the rates of what is produced and uploaded, and the store's latency.",
    ),
    Alert(
        "TailraceDiskFull",
        "tailrace_disk_free_bytes < tailrace_wal_capacity_bytes - tailrace_wal_used_bytes"
        " or tailrace_disk_free_bytes < 0.05 * tailrace_disk_bytes",
        "10m",
        "ticket",
        "the disk of the data folder has no room for what the WAL may still take",
        "Make room, or lower wal.capacity_bytes. With a local object store: shorten retention.",
    ),
    Alert(
        "TailraceDiskSlow",
        "histogram_quantile(0.99, sum by (instance, le) (rate(tailrace_wal_write_seconds_bucket[5m]))) > 1",
        "10m",
        "ticket",
        "the disk takes more than a second to make a group durable (p99)",
        "Producers wait as long. See what else uses the disk.",
    ),
    Alert(
        "TailraceLoopPauses",
        "histogram_quantile(0.999, sum by (instance, le) (rate(tailrace_loop_pause_seconds_bucket[5m]))) > 0.1",
        "10m",
        "ticket",
        "the event loop serves nobody for more than 100 ms at times (p99.9)",
        "The host is short of CPU, or something keeps the loop; compare process_cpu_seconds_total with a core.",
    ),
    Alert(
        "TailraceCpuFull",
        "rate(process_cpu_seconds_total[5m]) > 0.9",
        "15m",
        "ticket",
        "the broker uses a whole core, which is all that it can",
        "Spread the load; clients wait behind each other.",
    ),
    Alert(
        "TailraceCoordinatorLoads",
        "min_over_time(tailrace_coordinator_loading[5m]) > 0",
        "5m",
        "page",
        "coordinators have been reading {{ $labels.topic }} for ten minutes",
        "Groups of these partitions cannot join or commit. The log says what fails or how far it is.",
    ),
    Alert(
        "TailraceCoordinatorLost",
        "increase(tailrace_coordinator_lost_total[15m]) > 0",
        "0m",
        "ticket",
        "a coordinator of {{ $labels.topic }} dropped its state and read it anew",
        "Its partition could not be written; the log says why.",
    ),
    Alert(
        "TailraceCompactionFails",
        "increase(tailrace_compaction_failures_total[30m]) > 3",
        "0m",
        "ticket",
        "internal topics cannot be compacted",
        "A restart takes longer the longer this lasts. The log has the errors.",
    ),
    Alert(
        "TailraceConnectionsRefused",
        "sum by (instance, limit) (rate(tailrace_connections_refused_total[5m])) > 0",
        "5m",
        "ticket",
        "connections are refused by the limit {{ $labels.limit }}",
        "Raise max.connections or max.connections.per.ip, or find the client that opens so many.",
    ),
    Alert(
        "TailraceBrokerErrors",
        "sum by (instance) (rate(tailrace_request_errors_total{error='UNKNOWN_SERVER_ERROR'}[5m])) > 0",
        "5m",
        "ticket",
        "requests fail by errors that nobody expected",
        "The log has each with its place in the code.",
    ),
)


def _quoted(text: str) -> str:
    """A string of JSON is one of YAML."""
    return json.dumps(text, ensure_ascii=False)


_RENDERED: Final = (
    "# Rendered from tailrace_core/monitoring/ by `make docs`; a test compares. Change that, not this file."
)


def alert_rules() -> str:
    """config/telemetry/alerts.yaml."""
    lines = [_RENDERED, "groups:", "  - name: tailrace", "    rules:"]
    for alert in ALERTS:
        lines += [
            f"      - alert: {alert.name}",
            f"        expr: {_quoted(alert.expression)}",
            f"        for: {alert.holds}",
            "        labels:",
            f"          severity: {alert.severity}",
            "        annotations:",
            f"          summary: {_quoted('{{ $labels.instance }}: ' + alert.summary)}",
            f"          description: {_quoted(alert.what_to_do)}",
        ]
    return "\n".join(lines) + "\n"


def scrape_config(targets: Sequence[str]) -> str:
    """config/telemetry/prometheus.yaml. targets: HOST:PORT of brokers' HTTP."""
    lines = [
        _RENDERED,
        "global:",
        "  scrape_interval: 15s",
        "  evaluation_interval: 15s",
        "rule_files:",
        "  - alerts.yaml",
        "scrape_configs:",
        f"  - job_name: {JOB}",
        "    static_configs:",
        f"      - targets: [{', '.join(map(_quoted, targets))}]",
    ]
    return "\n".join(lines) + "\n"
