"""Rules of the catalog: registrations, commits judged per extent, trims, and the steps of the sweep.

See catalog.py for an object's life. Each step of the sweep is bounded, so that one commit stays small.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from tailrace_controller.metadata import format as fmt
from tailrace_controller.metadata.catalog import CatalogPartition
from tailrace_controller.metadata.decision import Decision
from tailrace_controller.metadata.image import Image
from tailrace_core.errors import InvalidRequest, UnknownTopicId, UnknownTopicOrPartition
from tailrace_core.extents import Extent, StoredObject
from tailrace_core.ids import TopicId, topic_id_text
from tailrace_core.membership import (
    EXTENTS_PER_OBJECT_MAX,
    CommitResult,
    LogStartMoved,
    ObjectCommitted,
    ObjectRef,
    PlacedExtent,
    RefusalReason,
    RefusedExtent,
)

SWEEP_STEP_MAX: Final = 64
"""Objects or keys in one commit of the sweep: an etcd transaction takes 128 operations."""
_UINT32_MAX: Final = 2**32 - 1
_KEY_BYTES_MAX: Final = 1_024


def plan_register(image: Image, object_id: int, key: str, expires_at_ms: int) -> Decision[None]:
    """See core.membership.Membership.register_object."""
    catalog = image.catalog
    if not 0 <= object_id < image.counter(fmt.OBJECT_ID):
        raise InvalidRequest(f"object id {object_id} was not reserved")
    if object_id in catalog.registrations or object_id in catalog.objects or object_id in catalog.unreferenced:
        raise InvalidRequest(f"object id {object_id} is in use")
    if not 0 < len(key.encode()) <= _KEY_BYTES_MAX:
        raise InvalidRequest(f"an object's key has 1 to {_KEY_BYTES_MAX} bytes: {key!r}")
    return Decision(None, puts=((fmt.registration_key(object_id), _registration(expires_at_ms, key)),))


def plan_renew(image: Image, object_id: int, expires_at_ms: int) -> Decision[bool]:
    """See core.membership.Membership.renew_registration."""
    registration = image.catalog.registrations.get(object_id)
    if registration is None:
        return Decision(False)
    return Decision(True, puts=((fmt.registration_key(object_id), _registration(expires_at_ms, registration.key)),))


def _registration(expires_at_ms: int, key: str) -> bytes:
    return fmt.encode_registration(fmt.Registration(expires_at_ms, key))


def plan_commit(image: Image, stored: StoredObject, now_ms: int) -> Decision[CommitResult]:
    """See core.membership.Membership.commit_object."""
    _check_object(stored)
    catalog = image.catalog
    object_id = stored.object_id
    if object_id in catalog.objects or object_id in catalog.unreferenced:
        return Decision(_committed_before(image, stored))
    registration = catalog.registrations.get(object_id)
    if registration is None or registration.key != stored.key:
        return Decision(
            CommitResult(tuple([RefusedExtent(extent, RefusalReason.NOT_REGISTERED) for extent in stored.extents]))
        )
    taken: list[Extent] = []
    refused: list[RefusedExtent] = []
    ends: dict[tuple[TopicId, int], int] = {}
    leader_epoch = image.leader_epoch
    for extent in stored.extents:
        reason = _judge(image, extent, leader_epoch, ends)
        if reason is None:
            taken.append(extent)
            ends[extent.topic_id, extent.partition] = extent.end_offset
        else:
            refused.append(RefusedExtent(extent, reason))
    ref = ObjectRef(object_id, stored.key, stored.size)
    value = fmt.encode_object(ref, taken) if taken else fmt.encode_unreferenced(ref, now_ms)
    puts = [(fmt.object_key(object_id), value)]
    for (topic_id, number), end in ends.items():
        log_start_offset = catalog.partition(topic_id, number).log_start_offset
        if end <= log_start_offset:
            # Passed by the log start before it was committed: no living extent will tell the committed end.
            state = fmt.PartitionState(log_start_offset, end)
            puts.append((fmt.partition_key(topic_id, number), fmt.encode_partition(state)))
    return Decision(
        CommitResult(tuple(refused)),
        puts=tuple(puts),
        deletes=(fmt.registration_key(object_id),),
        events=(ObjectCommitted(ref, tuple(taken)),) if taken else (),
    )


def plan_replace(
    image: Image, stored: StoredObject, replaced: Sequence[PlacedExtent], now_ms: int
) -> Decision[CommitResult]:
    """See core.membership.Membership.replace_extents."""
    _check_object(stored)
    if len({(extent.topic_id, extent.partition) for extent in stored.extents}) < len(stored.extents):
        raise InvalidRequest(f"object {stored.object_id} replaces two parts of one partition")
    catalog = image.catalog
    object_id = stored.object_id
    if object_id in catalog.objects or object_id in catalog.unreferenced:
        return Decision(_committed_before(image, stored))
    registration = catalog.registrations.get(object_id)
    if registration is None or registration.key != stored.key:
        return Decision(
            CommitResult(tuple([RefusedExtent(extent, RefusalReason.NOT_REGISTERED) for extent in stored.extents]))
        )
    taken: list[Extent] = []
    refused: list[RefusedExtent] = []
    generation = 0
    for extent in stored.extents:
        expected = [
            placed
            for placed in replaced
            if (placed.extent.topic_id, placed.extent.partition) == (extent.topic_id, extent.partition)
        ]
        reason = _judge_replacement(image, extent, expected)
        if reason is None:
            taken.append(extent)
            generation = max(generation, *[placed.generation + 1 for placed in expected])
        else:
            refused.append(RefusedExtent(extent, reason))
    ref = ObjectRef(object_id, stored.key, stored.size)
    value = fmt.encode_object(ref, taken, generation) if taken else fmt.encode_unreferenced(ref, now_ms)
    return Decision(
        CommitResult(tuple(refused)),
        puts=((fmt.object_key(object_id), value),),
        deletes=(fmt.registration_key(object_id),),
    )


def _judge_replacement(image: Image, extent: Extent, expected: Sequence[PlacedExtent]) -> RefusalReason | None:
    topic = image.topic_by_id(extent.topic_id)
    if topic is None or not 0 <= extent.partition < topic.partition_count:
        return RefusalReason.UNKNOWN_PARTITION
    if extent.leader_epoch != image.leader_epoch:
        return RefusalReason.LEADER_EPOCH
    partition = image.catalog.partition(extent.topic_id, extent.partition)
    first = partition.index_at(extent.base_offset)
    found = [partition[place] for place in range(first, min(first + len(expected), len(partition)))]
    if (
        not expected
        or found != list(expected)
        or (found[0].extent.base_offset, found[-1].extent.end_offset) != (extent.base_offset, extent.end_offset)
    ):
        return RefusalReason.REPLACED
    return None


def _check_object(stored: StoredObject) -> None:
    if len(stored.extents) > EXTENTS_PER_OBJECT_MAX:
        raise InvalidRequest(f"an object has at most {EXTENTS_PER_OBJECT_MAX} extents, not {len(stored.extents)}")
    # Positions and lengths are stored in four bytes.
    size_max = min(stored.size, _UINT32_MAX)
    for extent in stored.extents:
        if not (
            0 <= extent.base_offset < extent.end_offset
            and 0 < extent.length <= extent.section_length
            and extent.position >= 0
            and extent.position + extent.section_length <= size_max
            and 0 <= extent.crc <= _UINT32_MAX
        ):
            raise InvalidRequest(f"object {stored.object_id} has an extent that cannot be: {extent}")


def _committed_before(image: Image, stored: StoredObject) -> CommitResult:
    known = image.catalog.objects.get(stored.object_id)
    taken = frozenset(known.extents() if known is not None else ())
    return CommitResult(
        tuple(
            [RefusedExtent(extent, RefusalReason.COMMITTED_WITHOUT) for extent in stored.extents if extent not in taken]
        )
    )


def _judge(
    image: Image, extent: Extent, leader_epoch: int, ends: Mapping[tuple[TopicId, int], int]
) -> RefusalReason | None:
    """Why the extent is refused, if it is. ends: of what the same commit takes."""
    topic = image.topic_by_id(extent.topic_id)
    if topic is None or not 0 <= extent.partition < topic.partition_count:
        return RefusalReason.UNKNOWN_PARTITION
    if extent.leader_epoch != leader_epoch:
        return RefusalReason.LEADER_EPOCH
    partition = image.catalog.partition(extent.topic_id, extent.partition)
    end = ends.get((extent.topic_id, extent.partition), partition.committed_end)
    # A log start beyond the committed end leaves a hole that nobody can read: data may continue above it.
    if extent.base_offset != end and not end < extent.base_offset <= partition.log_start_offset:
        return RefusalReason.OFFSET
    return None


def _known_partition(image: Image, topic_id: TopicId, partition: int) -> CatalogPartition:
    topic = image.topic_by_id(topic_id)
    if topic is None:
        raise UnknownTopicId(f"No topic has the id {topic_id_text(topic_id)}.")
    if not 0 <= partition < topic.partition_count:
        raise UnknownTopicOrPartition(f"Topic '{topic.name}' has no partition {partition}.")
    return image.catalog.partition(topic_id, partition)


def plan_skip(image: Image, topic_id: TopicId, partition: int, end_offset: int) -> Decision[int]:
    """See core.membership.Membership.skip_offsets."""
    known = _known_partition(image, topic_id, partition)
    if end_offset <= known.committed_end:
        return Decision(known.committed_end)
    state = fmt.PartitionState(known.log_start_offset, end_offset)
    return Decision(end_offset, puts=((fmt.partition_key(topic_id, partition), fmt.encode_partition(state)),))


def plan_trim(image: Image, topic_id: TopicId, partition: int, log_start_offset: int) -> Decision[int]:
    """See core.membership.Membership.trim."""
    known = _known_partition(image, topic_id, partition)
    if log_start_offset <= known.log_start_offset:
        return Decision(known.log_start_offset)
    state = fmt.PartitionState(log_start_offset, known.committed_end)
    return Decision(
        log_start_offset,
        puts=((fmt.partition_key(topic_id, partition), fmt.encode_partition(state)),),
        events=(LogStartMoved(topic_id, partition, log_start_offset),),
    )


def plan_expire_registrations(image: Image, now_ms: int) -> Decision[list[ObjectRef]]:
    """See core.membership.Membership.expire_registrations."""
    expired = [
        ObjectRef(object_id, registration.key, 0)
        for object_id, registration in image.catalog.registrations.items()
        if registration.expires_at_ms <= now_ms
    ][:SWEEP_STEP_MAX]
    return Decision(
        expired,
        puts=tuple((fmt.object_key(ref.object_id), fmt.encode_unreferenced(ref, now_ms)) for ref in expired),
        deletes=tuple(fmt.registration_key(ref.object_id) for ref in expired),
    )


def plan_sweep(image: Image, now_ms: int, grace_ms: int) -> Decision[list[ObjectRef]]:
    """See core.membership.Membership.objects_to_delete."""
    emptied = list(image.catalog.emptied.values())[:SWEEP_STEP_MAX]
    orphans = tuple(image.catalog.orphan_partitions)[: SWEEP_STEP_MAX - len(emptied)]
    return Decision(
        image.catalog.due_for_deletion(now_ms - grace_ms, SWEEP_STEP_MAX),
        puts=tuple(
            (fmt.object_key(stored.ref.object_id), fmt.encode_unreferenced(stored.ref, now_ms)) for stored in emptied
        ),
        deletes=orphans,
    )


def plan_forget(image: Image, object_ids: tuple[int, ...]) -> Decision[None]:
    """See core.membership.Membership.forget_objects."""
    deletes = [fmt.object_key(object_id) for object_id in object_ids if object_id in image.catalog.unreferenced]
    return Decision(None, deletes=tuple(dict.fromkeys(deletes)))
