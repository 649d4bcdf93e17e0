"""Offsets of one partition replica.

    log_start_offset <= high_watermark <= log_end_offset

Appends are planned against the log end and applied in the order planned, in one synchronous step of the owner. The high
watermark follows what all in-sync replicas hold durably; on one node that is its WAL. Readers see what lies below.
"""

from dataclasses import dataclass

from tailrace_core.errors import FencedLeaderEpoch, OffsetOutOfRange, UnknownLeaderEpoch

NO_EPOCH_CHECK = -1


@dataclass(slots=True)
class LogState:
    """Offsets are exclusive ends, but for log_start_offset, the first readable one."""

    leader_epoch: int
    log_start_offset: int = 0
    high_watermark: int = 0
    log_end_offset: int = 0

    def apply_append(self, record_count: int) -> int:
        """Give the next record_count offsets away; returns the first of them."""
        assert record_count > 0
        base_offset = self.log_end_offset
        self.log_end_offset = base_offset + record_count
        return base_offset

    def on_durable(self, end_offset: int) -> bool:
        """All in-sync replicas hold everything below end_offset; True if the high watermark moved."""
        if end_offset <= self.high_watermark:
            return False
        assert end_offset <= self.log_end_offset, "only what was appended becomes durable"
        self.high_watermark = end_offset
        return True

    def check_leader_epoch(self, current_leader_epoch: int) -> None:
        """Compare the epoch a client believes in; -1 asks for no check (KIP-320).

        Raises FencedLeaderEpoch for an older and UnknownLeaderEpoch for a newer one.
        """
        if current_leader_epoch in (NO_EPOCH_CHECK, self.leader_epoch):
            return
        if current_leader_epoch < self.leader_epoch:
            raise FencedLeaderEpoch(f"leader epoch {current_leader_epoch} is older than {self.leader_epoch}")
        raise UnknownLeaderEpoch(f"leader epoch {current_leader_epoch} is newer than {self.leader_epoch}")

    def check_fetch_offset(self, fetch_offset: int) -> None:
        """Raises OffsetOutOfRange below the log start or beyond the log end; between watermark and end is allowed."""
        if not self.log_start_offset <= fetch_offset <= self.log_end_offset:
            raise OffsetOutOfRange(
                f"offset {fetch_offset} is not within {self.log_start_offset} to {self.log_end_offset}"
            )

    def advance_log_start(self, log_start_offset: int) -> bool:
        """Follow the catalog's log start, which never goes down; True if it moved."""
        if log_start_offset <= self.log_start_offset:
            return False
        self.log_start_offset = log_start_offset
        return True
