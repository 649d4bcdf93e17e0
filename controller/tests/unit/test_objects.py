"""The life of an object in the catalog (metadata/objects.py, catalog.py)."""

import pytest

from tailrace_controller.metadata import format as fmt
from tailrace_controller.metadata import objects, topics
from tailrace_core.errors import InvalidRequest, UnknownTopicId, UnknownTopicOrPartition
from tailrace_core.extents import StoredObject
from tailrace_core.membership import (
    EXTENTS_PER_OBJECT_MAX,
    LogStartMoved,
    ObjectCommitted,
    ObjectRef,
    PlacedExtent,
    RefusalReason,
)


def reasons(result):
    return [refused.reason for refused in result.refused]


def test_a_commit_is_one_put_and_readers_see_its_extents(metadata, extent):
    topic = metadata.topic("a", 2)
    first, second = extent(topic, 0, 10), extent(topic, 0, 5, partition=1)
    before = set(metadata.values)
    assert metadata.commit(4, first, second).refused == ()
    assert set(metadata.values) - before == {fmt.object_key(4)}
    ref = ObjectRef(4, "o/4", 1_000_000)
    partition = metadata.image.catalog.partition(topic.topic_id, 0)
    assert list(partition) == [PlacedExtent(ref, first)]
    assert (partition.committed_end, partition.log_start_offset, partition.data_bytes) == (10, 0, 50)
    assert metadata.events[-1] == ObjectCommitted(ref, (first, second))


def test_an_extent_takes_at_most_64_bytes(metadata, extent):
    topic = metadata.topic("a", 4096)
    one, all_of_them = ObjectRef(1, "o", 1), [extent(topic, 0, 1, partition=n) for n in range(4096)]
    value = fmt.encode_object(one, all_of_them)
    assert len(value) <= 4096 * 64
    assert fmt.decode_object(fmt.object_key(1), value).ref == one


def test_data_continues_where_it_ended(metadata, extent):
    topic = metadata.topic("a")
    metadata.commit(1, extent(topic, 0, 10))
    assert metadata.commit(2, extent(topic, 10, 12)).refused == ()
    assert reasons(metadata.commit(3, extent(topic, 11, 14))) == [RefusalReason.OFFSET]
    assert reasons(metadata.commit(4, extent(topic, 13, 14))) == [RefusalReason.OFFSET]
    assert metadata.image.catalog.partition(topic.topic_id, 0).committed_end == 12


def test_each_extent_is_judged_by_itself(metadata, extent):
    topic, gone = metadata.topic("a", 3), metadata.topic("gone")
    metadata.run(topics.plan_delete(metadata.image, ["gone"]))
    result = metadata.commit(
        1,
        extent(topic, 0, 10),
        extent(topic, 0, 10, partition=1, leader_epoch=6),
        extent(topic, 5, 10, partition=2),
        extent(topic, 0, 10, partition=3),
        extent(gone, 0, 10),
    )
    assert reasons(result) == [
        RefusalReason.LEADER_EPOCH,
        RefusalReason.OFFSET,
        RefusalReason.UNKNOWN_PARTITION,
        RefusalReason.UNKNOWN_PARTITION,
    ]
    assert len(metadata.image.catalog.partition(topic.topic_id, 0)) == 1
    assert metadata.events[-1].extents == (extent(topic, 0, 10),)


def test_extents_of_one_partition_in_one_object_follow_each_other(metadata, extent):
    topic = metadata.topic("a")
    result = metadata.commit(1, extent(topic, 0, 10), extent(topic, 10, 20), extent(topic, 21, 30))
    assert reasons(result) == [RefusalReason.OFFSET]
    assert metadata.image.catalog.partition(topic.topic_id, 0).committed_end == 20


def test_the_same_commit_again_gives_the_same_answer_and_changes_nothing(metadata, extent):
    topic = metadata.topic("a", 2)
    asked = (extent(topic, 0, 10), extent(topic, 3, 10, partition=1))
    first = metadata.commit(1, *asked)
    values, events = dict(metadata.values), len(metadata.events)
    again = metadata.commit(1, *asked)
    assert [refused.extent for refused in again.refused] == [refused.extent for refused in first.refused]
    assert reasons(again) == [RefusalReason.COMMITTED_WITHOUT]
    assert (metadata.values, len(metadata.events)) == (values, events)


