"""Which part of the broker gives which metric. Everything here runs when metrics are scraped, not before."""

import resource
from collections import deque
from importlib.metadata import PackageNotFoundError, version
from shutil import disk_usage
from typing import TYPE_CHECKING, Final

from tailrace_core.ports import Clock
from tailrace_core.telemetry import Registry
from tailrace_engine.coordinator.group_parts import GroupCounts
from tailrace_engine.coordinator.groups import GroupShard
from tailrace_engine.wal.writer import Wal
from tailrace_gateway import errors
from tailrace_gateway.system import resident_memory_bytes

if TYPE_CHECKING:
    from tailrace_gateway.broker import Broker

_RATE_SECONDS: Final = 60.0
_LEFT_SECONDS_MAX: Final = 365 * 86_400.0
"""What is told without writes, too: exporters drop what is infinite."""


def measure(registry: Registry, broker: "Broker") -> None:
    """Register what a broker counts: every name of the table but those that their owners register themselves."""
    _process(registry, broker)
    _clients(registry, broker)
    _log(registry, broker)
    _groups(registry, broker)
    _wal(registry, broker)
    _tier(registry, broker)


def _process(registry: Registry, broker: "Broker") -> None:
    observe = registry.observe
    observe(
        "tailrace_info",
        lambda: 1,
        {
            "version": _version(),
            "wal_backend": broker.wal.backend,
            "wal_sync": broker.wal.sync,
            "durability": broker.settings.engine.durability,
        },
    )
    observe("tailrace_ready", lambda: int(broker.is_ready()[0]))
    observe("tailrace_start_seconds", lambda: broker.start_seconds)
    observe("process_cpu_seconds_total", _cpu_seconds)
    observe("process_resident_memory_bytes", resident_memory_bytes)
    folder = broker.settings.broker.data_dir
    observe("tailrace_disk_free_bytes", lambda: disk_usage(folder).free)
    observe("tailrace_disk_bytes", lambda: disk_usage(folder).total)


def _clients(registry: Registry, broker: "Broker") -> None:
    observe, server = registry.observe, broker.server
    observe("tailrace_connections", lambda: len(server.connections))
    observe("tailrace_connections_accepted_total", lambda: server.connections_accepted)
    registry.observe_by_label("tailrace_connections_closed_total", lambda: server.connections_closed)
    registry.observe_by_label("tailrace_connections_refused_total", lambda: server.connections_refused)
    observe("tailrace_throttled_total", lambda: server.throttled)
    observe("tailrace_throttle_seconds", lambda: broker.engine.throttle_time_ms / 1000)
    sessions = broker.services.fetch_sessions
    observe("tailrace_fetch_sessions", lambda: len(sessions))
    observe("tailrace_fetch_session_partitions", lambda: sessions.partition_count)
    observe("tailrace_fetch_sessions_evicted_total", lambda: sessions.evictions)
    observe("tailrace_received_bytes_total", lambda: server.received_bytes)
    observe("tailrace_sent_bytes_total", lambda: sum(route.sent_bytes for route in server.routes.used()))
    observe(
        "tailrace_response_pending_bytes",
        lambda: sum(connection.transport.get_write_buffer_size() for connection in server.connections),
    )
    observe("tailrace_produce_in_flight_bytes", lambda: broker.engine.unsynced_bytes)

    def requests() -> dict[str, int]:
        counts: dict[str, int] = {}
        for route in server.routes.used():
            counts[route.name] = counts.get(route.name, 0) + route.requests
        return counts

    registry.observe_by_label("tailrace_requests_total", requests)
    registry.observe_by_label("tailrace_malformed_requests_total", lambda: server.malformed)
    registry.observe_by_label(
        "tailrace_request_errors_total",
        lambda: {code.name: count for code, count in errors.answered.items() if count},
    )
    registry.observe_histogram("tailrace_loop_pause_seconds", server.loop_pause_times)
    registry.observe_histogram("tailrace_produce_seconds", broker.services.produce_latency.times)


def _log(registry: Registry, broker: "Broker") -> None:
    observe, engine = registry.observe, broker.engine
    observe("tailrace_topics", lambda: len(broker.membership.image.topics))
    observe("tailrace_partitions", lambda: len(engine.partitions()))
    observe(
        "tailrace_partitions_offline", lambda: sum(partition.damage is not None for partition in engine.partitions())
    )
    observe(
        "tailrace_producer_ids",
        lambda: sum(len(partition.producers) for partition in engine.partitions() if partition.producers is not None),
    )
    observe("tailrace_appended_batches_total", lambda: engine.appended_batches)
    observe("tailrace_appended_records_total", lambda: engine.appended_records)
    observe("tailrace_appended_bytes_total", lambda: engine.appended_bytes)
    recompression = engine.recompression
    observe("tailrace_recompressed_batches_total", lambda: recompression.batches)
    registry.observe_by_label(
        "tailrace_recompressed_bytes_total",
        lambda: {"before": recompression.bytes_before, "after": recompression.bytes_after},
    )
    registry.observe_histogram("tailrace_recompress_seconds", recompression.times)
    registry.observe_by_label(
        "tailrace_fetched_bytes_total",
        lambda: {
            "hot": engine.hot_bytes_read,
            "wal": engine.cold.wal_bytes_served,
            "object": broker.tier.bytes_served,
        },
    )
    observe("tailrace_hot_bytes", lambda: engine.hot.bytes_used)
    observe("tailrace_hot_budget_bytes", lambda: engine.hot.budget_bytes)
    observe("tailrace_hot_evicted_batches_total", lambda: engine.spilled_batches)


