"""What every coordinator is: a shard decides, its records are appended, they are replayed at once, answers wait.

A shard is the state of one partition of an internal topic (all groups, or transactional ids, that hash to it). It does
no I/O and reads no clock. Its owner (runtime/coordinator.py) calls, on the loop's thread and without anything between:

    decision = shard.decide(request, ticket, now_ms)      may change soft state (who waits, who was heard of)
    append decision.records to the partition              as one batch with others of the same pass of the loop
    shard.replay(record) for each of them                 the only thing that changes what is kept

so the next request decides on what was decided before, durable or not. Every answer, also of a request that only read,
is handed out when all that the shard had appended at the time of the decision is below the high watermark: a client
never hears of something that a crash may still undo. When an append fails, the owner drops the shard, answers all that
waits with NotCoordinator, and loads a new shard from the log. A decision whose records fit into no batch does not
stand: nothing of it is replayed, and its answers become InvalidCommitOffsetSize.

A request whose answer comes later (a member that waits for its group) leaves its ticket with the shard; a later
decision, of another request or of `expire`, answers it. Loading is `replay` over the log, then `on_loaded`.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias

from tailrace_core.errors import TailraceError

Ticket: TypeAlias = object
"""Stands for one request that waits for its answer. Opaque to shards; each is answered exactly once."""


class Record(NamedTuple):
    """A record of the coordinator's partition. A value of None is a tombstone: the key is forgotten."""

    key: bytes
    value: bytes | None


class Answer(NamedTuple):
    """The outcome of the request that the ticket stands for."""

    ticket: Ticket
    outcome: Any | TailraceError


@dataclass(frozen=True, slots=True)
class Decision:
    """Records to append, and the answers to hand out when everything appended so far is durable."""

    records: tuple[Record, ...] = ()
    answers: tuple[Answer, ...] = ()


NOTHING = Decision()


class Shard(Protocol):
    """The pure state behind one partition."""

    def decide(self, request: Any, ticket: Ticket, now_ms: int) -> Decision:
        """Judge a request of this coordinator. Failures are answers, too; only bugs raise."""

    def replay(self, record: Record) -> None:
        """Take a record into the state. Records of unknown types or versions are passed over."""

    def on_loaded(self, now_ms: int) -> Decision:
        """All of the log was replayed: sessions begin to run."""

    def expire(self, now_ms: int) -> Decision:
        """What the passing of time decides: sessions, rebalance timeouts, offsets that nobody needs."""

    def next_deadline_ms(self) -> int | None:
        """When expire has something to do at the earliest; None when it never will without a request.

        Asked after every call above. In the past: now.
        """
