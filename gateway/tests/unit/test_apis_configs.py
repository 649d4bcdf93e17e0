"""DescribeConfigs, AlterConfigs, IncrementalAlterConfigs, ListConfigResources over sockets; the table behind them."""

import logging
from typing import Any

import pytest

from tailrace_core.config_states import ConfigState
from tailrace_core.errors import StorageUnavailable
from tailrace_core.kafka_configs import UpdateMode, definitions, static_broker_configs
from tailrace_core.membership import ResourceType
from tailrace_core.settings import Settings
from tailrace_core.settings_load import PLACES, load
from tailrace_gateway.errors import ErrorCode
from tailrace_gateway.kafka.schema.messages import alter_configs, incremental_alter_configs
from tailrace_gateway.kafka.schema.messages.describe_configs import DescribeConfigsRequest, DescribeConfigsResource
from tailrace_gateway.kafka.schema.messages.list_config_resources import ListConfigResourcesRequest

NODE = "7"
SET, DELETE, APPEND, SUBTRACT = range(4)


def describe(broker: Any, kind: ResourceType, name: str, *keys: str, version: int = 4) -> Any:
    asked = DescribeConfigsResource(
        resource_type=kind, resource_name=name, configuration_keys=list(keys) if keys else None
    )
    request = DescribeConfigsRequest(resources=[asked], include_synonyms=True, include_documentation=True)
    (result,) = broker.ask(request, version).results
    return result


def value(broker: Any, kind: ResourceType, name: str, key: str) -> tuple[str | None, int]:
    result = describe(broker, kind, name, key)
    assert result.error_code == 0, result.error_message
    (found,) = result.configs
    return found.value, found.config_source


def alter(broker: Any, kind: int, name: str, *changes: tuple[str, int, str | None], validate_only: bool = False) -> Any:
    configs = [
        incremental_alter_configs.AlterableConfig(name=key, config_operation=operation, value=text)
        for key, operation, text in changes
    ]
    resource = incremental_alter_configs.AlterConfigsResource(resource_type=kind, resource_name=name, configs=configs)
    request = incremental_alter_configs.IncrementalAlterConfigsRequest(
        resources=[resource], validate_only=validate_only
    )
    (answer,) = broker.ask(request, 1).responses
    return answer


def replace(broker: Any, kind: int, name: str, *configs: tuple[str, str | None]) -> Any:
    listed = [alter_configs.AlterableConfig(name=key, value=text) for key, text in configs]
    resource = alter_configs.AlterConfigsResource(resource_type=kind, resource_name=name, configs=listed)
    (answer,) = broker.ask(alter_configs.AlterConfigsRequest(resources=[resource], validate_only=False), 2).responses
    return answer


@pytest.mark.parametrize("kind", [kind for kind in ResourceType if kind is not ResourceType.BROKER_LOGGER])
def test_every_config_has_a_state_a_sentence_and_an_allowed_default(kind: ResourceType) -> None:
    for name, definition in definitions(kind).items():
        assert definition.name == name
        assert definition.state is not ConfigState.UNSAID
        assert definition.about.endswith(".")
        if definition.default is not None:
            definition.parse(definition.default)
            assert definition.shown(definition.default) == definition.default


def test_every_setting_is_a_broker_config() -> None:
    places = [one.place for one in definitions(ResourceType.BROKER).values() if one.place is not None]
    assert sorted(places) == sorted(set(PLACES.values()))


def test_topics_defaults_are_those_of_the_brokers_settings() -> None:
    brokers = definitions(ResourceType.BROKER)
    for definition in definitions(ResourceType.TOPIC).values():
        if len(definition.broker_names) == 1:
            assert definition.default == brokers[definition.broker_names[0]].default, definition.name


def test_what_may_change_at_run_time_is_dynamic_as_in_kafka() -> None:
    brokers = definitions(ResourceType.BROKER)
    assert brokers["max.connections"].update_mode is UpdateMode.CLUSTER_WIDE
    assert brokers["num.partitions"].update_mode is UpdateMode.READ_ONLY
    assert all(one.update_mode is UpdateMode.READ_ONLY for name, one in brokers.items() if name.startswith("tailrace."))


def test_kafkas_settings_without_effect_are_taken_and_shown() -> None:
    settings = load(None, {}, ["num.network.threads=7"])
    assert settings.without_effect == {"num.network.threads": "7"}
    assert static_broker_configs(settings) == {"num.network.threads": "7"}
    assert settings.kafka == Settings().kafka


def test_the_broker_shows_its_settings_with_their_sources_and_documentation(broker: Any) -> None:
    found = {one.name: one for one in describe(broker, ResourceType.BROKER, NODE).configs}
    assert (found["num.partitions"].value, found["num.partitions"].config_source) == ("2", 4)
    assert found["num.partitions"].documentation == "Partitions of a topic whose creator does not say."
    assert (found["tailrace.wal.sync"].value, found["tailrace.wal.sync"].read_only) == ("always", True)
    assert found["log.cleaner.threads"].documentation.startswith("Accepted without effect: ")
    assert found["ssl.protocol"].documentation.startswith("Refused: ")
    assert found["ssl.protocol"].read_only


