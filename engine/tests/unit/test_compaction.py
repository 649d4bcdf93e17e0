"""What compaction keeps and lets go (log/compaction.py)."""

import cramjam
import pytest
from engine_support import COMPRESSIONS, NOW_MS, make_batch, sealed, varint

from tailrace_core.batch import (
    CONTROL_BIT,
    DELETE_HORIZON_BIT,
    LOG_APPEND_TIME_BIT,
    TRANSACTIONAL_BIT,
    assign_offset,
    batch_spans,
    is_intact,
    read_header,
)
from tailrace_core.errors import DataCorrupt
from tailrace_engine.log.compaction import (
    DIRTY_EXTENTS_MAX,
    Horizon,
    Keys,
    compact,
    has_transactions,
    note_keys,
    plan_runs,
)
from tailrace_engine.log.records import keys_and_values, timestamps

HOUR_MS = 3_600_000


def record(delta, key, value, timestamp_delta=0):
    fields = [b"\0", varint(timestamp_delta), varint(delta)]
    for each in (key, value):
        fields += [varint(-1)] if each is None else [varint(len(each)), each]
    body = b"".join(fields) + b"\0"
    return varint(len(body)) + body


def batch(base_offset, *records, compression="none", timestamp_deltas=None, **fields):
    """A batch of (key, value) records at base_offset."""
    deltas = timestamp_deltas or [0] * len(records)
    body = b"".join(
        record(at, key, value, delta) for at, ((key, value), delta) in enumerate(zip(records, deltas, strict=True))
    )
    codec, compress = COMPRESSIONS[compression]
    attributes = fields.pop("attributes", 0) | codec
    made = make_batch(
        [NOW_MS + delta for delta in deltas],
        body=compress(body),
        attributes=attributes,
        base_timestamp_ms=NOW_MS,
        **fields,
    )
    assign_offset(made, base_offset, 3)
    return bytes(made)


def compacted(*batches, horizon=None, keys=None, is_newest=True):
    data = b"".join(batches)
    return b"".join(each.data for each in compact(data, len(data), keys or Keys(1 << 20), horizon, is_newest))


def records_of(data):
    """{offset: (key, value, timestamp)}, and the headers in order."""
    found, headers = {}, []
    for start, size, _ in batch_spans(data):
        each = data[start : start + size]
        assert is_intact(each)
        header = read_header(each)
        headers.append(header)
        pairs = keys_and_values(each, header)
        found.update(
            {offset: (key, value, at) for (key, value), (offset, at) in zip(pairs, timestamps(each), strict=True)}
        )
    return found, headers


def test_the_last_record_of_each_key_stays_at_its_offset():
    found, headers = records_of(
        compacted(
            batch(10, (b"a", b"1"), (b"b", b"1"), (b"c", b"1")),
            batch(13, (b"a", b"2")),
            batch(14, (b"b", b"2"), (b"a", b"3")),
        )
    )
    assert {offset: pair[:2] for offset, pair in found.items()} == {
        12: (b"c", b"1"),
        14: (b"b", b"2"),
        15: (b"a", b"3"),
    }
    assert [(header.base_offset, header.end_offset, header.record_count) for header in headers] == [
        (10, 13, 1),
        (14, 16, 2),
    ]
    assert [header.leader_epoch for header in headers] == [3, 3]


def test_a_batch_of_which_all_stays_keeps_its_bytes():
    whole = batch(10, (b"a", b"1"), (b"b", b"1"), compression="zstd")
    assert compacted(whole) == whole


def test_the_last_batch_of_a_pass_stays_without_records():
    keys = Keys(1 << 20)
    later = batch(20, (b"a", b"9"), (b"b", b"9"))
    note_keys(later, len(later), keys)
    data = compacted(batch(10, (b"a", b"1")), batch(11, (b"a", b"2"), (b"b", b"2")), keys=keys)
    found, headers = records_of(data)
    assert found == {}
    (header,) = headers
    assert (header.base_offset, header.end_offset, header.record_count, header.size) == (11, 13, 0, 61)
    assert header.max_timestamp_ms == -1
    assert compacted(data, batch(13, (b"c", b"1"))) == batch(13, (b"c", b"1")), "with more after it, it goes"
    assert compacted(data) == data
    assert compacted(data, is_newest=False) == b""


