"""Configs beside a model of plain dicts: any order of changes, of any resource, and restarts."""

from itertools import count

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tailrace_controller.metadata import format as fmt
from tailrace_controller.metadata import topics
from tailrace_controller.metadata.config_changes import plan_alter_configs
from tailrace_controller.metadata.configs import ConfigRules
from tailrace_controller.metadata.image import Image
from tailrace_core.errors import TailraceError
from tailrace_core.membership import (
    Broker,
    ConfigChange,
    ConfigChanged,
    ConfigOperation,
    ConfigResource,
    NewTopic,
    ResourceType,
    TopicDefaults,
)

TOPICS = ("a", "b")
STATIC = {"log.retention.hours": "1", "message.max.bytes": "500"}
ALL = ConfigResource(ResourceType.BROKER, "")
OWN = ConfigResource(ResourceType.BROKER, "1")
TOPIC_NAMES = {"retention.ms": "log.retention.ms", "max.message.bytes": "message.max.bytes"}
VALUES = st.one_of(st.none(), st.integers(-3, 9).map(str), st.just("x"))


def changes(names):
    operations = st.sampled_from((ConfigOperation.SET, ConfigOperation.SET, ConfigOperation.DELETE))
    return st.lists(st.builds(ConfigChange, st.sampled_from(names), VALUES, operations), max_size=3)


class ConfigsMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.image = Image(ConfigRules(STATIC))
        self.values = {}
        self.model = {}
        """Resource to its own values."""
        self.seen = {}
        """Topic name to what a subscriber was told last."""

    def run(self, decision):
        for key, value in decision.puts:
            self.values[key] = value
            self.image.put(key, value)
        for key in decision.deletes:
            del self.values[key]
            self.image.delete(key)
        for event in decision.events:
            if isinstance(event, ConfigChanged):
                assert self.seen[event.topic.name] == event.previous
                self.seen[event.topic.name] = event.topic
        return decision.reply

    @initialize()
    def start(self):
        key, value = fmt.broker_key(1), fmt.encode_broker(Broker(1, None, {}, 0, 0))
        self.values[key] = value
        self.image.put(key, value)
        ids = count(1)
        new = [NewTopic(name) for name in TOPICS]
        self.run(topics.plan_create(self.image, new, TopicDefaults(), lambda: next(ids).to_bytes(16, "big"), False))
        self.seen = {topic.name: topic for topic in self.image.topics}

    @rule(name=st.sampled_from(TOPICS), asked=changes((*TOPIC_NAMES, "no.such")), replaces=st.booleans())
    def alter_topic(self, name, asked, replaces):
        self.alter(ConfigResource(ResourceType.TOPIC, name), asked, replaces)

    @rule(
        resource=st.sampled_from((ALL, OWN)),
        asked=changes((*TOPIC_NAMES.values(), "log.retention.hours")),
        replaces=st.booleans(),
    )
    def alter_broker(self, resource, asked, replaces):
        self.alter(resource, asked, replaces)

    @rule(asked=changes(("streams.num.standby.replicas", "no.such")), replaces=st.booleans())
    def alter_group(self, asked, replaces):
        self.alter(ConfigResource(ResourceType.GROUP, "g"), asked, replaces)

    def alter(self, resource, asked, replaces):
        before = dict(self.values)
        try:
            validated = plan_alter_configs(self.image, resource, asked, replaces, True)
            assert not validated.puts
            assert not validated.deletes
            self.run(plan_alter_configs(self.image, resource, asked, replaces, False))
        except TailraceError:
            assert self.values == before
            return
        own = {} if replaces else dict(self.model.get(resource, {}))
        for change in asked:
            own.pop(change.name, None)
            if change.operation is ConfigOperation.SET:
                own[change.name] = change.value
        self.model[resource] = own

    @rule()
    def restart(self):
        self.image = Image(ConfigRules(STATIC))
        self.image.load(self.values.items())

    @invariant()
    def every_topic_has_what_the_layers_say(self):
        for topic in self.image.topics:
            own = self.model.get(ConfigResource(ResourceType.TOPIC, topic.name), {})
            assert topic.overrides == own
            assert topic == self.seen[topic.name]
            for name, found in (
                ("retention.ms", topic.configs.retention_ms),
                ("max.message.bytes", topic.configs.max_message_bytes),
            ):
                assert found == int(own.get(name, self.inherited(TOPIC_NAMES[name])))

    @invariant()
    def a_start_would_build_the_same(self):
        loaded = Image(ConfigRules(STATIC))
        loaded.load(self.values.items())
        assert loaded.topics == self.image.topics
        assert loaded.dynamic_broker_configs == self.image.dynamic_broker_configs
        group = ConfigResource(ResourceType.GROUP, "g")
        for resource in (ALL, OWN, group, *(ConfigResource(ResourceType.TOPIC, name) for name in TOPICS)):
            if resource is OWN and not self.image.brokers:
                continue
            if resource.type is not ResourceType.TOPIC or self.image.topic(resource.name):
                assert loaded.config_entries(resource) == self.image.config_entries(resource)

    def inherited(self, name):
        for resource in (OWN, ALL):
            if name in self.model.get(resource, {}):
                return self.model[resource][name]
        return {"log.retention.ms": 3_600_000, "message.max.bytes": 500}[name]


TestConfigs = ConfigsMachine.TestCase
TestConfigs.settings = settings(max_examples=25, stateful_step_count=20, deadline=None, derandomize=True)
