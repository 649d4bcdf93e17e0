"""Owns one shard while it serves: decide → append → replay at once → answer when what was appended is durable.

The records of all decisions that are made until the loop comes round become one batch. No task, future or timer per
request: answers wait in lists, one per batch, in the order in which the WAL releases batches. An answer that depends on
nothing that is still under way is given in the same call.

Internal topics have their own slice of the WAL and of what may be under way. The requests that append most are refused
before it is used up, and before they are decided; so there is room for what keeps groups going.

Whatever goes wrong with the log, its slice being used up included, the owner closes for good: its state may be ahead
of what will ever be durable, so all who wait are told to find the coordinator again, and the shard is read anew from
the log by another owner.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from typing import Any, Final, Protocol

from tailrace_core import limits
from tailrace_core.batch import HEADER_BYTES
from tailrace_core.errors import CoordinatorNotAvailable, InvalidCommitOffsetSize, NotCoordinator, TailraceError
from tailrace_core.ports import Clock, Loop, Timer
from tailrace_engine.coordinator.decision import Decision, Now, Record, Shard
from tailrace_engine.log.batch_builder import BatchBuilder, bytes_max
from tailrace_engine.runtime.engine import Engine
from tailrace_engine.runtime.partition import Partition

logger = logging.getLogger(__name__)

_BULK_IN_FLIGHT_BYTES_MAX: Final = limits.INTERNAL_TOPIC_IN_FLIGHT_BYTES_MAX * 3 // 4
_REFUSED_SECONDS: Final = 1.0
"""What was due, and could not be appended, is tried again so late."""
_SLOW_LOG_BYTES: Final = limits.INTERNAL_TOPIC_IN_FLIGHT_BYTES_MAX // 4
_SLOW_LOG_SECONDS: Final = 0.2
"""While more than so much is not durable, what goes on in steps (large deletions) does so in steps this far apart."""


class Ticket:
    """A request that waits for its answer."""

    __slots__ = ("on_answer",)

    def __init__(self, on_answer: Callable[[Any], object]) -> None:
        self.on_answer = on_answer


def _ignore(outcome: object) -> None:
    """For what nobody asked for."""


class ShardHost(Protocol):
    """What the owners of one internal topic share: runtime/coordinator.py."""

    engine: Engine
    clock: Clock
    loop: Loop
    in_flight_bytes: int
    """Of batches that are appended, or about to be, and not durable; at most."""
    records_appended: int
    bulk_requests: tuple[type, ...]
    """Types of requests that are refused when room gets short."""

    def on_shard_lost(self, owner: "ShardOwner", reason: str) -> None:
        """The owner has closed; its shard is to be loaded again."""

    def flush_answers(self) -> None:
        """Answers were given in no request's and no append's name: send them."""


class ShardOwner:
    """Implements runtime.partition.AppendWaiter for its own batches."""

    __slots__ = (
        "_armed_ms",
        "_batch",
        "_batch_answers",
        "_held",
        "_host",
        "_in_flight",
        "_timer",
        "closed",
        "partition",
        "shard",
    )

    def __init__(self, host: ShardHost, partition: Partition, shard: Shard) -> None:
        self.shard = shard
        self.partition = partition
        self.closed = False
        self._host = host
        self._held: dict[object, None] = {}
        """Tickets that are not decided yet."""
        self._batch = BatchBuilder()
        self._batch_answers: list[tuple[Ticket, Any]] = []
        self._in_flight: deque[tuple[int, list[tuple[Ticket, Any]]]] = deque()
        """Batches that are appended and not durable: bytes, and what waits for each."""
        self._timer: Timer | None = None
        self._armed_ms: float = inf
        """The steady time that the timer was set for."""

    def start(self) -> None:
        """The shard has its state: begin to serve."""
        self._run(self.shard.on_loaded, 0.0)

    # --- requests

    def ask(self, request: Any, on_answer: Callable[[Any], object]) -> None:
        """on_answer gets the outcome, at once or later, exactly once."""
        if self.closed:
            on_answer(NotCoordinator(f"{self.partition.name} is read again"))
            return
        host = self._host
        if request.__class__ in host.bulk_requests and (
            host.in_flight_bytes > _BULK_IN_FLIGHT_BYTES_MAX
            # What the loop's pass has put into the batch so far, the WAL does not know of anyway.
            or (not self._batch.record_count and host.engine.wal.is_nearly_full())
        ):
            on_answer(CoordinatorNotAvailable("the log takes no more now"))
            return
        ticket = Ticket(on_answer)
        self._held[ticket] = None
        try:
            now = self._now()
            self._take(self.shard.decide(request, ticket, now))
            deadline_ms = self.shard.next_deadline_ms(now)
            if deadline_ms is not None and deadline_ms < self._armed_ms and not self.closed:
                self._arm(deadline_ms, 0.0)
        except Exception:
            # Half of a decision may be in the state: only the log is trusted now.
            logger.exception("%s: a request of type %s failed", self.partition.name, type(request).__name__)
            self.close("a request failed")

    def tell(self, request: Any) -> None:
        """As ask, for what has no answer that anybody needs."""
        self.ask(request, _ignore)

    def _take(self, decision: Decision) -> bool:
        """Whether what was decided stands."""
        records = decision.records
        if records:
            error = self._add(records)
            if self.closed:
                return False
            if error is not None:
                for ticket, _ in decision.answers:
                    del self._held[ticket]
                    _give(ticket, error)
                return False
            replay = self.shard.replay
            for record in records:
                replay(record)
        for ticket, outcome in decision.answers:
            self._answer(ticket, outcome)
        return True

    def _answer(self, ticket: object, outcome: Any) -> None:
        del self._held[ticket]
        assert isinstance(ticket, Ticket)
        if self._batch.record_count:
            self._batch_answers.append((ticket, outcome))
        elif self._in_flight:
            self._in_flight[-1][1].append((ticket, outcome))
        else:
            _give(ticket, outcome)

    # --- the log

    def _add(self, records: Sequence[Record]) -> TailraceError | None:
        """Put a decision's records into the batch that is being made; what is told where no batch can hold them.

        They share a batch, so that all of them survive a crash or none does. Tombstones need not: what was decided to
        be forgotten may be forgotten in parts.
        """
        configs = self.partition.configs
        limit = min(configs.max_message_bytes, configs.segment_bytes)
        size = bytes_max(records)
        if self._batch.bytes_max + size <= limit:
            self._extend(records, size)
            return None
        if HEADER_BYTES + size <= limit:
            self._append()
            if not self.closed:
                self._extend(records, size)
            return None
        if len(records) == 1 or any(record.value is not None for record in records):
            return InvalidCommitOffsetSize(
                f"{size} bytes of records are more than a batch of {self.partition.topic_name} may have ({limit})"
            )
        for record in records:
            error = self._add((record,))
            if error is not None:
                self.close(str(error))  # the log has a part of it, the state has nothing
            if self.closed:
                break
        return None

    def _extend(self, records: Sequence[Record], size: int) -> None:
        batch = self._batch
        host = self._host
        if host.in_flight_bytes + size > limits.INTERNAL_TOPIC_IN_FLIGHT_BYTES_MAX:
            self.close("too much is not durable yet")
            return
        if not batch.record_count:
            if host.engine.wal.is_full(internal=True):
                self.close("the write-ahead log is full")
                return
            host.loop.call_soon(self._append)
        host.in_flight_bytes += size
        batch.add(records, size)

    def _append(self) -> None:
        """Everything decided since the last time becomes one batch of the log."""
        batch = self._batch
        if self.closed or not batch.record_count:
            return
        host = self._host
        size, count = batch.bytes_max - HEADER_BYTES, batch.record_count
        try:
            data = memoryview(batch.finish(host.clock.now_ms()))
            answers, self._batch_answers = self._batch_answers, []
            self._in_flight.append((size, answers))
            host.engine.append(self.partition, data, self, 0)
        except TailraceError as error:
            self.close(str(error))
            return
        except Exception:
            # Whether it is in the log is not known, so neither is which batch the next on_durable is for.
            logger.exception("%s: an append failed", self.partition.name)
            self.close("an append failed")
            return
        host.records_appended += count

    def on_appended(self, ordinal: int, base_offset: int, log_append_time_ms: int) -> None:
        raise AssertionError("batches of internal topics are kept as they come")

    def on_durable(self) -> None:
        if self.closed:
            return
        size, answers = self._in_flight.popleft()
        self._host.in_flight_bytes -= size
        for ticket, outcome in answers:
            try:
                ticket.on_answer(outcome)
            except Exception:
                logger.exception("an answer failed")  # its bug is not the others'

    def on_append_failed(self, ordinal: int, error: TailraceError) -> None:
        self.close(str(error))

    # --- time

    def _now(self) -> Now:
        clock = self._host.clock
        return Now(int(clock.monotonic() * 1000), clock.now_ms())

    def _arm(self, deadline_ms: int, seconds_min: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        host = self._host
        self._armed_ms = deadline_ms
        seconds = max(deadline_ms / 1000 - host.clock.monotonic(), seconds_min)
        self._timer = host.loop.call_later(seconds, self._on_timer)

    def _on_timer(self) -> None:
        """Deadlines that moved away since the timer was set are met again later: a heartbeat sets no timer."""
        self._timer = None
        self._armed_ms = inf
        now = self._now()
        deadline_ms = self.shard.next_deadline_ms(now)
        if deadline_ms is None:
            return
        if deadline_ms > now.steady_ms:
            self._arm(deadline_ms, 0.001)
            return
        self._run(self.shard.expire, 0.001)
        self._host.flush_answers()

    def _run(self, decide: Callable[[Now], Decision], seconds_min: float) -> None:
        """A decision that nobody asked for."""
        try:
            now = self._now()
            taken = self._take(decide(now))
            deadline_ms = self.shard.next_deadline_ms(now)
            if deadline_ms is not None and not self.closed:
                if not taken:
                    seconds_min = _REFUSED_SECONDS
                elif self._host.in_flight_bytes > _SLOW_LOG_BYTES:
                    seconds_min = _SLOW_LOG_SECONDS
                self._arm(deadline_ms, seconds_min)
        except Exception:
            logger.exception("%s: what time decided failed", self.partition.name)
            self.close("what time decided failed")

    # --- end

    def retire(self, reason: str) -> None:
        """Take no more: who is not decided is told NotCoordinator, what is decided is still answered when durable."""
        self._append()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        held, self._held = self._held, {}
        error = NotCoordinator(f"{self.partition.name}: {reason}")
        for ticket in held:
            _give(ticket, error)

    def close(self, reason: str) -> None:
        """Answer all that wait with NotCoordinator, and serve no more."""
        if self.closed:
            return
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        host = self._host
        host.in_flight_bytes -= self._batch.bytes_max - HEADER_BYTES + sum(size for size, _ in self._in_flight)
        decided = [ticket for _, answers in self._in_flight for ticket, _ in answers]
        decided += [ticket for ticket, _ in self._batch_answers]
        waiting = [*decided, *self._held]
        self._in_flight.clear()
        self._batch_answers = []
        self._held = {}
        error = NotCoordinator(f"{self.partition.name}: {reason}")
        for ticket in waiting:
            _give(ticket, error)
        host.on_shard_lost(self, reason)


def _give(ticket: object, outcome: Any) -> None:
    assert isinstance(ticket, Ticket)
    try:
        ticket.on_answer(outcome)
    except Exception:
        logger.exception("an answer failed")  # its bug is not the others'