def test_a_compacted_topic_says_that_it_keeps_everything(broker: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        broker.topic("x", configs={"cleanup.policy": "compact"})
        broker.topic("y")
        assert alter(broker, ResourceType.TOPIC, "y", ("cleanup.policy", APPEND, "compact")).error_code == 0
    assert [record.getMessage().split()[1] for record in caplog.records] == ["x", "y"]
    (policy,) = describe(broker, ResourceType.TOPIC, "x", "cleanup.policy").configs
    assert "everything is kept" in policy.documentation


def test_a_topic_follows_its_own_and_the_brokers_changes(broker: Any) -> None:
    broker.topic("x")
    assert alter(broker, ResourceType.BROKER, "", ("log.retention.ms", SET, "50")).error_code == 0
    assert broker.engine.partition("x", 0).configs.retention_ms == 50
    assert alter(broker, ResourceType.TOPIC, "x", ("retention.ms", SET, "60")).error_code == 0
    assert broker.engine.partition("x", 0).configs.retention_ms == 60
    assert value(broker, ResourceType.TOPIC, "x", "retention.ms") == ("60", 1)
    assert replace(broker, ResourceType.TOPIC, "x").error_code == 0
    assert value(broker, ResourceType.TOPIC, "x", "retention.ms") == ("50", 3)


def test_limits_of_connections_follow(broker: Any) -> None:
    dynamic = broker.server.services.dynamic
    assert alter(broker, ResourceType.BROKER, "", ("max.connections", SET, "100")).error_code == 0
    overrides = ("max.connections.per.ip.overrides", SET, "[::1]:3, 127.0.0.1:9")
    assert alter(broker, ResourceType.BROKER, NODE, ("max.connections", SET, "90"), overrides).error_code == 0
    assert dynamic.connections_max == 90
    assert dict(dynamic.connections_per_ip_overrides) == {"::1": 3, "127.0.0.1": 9}
    assert alter(broker, ResourceType.BROKER, NODE, ("max.connections", DELETE, None)).error_code == 0
    assert dynamic.connections_max == 100


def test_what_is_not_allowed_is_refused_with_what_is(broker: Any) -> None:
    broker.topic("x")
    for answer, code, text in (
        (alter(broker, 2, "x", ("retention.ms", 9, "1")), ErrorCode.INVALID_REQUEST, "0 (SET)"),
        (alter(broker, 99, "x"), ErrorCode.INVALID_REQUEST, "2 (topic)"),
        (alter(broker, 2, "x", ("tailrace.durability", SET, "object")), ErrorCode.INVALID_CONFIG, "local"),
        (alter(broker, 4, "8", ("log.retention.ms", SET, "1")), ErrorCode.INVALID_REQUEST, "expected 7"),
        (alter(broker, 4, NODE, ("log.dir", SET, "/")), ErrorCode.INVALID_REQUEST, "dynamically: [log.dir]"),
        (alter(broker, 4, NODE, ("no.such", SET, "1")), ErrorCode.INVALID_REQUEST, "Unknown broker config name"),
        (replace(broker, 8, NODE, ("root", "INFO")), ErrorCode.INVALID_REQUEST, "IncrementalAlterConfigs"),
        (replace(broker, 2, "y"), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "'y'"),
    ):
        assert answer.error_code == code, answer
        assert text in answer.error_message


def test_a_store_that_fails_is_told_and_changes_nothing(broker: Any) -> None:
    broker.topic("x")
    broker.store.failure = StorageUnavailable("disk full")
    assert alter(broker, ResourceType.TOPIC, "x", ("retention.ms", SET, "1")).error_code == (
        ErrorCode.KAFKA_STORAGE_ERROR
    )
    assert value(broker, ResourceType.TOPIC, "x", "retention.ms") == ("604800000", 5)


def test_levels_of_loggers(broker: Any) -> None:
    logger = logging.getLogger("tailrace_test.levels")
    kind = ResourceType.BROKER_LOGGER
    logger.setLevel(logging.ERROR)
    assert value(broker, kind, NODE, logger.name) == ("ERROR", 6)
    assert alter(broker, kind, NODE, (logger.name, SET, "DEBUG"), validate_only=True).error_code == 0
    assert logger.level == logging.ERROR
    assert alter(broker, kind, NODE, (logger.name, SET, "TRACE")).error_code == 0
    assert (value(broker, kind, NODE, logger.name), logger.level) == (("TRACE", 6), 5)
    assert alter(broker, kind, NODE, (logger.name, DELETE, None)).error_code == 0
    assert logger.level == logging.NOTSET
    refused = alter(broker, kind, NODE, (logger.name, SET, "LOUD"))
    assert (refused.error_code, "FATAL, ERROR, WARN" in refused.error_message) == (ErrorCode.INVALID_CONFIG, True)
    twice = alter(broker, kind, NODE, (logger.name, SET, "INFO"), (logger.name, SET, "WARN"))
    assert twice.error_code == ErrorCode.INVALID_REQUEST
    assert logger.level == logging.NOTSET


@pytest.mark.parametrize("version", range(2))
def test_resources_with_configs_are_listed(broker: Any, version: int) -> None:
    broker.topic("x")
    assert alter(broker, ResourceType.GROUP, "g/1", ("consumer.session.timeout.ms", SET, "50000")).error_code == 0
    assert alter(broker, ResourceType.CLIENT_METRICS, "m", ("interval.ms", SET, "1000")).error_code == 0
    answer = broker.ask(ListConfigResourcesRequest(resource_types=[]), version)
    found = [(one.resource_type, one.resource_name) for one in answer.config_resources]
    everything = [(32, "g/1"), (16, "m"), (8, NODE), (4, NODE), (2, "x")]
    assert found == (everything if version else [(16, "m")])
