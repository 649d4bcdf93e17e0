"""Reads the state of one shard from its partition: in slices, beside the loop's other work.

Only the last record of a key counts, and a tombstone last means that the key is not there: the rule of compaction,
which the log may have been through or not, so a shard must come to the same state either way. What a key had before is
never decoded. The kept records reach the shard in the order of their offsets.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from tailrace_core.batch import CONTROL_BIT, Buffer, batch_spans, read_header
from tailrace_core.errors import CoordinatorLoadInProgress, StorageUnavailable, TailraceError
from tailrace_engine.coordinator.decision import Record, Shard
from tailrace_engine.log.records import keys_and_values
from tailrace_engine.runtime.engine import Engine
from tailrace_engine.runtime.partition import Partition

_READ_BYTES: Final = 1 << 20
_SCANNED_RECORDS: Final = 1_000
"""Records, or batches, that are looked through before the loop gets its turn: a millisecond or so ..."""
_REPLAYED_RECORDS: Final = 100
"""... as for those that the shard takes, which decodes them."""


class Loading:
    """Stands at a partition until its shard is read."""

    __slots__ = ("index", "missed", "unavailable")

    def __init__(self, index: int) -> None:
        self.index = index
        self.missed: list[Any] = []
        """What all shards were told meanwhile."""
        self.unavailable: TailraceError | None = None
        """Why it could not be read; it will be tried again."""

    def ask(self, request: Any, on_answer: Callable[[Any], object]) -> None:
        on_answer(self.unavailable or CoordinatorLoadInProgress("the coordinator reads its state"))

    def tell(self, request: Any) -> None:
        self.missed.append(request)


async def replay_log(engine: Engine, partition: Partition, shard: Shard, on_records: Callable[[int], None]) -> None:
    """Bring a new shard to the state of the partition's log end; nothing is awaited after that was reached.

    on_records is told how many more records were read. Raises StorageUnavailable while the end of the log is not
    durable, and what reads raise.
    """
    state = partition.state
    offset = state.log_start_offset
    replay = shard.replay
    is_empty = True
    while offset < state.log_end_offset:
        latest: dict[bytes, bytes | None] = {}
        while offset < state.log_end_offset:
            if offset >= state.high_watermark:
                raise StorageUnavailable(f"{partition.name} is not durable up to its end")
            buffers, _ = await engine.read_cold(partition, offset, _READ_BYTES)
            offset = await _take_latest(buffers, latest, on_records)
        taken = 0
        for key, value in latest.items():
            if value is not None or not is_empty:
                replay(Record(key, value))
                taken += 1
                if taken % _REPLAYED_RECORDS == 0:
                    await asyncio.sleep(0)
        is_empty = False


async def _take_latest(
    buffers: list[Buffer], latest: dict[bytes, bytes | None], on_records: Callable[[int], None]
) -> int:
    """Every key with its last value, in the order of those; gives the offset where the next read begins."""
    offset = looked = told = 0
    for buffer in buffers:
        for position, size, _ in batch_spans(buffer):
            header = read_header(buffer, position)
            offset = header.end_offset
            looked += 1
            if header.attributes & CONTROL_BIT:
                continue
            for key, value in keys_and_values(memoryview(buffer)[position : position + size], header):
                if key is None:
                    continue
                # Taken out first, so that the order is that of the last occurrence.
                latest.pop(key, None)
                latest[key] = value
                looked += 1
                if looked >= _SCANNED_RECORDS:
                    looked = 0
                    await asyncio.sleep(0)
            told += header.record_count
    on_records(told)
    return offset
