"""Which part of the broker gives which metric. Everything here runs when metrics are scraped, not before."""

import resource
from typing import TYPE_CHECKING

from tailrace_core.telemetry import Registry

if TYPE_CHECKING:
    from tailrace_gateway.broker import Broker


def measure(registry: Registry, broker: "Broker") -> None:
    """Register what a broker counts."""
    engine, wal, server = broker.engine, broker.wal, broker.server
    observe = registry.observe
    observe("process_cpu_seconds_total", _cpu_seconds)
    observe("tailrace_ready", lambda: int(broker.ready))
    observe("tailrace_connections", lambda: len(server.connections))
    observe("tailrace_connections_accepted_total", lambda: server.connections_accepted)
    observe("tailrace_appended_batches_total", lambda: engine.appended_batches)
    observe("tailrace_appended_bytes_total", lambda: engine.appended_bytes)
    observe("tailrace_hot_bytes", lambda: engine.hot.bytes_used)
    observe("tailrace_hot_budget_bytes", lambda: engine.hot.budget_bytes)
    observe("tailrace_wal_written_bytes_total", lambda: wal.bytes)
    observe("tailrace_wal_used_bytes", lambda: wal.bytes_used)
    observe("tailrace_wal_capacity_bytes", lambda: wal.capacity_bytes)
    observe("tailrace_wal_fenced", lambda: int(wal.fenced is not None))
    observe("tailrace_upload_pending_bytes", lambda: engine.unuploaded_bytes)
    observe("tailrace_uploaded_objects_total", lambda: broker.uploader.objects)
    observe("tailrace_uploaded_bytes_total", lambda: broker.uploader.bytes)
    observe("tailrace_deleted_objects_total", lambda: broker.retention.objects_deleted)


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
