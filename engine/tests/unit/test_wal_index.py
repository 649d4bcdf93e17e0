"""The packed index of what left memory before it was uploaded."""

from array import array

from tailrace_engine.log.wal_index import ENTRY_BYTES, WalIndex, WalSpan


def made() -> WalIndex:
    """Batches [10, 12), [12, 15), [15, 16), [16, 20) in segments 3, 3, 4, 4."""
    index = WalIndex()
    index.append(10, 12, 100, 3, 4096, 70)
    index.append(12, 15, 300, 3, 4166, 80)
    index.append(15, 16, 200, 4, 4096, 90)
    index.append(16, 20, -1, 4, 4186, 100)
    return index


def test_an_entry_takes_what_is_charged_for_it() -> None:
    assert sum(array(code).itemsize for code in "qqIII") == ENTRY_BYTES


def test_batches_are_found_by_offset() -> None:
    index = made()
    assert [index.find(offset) for offset in (0, 10, 11, 12, 14, 15, 16, 19, 20, 99)] == [0, 0, 0, 1, 1, 2, 3, 3, 4, 4]
    assert index.span(1) == WalSpan(12, 300, 3, 4166, 80)
    assert [index.batch_end_offset(place) for place in range(4)] == [12, 15, 16, 20]
    assert (index.base_offset(), index.end_offset, len(index)) == (10, 20, 4)


def test_spans_are_at_least_one_and_bounded() -> None:
    index = made()
    assert [span.base_offset for span in index.spans(11, 0)] == [10]
    assert [span.base_offset for span in index.spans(11, 149)] == [10]
    assert [span.base_offset for span in index.spans(11, 150)] == [10, 12]
    assert [span.base_offset for span in index.spans(15, 1000)] == [15, 16]
    assert index.spans(20, 1000) == []


def test_batches_are_found_by_time() -> None:
    index = made()
    assert [index.find_timestamp(at, 0, 4) for at in (0, 100, 101, 300, 301)] == [0, 0, 1, 1, 4]
    assert index.find_timestamp(150, 2, 4) == 2
    assert index.find_timestamp(301, 1, 2) == 2
    assert index.newest_timestamp(0, 4) == 300
    assert index.newest_timestamp(0, 1) == 100


def test_what_is_dropped_is_counted_per_segment() -> None:
    index = made()
    assert index.drop_below(10) == {}
    assert index.drop_below(11) == {}
    assert index.drop_below(15) == {3: 2}
    assert (index.base_offset(), len(index)) == (15, 2)
    index.append(20, 21, 5, 5, 4096, 1)
    assert index.drop_below(21) == {4: 2, 5: 1}
    assert (index.base_offset(), index.end_offset, len(index)) == (21, 21, 0)
    assert WalIndex().drop_below(5) == {}
