"""The WAL's owner on the event loop's thread: group commit, segments, reading back.

`append` only queues. What is queued when the loop comes round becomes one group: packed into an aligned buffer, written
by one write that is also its sync, acknowledged by one callback. The next group is formed when the former completed, or
beside it when much is queued. No task, lock or future per append.

Groups complete towards the owner strictly in order of sequence. The first write or sync that fails fences the WAL for
good: what was not acknowledged is reported as failed, appends raise StorageUnavailable, reads go on. After a fence
nothing is known about the medium's state beyond the last acknowledgement, so only recovery at the next start may write
again.

Space: every record counts as live in its segment until the owner calls mark_dead for it. A segment without live records
is used again under a new generation. The next segment's file is made ahead, in the background.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from crc32c import crc32c

from tailrace_core.errors import RecordListTooLarge, StorageUnavailable
from tailrace_core.ports import Clock, Loop, Timer
from tailrace_core.telemetry import histogram
from tailrace_engine.disk.port import Disk, WriteBuffer
from tailrace_engine.log.entry import BatchEntry
from tailrace_engine.wal.format import (
    BATCH,
    BATCH_CRC_END,
    BLOCK_BYTES,
    GROUP_HEADER_BYTES,
    RECORD_CRC,
    RECORD_CRC_START,
    RECORD_HEADER,
    RECORD_HEADER_BYTES,
    RECORD_TYPES,
    SEGMENT_HEADER_BYTES,
    SegmentHeader,
    align_up,
    pack_group_header,
    pack_segment_header,
)
from tailrace_engine.wal.options import WalOptions
from tailrace_engine.wal.reading import Span, WalReader
from tailrace_engine.wal.recovery import Recovery
from tailrace_engine.wal.ring import Ring

__all__ = ["Wal", "WalOptions"]

GROUP_BYTES_MAX: Final = 4 << 20
_BUFFERS: Final = 3
"""Two groups under way and one that waits for the room of a new segment's header write."""
_CLAIM_SECONDS: Final = 1.0
"""After so long without a group, an empty one states that the last groups are durable, so that damage to them is
seen."""


class _ControlRecord:
    """A record without bytes: a fact about a partition."""

    __slots__ = ("kind", "leader_epoch", "offset", "on_durable", "partition", "size", "topic_id")

    def __init__(
        self,
        kind: int,
        topic_id: bytes,
        partition: int,
        leader_epoch: int,
        offset: int,
        on_durable: Callable[[int], None],
    ) -> None:
        self.kind = kind
        self.topic_id = topic_id
        self.partition = partition
        self.leader_epoch = leader_epoch
        self.offset = offset
        self.on_durable = on_durable
        self.size = 0


class _Group:
    """One write under way; without a sequence for a segment's header."""

    __slots__ = ("buffer", "controls", "done", "entries", "length", "sequence", "started")

    def __init__(self, sequence: int, buffer: WriteBuffer | None, length: int, started: float) -> None:
        self.sequence = sequence
        self.buffer = buffer
        self.length = length
        self.started = started
        self.entries: list[BatchEntry] = []
        self.controls: list[tuple[Callable[[int], None], int]] = []
        self.done = False