def test_an_extent_that_was_refused_stays_refused_when_it_would_fit_later(metadata, extent):
    topic = metadata.topic("a", 2)
    late = extent(topic, 3, 10, partition=1)
    metadata.commit(1, extent(topic, 0, 10), late)
    metadata.commit(2, extent(topic, 0, 3, partition=1))
    assert reasons(metadata.commit(1, extent(topic, 0, 10), late)) == [RefusalReason.COMMITTED_WITHOUT]


def test_a_commit_needs_a_registration_that_stands(metadata, extent):
    topic = metadata.topic("a")
    stored = StoredObject(1, "o/1", 1_000, (extent(topic, 0, 10),))
    assert reasons(metadata.run(objects.plan_commit(metadata.image, stored, 0))) == [RefusalReason.NOT_REGISTERED]
    metadata.run(objects.plan_register(metadata.image, 1, "o/1", expires_at_ms=100))
    assert metadata.run(objects.plan_expire_registrations(metadata.image, 99)) == []
    assert metadata.run(objects.plan_expire_registrations(metadata.image, 100)) == [ObjectRef(1, "o/1", 0)]
    result = metadata.run(objects.plan_commit(metadata.image, stored, 0))
    assert [refused.extent for refused in result.refused] == list(stored.extents)
    assert len(metadata.image.catalog.partition(topic.topic_id, 0)) == 0


def test_a_registration_that_expired_by_the_clock_stands_until_it_is_swept(metadata, extent):
    topic = metadata.topic("a")
    metadata.run(objects.plan_register(metadata.image, 1, "o/1", expires_at_ms=100))
    assert metadata.commit(1, extent(topic, 0, 10), now_ms=5_000).refused == ()


def test_a_renewed_registration_lasts_longer(metadata):
    metadata.run(objects.plan_register(metadata.image, 1, "o/1", expires_at_ms=100))
    assert metadata.run(objects.plan_renew(metadata.image, 1, 200)) is True
    assert metadata.run(objects.plan_expire_registrations(metadata.image, 199)) == []
    assert len(metadata.run(objects.plan_expire_registrations(metadata.image, 200))) == 1
    assert metadata.run(objects.plan_renew(metadata.image, 1, 300)) is False


@pytest.mark.parametrize("object_id", [-1, 1_000_000])
def test_an_id_that_was_not_reserved_is_not_registered(metadata, object_id):
    with pytest.raises(InvalidRequest, match="not reserved"):
        objects.plan_register(metadata.image, object_id, "o", 1)


def test_an_id_is_registered_once(metadata, extent):
    metadata.commit(1, extent(metadata.topic("a"), 0, 10))
    metadata.run(objects.plan_register(metadata.image, 2, "o/2", 1))
    for object_id in (1, 2):
        with pytest.raises(InvalidRequest, match="in use"):
            objects.plan_register(metadata.image, object_id, "o", 1)


def test_the_object_of_an_expired_upload_is_deleted_after_the_grace_period(metadata):
    metadata.run(objects.plan_register(metadata.image, 1, "o/1", expires_at_ms=100))
    metadata.run(objects.plan_expire_registrations(metadata.image, 100))
    assert metadata.run(objects.plan_sweep(metadata.image, 109, 10)) == []
    assert metadata.run(objects.plan_sweep(metadata.image, 110, 10)) == [ObjectRef(1, "o/1", 0)]
    metadata.run(objects.plan_forget(metadata.image, (1,)))
    assert fmt.object_key(1) not in metadata.values
    assert metadata.run(objects.plan_sweep(metadata.image, 999, 10)) == []


def test_an_object_of_which_nothing_was_taken_goes_after_the_grace_period(metadata, extent):
    topic = metadata.topic("a")
    metadata.commit(1, extent(topic, 5, 10), now_ms=100)
    assert metadata.events == metadata.events[:1]
    assert metadata.run(objects.plan_sweep(metadata.image, 110, 10)) == [ObjectRef(1, "o/1", 1_000_000)]


