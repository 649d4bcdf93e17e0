"""Idempotent producers beside a model that remembers every batch of each producer."""

from dataclasses import dataclass, field

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tailrace_core.batch import SEQUENCE_WRAP, BatchHeader
from tailrace_core.errors import InvalidProducerEpoch, OutOfOrderSequence
from tailrace_engine.log.producers import BATCHES_KEPT, ProducerStates

PRODUCERS = st.integers(0, 2)
STARTS = st.sampled_from([0, 1, 77, SEQUENCE_WRAP - 5, SEQUENCE_WRAP - 1])
COUNTS = st.integers(1, 4)


def header(producer_id: int, epoch: int, sequence: int, count: int) -> BatchHeader:
    return BatchHeader(0, 100, 0, 2, 0, 0, count - 1, 0, 0, producer_id, epoch, sequence, count)


@dataclass
class Model:
    epoch: int
    batches: list[tuple[int, int, int]] = field(default_factory=list)
    """First sequence, count, base offset: of this epoch."""
    last_ms: int = 0

    @property
    def next_sequence(self) -> int:
        first, count, _ = self.batches[-1]
        return (first + count) % SEQUENCE_WRAP


class ProducersMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.states = ProducerStates()
        self.models: dict[int, Model] = {}
        self.log: list[tuple[BatchHeader, int, int]] = []
        self.next_offset = 0
        self.now_ms = 0

    def offer(self, producer_id: int, epoch: int, sequence: int, count: int) -> object:
        """What the product says: an error's class, the original's base offset, or None for a new batch."""
        made = header(producer_id, epoch, sequence, count)
        try:
            original = self.states.check(made)
        except (OutOfOrderSequence, InvalidProducerEpoch) as error:
            return type(error)
        if original is not None:
            assert original.end_offset == original.base_offset + count
            return original.base_offset
        self.states.apply(made, self.next_offset, self.now_ms)
        self.log.append((made, self.next_offset, self.now_ms))
        model = self.models.get(producer_id)
        if model is None or model.epoch != epoch:
            model = self.models[producer_id] = Model(epoch)
        model.batches.append((sequence, count, self.next_offset))
        model.last_ms = self.now_ms
        self.next_offset += count
        return None

    @rule(producer_id=PRODUCERS, start=STARTS, count=COUNTS)
    def go_on(self, producer_id: int, start: int, count: int) -> None:
        model = self.models.get(producer_id)
        sequence = start if model is None else model.next_sequence
        assert self.offer(producer_id, model.epoch if model else 0, sequence, count) is None

    @rule(producer_id=PRODUCERS, back=st.integers(0, 9))
    def retry(self, producer_id: int, back: int) -> None:
        model = self.models.get(producer_id)
        if model is None or back >= len(model.batches):
            return
        sequence, count, base_offset = model.batches[-1 - back]
        expected = base_offset if back < BATCHES_KEPT else OutOfOrderSequence
        assert self.offer(producer_id, model.epoch, sequence, count) == expected

    @rule(producer_id=PRODUCERS, skip=st.integers(1, 2**31 - 1), count=COUNTS)
    def jump(self, producer_id: int, skip: int, count: int) -> None:
        model = self.models.get(producer_id)
        if model is None:
            return
        sequence = (model.next_sequence + skip) % SEQUENCE_WRAP
        known = [base for first, size, base in model.batches[-BATCHES_KEPT:] if (first, size) == (sequence, count)]
        expected = known[-1] if known else OutOfOrderSequence
        assert self.offer(producer_id, model.epoch, sequence, count) == expected

    @rule(producer_id=PRODUCERS, sequence=STARTS, count=COUNTS)
    def bump_epoch(self, producer_id: int, sequence: int, count: int) -> None:
        model = self.models.get(producer_id)
        if model is None:
            return
        expected = None if sequence == 0 else OutOfOrderSequence
        assert self.offer(producer_id, model.epoch + 1, sequence, count) == expected

    @rule(producer_id=PRODUCERS, sequence=STARTS)
    def old_epoch(self, producer_id: int, sequence: int) -> None:
        model = self.models.get(producer_id)
        if model is not None and model.epoch:
            assert self.offer(producer_id, model.epoch - 1, sequence, 1) == InvalidProducerEpoch

    @rule(idle_ms=st.integers(1, 50))
    def time_passes(self, idle_ms: int) -> None:
        self.now_ms += idle_ms
        gone = [producer_id for producer_id, model in self.models.items() if self.now_ms - model.last_ms >= 100]
        assert self.states.expire(self.states.items(), self.now_ms, 100) == len(gone)
        for producer_id in gone:
            del self.models[producer_id]
        # A restart may bring back more of a producer than was remembered; that is not looked at here.
        self.log = [entry for entry in self.log if entry[0].producer_id not in gone]

    @rule(data=st.data())
    def restart(self, data: st.DataObject) -> None:
        """A snapshot at any batch's end, and the batches after it, make the same state again."""
        ends = [0, *[base + made.record_count for made, base, _ in self.log]]
        cut = data.draw(st.sampled_from(ends))
        restored = ProducerStates()
        restored.restore(self.states.snapshot(cut))
        for made, base_offset, written_ms in self.log:
            if base_offset >= cut and made.producer_id in self.models:
                restored.apply(made, base_offset, written_ms)
        self.states = restored

    @invariant()
    def the_last_batches_are_known(self) -> None:
        states = dict(self.states.items())
        assert states.keys() == self.models.keys()
        for producer_id, model in self.models.items():
            state = states[producer_id]
            assert state.producer_epoch == model.epoch
            assert [batch.base_offset for batch in state.batches] == [
                base for _, _, base in model.batches[-BATCHES_KEPT:]
            ]


TestProducers = ProducersMachine.TestCase
