"""Metrics: their names, units and meanings in one table, and the cells that the hot path counts in.

A cell is a plain object with an integer: to count is one attribute addition, with no lock (one thread, the loop's, owns
it) and no look-up. Nothing is computed until somebody scrapes; then the gateway's exporter reads the cells and calls
the registered functions. A name that is not in the table is refused, so docs/metrics.md, rendered from it, is complete.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final, NamedTuple, TypeAlias

Number: TypeAlias = int | float
Labels: TypeAlias = tuple[tuple[str, str], ...]
"""Names and values, in the order of the table."""


class Kind(Enum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Metric(NamedTuple):
    """A row of the table."""

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()
    bounds: tuple[int, ...] = ()
    """Of a histogram: the buckets' upper ends, inclusive, in the unit that is observed."""
    scale: int = 1
    """What is observed, divided by this, is the unit of the name: 1,000,000 for microseconds told as seconds."""


MICROSECONDS: Final = 1_000_000
LATENCY_BOUNDS_US: Final = (
    *(50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000),
    *(100_000, 200_000, 500_000, 1_000_000, 2_000_000, 5_000_000, 10_000_000),
)
SIZE_BOUNDS: Final = tuple(1 << power for power in range(12, 27, 2))


def _latency(name: str, meaning: str, *labels: str) -> Metric:
    return Metric(name, Kind.HISTOGRAM, meaning, labels, LATENCY_BOUNDS_US, MICROSECONDS)


def _counter(name: str, meaning: str, *labels: str) -> Metric:
    return Metric(name, Kind.COUNTER, meaning, labels)


def _gauge(name: str, meaning: str, *labels: str) -> Metric:
    return Metric(name, Kind.GAUGE, meaning, labels)