def test_a_trim_drops_what_ends_at_or_below_it_and_is_one_put(metadata, extent):
    topic = metadata.topic("a")
    for object_id, base in enumerate((0, 10, 20)):
        metadata.commit(object_id, extent(topic, base, base + 10))
    before = set(metadata.values)
    assert metadata.run(objects.plan_trim(metadata.image, topic.topic_id, 0, 15)) == 15
    assert set(metadata.values) - before == {fmt.partition_key(topic.topic_id, 0)}
    partition = metadata.image.catalog.partition(topic.topic_id, 0)
    assert [placed.extent.base_offset for placed in partition] == [10, 20]
    assert partition.data_bytes == 100
    assert metadata.events[-1] == LogStartMoved(topic.topic_id, 0, 15)


def test_the_log_start_never_goes_back(metadata, extent):
    topic = metadata.topic("a")
    metadata.commit(1, extent(topic, 0, 10))
    metadata.run(objects.plan_trim(metadata.image, topic.topic_id, 0, 5))
    decision = objects.plan_trim(metadata.image, topic.topic_id, 0, 4)
    assert (decision.reply, decision.puts) == (5, ())


def test_offsets_never_restart_when_all_data_is_gone(metadata, extent):
    topic = metadata.topic("a")
    metadata.commit(1, extent(topic, 0, 10))
    metadata.run(objects.plan_trim(metadata.image, topic.topic_id, 0, 10))
    metadata.run(objects.plan_sweep(metadata.image, 0, 10))
    metadata.run(objects.plan_forget(metadata.image, (1,)))
    assert metadata.reloaded().catalog.partition(topic.topic_id, 0).committed_end == 10
    assert reasons(metadata.commit(2, extent(topic, 0, 5))) == [RefusalReason.OFFSET]
    assert metadata.commit(3, extent(topic, 10, 15)).refused == ()


def test_data_may_continue_above_what_a_log_start_beyond_it_left_unreadable(metadata, extent):
    topic = metadata.topic("a")
    metadata.commit(1, extent(topic, 0, 10))
    metadata.run(objects.plan_trim(metadata.image, topic.topic_id, 0, 50))
    assert metadata.image.catalog.partition(topic.topic_id, 0).committed_end == 10
    assert reasons(metadata.commit(2, extent(topic, 51, 60))) == [RefusalReason.OFFSET]
    assert reasons(metadata.commit(3, extent(topic, 9, 60))) == [RefusalReason.OFFSET]
    assert metadata.commit(4, extent(topic, 48, 60)).refused == ()


def test_the_end_of_data_that_was_trimmed_before_its_commit_is_kept(metadata, extent):
    topic = metadata.topic("a")
    metadata.run(objects.plan_trim(metadata.image, topic.topic_id, 0, 50))
    metadata.commit(1, extent(topic, 0, 40), now_ms=5)
    metadata.run(objects.plan_sweep(metadata.image, 5, 10))
    assert metadata.run(objects.plan_sweep(metadata.image, 15, 10)) == [ObjectRef(1, "o/1", 1_000_000)]
    metadata.run(objects.plan_forget(metadata.image, (1,)))
    assert metadata.reloaded().catalog.partition(topic.topic_id, 0).committed_end == 40


def test_a_trim_of_nothing_is_refused(metadata):
    topic = metadata.topic("a")
    with pytest.raises(UnknownTopicId):
        objects.plan_trim(metadata.image, bytes(16), 0, 1)
    with pytest.raises(UnknownTopicOrPartition):
        objects.plan_trim(metadata.image, topic.topic_id, 1, 1)


def test_an_object_goes_only_when_its_last_extent_is_gone(metadata, extent):
    a, b = metadata.topic("a"), metadata.topic("b")
    metadata.commit(1, extent(a, 0, 10), extent(b, 0, 10))
    metadata.run(objects.plan_trim(metadata.image, a.topic_id, 0, 10))
    assert metadata.run(objects.plan_sweep(metadata.image, 0, 10)) == []
    assert metadata.run(objects.plan_sweep(metadata.image, 10, 10)) == []
    metadata.run(topics.plan_delete(metadata.image, ["b"]))
    assert metadata.run(objects.plan_sweep(metadata.image, 20, 10)) == []
    assert metadata.run(objects.plan_sweep(metadata.image, 30, 10)) == [ObjectRef(1, "o/1", 1_000_000)]