class Wal:
    """One write-ahead log. All methods are called on the loop's thread."""

    @classmethod
    def open(
        cls,
        disk: Disk,
        options: WalOptions,
        loop: Loop,
        clock: Clock,
        recovery: Recovery,
        on_durable: Callable[[list[BatchEntry]], None],
        on_failed: Callable[[list[BatchEntry], StorageUnavailable], None],
        salt: int = 0,
    ) -> "Wal":
        """Take over disk after recovery(disk.sources()). The first append begins a fresh segment and generation.

        on_durable is called once per group, in order, with its batches; on_failed once, when the WAL fences itself,
        with all batches that are not acknowledged. salt: 32 random bits of this start. Blocks while what recovery found
        is made durable. Raises InvalidSettings, and OSError when that fails.
        """
        options.check()
        wal = cls(disk, options, loop, clock, recovery.next_sequence, on_durable, on_failed, salt)
        sizes = {source.number: source.size for source in disk.sources()}
        free = [number for number in recovery.free if sizes.get(number) == options.segment_bytes]
        for number in recovery.free:
            if number not in free:
                disk.remove(number)
        disk.adopt([segment.number for segment in recovery.segments] + free)
        wal.ring.restore(recovery.segments, free, recovery.last_generation)
        wal._find_spare()
        disk.hurry(now=False)
        return wal

    def __init__(
        self,
        disk: Disk,
        options: WalOptions,
        loop: Loop,
        clock: Clock,
        next_sequence: int,
        on_durable: Callable[[list[BatchEntry]], None],
        on_failed: Callable[[list[BatchEntry], StorageUnavailable], None],
        salt: int,
    ) -> None:
        self.ring = Ring(options.segment_bytes, options.capacity_bytes)
        self.fenced: StorageUnavailable | None = None
        """Why nothing can be appended any more."""
        self.backend = disk.name
        self.sync = options.sync
        self.queued_bytes = 0
        """Raw bytes that wait for their group."""
        self.groups = 0
        self.records = 0
        self.bytes = 0
        """Written to the disk, headers and padding included."""
        self.syncs = 0
        self.sync_times = histogram("tailrace_wal_write_seconds")
        self.group_sizes = histogram("tailrace_wal_group_bytes")
        self.spare_ready = False
        """The file of the next segment is made."""
        self.stalls = 0
        """Times that a group had to wait for its segment's file, or for space."""
        self.acknowledged_sequence = next_sequence - 1
        self.durable_sequence = next_sequence - 1
        """Synced up to here; under wal.sync=interval behind what is acknowledged."""
        self._disk = disk
        self._immediate = disk.immediate
        self._options = options
        self._bulk_bytes = options.bulk_bytes
        self._now_bytes_max = options.now_bytes_max
        self._unsynced_bytes_max = options.unsynced_bytes_max
        self._loop = loop
        self._clock = clock
        self._on_durable = on_durable
        self._on_failed = on_failed
        self._salt = salt
        self._next_sequence = next_sequence
        self._group_bytes = min(GROUP_BYTES_MAX, options.segment_bytes - SEGMENT_HEADER_BYTES)
        self._batch_bytes_max = options.segment_bytes - SEGMENT_HEADER_BYTES - GROUP_HEADER_BYTES - RECORD_HEADER_BYTES
        self._reserve_bytes = min(4 * options.segment_bytes, options.capacity_bytes // 8)
        """Not for users' data: 256 MiB by default, of which internal topics may take three quarters, a million commits
        while the object store is away. The rest is for what was let in before back-pressure began."""
        self.usable_bytes = options.capacity_bytes - self._reserve_bytes
        """room_bytes() of an empty one."""
        self._reader = WalReader(disk, self.ring, self._on_released)
        self._buffers = [WriteBuffer(self._group_bytes) for _ in range(_BUFFERS)]
        self._oversize: WriteBuffer | None = None
        self._header_buffer = WriteBuffer(SEGMENT_HEADER_BYTES)
        self._header_busy = False
        """A segment is begun, and its header is not durable yet: no group may follow (see wal/format.py)."""
        self._header_unsynced = False
        self._pending: list[BatchEntry | _ControlRecord] = []
        self._kicked = False
        self._under_way: deque[_Group] = deque()
        self._completed: deque[_Group] = deque()
        self._delivering = False
        self._spare_failure: OSError | None = None
        self._unsynced_bytes = 0
        self._sync_timer: Timer | None = None
        self._syncing = False
        self._last_record_sequence = 0
        self._claimed_sequence = next_sequence - 1
        self._claim_timer: Timer | None = None
        self._closing = False
        self._on_idle: Callable[[], None] | None = None

    # Appending.

    def check_append(self, size: int) -> None:
        """Raises what append would for a batch of size bytes, so that it can be refused before it has an offset."""
        if self.fenced is not None:
            raise self.fenced.with_traceback(None)
        if size > self._batch_bytes_max or self._closing:
            self._refuse(size)

    def append(self, entry: BatchEntry) -> None:
        """Queue a batch. Its entry's data must stay until it is reported.

        Raises StorageUnavailable once fenced or closing, RecordListTooLarge for what no segment can hold.
        """
        if self.fenced is not None:
            raise StorageUnavailable(str(self.fenced))
        if entry.size > self._batch_bytes_max or self._closing:
            self._refuse(entry.size)
        self._pending.append(entry)
        self.queued_bytes += entry.size
        if not self._kicked:
            self._kicked = True
            self._loop.call_soon(self._commit)

    def append_control(
        self,
        kind: int,
        topic_id: bytes,
        partition: int,
        leader_epoch: int,
        offset: int,
        on_durable: Callable[[int], None],
    ) -> None:
        """Queue a fact about a partition (kind: wal.format's TRUNCATE and so on), in order with the batches.

        on_durable gets the segment's number, for mark_dead once the partition's key carries the fact. It is called
        after its group's batches, and never when the WAL fences itself first. Raises StorageUnavailable.
        """
        if self.fenced is not None:
            raise StorageUnavailable(str(self.fenced))
        if self._closing:
            self._refuse(0)
        assert kind in RECORD_TYPES
        assert kind != BATCH
        self._pending.append(_ControlRecord(kind, topic_id, partition, leader_epoch, offset, on_durable))
        if not self._kicked:
            self._kicked = True
            self._loop.call_soon(self._commit)

    def _refuse(self, size: int) -> None:
        if self._closing:
            raise StorageUnavailable("the write-ahead log is closing")
        raise RecordListTooLarge(
            f"a batch of {size} bytes does not fit into a WAL segment of {self.ring.segment_bytes}"
        )

    # Space.

    @property
    def capacity_bytes(self) -> int:
        """What the WAL may take on the disk."""
        return self.ring.segments_max * self.ring.segment_bytes

    @property
    def bytes_used(self) -> int:
        """What un-released segments take of it."""
        return self.ring.used_bytes()

    def is_full(self, internal: bool = False) -> bool:
        """Back-pressure: hold back new appends. Internal topics may go on into the reserve."""
        return self.room_bytes(internal) < 0

    def is_nearly_full(self) -> bool:
        """What internal topics may do without is held back: a third of their part of the reserve is left."""
        return self.ring.free_bytes() - self.queued_bytes < self._reserve_bytes // 2

    def room_bytes(self, internal: bool = False) -> int:
        """What may still be appended before back-pressure; negative once it is there."""
        reserve = self._reserve_bytes // 4 if internal else self._reserve_bytes
        return self.ring.free_bytes() - self.queued_bytes - reserve

    def mark_dead(self, segment: int, count: int = 1) -> None:
        """count records of a segment are needed no more."""
        if self.ring.mark_dead(segment, count):
            self._on_released()

    def _on_released(self) -> None:
        if self.ring.spare is None:
            self._find_spare()
        self._kick()

    def _kick(self) -> None:
        if self._pending and not self._kicked:
            self._kicked = True
            self._loop.call_soon(self._commit)

    # Forming groups.

    def _commit(self) -> None:
        self._kicked = False
        under_way = self._under_way
        while self._pending and self.fenced is None:
            if under_way and (len(under_way) >= 2 or self.queued_bytes < self._bulk_bytes):
                break
            if not self._form(self._pending):
                break
        self._deliver()

    def _form(self, pending: list[BatchEntry | _ControlRecord]) -> bool:
        """Write the first of pending, as many as one group holds. False when there is no buffer or no space yet."""
        ring = self.ring
        need = align_up(GROUP_HEADER_BYTES + RECORD_HEADER_BYTES + pending[0].size) if pending else BLOCK_BYTES
        if need > ring.room() and not self._begin_segment():
            return False
        if self._header_busy:
            return False
        if need <= self._group_bytes:
            if not self._buffers:
                return False
            buffer = self._buffers.pop()
        else:
            if self._under_way:
                return False  # one such batch at a time: its buffer is made for it
            buffer = self._oversize_buffer(need)
        limit = min(buffer.size, ring.room())
        segment = ring.active
        assert segment is not None
        number = segment.number
        start = ring.position
        view = buffer.view
        sequence = self._next_sequence
        group = _Group(sequence, buffer, 0, self._clock.monotonic())
        entries = group.entries
        position = GROUP_HEADER_BYTES
        queued = 0
        count = 0
        pack = RECORD_HEADER.pack_into
        pack_crc = RECORD_CRC.pack_into
        for item in pending:
            raw = position + RECORD_HEADER_BYTES
            size = item.size
            end = raw + size
            if end > limit:
                break
            if item.__class__ is BatchEntry:
                owner = item.owner
                pack(
                    view, position, 0, BATCH, size, owner.partition, item.leader_epoch, item.base_offset, owner.topic_id
                )
                view[raw:end] = item.data  # type: ignore[assignment]
                pack_crc(view, position, crc32c(view[position + RECORD_CRC_START : position + BATCH_CRC_END]))
                item.wal_segment = number
                item.wal_position = start + raw
                entries.append(item)
                queued += size
            else:
                self._pack_control(view, position, item)  # type: ignore[arg-type]
                group.controls.append((item.on_durable, number))  # type: ignore[union-attr]
                segment.has_control = True
            position = end
            count += 1
        length = align_up(position)
        view[position:length] = bytes(length - position)
        pack_group_header(
            view, self._salt, segment.generation, sequence, self.durable_sequence, position - GROUP_HEADER_BYTES, count
        )
        if count == len(pending):
            pending.clear()
        else:
            del pending[:count]
        self.queued_bytes -= queued
        segment.live += count
        segment.end_sequence = self._next_sequence = sequence + 1
        self._claimed_sequence = self.durable_sequence
        if count:
            self._last_record_sequence = sequence
        ring.position = start + length
        group.length = length
        self.groups += 1
        self.records += count
        self.bytes += length
        self.group_sizes.observe(length)
        if ring.position > ring.segment_bytes // 2:
            self._disk.hurry(now=False)
        self._write(group, number, buffer, start)
        return self.fenced is None

    @staticmethod
    def _pack_control(view: memoryview, position: int, record: _ControlRecord) -> None:
        RECORD_HEADER.pack_into(
            view, position, 0, record.kind, 0, record.partition, record.leader_epoch, record.offset, record.topic_id
        )
        end = position + RECORD_HEADER_BYTES
        RECORD_CRC.pack_into(view, position, crc32c(view[position + RECORD_CRC_START : end]))

    def _oversize_buffer(self, need: int) -> WriteBuffer:
        """Grows by doubling and is kept: the uring backend never gives back what a buffer was made of."""
        if self._oversize is None or self._oversize.size < need:
            size = 2 * GROUP_BYTES_MAX
            while size < need:
                size *= 2
            self._oversize = WriteBuffer(size)
        return self._oversize

    def _begin_segment(self) -> bool:
        ring = self.ring
        if not self.spare_ready or self._header_busy:
            self.stalls += 1
            if self._spare_failure is not None:
                self._fence(self._spare_failure)
            elif ring.spare is not None:
                self._disk.hurry(now=ring.active is not None)
            return False
        retained = ring.retained()
        segment = ring.begin(self._next_sequence)
        header = SegmentHeader(
            self._salt,
            segment.generation,
            segment.number,
            ring.segment_bytes,
            self._next_sequence,
            self.durable_sequence,
            tuple(retained),
        )
        buffer = self._header_buffer
        buffer.view[:] = pack_segment_header(header)
        self._header_busy = True
        ring.release()
        self._find_spare()
        self._write(_Group(0, None, SEGMENT_HEADER_BYTES, self._clock.monotonic()), segment.number, buffer, 0)
        return self.fenced is None

    def _find_spare(self) -> None:
        """Look for the file after the next: one to use again, else a new one, else wait for a release."""
        self.spare_ready = self.ring.take_spare()
        if not self.spare_ready and self.ring.new_spare():
            assert self.ring.spare is not None
            self._disk.prepare(self.ring.spare, self.ring.segment_bytes, self._on_spare)

    def _on_spare(self, error: OSError | None) -> None:
        if error is None:
            self.spare_ready = True
        else:
            # Not a loss yet: what is written stays, and a released segment will do as well. Whoever needs it now,
            # fences.
            self.ring.spare = None
            self._spare_failure = error
            self.spare_ready = self.ring.take_spare()
        if self.spare_ready:
            self._spare_failure = None
        self._kick()

    # Writing and completing.

    def _write(self, group: _Group, number: int, buffer: WriteBuffer, position: int) -> None:
        length = group.length
        if self._immediate:
            self._unsynced_bytes += length
            if self._sync_timer is None:
                self._sync_timer = self._loop.call_later(self._options.sync_interval_ms / 1000, self._on_sync_timer)
            if (
                not self._under_way
                and length <= self._now_bytes_max
                and self._unsynced_bytes < self._unsynced_bytes_max
            ):
                self._under_way.append(group)
                try:
                    self._disk.write_now(number, buffer.view[:length], position)
                except OSError as error:
                    self._fence(error)
                else:
                    self._complete(group)
                return
        self._under_way.append(group)
        self._disk.write(number, buffer, length, position, lambda error: self._on_written(group, error))

    def _on_written(self, group: _Group, error: OSError | None) -> None:
        if self.fenced is not None:
            return
        if error is not None:
            self._fence(error)
            return
        if not self._immediate and group.buffer is not None:
            self._count_sync(self._clock.monotonic() - group.started)
        self._complete(group)
        if self._immediate and self._unsynced_bytes >= self._unsynced_bytes_max:
            self._start_sync()
        self._commit()

    def _complete(self, group: _Group) -> None:
        group.done = True
        under_way = self._under_way
        while under_way and under_way[0].done:
            group = under_way.popleft()
            buffer = group.buffer
            if buffer is None:
                if self._immediate:
                    self._header_unsynced = True
                    self._start_sync()
                else:
                    self._header_busy = False
                continue
            self.acknowledged_sequence = group.sequence
            if not self._immediate:
                self.durable_sequence = group.sequence
            if buffer is not self._oversize:
                self._buffers.append(buffer)
            group.buffer = None
            self._completed.append(group)
        if self._claim_timer is None and self._last_record_sequence > self._claimed_sequence:
            self._claim_timer = self._loop.call_later(_CLAIM_SECONDS, self._on_claim_timer)

    def _deliver(self) -> None:
        """Tell the owner. Last of all, so that the disk is busy meanwhile; and never nested, so that order is kept."""
        if self._delivering:
            return
        self._delivering = True
        try:
            completed = self._completed
            while completed:
                group = completed.popleft()
                if group.entries:
                    self._on_durable(group.entries)
                for on_durable, segment in group.controls:
                    on_durable(segment)
        finally:
            self._delivering = False
        if self._on_idle is not None and not self._under_way and not self._pending:
            self._on_idle()

    def _fence(self, error: OSError) -> None:
        if self.fenced is not None:
            return
        self.fenced = StorageUnavailable(f"the write-ahead log takes no more writes: {error}")
        self._deliver()
        failed: list[BatchEntry] = []
        for group in self._under_way:
            failed.extend(group.entries)
        failed.extend(item for item in self._pending if isinstance(item, BatchEntry))
        self._pending.clear()
        self._under_way.clear()
        self.queued_bytes = 0
        self._stop_timers()
        self._on_failed(failed, self.fenced)
        if self._on_idle is not None:
            self._on_idle()

    def _count_sync(self, seconds: float) -> None:
        self.syncs += 1
        self.sync_times.observe_seconds(seconds)

    # Syncing in intervals.

    def _on_sync_timer(self) -> None:
        self._sync_timer = None
        self._start_sync()

    def _start_sync(self) -> None:
        if self._syncing or self.fenced is not None:
            return
        # A sync that began while a header was being written has counted its bytes, and is not the one it waits for.
        if self._unsynced_bytes == 0 and not self._header_unsynced:
            return
        self._syncing = True
        covers_header, self._header_unsynced = self._header_unsynced, False
        covered = self._unsynced_bytes
        sequence = self._next_sequence - 1  # writes and this sync pass through one queue, in order
        started = self._clock.monotonic()
        if self._sync_timer is not None:
            self._sync_timer.cancel()
            self._sync_timer = None

        def on_synced(error: OSError | None) -> None:
            self._syncing = False
            if self.fenced is not None:
                return
            if error is not None:
                self._fence(error)
                return
            self._count_sync(self._clock.monotonic() - started)
            self._unsynced_bytes -= covered
            self.durable_sequence = sequence
            if covers_header:
                self._header_busy = False
                self._kick()
            if self._header_unsynced or self._unsynced_bytes >= self._unsynced_bytes_max:
                self._start_sync()
            elif self._unsynced_bytes and self._sync_timer is None:
                self._sync_timer = self._loop.call_later(self._options.sync_interval_ms / 1000, self._on_sync_timer)
            if self._on_idle is not None:
                self._on_idle()

        self._disk.sync(on_synced)

    # Claims.

    def _on_claim_timer(self) -> None:
        self._claim_timer = None
        if self.fenced is not None or self._last_record_sequence <= self._claimed_sequence:
            return
        if self._pending or self._under_way or self.durable_sequence < self._last_record_sequence:
            self._claim_timer = self._loop.call_later(_CLAIM_SECONDS, self._on_claim_timer)
        elif self.ring.room() >= BLOCK_BYTES:
            self._form([])

    def _stop_timers(self) -> None:
        for timer in (self._sync_timer, self._claim_timer):
            if timer is not None:
                timer.cancel()
        self._sync_timer = self._claim_timer = None

    # Reading back.

    async def read(self, segment: int, position: int, length: int) -> bytes:
        """Raw batch bytes, read off the loop. Raises StorageUnavailable; then plan the read again from the catalog."""
        return (await self._reader.read_many([(segment, position, length)]))[0]

    async def read_many(self, spans: Sequence[Span]) -> list[bytes]:
        """As read, for several spans at once: near ones are read together. The answers are in the order of spans."""
        return await self._reader.read_many(spans)

    def pin(self, segments: Iterable[int]) -> Callable[[], None]:
        """Keep segments from being used again until what this gives is called. Raises StorageUnavailable."""
        return self._reader.pin(segments)

    async def quarantine(self, directory: Path, name: str, spans: Sequence[Span]) -> Path:
        """Copy raw batches, one after another, into the file directory/name, and make it durable.

        For batches that no partition takes back; mark them dead afterwards. Raises StorageUnavailable.
        """
        return await self._reader.quarantine(directory, name, spans)

    # Ending.

    async def close(self, timeout_seconds: float = 3.0) -> bool:
        """Take no more, finish what is queued within the bound, state it durable, close the files.

        True if everything queued was acknowledged and synced; what was not is reported to on_failed.
        """
        self._closing = True
        deadline = self._clock.monotonic() + timeout_seconds
        clean = await self._idle(deadline)
        if clean and self._last_record_sequence > self._claimed_sequence and self.ring.room() >= BLOCK_BYTES:
            self._form([])
            clean = await self._idle(deadline)
        if not clean and self.fenced is None:
            self._fence(OSError("closed before all was written"))
        self._stop_timers()
        self._reader.close()
        self._disk.close()
        return clean

    async def _idle(self, deadline: float) -> bool:
        """Wait until nothing is queued, under way or unsynced."""
        while True:
            if self.fenced is not None:
                return False
            if self._immediate and not self._pending and not self._under_way and not self._syncing:
                self._start_sync()
            if not self._pending and not self._under_way and not self._syncing and not self._unsynced_bytes:
                return True
            remaining = deadline - self._clock.monotonic()
            if remaining <= 0:
                return False
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

            def wake(waiting: asyncio.Future[None] = future) -> None:
                if not waiting.done():
                    waiting.set_result(None)

            self._on_idle = wake
            timer = self._loop.call_later(remaining, wake)
            try:
                await future
            finally:
                timer.cancel()
                self._on_idle = None
