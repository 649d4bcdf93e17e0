"""Objects from random batches: what was built is parsed back, and no cut or flipped bit gives rubbish."""

from bisect import bisect_right

import pytest
from crc32c import crc32c
from hypothesis import given, settings
from hypothesis import strategies as st

from tailrace_core.batch import CRC_START, HEADER, HEADER_BYTES, LOG_OVERHEAD_BYTES, batch_spans, read_header
from tailrace_core.errors import DataCorrupt, FormatTooNew
from tailrace_core.ids import TopicPartition
from tailrace_engine.tier import layout
from tailrace_engine.tier.layout import Footer, ObjectHeader
from tailrace_engine.tier.writer import BuiltObject, RawBatch, SectionWriter, build_in_steps, build_object

WHO = ObjectHeader(bytes(range(16)), 3, 77, 12)


def batch(base_offset: int, records: int, max_timestamp_ms: int, size: int) -> RawBatch:
    body = bytearray(HEADER_BYTES + size)
    fields = (base_offset, len(body) - LOG_OVERHEAD_BYTES, 1, 2, 0, 0, records - 1, 0, max_timestamp_ms, -1, -1, -1)
    HEADER.pack_into(body, 0, *fields, records)
    body[17:21] = crc32c(bytes(body[CRC_START:])).to_bytes(4, "big")
    return RawBatch(bytes(body), base_offset, base_offset + records, max_timestamp_ms)


@st.composite
def partitions(draw: st.DrawFn) -> list[tuple[SectionWriter, list[RawBatch]]]:
    built = []
    for partition in range(draw(st.integers(1, 4))):
        offset = draw(st.integers(0, 1 << 40))
        shapes = draw(
            st.lists(
                st.tuples(
                    st.integers(1, 50),
                    st.integers(-1, 1 << 42),
                    st.one_of(st.integers(0, 300), st.integers(20_000, 90_000)),
                    st.integers(0, 3),
                ),
                min_size=1,
                max_size=25,
            )
        )
        batches = []
        for records, timestamp, size, gap in shapes:
            offset += gap
            batches.append(batch(offset, records, timestamp, size))
            offset += records
        epochs = [(5 + i, b.base_offset) for i, b in enumerate(batches[:: draw(st.integers(1, 9))])]
        section = SectionWriter(bytes([partition]) * 16, partition, 9, epochs, draw(st.binary(max_size=200)))
        cut = draw(st.integers(0, len(batches)))
        section.add(batches[:cut])
        section.add(batches[cut:])
        built.append((section, batches))
    return built


def stored(built: BuiltObject) -> bytes:
    data = b"".join(built.parts)
    assert len(data) == built.size
    return data


def footer_of(data: bytes) -> Footer:
    return layout.parse_footer("o", len(data), data)


@settings(max_examples=60, deadline=None)
@given(partitions())
def test_what_was_built_is_parsed_back(sections: list[tuple[SectionWriter, list[RawBatch]]]) -> None:
    built = build_object(WHO, [section for section, _ in sections])
    data = stored(built)
    assert layout.parse_header("o", data) == WHO
    footer = footer_of(data)
    assert footer.extents == built.extents
    snapshots = layout.parse_snapshots(
        "o", data[footer.snapshots_position : footer.snapshots_position + footer.snapshots_length]
    )
    for (section, batches), extent in zip(sections, built.extents, strict=True):
        raw = b"".join(b.data for b in batches)
        assert data[extent.position : extent.position + extent.length] == raw
        assert (extent.base_offset, extent.end_offset) == (batches[0].base_offset, batches[-1].end_offset)
        assert extent.max_timestamp_ms == max(b.max_timestamp_ms for b in batches)
        assert extent.crc == crc32c(raw)
        index = layout.parse_section_tail(
            "o", extent, data[extent.position + extent.length : extent.position + extent.section_length]
        )
        assert list(index.leader_epochs) == section.leader_epochs
        assert snapshots[TopicPartition(extent.topic_id, extent.partition)] == section.producer_snapshot
        frame = data[index.snapshot_position :][: index.snapshot_length + 28]
        assert frame.endswith(section.producer_snapshot)
        starts = [start for start, _, _ in batch_spans(raw)]
        assert set(index.positions) <= set(starts)
        for i, b in enumerate(batches):
            entry = index.entry_of_offset(b.end_offset - 1)
            position = layout.position_of_offset(raw, index.start_of(entry), b.end_offset - 1)
            assert read_header(raw, position).base_offset == b.base_offset
            limit = starts[i] + 1000
            expected = bisect_right([*starts[i + 1 :], len(raw)], limit)
            cut = layout.cut_of_batches(raw, starts[i], limit)
            assert cut == ([starts[i], *starts[i + 1 :], len(raw)][expected])
        for timestamp in {b.max_timestamp_ms for b in batches} | {-1, 0}:
            found = index.entry_of_timestamp(timestamp)
            expected_batch = next((b for b in batches if b.max_timestamp_ms >= timestamp), None)
            if expected_batch is None:
                assert found is None
            else:
                assert found is not None
                span = raw[index.start_of(found) : index.start_of(found + 1)]
                position = layout.position_of_timestamp(span, timestamp)
                assert layout.base_offset_at(span, position) == expected_batch.base_offset
        for entry in range(len(index.positions)):
            assert index.is_intact(raw[index.start_of(entry) : index.start_of(entry + 1)], entry, entry + 1)
        assert index.is_intact(raw, 0, len(index.positions))