def test_the_largest_timestamp_is_that_of_what_is_left():
    _, (header, _) = records_of(
        compacted(
            batch(0, (b"a", b"1"), (b"b", b"1"), (b"c", b"1"), timestamp_deltas=[5, 900, 7]),
            batch(3, (b"b", b"2")),
        )
    )
    assert (header.base_timestamp_ms, header.max_timestamp_ms) == (NOW_MS, NOW_MS + 7)


def test_the_brokers_own_time_stays_that_of_all_records():
    appended = batch(0, (b"a", b"1"), (b"b", b"1"), attributes=LOG_APPEND_TIME_BIT, max_timestamp_ms=NOW_MS + 50)
    found, _ = records_of(compacted(appended, batch(2, (b"a", b"2"))))
    assert found[1] == (b"b", b"1", NOW_MS + 50)


@pytest.mark.parametrize("compression", ["gzip", "snappy", "xerial", "lz4", "zstd"])
def test_a_compressed_batch_loses_records_like_any_other(compression):
    found, (header, _) = records_of(
        compacted(
            batch(0, (b"a", b"1" * 99), (b"b", b"1" * 99), compression=compression, timestamp_deltas=[0, 3]),
            batch(2, (b"a", b"2")),
        )
    )
    assert found[1] == (b"b", b"1" * 99, NOW_MS + 3)
    assert header.codec == 0


def test_records_without_a_key_go():
    found, _ = records_of(compacted(batch(0, (None, b"1"), (b"a", b"1"))))
    assert list(found) == [1]


@pytest.mark.parametrize("bit", [TRANSACTIONAL_BIT, CONTROL_BIT])
def test_transactional_and_control_batches_stay_and_nothing_gives_way_to_them(bit):
    before, within = batch(0, (b"a", b"1")), batch(1, (b"a", b"2"), attributes=bit, producer=(5, 0, 0))
    assert compacted(before, within) == before + within
    keys = Keys(1 << 20)
    note_keys(within, len(within), keys)
    assert compacted(before, keys=keys) == before
    after = batch(2, (b"a", b"3"))
    assert compacted(within, after) == within + after
    assert has_transactions(before + within, len(before + within)) == (bit == TRANSACTIONAL_BIT)
    assert not has_transactions(before + within, len(before))


def test_a_batch_whose_records_cannot_be_read_stays():
    broken = bytearray(batch(0, (b"a", b"1"), (b"b", b"2")))
    broken[61] = 0x7E
    broken = bytes(sealed(broken))
    assert compacted(broken, batch(2, (b"a", b"2"))) == broken + batch(2, (b"a", b"2"))
    miscounted = bytearray(batch(0, (b"a", b"1"), (b"b", b"2")))
    miscounted[57:61] = (1).to_bytes(4, "big")
    miscounted = bytes(sealed(miscounted))
    assert compacted(miscounted, batch(2, (b"a", b"2"))) == miscounted + batch(2, (b"a", b"2"))
    bomb = batch(0, (b"a", b"1"), compression="zstd")
    assert cramjam.zstd.decompress(bomb[61:])
    cut = bytes(sealed(bytearray(bomb[:-3])))
    cut = cut[:8] + (len(cut) - 12).to_bytes(4, "big") + cut[12:]
    assert compacted(cut, batch(1, (b"a", b"2"))).startswith(cut)


def test_bytes_that_are_no_batches_are_refused():
    whole = batch(0, (b"a", b"1"))
    for data in (whole[:-1], whole + b"\0", whole + bytes(61)):
        with pytest.raises(DataCorrupt):
            compact(data, len(data), Keys(1 << 20), None, True)


