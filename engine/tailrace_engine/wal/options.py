"""The WAL's settings."""

from dataclasses import dataclass

from tailrace_core.errors import InvalidSettings
from tailrace_engine.wal.format import BLOCK_BYTES, RETAINED_MAX, SEGMENT_BYTES_MAX


@dataclass(frozen=True, slots=True)
class WalOptions:
    """The WAL's settings."""

    backend: str = "auto"
    sync: str = "always"
    sync_interval_ms: int = 50
    segment_bytes: int = 64 << 20
    capacity_bytes: int = 8 << 30
    bulk_bytes: int = 256 << 10
    """With so much queued, a second group goes out while the first is under way."""
    now_bytes_max: int = 64 << 10
    """sync=interval: groups up to this are written on the loop's thread."""
    unsynced_bytes_max: int = 8 << 20
    """sync=interval: with so much, a sync does not wait for its time, and no group is written on the loop's thread."""

    def check(self) -> None:
        """Raises InvalidSettings for sizes that cannot work."""
        if self.segment_bytes % BLOCK_BYTES or not 64 << 10 <= self.segment_bytes <= SEGMENT_BYTES_MAX:
            raise InvalidSettings(
                f"wal.segment_bytes is a multiple of 4096 from 65536 to 2^31, not {self.segment_bytes}"
            )
        if not 2 <= self.capacity_bytes // self.segment_bytes <= RETAINED_MAX:
            raise InvalidSettings(
                f"wal.capacity_bytes is 2 to {RETAINED_MAX} times wal.segment_bytes ({self.segment_bytes}), "
                f"not {self.capacity_bytes}"
            )
