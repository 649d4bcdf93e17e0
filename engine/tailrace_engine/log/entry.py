"""One appended batch, as every part that holds it sees it: hot log, WAL, pending appends and uploader share the object.

The raw bytes live as long as `data` refers to them. Once they left memory, (wal_segment, wal_position, size) says where
the WAL still has them.
"""

from typing import Protocol


class LogOwner(Protocol):
    """What the WAL needs to know of the partition that an entry belongs to."""

    topic_id: bytes
    """16 raw bytes."""
    partition: int


class BatchEntry:
    """A record batch with its offsets assigned. One per appended batch; the object never changes its identity."""

    __slots__ = (
        "base_offset",
        "data",
        "end_offset",
        "leader_epoch",
        "max_timestamp_ms",
        "owner",
        "size",
        "wal_position",
        "wal_segment",
    )

    owner: LogOwner
    leader_epoch: int
    base_offset: int
    end_offset: int
    """Exclusive."""
    max_timestamp_ms: int
    size: int
    """Bytes of the raw batch, also after `data` is gone."""
    data: bytes | None
    """The raw batch; None once it left memory."""
    wal_segment: int
    """File number in the WAL; -1 until the writer formed the entry's group, and for entries that no WAL holds."""
    wal_position: int
    """Byte position of the raw batch in that file."""

    def __init__(
        self,
        owner: LogOwner,
        leader_epoch: int,
        base_offset: int,
        end_offset: int,
        max_timestamp_ms: int,
        data: bytes,
    ) -> None:
        self.owner = owner
        self.leader_epoch = leader_epoch
        self.base_offset = base_offset
        self.end_offset = end_offset
        self.max_timestamp_ms = max_timestamp_ms
        self.size = len(data)
        self.data = data
        self.wal_segment = -1
        self.wal_position = -1

    def __repr__(self) -> str:
        return f"BatchEntry([{self.base_offset}, {self.end_offset}) epoch {self.leader_epoch}, {self.size} bytes)"
