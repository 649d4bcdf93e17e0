"""The metadata image: everything the store has, in the form that rules and readers want.

It changes only by put and delete of the store's keys, at a start as later, so it is always what a start would build.
On one node the broker leads every partition, with the leader epoch of its last start: a partition has a state of its
own only where its log start was moved.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from tailrace_controller.metadata import format as fmt
from tailrace_controller.metadata.catalog import Catalog
from tailrace_controller.metadata.configs import ConfigRules
from tailrace_core.errors import FormatTooNew, InvalidRequest, UnknownTopicOrPartition
from tailrace_core.ids import NodeId, TopicId
from tailrace_core.membership import Broker, ConfigEntry, ConfigResource, ResourceType, Topic
from tailrace_core.topic_names import check_topic_name

_LOAD_ORDER: Final = (
    "cluster",
    "broker",
    "counter",
    "dynamic_config",
    "topic",
    "config",
    "partition",
    "registration",
    "object",
)
"""Topics inherit from brokers' configs; settings need their topic; the catalog needs the topics, and objects need the
partitions' log starts.
"""


class Image:
    """core.membership.ClusterImage, and the counters and the catalog."""

    def __init__(self, config_rules: ConfigRules) -> None:
        self.config_rules = config_rules
        self.revision = 0
        self.cluster_id = ""
        self._brokers: dict[NodeId, Broker] = {}
        self._counters: dict[str, int] = {}
        self._topics: dict[str, Topic] = {}
        self._topics_by_id: dict[TopicId, Topic] = {}
        self._names_by_collision: dict[str, str] = {}
        self._sorted_topics: tuple[Topic, ...] | None = ()
        self._dynamic_configs: dict[ConfigResource, dict[str, str]] = {}
        """Of brokers, groups and client metrics; topics have theirs."""
        self.catalog = Catalog(self._topics_by_id)

    @property
    def controller_id(self) -> NodeId:
        return next(iter(self._brokers), -1)

    @property
    def leader_epoch(self) -> int:
        return max((broker.leader_epoch for broker in self._brokers.values()), default=-1)

    @property
    def brokers(self) -> Sequence[Broker]:
        return tuple(self._brokers[node_id] for node_id in sorted(self._brokers))

    @property
    def topics(self) -> Sequence[Topic]:
        if self._sorted_topics is None:
            self._sorted_topics = tuple(self._topics[name] for name in sorted(self._topics))
        return self._sorted_topics

    def topic(self, name: str) -> Topic | None:
        return self._topics.get(name)

    def topic_by_id(self, topic_id: TopicId) -> Topic | None:
        return self._topics_by_id.get(topic_id)

    def topic_colliding_with(self, name: str) -> str | None:
        """The topic whose name is the same once '.' is written as '_', as in the names of metrics."""
        return self._names_by_collision.get(name.replace(".", "_"))

    @property
    def dynamic_broker_configs(self) -> Mapping[str, str]:
        return self.config_rules.dynamic

    def config_entries(self, resource: ConfigResource) -> tuple[ConfigEntry, ...]:
        own = self.configs_of(resource)
        match resource.type:
            case ResourceType.TOPIC:
                return self.config_rules.topic_entries(own)
            case ResourceType.BROKER:
                return self.config_rules.broker_entries() if resource.name else self.config_rules.for_all_entries()
            case ResourceType.GROUP:
                return self.config_rules.group_entries(own)
        return self.config_rules.client_metrics_entries(own)

    def config_resources(self, resource_type: ResourceType) -> Sequence[str]:
        return sorted(resource.name for resource in self._dynamic_configs if resource.type is resource_type)

    def configs_of(self, resource: ConfigResource) -> Mapping[str, str]:
        """A resource's own values. Raises UnknownTopicOrPartition, InvalidTopicName and InvalidRequest."""
        match resource.type:
            case ResourceType.TOPIC:
                check_topic_name(resource.name)
                topic = self._topics.get(resource.name)
                if topic is None:
                    raise UnknownTopicOrPartition(f"The topic '{resource.name}' does not exist.")
                return topic.overrides
            case ResourceType.BROKER:
                self._check_broker_name(resource.name)
            case ResourceType.GROUP:
                if not resource.name:
                    raise InvalidRequest("Group name must not be empty: default group resources are not allowed.")
            case ResourceType.CLIENT_METRICS:
                if not resource.name:
                    raise InvalidRequest("Client metrics subscription name must not be empty")
            case _:
                raise InvalidRequest(f"{resource.type.name} resources are not in the metadata")
        return self._dynamic_configs.get(resource, {})

    def _check_broker_name(self, name: str) -> None:
        if not name:
            return
        try:
            node_id = int(name)
        except ValueError:
            raise InvalidRequest(f"Node id must be an integer, but it is: {name}") from None
        if node_id not in self._brokers or str(node_id) != name:
            expected = ", ".join(map(str, self._brokers))
            raise InvalidRequest(f"Unexpected broker id, expected {expected} or empty string, but received {name}")

    def config_key_of(self, resource: ConfigResource) -> str:
        """The store's key of a resource's own values."""
        if resource.type is ResourceType.TOPIC:
            return fmt.config_key(self._topics[resource.name].topic_id)
        return fmt.dynamic_config_key(resource)

    def config_rules_after(self, broker_name: str, configs: Mapping[str, str]) -> ConfigRules:
        """The rules once the configs of a broker, or of all (the empty name), are these. Raises InvalidConfig."""
        broker = ResourceType.BROKER
        own = self._dynamic_configs.get(ConfigResource(broker, str(self.controller_id)), {})
        for_all = self._dynamic_configs.get(ConfigResource(broker, ""), {})
        return self.config_rules.changed(configs if broker_name else own, for_all if broker_name else configs)

    def counter(self, key: str) -> int:
        """The next number that the counter gives out."""
        return self._counters.get(key, 0)

    def load(self, items: Iterable[tuple[str, bytes]]) -> None:
        """Build the image of all that the store has. Raises FormatTooNew and DataCorrupt."""
        by_kind: dict[str, list[tuple[str, bytes]]] = {kind: [] for kind in _LOAD_ORDER}
        for item in items:
            kind = item[0].partition("/")[0]
            if kind not in by_kind:
                raise FormatTooNew(f"the metadata store has a key that this version does not know: {item[0]}")
            by_kind[kind].append(item)
        for kind in _LOAD_ORDER:
            for key, value in by_kind[kind]:
                self.put(key, value)

    def put(self, key: str, value: bytes) -> None:
        match key.partition("/")[0]:
            case "object":
                self.catalog.put_object(fmt.decode_object(key, value))
            case "partition":
                self.catalog.put_partition(key, fmt.decode_partition(key, value))
            case "registration":
                self.catalog.put_registration(fmt.object_id_of_key(key), fmt.decode_registration(key, value))
            case "counter":
                self._counters[key] = fmt.decode_counter(key, value)
            case "topic":
                self._put_topic(fmt.topic_id_of_key(key), *fmt.decode_topic(key, value))
            case "config":
                self._put_config(fmt.topic_id_of_key(key), fmt.decode_config(key, value))
            case "dynamic_config":
                self._put_dynamic_config(fmt.resource_of_key(key), fmt.decode_config(key, value))
            case "broker":
                broker = fmt.decode_broker(key, value)
                self._brokers[broker.node_id] = broker
                self.revision += 1
            case "cluster":
                self.cluster_id = fmt.decode_cluster(key, value)
                self.revision += 1
            case kind:
                raise AssertionError(f"no such kind of key: {kind}")

    def delete(self, key: str) -> None:
        match key.partition("/")[0]:
            case "object":
                self.catalog.delete_object(fmt.object_id_of_key(key))
            case "partition":
                self.catalog.delete_partition(key)
            case "registration":
                self.catalog.delete_registration(fmt.object_id_of_key(key))
            case "topic":
                self._delete_topic(fmt.topic_id_of_key(key))
            case "config":
                self._put_config(fmt.topic_id_of_key(key), {})
            case "dynamic_config":
                self._put_dynamic_config(fmt.resource_of_key(key), {})
            case kind:
                raise AssertionError(f"keys of this kind are never deleted: {kind}")

    def _put_topic(self, topic_id: TopicId, name: str, partition_count: int) -> None:
        known = self._topics_by_id.get(topic_id)
        if known is None:
            self._replace(Topic(name, topic_id, partition_count, {}, self.config_rules.without_overrides))
        else:
            self._replace(known._replace(partition_count=partition_count))

    def _put_config(self, topic_id: TopicId, overrides: dict[str, str]) -> None:
        topic = self._topics_by_id.get(topic_id)
        if topic is not None:
            self._replace(topic._replace(overrides=overrides, configs=self.config_rules.effective(overrides)))

    def _put_dynamic_config(self, resource: ConfigResource, configs: dict[str, str]) -> None:
        if resource.type is ResourceType.BROKER:
            self.config_rules = self.config_rules_after(resource.name, configs)
            for topic in self.topics:
                in_force = self.config_rules.effective(topic.overrides)
                # Topics that keep their settings keep their value, too: caches know them by it.
                if in_force != topic.configs:
                    self._replace(topic._replace(configs=in_force))
        if configs:
            self._dynamic_configs[resource] = configs
        else:
            self._dynamic_configs.pop(resource, None)
        self.revision += 1

    def _replace(self, topic: Topic) -> None:
        self._topics[topic.name] = self._topics_by_id[topic.topic_id] = topic
        self._names_by_collision[topic.name.replace(".", "_")] = topic.name
        self._sorted_topics = None
        self.revision += 1

    def _delete_topic(self, topic_id: TopicId) -> None:
        topic = self._topics_by_id.pop(topic_id)
        del self._topics[topic.name]
        del self._names_by_collision[topic.name.replace(".", "_")]
        self._sorted_topics = None
        self.revision += 1
        self.catalog.drop_topic(topic_id)