METRICS: Final = (
    # The process.
    _gauge("tailrace_info", "1; the labels say what runs.", "version", "wal_backend", "wal_sync", "durability"),
    _gauge("tailrace_ready", "1 when the broker accepts connections, else 0."),
    _gauge("tailrace_start_seconds", "From the start of the process until connections were accepted."),
    _counter("process_cpu_seconds_total", "User and system time of the broker's process."),
    _gauge("process_resident_memory_bytes", "Resident memory of the broker's process."),
    _gauge("tailrace_disk_free_bytes", "What the file system of the data folder has free for the broker."),
    _gauge("tailrace_disk_bytes", "Size of the file system of the data folder."),
    _latency("tailrace_gc_pause_seconds", "Pauses of the event loop by the garbage collector."),
    _latency(
        "tailrace_loop_pause_seconds",
        "For how long the event loop served nobody: how late it comes back to a timer of 1 ms, while clients send.",
    ),
    # Clients.
    _gauge("tailrace_connections", "Open connections."),
    _counter("tailrace_connections_accepted_total", "Connections accepted."),
    _counter(
        "tailrace_connections_closed_total",
        "Connections closed, by reason: client, gone (it left while it was held back), idle, slow_consumer, malformed, "
        "error, stop.",
        "reason",
    ),
    _counter(
        "tailrace_connections_refused_total",
        "Connections closed at once, by the limit that was reached: connections, connections_per_ip.",
        "limit",
    ),
    _counter("tailrace_throttled_total", "Times that a client was told to wait before it sends more."),
    _gauge("tailrace_throttle_seconds", "How long Produce answers tell clients to wait, 0 while there is room."),
    _gauge("tailrace_fetch_sessions", "Incremental fetch sessions that are kept."),
    _gauge("tailrace_fetch_session_partitions", "Partitions of all incremental fetch sessions."),
    _counter("tailrace_fetch_sessions_evicted_total", "Incremental fetch sessions that gave way to others."),
    _counter("tailrace_received_bytes_total", "Bytes read from clients."),
    _counter("tailrace_sent_bytes_total", "Bytes written to clients."),
    _gauge("tailrace_response_pending_bytes", "Bytes of responses that clients have not taken yet."),
    _gauge("tailrace_produce_in_flight_bytes", "Bytes of record batches that wait for durability."),
    _counter("tailrace_requests_total", "Requests answered, by API.", "api"),
    _counter(
        "tailrace_malformed_requests_total",
        "Requests refused before they were handled, by reason: size, api, version, body.",
        "reason",
    ),
    _counter("tailrace_request_errors_total", "Errors in answers, by Kafka's name of the code.", "error"),
    _latency(
        "tailrace_produce_seconds", "From a Produce request to its answer. One request at a time is timed, not each."
    ),
    # The log.
    _gauge("tailrace_topics", "Topics."),
    _gauge("tailrace_partitions", "Partitions."),
    _gauge("tailrace_partitions_offline", "Partitions that are not served because their data is damaged."),
    _gauge("tailrace_producer_ids", "Idempotent producers that are remembered."),
    _counter("tailrace_appended_batches_total", "Record batches appended."),
    _counter("tailrace_appended_records_total", "Records appended."),
    _counter("tailrace_appended_bytes_total", "Bytes of record batches appended."),
    _counter(
        "tailrace_recompressed_batches_total",
        "Batches that were compressed anew, as compression.type of their topic says.",
    ),
    _counter(
        "tailrace_recompressed_bytes_total", "Bytes of such batches, as they came (before) and as kept (after).", "side"
    ),
    _latency(
        "tailrace_recompress_seconds",
        "From handing a batch to a thread until it is compressed anew. Small batches, which need no thread, are not "
        "timed.",
    ),
    _counter(
        "tailrace_fetched_bytes_total",
        "Bytes of record batches served, by where they were: hot, wal, object.",
        "source",
    ),
    _gauge("tailrace_hot_bytes", "Memory that the hot log uses, with its index of what is only in the WAL."),
    _gauge("tailrace_hot_budget_bytes", "Memory that the hot log may use."),
    _counter("tailrace_hot_evicted_batches_total", "Batches that left memory before they were uploaded."),
    # Consumer groups and their coordinators.
    _gauge("tailrace_groups", "Groups, by state as Kafka names it.", "state"),
    _gauge("tailrace_group_members", "Members of all groups."),
    _gauge("tailrace_group_member_bytes", "Memory that members of groups take, out of groups.member_bytes_max."),
    _gauge("tailrace_group_pending_members", "Member ids that were given out and have not joined yet."),
    _gauge("tailrace_group_offsets", "Committed offsets: group, topic and partition."),
    _gauge("tailrace_coordinator_loading", "Partitions of internal topics that coordinators are reading.", "topic"),
    _counter("tailrace_coordinator_loads_total", "Partitions that coordinators have read.", "topic"),
    _counter("tailrace_coordinator_loaded_records_total", "Records that coordinators have read.", "topic"),
    _counter("tailrace_coordinator_load_seconds_total", "How long coordinators were reading, in all.", "topic"),
    _counter(
        "tailrace_coordinator_lost_total",
        "Times that a coordinator dropped its state because its partition could not be written.",
        "topic",
    ),
    _counter("tailrace_coordinator_appended_records_total", "Records that coordinators have appended.", "topic"),
    # The WAL.
    Metric("tailrace_wal_group_bytes", Kind.HISTOGRAM, "Bytes of one group commit.", (), SIZE_BOUNDS),
    _latency(
        "tailrace_wal_write_seconds",
        "From handing a group to the disk until it is durable; with wal.sync=interval, of each sync.",
    ),
    _counter("tailrace_wal_written_bytes_total", "Bytes written to the WAL, with headers and padding."),
    _gauge("tailrace_wal_used_bytes", "Bytes of WAL segments that hold what is not yet in the object store."),
    _gauge("tailrace_wal_capacity_bytes", "Bytes that the WAL may take."),
    _gauge(
        "tailrace_wal_left_seconds",
        "How long the object store may be away at the last minute's rate of writes before producers are held back; "
        "at most a year.",
    ),
    _gauge("tailrace_wal_fenced", "1 when a write error has stopped all writes until a restart, else 0."),
    # The tier.
    _gauge("tailrace_upload_pending_bytes", "Bytes of batches that are not yet in the object store."),
    _gauge("tailrace_upload_oldest_seconds", "Age of the oldest batch that is not yet in the object store."),
    _counter("tailrace_uploaded_objects_total", "Objects uploaded and committed to the catalog."),
    _counter("tailrace_uploaded_bytes_total", "Bytes of objects uploaded and committed to the catalog."),
    _counter("tailrace_deleted_objects_total", "Objects deleted by retention and by topic deletion."),
    _counter("tailrace_compaction_runs_total", "Parts of internal partitions that were compacted into one object."),
    _counter("tailrace_compaction_read_bytes_total", "Bytes that compaction read from the object store."),
    _counter("tailrace_compaction_written_bytes_total", "Bytes of objects that compaction put in the place of others."),
    _counter("tailrace_compaction_seconds_total", "Time that compaction took, in its worker process and to commit."),
    _counter("tailrace_compaction_failures_total", "Partitions whose compaction failed, to be tried again."),
    _gauge("tailrace_worker_memory_bytes", "Resident memory of the worker process; 0 while there is none."),
    _counter("tailrace_workers_started_total", "Worker processes that were started."),
    _counter("tailrace_object_errors_total", "Requests to the object store that failed.", "operation"),
    _latency("tailrace_object_request_seconds", "Time of a request to the object store, failed or not.", "operation"),
    _gauge("tailrace_cold_cache_bytes", "Memory of blocks read back from the object store."),
    _counter("tailrace_cold_cache_hits_total", "Blocks found in the cold cache."),
    _counter("tailrace_cold_cache_misses_total", "Blocks that had to be read from the object store."),
    _counter(
        "tailrace_corrupt_total",
        "Reads of stored data that did not match its checksum and was not served, by place: wal, object.",
        "place",
    ),
    # The metadata store.
    _latency("tailrace_metadata_commit_seconds", "From asking for a commit to the metadata store until its answer."),
)

