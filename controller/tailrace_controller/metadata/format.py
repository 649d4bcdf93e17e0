"""Keys and values of the metadata store.

    cluster                          the cluster id
    broker/<node id>                 rack, endpoints, broker epoch, leader epoch
    counter/<name>                   the next number to give out
    topic/<topic id>                 name and partition count; it implies the partitions
    config/topic/<topic id>          the topic's own settings, where it has any
    dynamic_config/<kind>/<name>     the same of a broker, a group or client metrics; of all brokers: no name
    partition/<topic id>/<n>         log start and committed end, where the log start was moved
    registration/<object id>         an upload under way
    object/<object id>               an object and its extents; or, once nothing refers to it, since when.
                                     Format 2 is that of an object whose extents took the place of others

Every value starts with a byte that names its format; a larger one was written by a newer program and is refused. Small
rare things are JSON, the others are packed little-endian. Object ids are 16 hexadecimal digits, topic ids Kafka's text.
"""

import json
from collections.abc import Mapping, Sequence
from struct import Struct
from struct import error as StructError
from typing import Any, Final, NamedTuple

from tailrace_core.errors import DataCorrupt, FormatTooNew
from tailrace_core.extents import Extent
from tailrace_core.ids import NodeId, TopicId, topic_id_from_text, topic_id_text
from tailrace_core.membership import Broker, ConfigResource, Endpoint, ObjectRef, ResourceType

FORMAT: Final = 1
"""Of all kinds of values."""
REPLACEMENT_FORMAT: Final = 2
"""Of objects alone: a generation follows the fixed part."""

CLUSTER_KEY: Final = "cluster"
LEADER_EPOCH: Final = "counter/leader_epoch"
BROKER_EPOCH: Final = "counter/broker_epoch"
PRODUCER_ID: Final = "counter/producer_id"
OBJECT_ID: Final = "counter/object_id"

_COUNTER: Final = Struct("<BQ")
_TOPIC: Final = Struct("<BI")
_PARTITION: Final = Struct("<BQQ")
_REGISTRATION: Final = Struct("<Bq")
_OBJECT: Final = Struct("<BqQHHH")
"""Format, unreferenced since (-1: it is referred to), size, bytes of its key, topic ids, extents."""
_GENERATION: Final = Struct("<I")
EXTENT: Final = Struct("<HIIQQqIIII")
"""Place of the topic id in the object's table, then the fields of Extent. 50 bytes."""
_TOPIC_ID_BYTES: Final = 16


class PartitionState(NamedTuple):
    log_start_offset: int
    committed_end: int


class Registration(NamedTuple):
    expires_at_ms: int
    key: str


class ObjectValue(NamedTuple):
    """An object; packed holds its extents, or none when unreferenced_since_ms is not -1."""

    ref: ObjectRef
    unreferenced_since_ms: int
    generation: int
    topic_ids: tuple[TopicId, ...]
    packed: bytes


def broker_key(node_id: NodeId) -> str:
    return f"broker/{node_id}"


def topic_key(topic_id: TopicId) -> str:
    return f"topic/{topic_id_text(topic_id)}"


def config_key(topic_id: TopicId) -> str:
    return f"config/topic/{topic_id_text(topic_id)}"


def dynamic_config_key(resource: ConfigResource) -> str:
    return f"dynamic_config/{resource.type.name.lower()}/{resource.name}"


def partition_key(topic_id: TopicId, partition: int) -> str:
    return f"partition/{topic_id_text(topic_id)}/{partition}"


def registration_key(object_id: int) -> str:
    return f"registration/{object_id:016x}"


def object_key(object_id: int) -> str:
    return f"object/{object_id:016x}"


def topic_id_of_key(key: str) -> TopicId:
    """Of a topic or config key."""
    return topic_id_from_text(key.rpartition("/")[2])


def resource_of_key(key: str) -> ConfigResource:
    """Of a dynamic_config key; a group's name may have slashes. Raises FormatTooNew for a kind that is not known."""
    _, kind, name = key.split("/", 2)
    try:
        return ConfigResource(ResourceType[kind.upper()], name)
    except KeyError:
        raise FormatTooNew(f"the metadata store has a key that this version does not know: {key}") from None


def partition_of_key(key: str) -> tuple[TopicId, int]:
    _, topic_id, partition = key.split("/")
    return topic_id_from_text(topic_id), int(partition)


def object_id_of_key(key: str) -> int:
    """Of an object or registration key."""
    return int(key.rpartition("/")[2], 16)


def _checked(key: str, value: bytes, newest: int = FORMAT) -> bytes:
    if not value or value[0] == 0:
        raise DataCorrupt(f"the metadata store's value of {key} has no format")
    if value[0] > newest:
        raise FormatTooNew(
            f"the metadata store's value of {key} has format {value[0]}, this version reads up to {newest}"
        )
    return value


