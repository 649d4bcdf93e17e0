"""Keys and values of the metadata store (metadata/format.py)."""

import pytest

from tailrace_controller.metadata import format as fmt
from tailrace_controller.metadata import objects
from tailrace_controller.metadata.configs import ConfigRules
from tailrace_controller.metadata.image import Image
from tailrace_core.errors import DataCorrupt, FormatTooNew


@pytest.fixture
def stored(metadata, extent):
    """A value of every kind."""
    topic = metadata.topic("a")
    metadata.values[fmt.config_key(topic.topic_id)] = fmt.encode_config({"retention.ms": "5"})
    metadata.values[fmt.CLUSTER_KEY] = fmt.encode_cluster("abc")
    metadata.commit(1, extent(topic, 0, 10))
    metadata.commit(3, extent(topic, 10, 20))
    metadata.replace(4, extent(topic, 0, 20))
    metadata.run(objects.plan_register(metadata.image, 2, "o/2", 9))
    metadata.run(objects.plan_trim(metadata.image, topic.topic_id, 0, 3))
    return metadata.values


def kinds(values):
    return sorted({key.partition("/")[0] for key in values})


def test_every_kind_is_there_and_loads(stored):
    assert kinds(stored) == [
        "broker", "cluster", "config", "counter", "object", "partition", "registration", "topic",
    ]  # fmt: skip
    image = Image(ConfigRules({}))
    image.load(stored.items())
    assert (image.cluster_id, image.counter(fmt.OBJECT_ID)) == ("abc", 1_000_000)
    assert image.topic("a").configs.retention_ms == 5
    assert image.catalog.registrations == {2: fmt.Registration(9, "o/2")}


def test_a_value_of_a_newer_format_is_refused_by_name(stored):
    for key, value in stored.items():
        image = Image(ConfigRules({}))
        newest = fmt.REPLACEMENT_FORMAT if key.startswith("object/") else fmt.FORMAT
        with pytest.raises(FormatTooNew, match=key):
            image.load({**stored, key: bytes([newest + 1]) + value[1:]}.items())


def test_only_an_object_that_replaced_others_needs_a_newer_program(stored):
    formats = {key: value[0] for key, value in stored.items() if key != fmt.object_key(4)}
    assert set(formats.values()) == {fmt.FORMAT}
    assert fmt.decode_object(fmt.object_key(4), stored[fmt.object_key(4)]).generation == 1


def test_a_kind_of_key_that_is_not_known_is_refused(stored):
    with pytest.raises(FormatTooNew, match="acl/1"):
        Image(ConfigRules({})).load({**stored, "acl/1": b"\x01"}.items())


def test_a_value_that_is_cut_short_is_never_read_as_another(stored):
    for key, value in stored.items():
        if key.startswith(("topic/", "registration/")):
            continue  # these end in a text of any length
        for length in range(len(value)):
            with pytest.raises(DataCorrupt, match=key):
                Image(ConfigRules({})).load({**stored, key: value[:length]}.items())
