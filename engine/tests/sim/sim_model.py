"""What must be true: what clients sent, what they were told, and what follows for every later answer.

A *fact* is a batch at an offset that a client knows of: it was acknowledged, or it was read. A fact stays true for as
long as its topic is there, until the log start passes it for a reason. All checks call `fail`, which does not return.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from tailrace_core.batch import HEADER_BYTES, Buffer, batch_spans, read_header
from tailrace_core.ids import TopicId
from tailrace_engine.log import codecs

Fail = Callable[[str], NoReturn]


@dataclass(slots=True)
class Sent:
    """A batch as its producer made it; its bytes are like no other's."""

    data: bytes
    idempotent: bool
    max_timestamp_ms: int
    record_count: int
    first_base: int | None = None
    """Where it is known to be."""


@dataclass(slots=True)
class Fact:
    end: int
    sent: Sent
    leader_epoch: int | None = None
    max_timestamp_ms: int | None = None
    """The producer's, or when it was appended."""


def identity(batch: Buffer) -> bytes:
    """What no broker changes: not the offset, leader epoch, type of timestamps, largest timestamp, nor the codec."""
    view = memoryview(batch)
    codec = view[22] & 7
    records = view[HEADER_BYTES:]
    return b"".join([view[23:35], view[43:HEADER_BYTES], codecs.inflate(codec, records, 1 << 20) if codec else records])


@dataclass
class PartitionModel:
    """One partition of one incarnation of a topic."""

    name: str
    fail: Fail
    sent: dict[bytes, Sent] = field(default_factory=dict)
    """By identity."""
    facts: dict[int, Fact] = field(default_factory=dict)
    bases: list[int] = field(default_factory=list)
    acknowledged_end: int = 0
    high_watermark: int = 0
    log_start: int = 0
    tier_end: int = 0
    deletable_end: int = 0
    """Below it, records were asked to be deleted."""
    retention_ms_least: int | None = None
    """The least retention.ms that was ever asked for; None is for ever."""
    retention_bytes_set: bool = False
    append_time_set: bool = False
    """message.timestamp.type=LogAppendTime was asked for."""
    has_lost: bool = False
    """A power cut took what was acknowledged, as wal.sync=interval allows."""

    def forget_from(self, end: int) -> None:
        """A power cut has left the log up to end."""
        self.has_lost = True
        self.high_watermark = end
        self.acknowledged_end = min(self.acknowledged_end, end)
        while self.bases and self.facts[self.bases[-1]].end > end:
            self.facts.pop(self.bases.pop()).sent.first_base = None

    def send(self, sent: Sent) -> None:
        self.sent[identity(sent.data)] = sent

    def learn(
        self,
        base: int,
        sent: Sent,
        who: str,
        leader_epoch: int | None = None,
        max_timestamp_ms: int | None = None,
    ) -> None:
        """A client knows that the batch is at base."""
        fact = self.facts.get(base)
        end = base + sent.record_count
        if fact is None:
            place = bisect_left(self.bases, base)
            before = self.facts[self.bases[place - 1]] if place else None
            if before is not None and before.end > base:
                self.fail(
                    f"{self.name}: offset {base} is used twice: {who} has it, a batch before it ends at {before.end}"
                )
            if place < len(self.bases) and self.bases[place] < end:
                self.fail(
                    f"{self.name}: offset {self.bases[place]} is used twice: {who} has a batch from {base} to {end}"
                )
            fact = self.facts[base] = Fact(end, sent)
            insort(self.bases, base)
        elif fact.sent is not sent:
            self.fail(f"{self.name}: offset {base} is used twice: {who} has another batch there than was known")
        if sent.first_base is None:
            sent.first_base = base
        elif sent.first_base != base and sent.idempotent and not self.may_be_forgotten(sent.first_base):
            self.fail(
                f"{self.name}: {who} has a batch of an idempotent producer at {base}, it was at {sent.first_base}"
            )
        if leader_epoch is not None:
            if fact.leader_epoch not in (None, leader_epoch):
                self.fail(f"{self.name}: the batch at {base} has epoch {leader_epoch}, it had {fact.leader_epoch}")
            fact.leader_epoch = leader_epoch
        if max_timestamp_ms is not None:
            if fact.max_timestamp_ms not in (None, max_timestamp_ms):
                self.fail(
                    f"{self.name}: {who} has time {max_timestamp_ms} of the batch at {base}, it had "
                    f"{fact.max_timestamp_ms}"
                )
            fact.max_timestamp_ms = max_timestamp_ms

    def acknowledge(self, base: int, append_time_ms: int, sent: Sent, who: str) -> None:
        """append_time_ms: -1 where the producer's time stays, and for a duplicate, whose time is not told."""
        time_ms: int | None = append_time_ms
        if append_time_ms < 0:
            time_ms = None if self.append_time_set else sent.max_timestamp_ms
        self.learn(base, sent, who, max_timestamp_ms=time_ms)
        self.acknowledged_end = max(self.acknowledged_end, base + sent.record_count)

    def may_be_forgotten(self, offset: int) -> bool:
        """Whether what a producer wrote at offset may be unknown now: the log start passed it, or it was lost."""
        return self.has_lost or offset < max(self.log_start, self.deletable_end)

    def check_read(self, offset: int, buffers: Sequence[Buffer], who: str) -> int:
        """What was read from offset on, in answer to one request; where the next read begins."""
        position = offset
        for buffer in buffers:
            for start, size, base in batch_spans(buffer):
                header = read_header(buffer, start)
                sent = self.sent.get(identity(memoryview(buffer)[start : start + size]))
                if sent is None:
                    self.fail(f"{self.name}: {who} read a batch at {base} that nobody sent")
                is_next = base == position if position != offset else base <= offset < header.end_offset
                if not is_next:
                    self.fail(
                        f"{self.name}: {who} read a batch from {base} to {header.end_offset} at offset {position}"
                    )
                self.learn(base, sent, who, header.leader_epoch, header.max_timestamp_ms)
                position = header.end_offset
        return position

    def on_log_start(self, log_start: int, newest_now_ms: int) -> None:
        """It moved up."""
        first = bisect_right(self.bases, self.log_start)
        for base in self.bases[max(first - 1, 0) : bisect_left(self.bases, log_start)]:
            fact = self.facts[base]
            if fact.end > log_start or fact.end <= self.log_start or fact.end <= self.deletable_end:
                continue
            aged = self.retention_ms_least is not None and (
                fact.max_timestamp_ms is None or fact.max_timestamp_ms < newest_now_ms - self.retention_ms_least
            )
            if not aged and not self.retention_bytes_set:
                self.fail(
                    f"{self.name}: the log start moved to {log_start}, past the batch at {base} that was to be kept"
                )
        self.log_start = log_start


@dataclass
class TopicModel:
    name: str
    topic_id: TopicId
    partitions: list[PartitionModel] = field(default_factory=list)
    deletion_asked: bool = False
