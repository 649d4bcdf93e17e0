"""One run of a compaction pass: reads extents, compacts them into one object, and puts it. Runs in a worker process.

It shares nothing with the broker but the store: the job says what to read and what the new object is called, the broker
has registered that name, and commits what comes back. So whatever becomes of a worker, nothing is lost: an object that
nobody commits is swept.

Held at once: the run's extents as they were read, what is left of them, and the keys that are remembered; extents after
the run are read one by one for their keys alone.
"""

from collections.abc import Sequence
from typing import NamedTuple

from crc32c import crc32c

from tailrace_core.errors import DataCorrupt
from tailrace_core.extents import StoredObject
from tailrace_core.ids import TopicPartition
from tailrace_core.membership import PlacedExtent
from tailrace_core.ports import ObjectStore
from tailrace_engine.log.compaction import Batches, Horizon, Keys, compact, has_transactions, note_keys
from tailrace_engine.objects import open_store
from tailrace_engine.tier import layout
from tailrace_engine.tier.layout import SectionIndex
from tailrace_engine.tier.registrar import NewObject
from tailrace_engine.tier.writer import SectionWriter, build_object


class CompactionJob(NamedTuple):
    """What a worker is told."""

    new: NewObject
    leader_epoch: int
    """The partition's, now."""
    run: Sequence[PlacedExtent]
    """Neighbours of one partition, to be replaced by one extent."""
    later: Sequence[PlacedExtent]
    """Those after them: their keys are known, too."""
    horizon: Horizon | None
    """None where the run does not begin the log."""
    keys_bytes_max: int


class Compacted(NamedTuple):
    """What has been put."""

    stored: StoredObject
    bytes_read: int


async def compact_run(store: str | ObjectStore, job: CompactionJob) -> Compacted:
    """Do it; store: its URL, or itself. Raises DataCorrupt, MissingObject, ObjectExists and StorageUnavailable."""
    if isinstance(store, str):
        opened = open_store(store)
        try:
            return await compact_run(opened, job)
        finally:
            await opened.close()
    keys = Keys(job.keys_bytes_max)
    bytes_read = 0
    for placed in reversed(job.later):
        data, _ = await _read(store, placed)
        bytes_read += len(data)
        note_keys(data, placed.extent.length, keys)
        del data
    sections = [await _read(store, placed) for placed in job.run]
    bytes_read += sum(len(data) for data, _ in sections)
    newest = job.run[-1]
    section = SectionWriter(
        newest.extent.topic_id,
        newest.extent.partition,
        job.leader_epoch,
        _leader_epochs([index for _, index in sections]),
        await _snapshot(store, newest, sections[-1][1]),
        job.run[0].extent.base_offset,
    )
    section.add(_compacted(job, [data for data, _ in sections], keys))
    built = build_object(job.new.header, [section])
    await store.put(job.new.key, built.parts)
    return Compacted(StoredObject(job.new.object_id, job.new.key, built.size, built.extents), bytes_read)


def _compacted(job: CompactionJob, sections: Sequence[bytes], keys: Keys) -> list[Batches]:
    extents = [placed.extent for placed in job.run]
    horizon = job.horizon
    if horizon is not None and any(map(has_transactions, sections, [extent.length for extent in extents])):
        horizon = None
    left: list[list[Batches]] = []
    newest = True
    for data, extent in zip(reversed(sections), reversed(extents), strict=True):
        left.append(compact(data, extent.length, keys, horizon, newest))
        newest = False
    return [batches for of_extent in reversed(left) for batches in of_extent]


def _leader_epochs(indexes: Sequence[SectionIndex]) -> list[tuple[int, int]]:
    epochs: list[tuple[int, int]] = []
    for index in indexes:
        epochs += [entry for entry in index.leader_epochs if not epochs or entry[0] > epochs[-1][0]]
    return epochs


async def _read(store: ObjectStore, placed: PlacedExtent) -> tuple[bytes, SectionIndex]:
    """The whole section, raw batches first, checked; and its index."""
    key, extent = placed.object.key, placed.extent
    data = await store.get_range(key, extent.position, extent.section_length)
    if len(data) < extent.section_length or crc32c(memoryview(data)[: extent.length]) != extent.crc:
        raise DataCorrupt(f"object {key}: {layout.extent_text(extent)} does not match its CRC-32C")
    return data, layout.parse_section_tail(key, extent, memoryview(data)[extent.length :])


async def _snapshot(store: ObjectStore, placed: PlacedExtent, index: SectionIndex) -> bytes:
    """The snapshot of epochs and producers that the extent's object keeps."""
    length = layout.SNAPSHOT_FRAME_BYTES + index.snapshot_length
    data = await store.get_range(placed.object.key, index.snapshot_position, length)
    snapshots = layout.parse_snapshots(placed.object.key, data)
    return snapshots[TopicPartition(placed.extent.topic_id, placed.extent.partition)]
