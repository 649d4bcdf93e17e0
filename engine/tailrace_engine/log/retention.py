"""What retention may remove: the segments are the partition's extents, oldest first (KIP-405's remote retention)."""

from collections.abc import Iterable

from tailrace_core.extents import Extent


def plan_log_start(
    extents: Iterable[Extent],
    log_start_offset: int,
    log_bytes: int,
    now_ms: int,
    retention_ms: int,
    retention_bytes: int,
) -> int:
    """The log start offset after retention: the end of the last extent that may go.

    An extent goes when its largest timestamp is older than retention_ms, or while what remains is at least
    retention_bytes without it; -1 switches either rule off. A future timestamp keeps its extent and all after it, as in
    Kafka. log_bytes counts the whole partition, the tail that is not uploaded included.
    """
    for extent in extents:
        if extent.end_offset <= log_start_offset:
            continue
        expired = 0 <= retention_ms < now_ms - extent.max_timestamp_ms and extent.max_timestamp_ms >= 0
        oversize = 0 <= retention_bytes <= log_bytes - extent.length
        if not expired and not oversize:
            break
        log_start_offset = extent.end_offset
        log_bytes -= extent.length
    return log_start_offset