_TABLE: Final = {metric.name: metric for metric in METRICS}


class Counter:
    """A number that only grows. Owners add to `value` themselves: `counter.value += 1`."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


class Histogram:
    """How often which sizes were seen."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[int, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """By bucket, not cumulative; the last one is for what is above all bounds."""
        self.total = 0

    def observe(self, value: int) -> None:
        """value is in the unit of the bounds. A bound belongs to its bucket."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def observe_seconds(self, seconds: float) -> None:
        """For bounds in microseconds."""
        self.observe(int(seconds * MICROSECONDS))


def histogram(name: str) -> Histogram:
    """A cell with the table's bounds, for an owner that may live without a registry. Raises KeyError."""
    return Histogram(_TABLE[name].bounds)


class Registry:
    """Who counts what. Filled while the broker is put together, read when it is scraped."""

    def __init__(self) -> None:
        self.reads: dict[str, list[tuple[Labels, Callable[[], Number]]]] = {}
        self.label_reads: dict[str, list[Callable[[], Mapping[str, Number]]]] = {}
        self.histograms: dict[str, list[tuple[Labels, Histogram]]] = {}

    def observe(self, name: str, read: Callable[[], Number], labels: Mapping[str, str] | None = None) -> None:
        """Have read called at every scrape for a counter or a gauge. It runs on the loop and must be quick.

        Raises ValueError for a name or labels that are not in the table.
        """
        self.reads.setdefault(name, []).append((self._labels(name, labels or {}, Kind.COUNTER, Kind.GAUGE), read))

    def observe_by_label(self, name: str, read: Callable[[], Mapping[str, Number]]) -> None:
        """Like observe, for a metric with one label whose values are not known before: read gives value → number."""
        if len(self._metric(name, Kind.COUNTER, Kind.GAUGE).labels) != 1:
            raise ValueError(f"{name} has other than one label")
        self.label_reads.setdefault(name, []).append(read)

    def counter(self, name: str, labels: Mapping[str, str] | None = None) -> Counter:
        """A new cell for a counter."""
        checked, cell = self._labels(name, labels or {}, Kind.COUNTER), Counter()
        self.reads.setdefault(name, []).append((checked, lambda: cell.value))
        return cell

    def histogram(self, name: str, labels: Mapping[str, str] | None = None) -> Histogram:
        """A new cell for a histogram, with the table's bounds."""
        checked, cell = self._labels(name, labels or {}, Kind.HISTOGRAM), histogram(name)
        self.histograms.setdefault(name, []).append((checked, cell))
        return cell

    def observe_histogram(self, name: str, cell: Histogram, labels: Mapping[str, str] | None = None) -> None:
        """Have a cell that its owner made be told at every scrape."""
        self.histograms.setdefault(name, []).append((self._labels(name, labels or {}, Kind.HISTOGRAM), cell))

    def missing(self) -> list[str]:
        """Names of the table that nobody counts."""
        return [
            name for name in _TABLE if not (name in self.reads or name in self.label_reads or name in self.histograms)
        ]

    def _metric(self, name: str, *kinds: Kind) -> Metric:
        metric = _TABLE.get(name)
        if metric is None:
            raise ValueError(f"{name} is not in the table of metrics")
        if metric.kind not in kinds:
            raise ValueError(f"{name} is a {metric.kind.value}")
        return metric

    def _labels(self, name: str, labels: Mapping[str, str], *kinds: Kind) -> Labels:
        metric = self._metric(name, *kinds)
        if set(labels) != set(metric.labels):
            raise ValueError(f"{name} has the labels {metric.labels}, not {tuple(labels)}")
        return tuple((label, labels[label]) for label in metric.labels)


def metric(name: str) -> Metric:
    """The table's row. Raises KeyError."""
    return _TABLE[name]
