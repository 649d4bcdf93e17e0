"""Topics whose batches are looked into before they are appended: those with a compression.type of their own, where
batches that come otherwise are compressed anew, and compacted ones, where every record needs a key.

Large ones leave the loop for a few threads, whose work is C code that releases the GIL. A batch that has left holds
back the later ones of its partition: they are appended in the order in which they came, so that sequences of idempotent
producers are checked in order. Their bytes are copied, as the receive buffer is given back, and counted until then.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Final

from tailrace_core.batch import BatchHeader
from tailrace_core.errors import StorageUnavailable, TailraceError
from tailrace_core.limits import INFLATED_BATCH_BYTES_MAX, RECOMPRESSING_THREADS
from tailrace_core.membership import COMPACT, INTERNAL_TOPICS
from tailrace_core.ports import Clock
from tailrace_core.telemetry import histogram
from tailrace_engine.log import codecs
from tailrace_engine.log.recompress import CODECS, level_of, recompress
from tailrace_engine.log.records import check_keys
from tailrace_engine.runtime.partition import AppendWaiter, Partition

if TYPE_CHECKING:
    from tailrace_engine.runtime.engine import Engine

logger = logging.getLogger(__name__)

_ON_LOOP_BYTES_MAX: Final = 4 << 10
"""So few bytes are compressed on the loop: by the slowest codec and level in less than a millisecond."""
_ON_LOOP_RECORDS_MAX: Final = 1000
"""The keys of so many records are looked for on the loop, in about half a millisecond. More are on a thread, whose work
does not release the GIL but is interrupted: rare, as few batches of compacted topics are that large."""


class _Later:
    """A batch that waits for its turn; once it is appended, the one that passes on what becomes of it."""

    __slots__ = ("_is_appended", "_is_durable", "batch", "error", "is_ready", "ordinal", "partition", "size", "waiter")

    def __init__(
        self, partition: Partition, batch: bytearray, waiter: AppendWaiter, ordinal: int, is_ready: bool
    ) -> None:
        self.partition = partition
        self.batch = batch
        self.size = len(batch)
        self.waiter = waiter
        self.ordinal = ordinal
        self.is_ready = is_ready
        """It is as it is to be appended, or error says why it cannot."""
        self.error: TailraceError | None = None
        self._is_appended = False
        self._is_durable = False

    def append(self, engine: "Engine") -> None:
        """It is this batch's turn."""
        if self.error is not None:
            # Not raised: its traceback would hold this batch, and the batch it, until a full collection.
            self._refuse(self.error)
            return
        try:
            base_offset, append_time_ms = engine.append(
                self.partition, memoryview(self.batch), self, self.ordinal, is_recompressed=True
            )
        except TailraceError as error:
            self._refuse(error)
            return
        except Exception:
            # Its bug is not the others' that wait behind it.
            logger.exception("a batch of %s could not be appended", self.partition.name)
            self._refuse(StorageUnavailable("the batch could not be appended"))
            return
        self._is_appended = True
        self.waiter.on_appended(self.ordinal, base_offset, append_time_ms)
        if self._is_durable:
            self.waiter.on_durable()

    def _refuse(self, error: TailraceError) -> None:
        self.waiter.on_appended(self.ordinal, -1, -1)
        self.waiter.on_append_failed(self.ordinal, error)

    def on_appended(self, ordinal: int, base_offset: int, append_time_ms: int) -> None:
        raise AssertionError("a batch is put off once")

    def on_durable(self) -> None:
        if self._is_appended:
            self.waiter.on_durable()
        else:
            self._is_durable = True  # a duplicate, whose original is: known while it is being appended

    def on_append_failed(self, ordinal: int, error: TailraceError) -> None:
        self.waiter.on_append_failed(ordinal, error)


class _Nobody:
    """Waits for a batch that nobody waits for."""

    def on_appended(self, ordinal: int, base_offset: int, append_time_ms: int) -> None:
        pass

    def on_durable(self) -> None:
        pass

    def on_append_failed(self, ordinal: int, error: TailraceError) -> None:
        pass