def _groups(registry: Registry, broker: "Broker") -> None:
    coordinator = broker.groups

    def counts() -> list[GroupCounts]:
        return [shard.counts for shard in coordinator.shards() if isinstance(shard, GroupShard)]

    def by_state() -> dict[str, int]:
        groups: dict[str, int] = dict.fromkeys(GroupCounts().groups, 0)
        for each in counts():
            for state, count in each.groups.items():
                groups[state] += count
        return groups

    registry.observe_by_label("tailrace_groups", by_state)
    registry.observe("tailrace_group_members", lambda: sum(each.members for each in counts()))
    registry.observe("tailrace_group_member_bytes", lambda: sum(each.member_bytes for each in counts()))
    registry.observe("tailrace_group_pending_members", lambda: sum(each.pending_members for each in counts()))
    registry.observe("tailrace_group_offsets", lambda: sum(each.offsets for each in counts()))
    topic = {"topic": coordinator.topic_name}
    registry.observe("tailrace_coordinator_loading", lambda: coordinator.loading, topic)
    registry.observe("tailrace_coordinator_loads_total", lambda: coordinator.loads, topic)
    registry.observe("tailrace_coordinator_loaded_records_total", lambda: coordinator.loaded_records, topic)
    registry.observe("tailrace_coordinator_load_seconds_total", lambda: coordinator.load_seconds, topic)
    registry.observe("tailrace_coordinator_lost_total", lambda: coordinator.shards_lost, topic)
    registry.observe("tailrace_coordinator_appended_records_total", lambda: coordinator.records_appended, topic)


def _wal(registry: Registry, broker: "Broker") -> None:
    observe, wal = registry.observe, broker.wal
    registry.observe_histogram("tailrace_wal_group_bytes", wal.group_sizes)
    registry.observe_histogram("tailrace_wal_write_seconds", wal.sync_times)
    observe("tailrace_wal_written_bytes_total", lambda: wal.bytes)
    observe("tailrace_wal_used_bytes", lambda: wal.bytes_used)
    observe("tailrace_wal_capacity_bytes", lambda: wal.capacity_bytes)
    observe("tailrace_wal_left_seconds", WalLeft(wal, broker.clock).seconds)
    observe("tailrace_wal_fenced", lambda: int(wal.fenced is not None))


def _tier(registry: Registry, broker: "Broker") -> None:
    observe, engine, tier, store = registry.observe, broker.engine, broker.tier, broker.store

    def oldest_seconds() -> float:
        oldest = next(iter(engine.unuploaded), None)
        return 0 if oldest is None else max(broker.clock.now_ms() - oldest.first_unuploaded_ms, 0) / 1000

    observe("tailrace_upload_pending_bytes", lambda: engine.unuploaded_bytes)
    observe("tailrace_upload_oldest_seconds", oldest_seconds)
    observe("tailrace_uploaded_objects_total", lambda: broker.uploader.objects)
    observe("tailrace_uploaded_bytes_total", lambda: broker.uploader.bytes)
    observe("tailrace_deleted_objects_total", lambda: broker.retention.objects_deleted)
    compaction, workers = broker.storage.compaction, broker.workers
    observe("tailrace_compaction_runs_total", lambda: compaction.runs)
    observe("tailrace_compaction_read_bytes_total", lambda: compaction.bytes_read)
    observe("tailrace_compaction_written_bytes_total", lambda: compaction.bytes_written)
    observe("tailrace_compaction_seconds_total", lambda: compaction.seconds)
    observe("tailrace_compaction_failures_total", lambda: compaction.failures)
    observe("tailrace_worker_memory_bytes", lambda: workers.memory_bytes)
    observe("tailrace_workers_started_total", lambda: workers.started)
    registry.observe_by_label("tailrace_object_errors_total", lambda: store.errors)
    for operation, times in store.times.items():
        registry.observe_histogram("tailrace_object_request_seconds", times, {"operation": operation})
    observe("tailrace_cold_cache_bytes", lambda: tier.cache_bytes_used)
    observe("tailrace_cold_cache_hits_total", lambda: tier.block_hits)
    observe("tailrace_cold_cache_misses_total", lambda: tier.block_misses)
    registry.observe_by_label(
        "tailrace_corrupt_total",
        lambda: {"wal": broker.wal_damage + engine.cold.corrupt_batches, "object": tier.gets.corrupt_ranges},
    )
    registry.observe_histogram("tailrace_metadata_commit_seconds", broker.commit_times)


class WalLeft:
    """For how long the WAL takes writes at their present rate if nothing is uploaded."""

    def __init__(self, wal: Wal, clock: Clock) -> None:
        self._wal = wal
        self._clock = clock
        self._looks: deque[tuple[float, int]] = deque([(clock.monotonic(), wal.bytes)])
        """When was looked, and what was written by then; the rate is that since the first one."""

    def seconds(self) -> float:
        """The rate is of the last minute, or since the last look where that is longer ago."""
        now, written = self._clock.monotonic(), self._wal.bytes
        looks = self._looks
        while len(looks) > 1 and looks[1][0] <= now - _RATE_SECONDS:
            looks.popleft()
        then, before = looks[0]
        # Several scrapers at once must not make the list long.
        if now - looks[-1][0] >= 1:
            looks.append((now, written))
        if written == before:
            return _LEFT_SECONDS_MAX
        return min(max(self._wal.room_bytes(), 0) * (now - then) / (written - before), _LEFT_SECONDS_MAX)


def _version() -> str:
    try:
        return version("tailrace")
    except PackageNotFoundError:
        return "unpackaged"


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