def _unpack(layout: Struct, key: str, value: bytes, newest: int = FORMAT) -> tuple[Any, ...]:
    try:
        return layout.unpack_from(_checked(key, value, newest))
    except StructError as error:
        raise DataCorrupt(f"the metadata store's value of {key} is cut short") from error


def _from_json(key: str, value: bytes) -> Any:
    try:
        return json.loads(_checked(key, value)[1:])
    except ValueError as error:
        raise DataCorrupt(f"the metadata store's value of {key} is not readable: {error}") from error


def _to_json(value: Any) -> bytes:
    return bytes([FORMAT]) + json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def encode_cluster(cluster_id: str) -> bytes:
    return _to_json({"cluster_id": cluster_id})


def decode_cluster(key: str, value: bytes) -> str:
    return str(_from_json(key, value)["cluster_id"])


def encode_broker(broker: Broker) -> bytes:
    return _to_json(broker._asdict())


def decode_broker(key: str, value: bytes) -> Broker:
    fields = _from_json(key, value)
    fields["endpoints"] = {name: Endpoint(*endpoint) for name, endpoint in fields["endpoints"].items()}
    return Broker(**fields)


def encode_counter(following: int) -> bytes:
    return _COUNTER.pack(FORMAT, following)


def decode_counter(key: str, value: bytes) -> int:
    return int(_unpack(_COUNTER, key, value)[1])


def encode_topic(name: str, partition_count: int) -> bytes:
    return _TOPIC.pack(FORMAT, partition_count) + name.encode()


def decode_topic(key: str, value: bytes) -> tuple[str, int]:
    """Name and partition count."""
    _, partition_count = _unpack(_TOPIC, key, value)
    return value[_TOPIC.size :].decode(), partition_count


def encode_config(overrides: Mapping[str, str]) -> bytes:
    return _to_json(dict(overrides))


def decode_config(key: str, value: bytes) -> dict[str, str]:
    return dict(_from_json(key, value))


def encode_partition(state: PartitionState) -> bytes:
    return _PARTITION.pack(FORMAT, *state)


def decode_partition(key: str, value: bytes) -> PartitionState:
    return PartitionState(*_unpack(_PARTITION, key, value)[1:])


def encode_registration(registration: Registration) -> bytes:
    return _REGISTRATION.pack(FORMAT, registration.expires_at_ms) + registration.key.encode()


def decode_registration(key: str, value: bytes) -> Registration:
    return Registration(_unpack(_REGISTRATION, key, value)[1], value[_REGISTRATION.size :].decode())


def encode_object(ref: ObjectRef, extents: Sequence[Extent], generation: int = 0) -> bytes:
    """An object that extents refer to. generation: see core.membership.PlacedExtent."""
    places = {topic_id: place for place, topic_id in enumerate(dict.fromkeys(extent[0] for extent in extents))}
    object_name = ref.key.encode()
    form = REPLACEMENT_FORMAT if generation else FORMAT
    parts = [_OBJECT.pack(form, -1, ref.size, len(object_name), len(places), len(extents))]
    if generation:
        parts.append(_GENERATION.pack(generation))
    parts += [object_name, *places]
    parts += [EXTENT.pack(places[extent[0]], *extent[1:]) for extent in extents]
    return b"".join(parts)


def encode_unreferenced(ref: ObjectRef, since_ms: int) -> bytes:
    """The stub of an object that is to be deleted."""
    object_name = ref.key.encode()
    return _OBJECT.pack(FORMAT, since_ms, ref.size, len(object_name), 0, 0) + object_name


def decode_object(key: str, value: bytes) -> ObjectValue:
    form, since_ms, size, name_bytes, topic_count, extent_count = _unpack(_OBJECT, key, value, REPLACEMENT_FORMAT)
    name_start = _OBJECT.size + (_GENERATION.size if form == REPLACEMENT_FORMAT else 0)
    name_end = name_start + name_bytes
    topics_end = name_end + topic_count * _TOPIC_ID_BYTES
    if len(value) != topics_end + extent_count * EXTENT.size:
        raise DataCorrupt(f"the metadata store's value of {key} has {len(value)} bytes, not what it claims")
    generation = _GENERATION.unpack_from(value, _OBJECT.size)[0] if form == REPLACEMENT_FORMAT else 0
    ref = ObjectRef(object_id_of_key(key), value[name_start:name_end].decode(), size)
    topic_ids = tuple(
        [value[start : start + _TOPIC_ID_BYTES] for start in range(name_end, topics_end, _TOPIC_ID_BYTES)]
    )
    return ObjectValue(ref, since_ms, generation, topic_ids, value[topics_end:])
