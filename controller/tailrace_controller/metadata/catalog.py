"""The catalog: which objects there are, and which part of which partition lies in each.

An object's life: its id is reserved, the upload is registered (with an expiry that is renewed), the object is committed
with its extents, and each extent lives until the log start passes it or its topic is deleted. When the last one is gone
the object is unreferenced; the sweep notes since when, in the object's own key, and deletes it after a grace period. A
registration that expired becomes such an unreferenced object, too: so whatever was ever PUT has a key until it is
deleted from the store.

Whether an extent is alive is never stored: it follows from the log start, the topics, and the extents that took the
place of others. So a trim is one put of the partition's key, deleting a topic is one put, and so is a replacement,
however many objects are concerned.

A replacement covers the offsets of what it replaces, exactly, and its generation is higher. Hence an extent is dead
while one of a higher generation covers it, whichever of them a start comes across first; and what covers it goes only
for another that covers as much, or with the log start or the topic.

Extents stay packed in memory, as they lie in the object's value; a partition keeps their ends, objects and places.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Container
from itertools import islice
from typing import Final

from tailrace_controller.metadata import format as fmt
from tailrace_core.extents import Extent
from tailrace_core.ids import TopicId
from tailrace_core.membership import ObjectRef, PlacedExtent


class CatalogObject:
    """An object with extents. live counts those that are not trimmed, replaced or deleted."""

    __slots__ = ("generation", "live", "packed", "ref", "topic_ids")

    def __init__(self, value: fmt.ObjectValue) -> None:
        self.ref = value.ref
        self.generation = value.generation
        self.topic_ids = value.topic_ids
        self.packed = value.packed
        self.live = 0

    def extent(self, place: int) -> Extent:
        topic, *fields = fmt.EXTENT.unpack_from(self.packed, place * fmt.EXTENT.size)
        return Extent(self.topic_ids[topic], *fields)

    def extents(self) -> tuple[Extent, ...]:
        """All that were committed, alive or not."""
        return tuple([self.extent(place) for place in range(len(self.packed) // fmt.EXTENT.size)])


class CatalogPartition:
    """A partition's extents in offset order (core.membership.PartitionCatalog).

    Invariant: extents do not overlap, and every one ends beyond log_start_offset.
    """

    __slots__ = ("_ends", "_objects", "_places", "committed_end", "data_bytes", "has_key", "log_start_offset")

    def __init__(self) -> None:
        self.log_start_offset = 0
        self.committed_end = 0
        self.data_bytes = 0
        self.has_key = False
        """Whether the store has a key of this partition."""
        self._ends = array("q")
        self._objects: list[CatalogObject] = []
        self._places = array("H")

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> PlacedExtent:
        stored = self._objects[index]
        return PlacedExtent(stored.ref, stored.extent(self._places[index]), stored.generation)

    def index_at(self, offset: int) -> int:
        return bisect_right(self._ends, offset)

    def add(
        self, stored: CatalogObject, place: int, base_offset: int, end_offset: int, length: int
    ) -> list[CatalogObject]:
        """Take an extent in, unless it is dead, in the place of those that it covers.

        Returns the objects that lost their last extent by that.
        """
        self.committed_end = max(self.committed_end, end_offset)
        if end_offset <= self.log_start_offset:
            return []
        # At a start, objects come by id, which need not be the order in which they were committed.
        index = bisect_left(self._ends, end_offset)
        if index < len(self._ends):
            other = self._objects[index]
            if other.generation > stored.generation and other.extent(self._places[index]).base_offset <= base_offset:
                return []
        stored.live += 1
        self.data_bytes += length
        covered = bisect_right(self._ends, base_offset)
        end = index + (index < len(self._ends) and self._ends[index] == end_offset)
        emptied = self._drop(covered, end) if covered < end else []
        self._ends.insert(covered, end_offset)
        self._objects.insert(covered, stored)
        self._places.insert(covered, place)
        return emptied

    def drop_before(self, offset: int) -> list[CatalogObject]:
        """Let go of the extents that end at or below offset. Returns the objects that lost their last one."""
        return self._drop(0, bisect_right(self._ends, offset))

    def _drop(self, first: int, end: int) -> list[CatalogObject]:
        emptied = []
        for stored, place in zip(self._objects[first:end], self._places[first:end], strict=True):
            self.data_bytes -= stored.extent(place).length
            stored.live -= 1
            if stored.live == 0:
                emptied.append(stored)
        del self._ends[first:end], self._objects[first:end], self._places[first:end]
        return emptied

    def drop_all(self) -> list[CatalogObject]:
        return self.drop_before(self._ends[-1]) if self._ends else []


NO_PARTITION: Final = CatalogPartition()
"""What a partition without data and without a moved log start shows. Never changed."""


class Catalog:
    """All objects, registrations and partitions' extents; changed only by keys and values of the store.

    At a start topics come first, then partitions, then objects.
    """

    def __init__(self, topic_ids: Container[TopicId]) -> None:
        self._topic_ids = topic_ids
        self.objects: dict[int, CatalogObject] = {}
        """Committed ones that the store has with their extents."""
        self.emptied: dict[int, CatalogObject] = {}
        """Those of `objects` without a live extent: the sweep is to note since when."""
        self.unreferenced: dict[int, tuple[ObjectRef, int]] = {}
        """To be deleted: noted since (ms)."""
        self.registrations: dict[int, fmt.Registration] = {}
        self.orphan_partitions: dict[str, None] = {}
        """Partition keys of topics that were deleted; the sweep takes them out of the store."""
        self._partitions: dict[TopicId, dict[int, CatalogPartition]] = {}

    def partition(self, topic_id: TopicId, partition: int) -> CatalogPartition:
        """For reading only: a partition that never differed shares one empty value."""
        partitions = self._partitions.get(topic_id)
        return NO_PARTITION if partitions is None else partitions.get(partition, NO_PARTITION)

    def due_for_deletion(self, unreferenced_since_ms: int, limit: int) -> list[ObjectRef]:
        """Objects that are noted as unreferenced since then or earlier."""
        due = (ref for ref, since_ms in self.unreferenced.values() if since_ms <= unreferenced_since_ms)
        return list(islice(due, limit))

    def put_registration(self, object_id: int, registration: fmt.Registration) -> None:
        self.registrations[object_id] = registration

    def delete_registration(self, object_id: int) -> None:
        self.registrations.pop(object_id, None)

    def put_partition(self, key: str, state: fmt.PartitionState) -> None:
        topic_id, number = fmt.partition_of_key(key)
        if topic_id not in self._topic_ids:
            self.orphan_partitions[key] = None
            return
        partition = self._changeable(topic_id, number)
        partition.has_key = True
        partition.log_start_offset = state.log_start_offset
        partition.committed_end = max(partition.committed_end, state.committed_end)
        self._note_emptied(partition.drop_before(state.log_start_offset))

    def delete_partition(self, key: str) -> None:
        del self.orphan_partitions[key]

    def put_object(self, value: fmt.ObjectValue) -> None:
        object_id = value.ref.object_id
        if value.unreferenced_since_ms >= 0:
            self.objects.pop(object_id, None)
            self.emptied.pop(object_id, None)
            self.unreferenced[object_id] = (value.ref, value.unreferenced_since_ms)
            return
        assert object_id not in self.objects, "an object is committed once"
        stored = self.objects[object_id] = CatalogObject(value)
        known = [topic_id in self._topic_ids for topic_id in value.topic_ids]
        for place, packed in enumerate(fmt.EXTENT.iter_unpack(value.packed)):
            topic, number, _, base_offset, end_offset, _, _, length, _, _ = packed
            if known[topic]:
                partition = self._changeable(value.topic_ids[topic], number)
                self._note_emptied(partition.add(stored, place, base_offset, end_offset, length))
        if stored.live == 0:
            self.emptied[object_id] = stored

    def delete_object(self, object_id: int) -> None:
        del self.unreferenced[object_id]

    def drop_topic(self, topic_id: TopicId) -> None:
        """Everything of a topic that is no more."""
        for number, partition in self._partitions.pop(topic_id, {}).items():
            self._note_emptied(partition.drop_all())
            if partition.has_key:
                self.orphan_partitions[fmt.partition_key(topic_id, number)] = None

    def _changeable(self, topic_id: TopicId, partition: int) -> CatalogPartition:
        partitions = self._partitions.setdefault(topic_id, {})
        found = partitions.get(partition)
        if found is None:
            found = partitions[partition] = CatalogPartition()
        return found

    def _note_emptied(self, objects: list[CatalogObject]) -> None:
        for stored in objects:
            self.emptied[stored.ref.object_id] = stored