def test_the_grace_period_goes_on_over_a_restart(metadata, extent):
    topic = metadata.topic("a")
    metadata.commit(1, extent(topic, 0, 10))
    metadata.run(topics.plan_delete(metadata.image, ["a"]))
    metadata.run(objects.plan_sweep(metadata.image, 100, 10))
    assert metadata.reloaded().catalog.due_for_deletion(100, 9) == [ObjectRef(1, "o/1", 1_000_000)]
    assert metadata.reloaded().catalog.due_for_deletion(99, 9) == []


def test_deleting_a_topic_is_one_delete_and_the_sweep_takes_its_partition_keys_in_steps(metadata, extent):
    topic = metadata.topic("a", 200)
    for number in range(200):
        metadata.run(objects.plan_trim(metadata.image, topic.topic_id, number, 1))
    decision = topics.plan_delete(metadata.image, ["a"])
    assert (decision.puts, decision.deletes) == ((), (fmt.topic_key(topic.topic_id),))
    metadata.run(decision)
    assert len(metadata.reloaded().catalog.orphan_partitions) == 200
    left = []
    while any(key.startswith("partition/") for key in metadata.values):
        decision = objects.plan_sweep(metadata.image, 0, 10)
        assert 0 < len(decision.deletes) <= objects.SWEEP_STEP_MAX
        metadata.run(decision)
        left.append(len(metadata.image.catalog.orphan_partitions))
    assert left == [136, 72, 8, 0]


def test_a_recreated_topic_begins_at_zero(metadata, extent):
    topic = metadata.topic("a")
    metadata.commit(1, extent(topic, 0, 10))
    metadata.run(topics.plan_delete(metadata.image, ["a"]))
    again = metadata.topic("a")
    assert again.topic_id != topic.topic_id
    assert metadata.image.catalog.partition(again.topic_id, 0).committed_end == 0
    assert metadata.commit(2, extent(again, 0, 5)).refused == ()


def test_objects_that_are_referred_to_are_never_forgotten(metadata, extent):
    metadata.commit(1, extent(metadata.topic("a"), 0, 10))
    assert objects.plan_forget(metadata.image, (1, 2)).deletes == ()


def test_the_extent_of_an_offset_is_found(metadata, extent):
    topic = metadata.topic("a")
    for object_id, (base, end) in enumerate([(0, 10), (10, 11), (11, 30)]):
        metadata.commit(object_id, extent(topic, base, end))
    partition = metadata.image.catalog.partition(topic.topic_id, 0)
    assert [partition.index_at(offset) for offset in (0, 9, 10, 11, 29, 30)] == [0, 0, 1, 2, 2, 3]


def test_objects_committed_out_of_the_order_of_their_ids_load_in_the_order_of_offsets(metadata, extent):
    topic = metadata.topic("a")
    for object_id, base in ((9, 0), (4, 10), (6, 20)):
        metadata.commit(object_id, extent(topic, base, base + 10))
    loaded = metadata.reloaded().catalog.partition(topic.topic_id, 0)
    assert list(loaded) == list(metadata.image.catalog.partition(topic.topic_id, 0))
    assert [placed.object.object_id for placed in loaded] == [9, 4, 6]


@pytest.mark.parametrize(
    "change",
    [
        {"base_offset": -1},
        {"end_offset": 0},
        {"length": 0},
        {"section_length": 49},
        {"position": -1},
        {"position": 999_999},
        {"crc": 2**32},
    ],
)
def test_an_extent_that_cannot_be_is_refused(metadata, extent, change):
    with pytest.raises(InvalidRequest):
        metadata.commit(1, extent(metadata.topic("a"), 0, 10)._replace(**change))


def test_an_object_of_too_many_extents_is_refused(metadata, extent):
    topic = metadata.topic("a")
    with pytest.raises(InvalidRequest, match="at most"):
        metadata.commit(1, *[extent(topic, n, n + 1) for n in range(EXTENTS_PER_OBJECT_MAX + 1)])
