"""What every coordinator is: a shard decides, its records are appended, they are replayed at once, answers wait.

A shard is the state of one partition of an internal topic (all groups, or transactional ids, that hash to it). It does
no I/O and reads no clock. Its owner (runtime/coordinator.py) calls, on the loop's thread and without anything between:

    decision = shard.decide(request, ticket, now)         may change soft state (who waits, who was heard of)
    append decision.records to the partition              as one batch with others of the same pass of the loop
    shard.replay(record) for each of them                 the only thing that changes what is kept

so the next request decides on what was decided before, durable or not. Every answer, also of a request that only read,
is handed out when all that the shard had appended at the time of the decision is below the high watermark: a client
never hears of something that a crash may still undo. When an append fails, the owner drops the shard, answers all that
waits with NotCoordinator, and loads a new shard from the log. A decision whose records fit into no batch does not
stand: nothing of it is replayed, and its answers become InvalidCommitOffsetSize.

A request whose answer comes later (a member that waits for its group) leaves its ticket with the shard; a later
decision, of another request or of `expire`, answers it. Loading is `replay` over the log, then `on_loaded`.

Time is told by two clocks (Now). What passes in memory (sessions, rebalances) runs on the steady one: no jump of the
wall clock ends a session or stops one from ending. What is kept, or compared with what was kept, is on the wall clock:
it means the same after a restart, and to whoever reads the log.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

from tailrace_core.errors import TailraceError

Ticket: TypeAlias = object
"""Stands for one request that waits for its answer. Opaque to shards; each is answered exactly once."""


class Record(NamedTuple):
    """A record of the coordinator's partition. A value of None is a tombstone: the key is forgotten."""

    key: bytes
    value: bytes | None
    decoded: Any = None
    """What key and value say, for the shard that wrote them; equal to what it would read. None of a record that was
    read from the log."""


class Now(NamedTuple):
    """One moment, by both clocks."""

    steady_ms: int
    """Milliseconds since an arbitrary start, which go on evenly. They mean nothing after a restart."""
    wall_ms: int
    """Milliseconds since the epoch. May jump, either way."""


class Answer(NamedTuple):
    """The outcome of the request that the ticket stands for."""

    ticket: Ticket
    outcome: Any | TailraceError


class Decision(NamedTuple):
    """Records to append, and the answers to hand out when everything appended so far is durable."""

    records: Sequence[Record] = ()
    answers: Sequence[Answer] = ()


NOTHING = Decision()


class Shard(Protocol):
    """The pure state behind one partition."""

    def decide(self, request: Any, ticket: Ticket, now: Now) -> Decision:
        """Judge a request of this coordinator. Failures are answers, too; only bugs raise."""

    def replay(self, record: Record) -> None:
        """Take a record into the state. Records of unknown types or versions are passed over."""

    def on_loaded(self, now: Now) -> Decision:
        """All of the log was replayed: sessions begin to run."""

    def expire(self, now: Now) -> Decision:
        """What the passing of time decides: sessions, rebalance timeouts, offsets that nobody needs."""

    def next_deadline_ms(self, now: Now) -> int | None:
        """When to call expire next, in steady milliseconds; None when time will decide nothing without a request.

        Asked after every call above. In the past: now. It may be earlier than anything is due.
        """
