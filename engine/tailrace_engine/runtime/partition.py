"""One partition on its leader: the owner of its pure state.

A partition's offsets are covered by three places, in this order, without a hole:

    log_start_offset … tier_end_offset     objects in the tier (the catalog's extents)
    tier_end_offset … first hot batch      batches that left memory before they were uploaded (WalIndex)
    first hot batch … log_end_offset       batches in memory

The hot part may reach below tier_end_offset: what is uploaded stays in memory until the budget needs the room. Where
the log start has passed batches that were never uploaded, tier_end_offset stands at the first batch that is left: no
object has what lies before it, and nobody needs it.

All methods are synchronous and run on the loop's thread; an append plans, applies and hands the batch on in one call.
"""

from bisect import bisect_left, bisect_right
from operator import attrgetter
from typing import Final, NamedTuple, Protocol

from tailrace_core.batch import (
    LOG_APPEND_TIME_BIT,
    LOG_OVERHEAD_BYTES,
    TRANSACTIONAL_BIT,
    BatchHeader,
    Buffer,
    assign_offset,
    clear_log_append_time,
    set_log_append_time,
)
from tailrace_core.errors import (
    InvalidTimestamp,
    InvalidTransactionState,
    MessageTooLarge,
    RecordListTooLarge,
    TailraceError,
)
from tailrace_core.ids import TopicId
from tailrace_core.membership import LOG_APPEND_TIME, TopicConfigs
from tailrace_engine.log.entry import BatchEntry
from tailrace_engine.log.epochs import LeaderEpochs
from tailrace_engine.log.pending import PendingAppends
from tailrace_engine.log.producers import AppendedBatch, ProducerStates
from tailrace_engine.log.state import LogState
from tailrace_engine.log.wal_index import WalIndex, count_segments

_HEAD_SLACK: Final = 64
"""Places at the front of the hot lists that are let go together: a list gives its front back in linear time."""
_HEAD_SLACK_MAX: Final = 4_096
"""So many are let go though they are less than half of the lists: freeing what was in them takes time, too."""


_segment_of: Final = attrgetter("wal_segment")


class AppendWaiter(Protocol):
    """Who asked for an acknowledgement. Exactly one of on_durable and on_append_failed is called, once per append that
    named the waiter.
    """

    def on_appended(self, ordinal: int, base_offset: int, log_append_time_ms: int) -> None:
        """An append that was put off (APPENDED_LATER) was made, or was refused (-1). Before the other call."""

    def on_durable(self) -> None:
        """The records are below the high watermark."""

    def on_append_failed(self, ordinal: int, error: TailraceError) -> None:
        """They may never be; ordinal is the number that the append was given."""


class VisibilityWaiter(Protocol):
    """Who waits for readable bytes."""

    def on_visible(self, size: int) -> None:
        """size more bytes are below the high watermark; 0: the log start has moved."""

    def on_partition_gone(self) -> None:
        """The partition was deleted, or went offline."""


class Released(NamedTuple):
    """What a partition let go of, for those who keep accounts of it."""

    dead: dict[int, int]
    """WAL records that are needed no more, per segment."""
    index_entries: int
    unuploaded_bytes: int
    hot_entries: list[BatchEntry]
    is_all: bool
    """False: there is more to let go."""