def read_everything(data: bytes, object_size: int) -> tuple[Footer, ObjectHeader, list[bytes], object]:
    """All that an object tells, as the tier's reader would take it in."""
    header = layout.parse_header("o", data)
    footer = layout.parse_footer("o", object_size, data)
    sections = []
    for extent in footer.extents:
        tail = data[extent.position + extent.length : extent.position + extent.section_length]
        index = layout.parse_section_tail("o", extent, tail)
        raw = data[extent.position : extent.position + extent.length]
        if not index.is_intact(raw, 0, len(index.positions)):
            raise DataCorrupt("object o: raw batches")
        sections.append(raw)
    end = footer.snapshots_position + footer.snapshots_length
    return footer, header, sections, layout.parse_snapshots("o", data[footer.snapshots_position : end])


@settings(max_examples=60, deadline=None)
@given(partitions(), st.data())
def test_a_flipped_bit_anywhere_is_noticed_and_names_the_object(
    sections: list[tuple[SectionWriter, list[RawBatch]]], draw: st.DataObject
) -> None:
    data = stored(build_object(WHO, [section for section, _ in sections]))
    for _ in range(20):
        bit = draw.draw(st.integers(0, len(data) * 8 - 1))
        spoilt = bytearray(data)
        spoilt[bit // 8] ^= 1 << bit % 8
        with pytest.raises((DataCorrupt, FormatTooNew), match="object o"):
            read_everything(bytes(spoilt), len(data))


@settings(max_examples=60, deadline=None)
@given(partitions(), st.data())
def test_a_cut_anywhere_is_noticed_and_names_the_object(
    sections: list[tuple[SectionWriter, list[RawBatch]]], draw: st.DataObject
) -> None:
    data = stored(build_object(WHO, [section for section, _ in sections]))
    for _ in range(20):
        cut = draw.draw(st.integers(0, len(data) - 1))
        with pytest.raises((DataCorrupt, FormatTooNew), match="object o"):
            read_everything(data[:cut], len(data))
        with pytest.raises((DataCorrupt, FormatTooNew), match="object o"):
            read_everything(data[:cut], cut)


def test_an_object_of_many_partitions_is_built_in_steps() -> None:
    sections = []
    for partition in range(300):
        section = SectionWriter(bytes(16), partition, 9, [(5, 0)], b"snapshot of %d" % partition)
        section.add([batch(0, 1, 1, 10)])
        sections.append(section)
    *steps, built = build_in_steps(WHO, sections)
    assert len(steps) >= 4
    assert steps == [None] * len(steps)
    assert built is not None
    data = stored(built)
    footer = footer_of(data)
    assert [extent.partition for extent in footer.extents] == [*range(300)]
    end = footer.snapshots_position + footer.snapshots_length
    snapshots = layout.parse_snapshots("o", data[footer.snapshots_position : end])
    assert snapshots[TopicPartition(bytes(16), 299)] == b"snapshot of 299"
