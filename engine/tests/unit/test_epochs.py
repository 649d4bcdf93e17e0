"""Leader epochs: who asks with an old epoch is told where it ended."""

import pytest

from tailrace_engine.log.epochs import LeaderEpochs


def made() -> LeaderEpochs:
    epochs = LeaderEpochs()
    for epoch, base in ((2, 0), (2, 5), (4, 10), (4, 11), (7, 20)):
        epochs.on_append(epoch, base)
    return epochs


def test_an_epoch_enters_with_its_first_batch() -> None:
    assert made().entries == [(2, 0), (4, 10), (7, 20)]


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (0, (0, 0)),
        (2, (2, 10)),
        (3, (2, 10)),
        (4, (4, 20)),
        (6, (4, 20)),
        (7, (7, 30)),
        (8, (7, 30)),
        (9, (9, 30)),
        (10, (-1, -1)),
        (-1, (-1, -1)),
    ],
)
def test_where_an_epoch_ended(asked: int, answer: tuple[int, int]) -> None:
    assert made().end_offset_for(asked, 9, 30) == answer


def test_a_log_without_batches_knows_its_leaders_epoch() -> None:
    epochs = LeaderEpochs()
    assert epochs.end_offset_for(5, 5, 12) == (5, 12)
    assert epochs.end_offset_for(3, 5, 12) == (3, 12)
    assert epochs.end_offset_for(6, 5, 12) == (-1, -1)


def test_which_epoch_wrote_an_offset() -> None:
    epochs = made()
    assert [epochs.epoch_of(offset) for offset in (0, 9, 10, 19, 20, 99)] == [2, 2, 4, 4, 7, 7]
    assert LeaderEpochs([(4, 10)]).epoch_of(9) == -1


def test_the_epochs_of_a_range_begin_in_it() -> None:
    epochs = made()
    assert epochs.within(3, 15) == [(2, 3), (4, 10)]
    assert epochs.within(10, 20) == [(4, 10)]
    assert epochs.within(12, 21) == [(4, 12), (7, 20)]
    assert LeaderEpochs().within(0, 5) == []


@pytest.mark.parametrize(
    ("log_start", "left"),
    [(0, [(2, 0), (4, 10), (7, 20)]), (9, [(2, 9), (4, 10), (7, 20)]), (10, [(4, 10), (7, 20)]), (25, [(7, 25)])],
)
def test_epochs_below_the_log_start_are_forgotten(log_start: int, left: list[tuple[int, int]]) -> None:
    epochs = made()
    epochs.drop_below(log_start)
    assert epochs.entries == left
