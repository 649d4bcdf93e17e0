"""Extents that take the place of others (metadata/objects.py: plan_replace, catalog.py)."""

from itertools import permutations

import pytest

from tailrace_controller.metadata import format as fmt
from tailrace_controller.metadata import objects, topics
from tailrace_controller.metadata.configs import ConfigRules
from tailrace_controller.metadata.image import Image
from tailrace_core.errors import InvalidRequest
from tailrace_core.extents import StoredObject
from tailrace_core.membership import ObjectRef, RefusalReason


def places(image, topic, partition=0):
    return [
        (placed.extent.base_offset, placed.extent.end_offset, placed.object.object_id, placed.generation)
        for placed in image.catalog.partition(topic.topic_id, partition)
    ]


def reasons(result):
    return [refused.reason for refused in result.refused]


@pytest.fixture
def topic(metadata, extent):
    """Extents of ten offsets each in the objects 1 to 4; partition 1 has data in object 2 as well."""
    topic = metadata.topic("a", 2)
    metadata.commit(1, extent(topic, 0, 10))
    metadata.commit(2, extent(topic, 10, 20), extent(topic, 0, 5, partition=1))
    metadata.commit(3, extent(topic, 20, 30))
    metadata.commit(4, extent(topic, 30, 40))
    return topic


def test_a_replacement_is_one_put_however_many_objects_it_replaces(metadata, extent, topic):
    before = dict(metadata.values)
    assert metadata.replace(9, extent(topic, 0, 30)).refused == ()
    assert places(metadata.image, topic) == [(0, 30, 9, 1), (30, 40, 4, 0)]
    changed = [key for key, value in metadata.values.items() if before.get(key) != value]
    assert changed == [fmt.object_key(9)]
    partition = metadata.image.catalog.partition(topic.topic_id, 0)
    assert (partition.committed_end, partition.data_bytes) == (40, 100)


def test_what_lost_its_last_extent_goes_and_what_serves_others_stays(metadata, extent, topic):
    metadata.replace(9, extent(topic, 0, 40))
    metadata.run(objects.plan_sweep(metadata.image, 100, 10))
    due = metadata.run(objects.plan_sweep(metadata.image, 110, 10))
    assert [ref.object_id for ref in due] == [1, 3, 4]
    metadata.run(objects.plan_forget(metadata.image, (1, 3, 4)))
    assert places(metadata.image, topic) == places(metadata.reloaded(), topic) == [(0, 40, 9, 1)]
    assert places(metadata.image, topic, 1) == [(0, 5, 2, 0)]


def test_a_start_finds_the_same_in_whatever_order_it_comes_across_the_objects(metadata, extent, topic):
    metadata.replace(5, extent(topic, 0, 20))
    metadata.replace(9, extent(topic, 20, 40))
    metadata.replace(8, extent(topic, 0, 40))
    known = {key: value for key, value in metadata.values.items() if not key.startswith("object/")}
    stored = [(key, value) for key, value in metadata.values.items() if key.startswith("object/")]
    assert len(stored) == 7
    for order in list(permutations(stored))[::97]:
        image = Image(ConfigRules({}))
        image.load([*known.items(), *order])
        assert places(image, topic) == [(0, 40, 8, 2)]
        assert sorted(image.catalog.emptied) == [1, 3, 4, 5, 9]
        assert image.catalog.partition(topic.topic_id, 0).data_bytes == 50


def test_what_was_replaced_does_not_come_back_when_its_replacement_is_replaced(metadata, extent, topic):
    metadata.replace(8, extent(topic, 0, 20))
    metadata.replace(9, extent(topic, 0, 30))
    metadata.run(objects.plan_sweep(metadata.image, 100, 0))
    metadata.run(objects.plan_sweep(metadata.image, 100, 0))
    metadata.run(objects.plan_forget(metadata.image, (1, 3, 8)))
    assert places(metadata.reloaded(), topic) == [(0, 30, 9, 2), (30, 40, 4, 0)]


def test_what_was_replaced_does_not_come_back_with_a_trim(metadata, extent, topic):
    metadata.replace(9, extent(topic, 0, 30))
    metadata.run(objects.plan_trim(metadata.image, topic.topic_id, 0, 25))
    assert places(metadata.image, topic) == places(metadata.reloaded(), topic) == [(0, 30, 9, 1), (30, 40, 4, 0)]
    metadata.run(objects.plan_trim(metadata.image, topic.topic_id, 0, 30))
    assert places(metadata.image, topic) == places(metadata.reloaded(), topic) == [(30, 40, 4, 0)]


