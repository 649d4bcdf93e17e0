"""All that a gateway may call. Kafka's frames and the native protocol translate into the same calls.

Everything that is not `async` happens at once, on the loop's thread. Errors are tailrace_core.errors.
"""

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from tailrace_core.batch import Buffer
from tailrace_core.ids import TopicId
from tailrace_engine.runtime.partition import AppendWaiter, Partition, VisibilityWaiter

__all__ = [
    "APPENDED_LATER",
    "HIGH_WATERMARK",
    "AppendWaiter",
    "OffsetFound",
    "Partition",
    "StorageEngine",
    "VisibilityWaiter",
]


HIGH_WATERMARK: Final = -1
"""As the offset of delete_records: everything that can be read now."""


APPENDED_LATER: Final = (-1, -1)
"""Given by an append that has to leave the loop first."""


class OffsetFound(NamedTuple):
    """A record found by its time."""

    offset: int
    timestamp_ms: int
    leader_epoch: int


class StorageEngine(Protocol):
    """See runtime/engine.py for the one that is."""

    on_completions: Callable[[], None]
    """Called after a group of completions was handed to waiters: the gateway sends what they made ready."""
    on_room: Callable[[], None]
    """Called when must_hold_back turned false again."""

    throttle_time_ms: int
    """How long producers should wait before they send more; 0 while there is room. See log/throttle.py."""

    must_hold_back: bool
    """Whether no more batches should be appended for now: WAL or memory are full, or the disk is behind."""

    def partition(self, topic_name: str, partition: int) -> Partition:
        """Raises UnknownTopicOrPartition, and what keeps the partition offline."""

    def partition_by_id(self, topic_id: TopicId, partition: int) -> Partition:
        """Raises UnknownTopicId, UnknownTopicOrPartition, and what keeps the partition offline."""

    def append(
        self, partition: Partition, batch: memoryview, waiter: AppendWaiter | None, ordinal: int
    ) -> tuple[int, int]:
        """Check one produced batch and append it; the waiter is told when it is durable, which may be at once.

        Gives the batch's base offset, and the log append time in ms, -1 where producers' timestamps are kept. Where the
        batch has to be compressed anew off the loop, gives APPENDED_LATER; the waiter's on_appended tells the two then.

        batch is written to and copied. A duplicate of an idempotent producer's batch is not appended again: it gets its
        original's offset, and its waiter waits for the original. Raises what the producer is told; then the waiter is
        not called.
        """

    def read(
        self, partition: Partition, offset: int, max_bytes: int, at_least_one: bool
    ) -> tuple[list[Buffer], int] | None:
        """Whole batches in memory from the one that contains offset on, and their bytes; None when they are elsewhere.

        Raises OffsetOutOfRange. See Partition.read_hot for the limits.
        """

    async def read_cold(self, partition: Partition, offset: int, max_bytes: int) -> tuple[list[Buffer], int]:
        """As read, with at least one batch, from wherever they are. Raises DataCorrupt and StorageUnavailable too."""

    async def find_timestamp(self, partition: Partition, timestamp_ms: int) -> OffsetFound | None:
        """The first record below the high watermark whose timestamp is >= timestamp_ms."""

    async def find_max_timestamp(self, partition: Partition) -> OffsetFound | None:
        """The first of the records with the largest timestamp; None in an empty partition."""

    def stored_bytes(self, topic_id: TopicId, index: int) -> int:
        """Bytes of a partition's batches, in the tier and waiting for their upload; 0 where there is no such."""

    async def delete_records(self, partition: Partition, offset: int) -> int:
        """Move the log start up to offset, or to HIGH_WATERMARK; gives the log start in force once that is durable.

        It never goes down. Raises OffsetOutOfRange beyond the high watermark, PolicyViolation on a topic that is
        compacted only, UnknownTopicId where the topic was deleted meanwhile, and StorageUnavailable.
        """