_NOBODY: Final = _Nobody()


def _look_into(
    batch: bytearray, place: str | None, make: Callable[[], bytearray] | None, inflated_bytes_max: int
) -> bytearray:
    """On a thread. place: the partition's name, where every record needs a key."""
    if place is not None:
        check_keys(batch, place, inflated_bytes_max)
    return batch if make is None else make()


class Recompression:
    """One per engine."""

    def __init__(self, engine: "Engine", clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._threads = ThreadPoolExecutor(RECOMPRESSING_THREADS, "recompress")
        self.queues: dict[Partition, deque[_Later]] = {}
        """What waits for its turn, by partition, in the order in which it came. For the engine to see that nobody does.
        """
        self.waiting_bytes = 0
        self.batches = 0
        self.bytes_before = 0
        self.bytes_after = 0
        self.times = histogram("tailrace_recompress_seconds")

    def take(
        self, partition: Partition, header: BatchHeader, batch: memoryview, waiter: AppendWaiter | None, ordinal: int
    ) -> bytearray | memoryview | None:
        """The batch as its topic wants it. None: it is appended later, and the waiter is told by on_appended.

        Raises InvalidRecord, RecordsRefused and MessageTooLarge.
        """
        configs = partition.configs
        codec = CODECS.get(configs.compression_type, header.codec)
        is_internal = partition.topic_name in INTERNAL_TOPICS
        is_kept = codec == header.codec or is_internal
        needs_keys = COMPACT in configs.cleanup_policy and not is_internal
        is_ready = is_kept and not needs_keys
        queue = self.queues.get(partition)
        if queue is None:
            if is_ready:
                return batch
            size = len(batch)
            if header.codec == codecs.NONE and (
                size <= _ON_LOOP_BYTES_MAX or (is_kept and header.record_count <= _ON_LOOP_RECORDS_MAX)
            ):
                if needs_keys:
                    check_keys(batch, partition.name, size)
                if is_kept:
                    return batch
                made = recompress(batch, codec, level_of(configs), size)
                self._count(size, len(made))
                return made
            queue = self.queues[partition] = deque()
        later = _Later(partition, bytearray(batch), waiter or _NOBODY, ordinal, is_ready)
        queue.append(later)
        self.waiting_bytes += later.size
        if not is_ready:
            # Uncompressed, it may not be larger than the topic's batches are: no need to go on then.
            bound = (
                min(INFLATED_BATCH_BYTES_MAX, configs.max_message_bytes)
                if codec == codecs.NONE and not is_kept
                else INFLATED_BATCH_BYTES_MAX
            )
            make = None if is_kept else partial(recompress, later.batch, codec, level_of(configs), bound)
            work = partial(_look_into, later.batch, partition.name if needs_keys else None, make, bound)
            loop = asyncio.get_running_loop()
            loop.run_in_executor(self._threads, work).add_done_callback(
                partial(self._on_done, later, self._clock.monotonic())
            )
        self._engine.maybe_hold_back()
        return None

    def _on_done(self, later: _Later, began: float, made: "asyncio.Future[bytearray]") -> None:
        if made.cancelled():
            return  # the broker stops
        error = made.exception()
        if error is None:
            if later.batch is not made.result():
                later.batch = made.result()
                self._count(later.size, len(later.batch))
                self.times.observe_seconds(self._clock.monotonic() - began)
        elif isinstance(error, TailraceError):
            later.error = error
        else:
            logger.error("a batch of %s could not be compressed", later.partition.name, exc_info=error)
            later.error = StorageUnavailable("the batch could not be compressed")
        later.is_ready = True
        queue = self.queues[later.partition]
        while queue and queue[0].is_ready:
            first = queue.popleft()
            self.waiting_bytes -= first.size
            try:
                first.append(self._engine)
            except Exception:
                logger.exception("an answer failed")  # its bug is not the others'
        if not queue:
            del self.queues[later.partition]
        self._engine.maybe_hold_back()
        self._engine.on_completions()

    def _count(self, before: int, after: int) -> None:
        self.batches += 1
        self.bytes_before += before
        self.bytes_after += after