@pytest.mark.parametrize("trim_to", [10, 40])
def test_a_trim_meanwhile_refuses_and_the_object_is_swept(metadata, extent, topic, trim_to):
    replaced = list(metadata.image.catalog.partition(topic.topic_id, 0))
    metadata.run(objects.plan_register(metadata.image, 9, "o/9", 1_000))
    metadata.run(objects.plan_trim(metadata.image, topic.topic_id, 0, trim_to))
    before = places(metadata.image, topic)
    stored = StoredObject(9, "o/9", 1_000, (extent(topic, 0, 40),))
    assert reasons(metadata.run(objects.plan_replace(metadata.image, stored, replaced, 5))) == [RefusalReason.REPLACED]
    assert places(metadata.image, topic) == before
    assert ObjectRef(9, "o/9", 1_000) in metadata.run(objects.plan_sweep(metadata.image, 5, 0))


def test_a_trim_within_the_first_extent_changes_nothing(metadata, extent, topic):
    metadata.run(objects.plan_trim(metadata.image, topic.topic_id, 0, 5))
    assert metadata.replace(9, extent(topic, 0, 40)).refused == ()


def test_another_replacement_meanwhile_refuses(metadata, extent, topic):
    replaced = list(metadata.image.catalog.partition(topic.topic_id, 0))
    metadata.run(objects.plan_register(metadata.image, 8, "o/8", 1_000))
    metadata.replace(9, extent(topic, 10, 20))
    stored = StoredObject(8, "o/8", 1_000, (extent(topic, 0, 40),))
    assert reasons(metadata.run(objects.plan_replace(metadata.image, stored, replaced, 0))) == [RefusalReason.REPLACED]


@pytest.mark.parametrize(("base", "end"), [(1, 40), (0, 39), (0, 41), (10, 20)])
def test_a_replacement_covers_exactly_what_it_replaces(metadata, extent, topic, base, end):
    replaced = list(metadata.image.catalog.partition(topic.topic_id, 0))
    metadata.run(objects.plan_register(metadata.image, 9, "o/9", 1_000))
    stored = StoredObject(9, "o/9", 1_000, (extent(topic, base, end),))
    assert reasons(metadata.run(objects.plan_replace(metadata.image, stored, replaced, 0))) == [RefusalReason.REPLACED]


def test_each_extent_is_judged_by_itself(metadata, extent, topic):
    gone = metadata.topic("gone")
    metadata.commit(5, extent(gone, 0, 10))
    replaced = [*metadata.image.catalog.partition(topic.topic_id, 0), *metadata.image.catalog.partition(gone[1], 0)]
    metadata.run(topics.plan_delete(metadata.image, ["gone"]))
    metadata.run(objects.plan_register(metadata.image, 9, "o/9", 1_000))
    asked = extent(topic, 0, 40), extent(gone, 0, 10), extent(topic, 0, 5, partition=1)
    stored = StoredObject(9, "o/9", 1_000, asked)
    result = metadata.run(objects.plan_replace(metadata.image, stored, replaced, 0))
    assert reasons(result) == [RefusalReason.UNKNOWN_PARTITION, RefusalReason.REPLACED]
    assert places(metadata.image, topic) == [(0, 40, 9, 1)]
    again = metadata.run(objects.plan_replace(metadata.image, stored, replaced, 0))
    assert reasons(again) == [RefusalReason.COMMITTED_WITHOUT] * 2


def test_the_same_replacement_again_changes_nothing(metadata, extent, topic):
    replaced = list(metadata.image.catalog.partition(topic.topic_id, 0))
    metadata.replace(9, extent(topic, 0, 40))
    stored = StoredObject(9, "o/9", 1_000_000, (extent(topic, 0, 40),))
    decision = objects.plan_replace(metadata.image, stored, replaced, 0)
    assert (decision.reply.refused, decision.puts, decision.deletes) == ((), (), ())


def test_an_older_leader_replaces_nothing(metadata, extent, topic):
    assert reasons(metadata.replace(9, extent(topic, 0, 40, leader_epoch=6))) == [RefusalReason.LEADER_EPOCH]


def test_a_replacement_needs_a_registration_that_stands(metadata, extent, topic):
    replaced = list(metadata.image.catalog.partition(topic.topic_id, 0))
    stored = StoredObject(9, "o/9", 1_000, (extent(topic, 0, 40),))
    result = metadata.run(objects.plan_replace(metadata.image, stored, replaced, 0))
    assert reasons(result) == [RefusalReason.NOT_REGISTERED]


def test_an_object_replaces_one_part_of_a_partition(metadata, extent, topic):
    with pytest.raises(InvalidRequest, match="two parts"):
        metadata.replace(9, extent(topic, 0, 10), extent(topic, 20, 30))