def test_a_tombstone_deletes_what_came_before_and_stays_until_its_horizon():
    first = compacted(
        batch(0, (b"a", b"1"), (b"b", b"1")),
        batch(2, (b"a", None), (b"c", b"1"), timestamp_deltas=[4, 9]),
        batch(4, (b"d", b"1")),
        horizon=Horizon(NOW_MS, HOUR_MS),
    )
    found, headers = records_of(first)
    assert found == {
        1: (b"b", b"1", NOW_MS),
        2: (b"a", None, NOW_MS + 4),
        3: (b"c", b"1", NOW_MS + 9),
        4: (b"d", b"1", NOW_MS),
    }
    assert [bool(header.attributes & DELETE_HORIZON_BIT) for header in headers] == [False, True, False]
    assert (headers[1].base_timestamp_ms, headers[1].max_timestamp_ms) == (NOW_MS + HOUR_MS, NOW_MS + 9)
    assert compacted(first, horizon=Horizon(NOW_MS + HOUR_MS - 1, HOUR_MS)) == first
    assert compacted(first) == first, "a pass that does not begin where the log begins lets no tombstone go"
    found, headers = records_of(compacted(first, horizon=Horizon(NOW_MS + HOUR_MS, HOUR_MS)))
    assert sorted(found) == [1, 3, 4]
    assert found[3] == (b"c", b"1", NOW_MS + 9)


def test_a_pass_that_begins_later_than_the_log_notes_no_horizon():
    tombstone = batch(2, (b"a", None))
    assert compacted(tombstone) == tombstone


def test_a_tombstone_that_a_value_followed_goes_at_once():
    found, _ = records_of(compacted(batch(0, (b"a", None), (b"a", b"2"))))
    assert list(found) == [1]


def test_what_is_not_remembered_stays():
    keys = Keys(2 * 105)
    found, _ = records_of(
        compacted(
            batch(0, (b"a", b"1"), (b"b", b"1"), (b"c", b"1")),
            batch(3, (b"a", b"2"), (b"b", b"2"), (b"c", b"2")),
            keys=keys,
        )
    )
    assert sorted(found) == [0, 3, 4, 5]


def test_a_tombstone_that_is_not_remembered_gets_no_horizon_and_does_not_go():
    horizon = Horizon(NOW_MS, 0)
    data = batch(0, (b"a", b"1"), (b"a", None))
    assert compacted(data, keys=Keys(0), horizon=horizon) == data
    noted = compacted(data, horizon=Horizon(NOW_MS, HOUR_MS))
    late = Horizon(NOW_MS + HOUR_MS, HOUR_MS)
    assert compacted(noted, keys=Keys(0), horizon=late) == noted


def test_small_batches_leave_together_in_pieces_with_their_offsets():
    batches = [batch(at, (b"%d" % at, b"v" * 100)) for at in range(2000)]
    data = b"".join(batches)
    pieces = compact(data, len(data), Keys(1 << 20), None, True)
    assert b"".join(piece.data for piece in pieces) == data
    assert 3 < len(pieces) < 10
    assert [piece.base_offset for piece in pieces[1:]] == [piece.end_offset for piece in pieces[:-1]]
    assert all(piece.max_timestamp_ms == NOW_MS for piece in pieces)


KIB = 1024


@pytest.mark.parametrize(
    ("extents", "runs"),
    [
        ([], []),
        ([(99 * KIB, 0)], []),
        ([(60 * KIB, 0), (40 * KIB, 0)], [(0, 2)]),
        ([(150 * KIB, 1), (140 * KIB, 0)], []),
        ([(150 * KIB, 1), (150 * KIB, 0)], [(0, 2)]),
        ([(300 * KIB, 1), (150 * KIB, 1), (450 * KIB, 0), (50 * KIB, 0)], [(2, 4), (0, 2)]),
        ([(900 * KIB, 0), (100 * KIB, 0)], [(1, 2), (0, 1)]),
        ([(400 * KIB, 1)] + [(KIB, 0)] * DIRTY_EXTENTS_MAX, [(0, 1 + DIRTY_EXTENTS_MAX)]),
        ([(500 * KIB, 1)] + [(KIB, 0)] * DIRTY_EXTENTS_MAX, [(1, 1 + DIRTY_EXTENTS_MAX)]),
        ([(400 * KIB, 1)] + [(KIB, 0)] * (DIRTY_EXTENTS_MAX - 1), []),
    ],
)
def test_a_pass_is_due_when_as_much_is_new_as_is_old(extents, runs):
    assert plan_runs(extents, 100 * KIB, 500 * KIB) == runs