class Partition:
    """See the module. engine/api.py says what callers outside of the engine may use of it."""

    __slots__ = (
        "configs",
        "damage",
        "deleted",
        "epochs",
        "first_unuploaded_ms",
        "hot_bases",
        "hot_entries",
        "hot_head",
        "partition",
        "pending",
        "producers",
        "state",
        "tier_end_offset",
        "topic_id",
        "topic_name",
        "unuploaded_bytes",
        "visibility_waiters",
        "wal_index",
    )

    def __init__(
        self, topic_name: str, topic_id: TopicId, partition: int, configs: TopicConfigs, leader_epoch: int
    ) -> None:
        self.topic_name = topic_name
        self.topic_id = topic_id
        self.partition = partition
        self.configs = configs
        self.state = LogState(leader_epoch)
        self.epochs = LeaderEpochs()
        self.producers: ProducerStates | None = None
        self.pending: PendingAppends[tuple[AppendWaiter, int]] = PendingAppends()
        self.hot_entries: list[BatchEntry] = []
        self.hot_bases: list[int] = []
        self.hot_head = 0
        self.wal_index: WalIndex | None = None
        self.tier_end_offset = 0
        self.unuploaded_bytes = 0
        """Durable bytes that the catalog does not have."""
        self.first_unuploaded_ms = 0
        self.visibility_waiters: dict[VisibilityWaiter, None] = {}
        self.damage: TailraceError | None = None
        """Set: the partition is offline, and this is why."""
        self.deleted = False

    @property
    def name(self) -> str:
        """topic-partition, as Kafka writes it."""
        return f"{self.topic_name}-{self.partition}"

    # --- append

    def check_limits(self, header: BatchHeader, now_ms: int) -> None:
        """The topic's rules for a batch that is well-formed. Raises what the producer is told."""
        configs = self.configs
        size = header.batch_length + LOG_OVERHEAD_BYTES
        if size > configs.max_message_bytes:
            raise MessageTooLarge(
                f"the batch has {size} bytes, max.message.bytes of {self.topic_name} is {configs.max_message_bytes}"
            )
        if size > configs.segment_bytes:
            raise RecordListTooLarge(
                f"the batch has {size} bytes, segment.bytes of {self.topic_name} is {configs.segment_bytes}"
            )
        if header.attributes & TRANSACTIONAL_BIT:
            raise InvalidTransactionState("transactional batches are not supported yet")
        if configs.message_timestamp_type != LOG_APPEND_TIME:
            newest, oldest = header.max_timestamp_ms, header.base_timestamp_ms
            if newest > now_ms + configs.message_timestamp_after_max_ms:
                raise InvalidTimestamp(
                    f"timestamp {newest} is more than message.timestamp.after.max.ms="
                    f"{configs.message_timestamp_after_max_ms} ahead of the broker's {now_ms}"
                )
            if 0 <= oldest < now_ms - configs.message_timestamp_before_max_ms:
                raise InvalidTimestamp(
                    f"timestamp {oldest} is more than message.timestamp.before.max.ms="
                    f"{configs.message_timestamp_before_max_ms} behind the broker's {now_ms}"
                )

    def find_duplicate(self, header: BatchHeader) -> AppendedBatch | None:
        """The original of a batch that an idempotent producer has sent before. Raises when it is out of order."""
        return self.producers.check(header) if self.producers is not None else None

    def append(self, batch: memoryview, header: BatchHeader, now_ms: int) -> BatchEntry:
        """Give the checked batch its offsets and take it. batch is written to and copied; the caller may reuse it."""
        state = self.state
        base_offset = state.apply_append(header.record_count)
        leader_epoch = state.leader_epoch
        max_timestamp_ms = header.max_timestamp_ms
        assign_offset(batch, base_offset, leader_epoch)
        if self.configs.message_timestamp_type == LOG_APPEND_TIME:
            max_timestamp_ms = now_ms
            set_log_append_time(batch, header.attributes, now_ms)
            header = header._replace(max_timestamp_ms=now_ms)
        elif header.attributes & LOG_APPEND_TIME_BIT:
            clear_log_append_time(batch, header.attributes)
        entry = BatchEntry(self, leader_epoch, base_offset, state.log_end_offset, max_timestamp_ms, bytes(batch))
        if header.producer_id >= 0:
            if self.producers is None:
                self.producers = ProducerStates()
            self.producers.apply(header, base_offset, now_ms)
        self.epochs.on_append(leader_epoch, base_offset)
        self.hot_entries.append(entry)
        self.hot_bases.append(base_offset)
        return entry

    def recover(
        self, end_offset: int, header: tuple[int, ...], segment: int, position: int, size: int, now_ms: int
    ) -> None:
        """Take a batch that the WAL has: in the index, not in memory. It continues the log."""
        index = self.wal_index
        if index is None:
            index = self.wal_index = WalIndex()
        index.append(self.state.log_end_offset, end_offset, header[8], segment, position, size)
        self.unuploaded_bytes += size
        self.replay(end_offset, header, now_ms)

    def replay(self, end_offset: int, header: tuple[int, ...], now_ms: int) -> None:
        """Let the state go on over a batch that continues the log.

        Its producer counts as one that has written now: the batch's timestamps are the producer's own.
        """
        state = self.state
        base_offset = state.log_end_offset
        self.epochs.on_append(header[2], base_offset)
        if header[9] >= 0:
            if self.producers is None:
                self.producers = ProducerStates()
            self.producers.apply(BatchHeader._make(header), base_offset, now_ms)
        state.log_end_offset = state.high_watermark = end_offset

    # --- read

    def hot_start_offset(self) -> int:
        """The first offset in memory; the log end where nothing is."""
        head = self.hot_head
        return self.hot_bases[head] if head < len(self.hot_bases) else self.state.log_end_offset

    def read_hot(self, offset: int, max_bytes: int, at_least_one: bool) -> tuple[list[Buffer], int]:
        """Whole batches below the high watermark from the one that contains offset on, and their bytes.

        offset lies in the hot part. Up to max_bytes, but with at_least_one the first batch whatever its size.
        """
        high_watermark = self.state.high_watermark
        found: list[Buffer] = []
        if offset >= high_watermark:
            return found, 0
        entries = self.hot_entries
        total = 0
        place = bisect_right(self.hot_bases, offset, self.hot_head) - 1
        end = len(entries)
        while place < end:
            entry = entries[place]
            if entry.end_offset > high_watermark:
                break
            size = entry.size
            if total + size > max_bytes and (found or not at_least_one):
                break
            data = entry.data
            assert data is not None, "a batch in the hot part has its data"
            found.append(data)
            total += size
            place += 1
        return found, total

    def hot_batches(
        self, offset: int, end_offset: int, batches_max: int, bytes_max: int
    ) -> list[tuple[Buffer, int, int, int]]:
        """(data, base offset, end offset, largest timestamp) of batches in [offset, end_offset), for an upload.

        At least one, if there is one in memory that begins at offset; up to both bounds.
        """
        found: list[tuple[Buffer, int, int, int]] = []
        place = bisect_left(self.hot_bases, offset, self.hot_head)
        size = 0
        for entry in self.hot_entries[place : place + batches_max]:
            if entry.end_offset > end_offset or (found and size + entry.size > bytes_max):
                break
            assert entry.data is not None, "a batch in the hot part has its data"
            found.append((entry.data, entry.base_offset, entry.end_offset, entry.max_timestamp_ms))
            size += entry.size
        return found

    def hot_entries_from(self, offset: int, batches_max: int) -> list[BatchEntry]:
        """Some batches in memory, durable or not, from the one that contains offset on, or from the first."""
        place = max(bisect_right(self.hot_bases, offset, self.hot_head) - 1, self.hot_head)
        return self.hot_entries[place : place + batches_max]

    def hot_above_tier(self) -> list[BatchEntry]:
        """The batches that memory has and the tier has not, durable or not."""
        return self.hot_entries[bisect_left(self.hot_bases, self.tier_end_offset, self.hot_head) :]

    # --- what becomes of the batches

    def on_evicted(self, entry: BatchEntry) -> int:
        """The oldest hot batch leaves memory; gives the index entries that it costs (0 or 1)."""
        assert self.hot_entries[self.hot_head] is entry, "batches leave memory in offset order"
        self._move_hot_head(self.hot_head + 1)
        if entry.end_offset <= self.tier_end_offset:
            return 0
        index = self.wal_index
        if index is None:
            index = self.wal_index = WalIndex()
        index.append(
            entry.base_offset,
            entry.end_offset,
            entry.max_timestamp_ms,
            entry.wal_segment,
            entry.wal_position,
            entry.size,
        )
        return 1

    def on_committed(self, end_offset: int) -> tuple[dict[int, int], int]:
        """The tier holds everything below end_offset: (WAL records dead per segment, index entries given back)."""
        bases = self.hot_bases
        first = bisect_left(bases, self.tier_end_offset, self.hot_head)
        dead = count_segments(self.hot_entries, first, bisect_left(bases, end_offset, first), _segment_of)
        given_back = 0
        if self.wal_index is not None:
            for segment, count in self.wal_index.drop_below(end_offset).items():
                dead[segment] = dead.get(segment, 0) + count
                given_back += count
            if not len(self.wal_index):
                self.wal_index = None
        self.tier_end_offset = end_offset
        return dead, given_back

    def release_below(self, offset: int, batches_max: int) -> Released:
        """Let go of what ends at or below offset, the log start now: batches in memory, and those that wait for upload.

        A batch that only begins below it stays. About batches_max of them in one call, the oldest first.
        """
        dead: dict[int, int] = {}
        count = size = 0
        index = self.wal_index
        if index is not None and (count := min(index.find(offset), batches_max)):
            end_offset = index.batch_end_offset(count - 1)
            size = index.bytes_below(end_offset)
            dead = index.drop_below(end_offset)
            if not len(index):
                self.wal_index = None
        entries, bases, head = self.hot_entries, self.hot_bases, self.hot_head
        end = bisect_right(bases, offset, head)
        if end > head and entries[end - 1].end_offset > offset:
            end -= 1
        bounded = min(end, head + batches_max - count)
        first = min(bisect_left(bases, self.tier_end_offset, head), bounded)
        for segment, of_segment in count_segments(entries, first, bounded, _segment_of).items():
            dead[segment] = dead.get(segment, 0) + of_segment
        size += sum([entry.size for entry in entries[first:bounded]])
        hot_entries = entries[head:bounded]
        self._move_hot_head(bounded)
        if dead:
            left = self.wal_index.base_offset() if self.wal_index is not None else self.hot_start_offset()
            self.tier_end_offset = max(self.tier_end_offset, min(offset, left))
        return Released(dead, count, size, hot_entries, count < batches_max and bounded == end)

    def _move_hot_head(self, head: int) -> None:
        if head >= _HEAD_SLACK and (head >= _HEAD_SLACK_MAX or head * 2 >= len(self.hot_entries)):
            del self.hot_entries[:head], self.hot_bases[:head]
            head = 0
        self.hot_head = head

    def local_bytes_below(self, end_offset: int) -> int:
        """Bytes of the durable batches between the tier's end and end_offset."""
        size = sum(entry.size for entry in self.hot_above_tier() if entry.end_offset <= end_offset)
        if self.wal_index is not None:
            size += self.wal_index.bytes_below(end_offset)
        return size

    def wal_records(self) -> dict[int, int]:
        """Durable records that still keep WAL segments alive, per segment."""
        bases = self.hot_bases
        first = bisect_left(bases, self.tier_end_offset, self.hot_head)
        end = bisect_left(bases, self.state.high_watermark, first)
        alive = count_segments(self.hot_entries, first, end, _segment_of)
        if self.wal_index is not None:
            for segment, count in self.wal_index.segments().items():
                alive[segment] = alive.get(segment, 0) + count
        return alive
