"""Idempotent producers of one partition: sequence and epoch checks (KIP-98, KIP-360).

Per producer id the last five batches are kept, as Kafka does, so that a retry of any batch a client may have in flight
is recognised and answered with the offsets of its original. The state is a function of the log: it is rebuilt from the
newest snapshot in the tier and the batches after it.
"""

from collections.abc import Iterator
from struct import Struct
from struct import error as StructError
from typing import Final, NamedTuple

from tailrace_core.batch import SEQUENCE_WRAP, BatchHeader
from tailrace_core.errors import DataCorrupt, InvalidProducerEpoch, OutOfOrderSequence

BATCHES_KEPT: Final = 5
"""The most requests that an idempotent client has in flight (ProducerStateEntry.NUM_BATCHES_TO_RETAIN)."""

_PRODUCERS_A_STEP: Final = 500
"""With their batches, so many are gone through in a millisecond."""

_PRODUCER: Final = Struct(">qhqB")
_BATCH: Final = Struct(">iiqq")
_COUNT: Final = Struct(">I")


class AppendedBatch(NamedTuple):
    """What is remembered of a batch. Sequences are inclusive, offsets are those that were assigned."""

    first_sequence: int
    last_sequence: int
    base_offset: int
    max_timestamp_ms: int

    @property
    def end_offset(self) -> int:
        """Exclusive."""
        return self.base_offset + (self.last_sequence - self.first_sequence) % SEQUENCE_WRAP + 1


class ProducerState:
    """The newest epoch of one producer id and its last batches, oldest first."""

    __slots__ = ("batches", "last_timestamp_ms", "producer_epoch")

    def __init__(self, producer_epoch: int, batches: tuple[AppendedBatch, ...], last_timestamp_ms: int) -> None:
        self.producer_epoch = producer_epoch
        self.batches = batches
        self.last_timestamp_ms = last_timestamp_ms
        """Wall-clock time of the last append, for expiry."""

    @property
    def last_sequence(self) -> int:
        """-1 when the epoch has no batch."""
        return self.batches[-1].last_sequence if self.batches else -1


class ProducerStates:
    """All producers of a partition."""

    __slots__ = ("_states",)

    def __init__(self) -> None:
        self._states: dict[int, ProducerState] = {}

    def __len__(self) -> int:
        return len(self._states)

    def items(self) -> list[tuple[int, ProducerState]]:
        """(producer id, state), in order of first appearance."""
        return list(self._states.items())

    def check(self, header: BatchHeader) -> AppendedBatch | None:
        """Whether the batch may be appended: None if so, its original if it is a duplicate.

        Raises OutOfOrderSequence and InvalidProducerEpoch. An unknown producer id may begin anywhere, as retention may
        have removed its state (KIP-360); a new epoch begins at 0.
        """
        state = self._states.get(header.producer_id)
        if state is None:
            return None
        if header.producer_epoch != state.producer_epoch:
            if header.producer_epoch < state.producer_epoch:
                raise InvalidProducerEpoch(
                    f"producer {header.producer_id} has epoch {state.producer_epoch}, the batch {header.producer_epoch}"
                )
            if header.base_sequence != 0:
                raise OutOfOrderSequence(
                    f"epoch {header.producer_epoch} of producer {header.producer_id} begins at sequence 0, "
                    f"not {header.base_sequence}"
                )
            return None
        if not state.batches:
            return None
        last_sequence = header.last_sequence
        for batch in reversed(state.batches):
            if batch.first_sequence == header.base_sequence and batch.last_sequence == last_sequence:
                return batch
        expected = (state.batches[-1].last_sequence + 1) % SEQUENCE_WRAP
        if header.base_sequence != expected:
            raise OutOfOrderSequence(
                f"producer {header.producer_id} sent sequence {header.base_sequence}, expected is {expected}"
            )
        return None

    def apply(self, header: BatchHeader, base_offset: int, now_ms: int) -> None:
        """Remember a batch that was appended at base_offset."""
        batch = AppendedBatch(header.base_sequence, header.last_sequence, base_offset, header.max_timestamp_ms)
        state = self._states.get(header.producer_id)
        if state is None:
            self._states[header.producer_id] = ProducerState(header.producer_epoch, (batch,), now_ms)
            return
        if state.producer_epoch == header.producer_epoch:
            state.batches = (*state.batches[1 - BATCHES_KEPT :], batch)
        else:
            state.producer_epoch = header.producer_epoch
            state.batches = (batch,)
        state.last_timestamp_ms = now_ms

    def in_steps(self) -> Iterator[list[tuple[int, ProducerState]]]:
        """The producers of now, some at a time: what goes through all of them lets others run in between."""
        states = self._states
        ids = list(states)  # not the items: so many tuples at once would set off the garbage collector
        for place in range(0, len(ids), _PRODUCERS_A_STEP):
            some = ids[place : place + _PRODUCERS_A_STEP]
            yield [(producer_id, states[producer_id]) for producer_id in some if producer_id in states]

    def expire(self, some: list[tuple[int, ProducerState]], now_ms: int, expiration_ms: int) -> int:
        """Of some of the producers, forget those that have not written for expiration_ms; returns how many."""
        gone = [producer_id for producer_id, state in some if now_ms - state.last_timestamp_ms >= expiration_ms]
        for producer_id in gone:
            del self._states[producer_id]
        return len(gone)

    def snapshot(self, end_offset: int) -> bytes:
        """The state of everything below end_offset, for the tier."""
        return join_snapshot([pack_producers(some, end_offset) for some in self.in_steps()])

    def restore(self, snapshot: bytes) -> None:
        """Take a snapshot's state. Raises DataCorrupt where its bytes cannot be one."""
        if not snapshot:
            return
        try:
            (count,) = _COUNT.unpack_from(snapshot)
            position = _COUNT.size
            for _ in range(count):
                producer_id, producer_epoch, last_timestamp_ms, batch_count = _PRODUCER.unpack_from(snapshot, position)
                position += _PRODUCER.size
                batches = []
                for _ in range(batch_count):
                    batches.append(AppendedBatch._make(_BATCH.unpack_from(snapshot, position)))
                    position += _BATCH.size
                self._states[producer_id] = ProducerState(producer_epoch, tuple(batches), last_timestamp_ms)
        except StructError as error:
            raise DataCorrupt(f"a producer snapshot of {len(snapshot)} bytes cannot be read: {error}") from error
        if position != len(snapshot):
            raise DataCorrupt(f"a producer snapshot of {len(snapshot)} bytes ends at {position}")


def pack_producers(some: list[tuple[int, ProducerState]], end_offset: int) -> tuple[int, bytes]:
    """Some of the producers, for a snapshot: how many have batches below end_offset, and their encoding.

    Batches at or beyond end_offset are left out, so appends between two steps do no harm: what they push out is older
    than five batches that the WAL has.
    """
    count = 0
    parts = []
    for producer_id, state in some:
        batches = [batch for batch in state.batches if batch.end_offset <= end_offset]
        if batches:
            count += 1
            parts.append(_PRODUCER.pack(producer_id, state.producer_epoch, state.last_timestamp_ms, len(batches)))
            parts.extend(_BATCH.pack(*batch) for batch in batches)
    return count, b"".join(parts)


def join_snapshot(packed: list[tuple[int, bytes]]) -> bytes:
    """What pack_producers gave, as one snapshot; empty where there is no producer."""
    count = sum(some for some, _ in packed)
    return b"".join((_COUNT.pack(count), *[part for _, part in packed])) if count else b""
