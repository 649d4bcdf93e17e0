"""Configs by the admin clients that can describe and alter them: of topics, of the broker, of groups."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

import aiokafka.admin
import confluent_kafka.admin as confluent
import kafka.admin
import pytest
from aiokafka.admin.config_resource import ConfigResource as AioResource
from aiokafka.admin.config_resource import ConfigResourceType as AioType
from harness import wire
from harness.process import Broker, poll
from kafka.admin import ConfigResource as PythonResource
from kafka.admin import ConfigResourceType as PythonType

TIMEOUT = 20


class Admin(Protocol):
    def describe(self, bootstrap: str, kind: str, name: str) -> Mapping[str, str | None]:
        """All configs and their values."""

    def alter(self, bootstrap: str, kind: str, name: str, configs: Mapping[str, str]) -> None:
        """Set configs. Raises the client's error."""


class Confluent:
    """librdkafka: IncrementalAlterConfigs."""

    def describe(self, bootstrap: str, kind: str, name: str) -> Mapping[str, str | None]:
        resource = confluent.ConfigResource(kind, name)
        client = confluent.AdminClient({"bootstrap.servers": bootstrap})
        (future,) = client.describe_configs([resource]).values()
        return {key: entry.value for key, entry in future.result(TIMEOUT).items()}

    def alter(self, bootstrap: str, kind: str, name: str, configs: Mapping[str, str]) -> None:
        set_it = confluent.AlterConfigOpType.SET
        entries = [confluent.ConfigEntry(key, value, incremental_operation=set_it) for key, value in configs.items()]
        resource = confluent.ConfigResource(kind, name, incremental_configs=entries)
        client = confluent.AdminClient({"bootstrap.servers": bootstrap})
        (future,) = client.incremental_alter_configs([resource]).values()
        future.result(TIMEOUT)


class KafkaPython:
    def describe(self, bootstrap: str, kind: str, name: str) -> Mapping[str, str | None]:
        client = kafka.admin.KafkaAdminClient(bootstrap_servers=bootstrap)
        try:
            found = client.describe_configs([PythonResource(PythonType[kind.upper()], name)], config_filter="all")
        finally:
            client.close()
        configs = found[kind][name]
        return {key: entry["value"] for key, entry in configs.items()}

    def alter(self, bootstrap: str, kind: str, name: str, configs: Mapping[str, str]) -> None:
        client = kafka.admin.KafkaAdminClient(bootstrap_servers=bootstrap)
        try:
            answer = client.alter_configs([PythonResource(PythonType[kind.upper()], name, dict(configs))])
        finally:
            client.close()
        if answer[kind][name] not in (None, "OK"):
            raise RuntimeError(f"{answer[kind][name]}")


class Aiokafka:
    """AlterConfigs: what is not named goes."""

    def describe(self, bootstrap: str, kind: str, name: str) -> Mapping[str, str | None]:
        async def ask(client: aiokafka.admin.AIOKafkaAdminClient) -> Mapping[str, str | None]:
            (answer,) = await client.describe_configs([AioResource(AioType[kind.upper()], name)])
            ((code, message, _, _, configs),) = answer.resources
            assert code == 0, message
            return {entry[0]: entry[1] for entry in configs}

        return self._run(bootstrap, ask)

    def alter(self, bootstrap: str, kind: str, name: str, configs: Mapping[str, str]) -> None:
        async def ask(client: aiokafka.admin.AIOKafkaAdminClient) -> None:
            (answer,) = await client.alter_configs([AioResource(AioType[kind.upper()], name, dict(configs))])
            for code, message, *_ in answer.resources:
                if code:
                    raise RuntimeError(f"{code} {message}")

        self._run(bootstrap, ask)

    def _run(self, bootstrap: str, ask: Callable[[aiokafka.admin.AIOKafkaAdminClient], object]) -> object:
        async def run() -> object:
            client = aiokafka.admin.AIOKafkaAdminClient(bootstrap_servers=bootstrap)
            await client.start()
            try:
                return await ask(client)
            finally:
                await client.close()

        return asyncio.run(run())


every_admin = pytest.mark.parametrize(
    "admin", [Confluent(), KafkaPython(), Aiokafka()], ids=lambda one: type(one).__name__
)


@every_admin
def test_a_topics_configs_are_described_and_altered(broker: Broker, topic: str, admin: Admin) -> None:
    before = admin.describe(broker.bootstrap, "topic", topic)
    assert len(before) >= 33
    assert before["retention.ms"] == "604800000"
    admin.alter(broker.bootstrap, "topic", topic, {"retention.ms": "5000", "cleanup.policy": "compact"})
    poll(
        "a changed topic", lambda: admin.describe(broker.bootstrap, "topic", topic)["retention.ms"] == "5000", every=0.1
    )
    assert admin.describe(broker.bootstrap, "topic", topic)["cleanup.policy"] == "compact"


@every_admin
def test_a_value_that_is_not_allowed_is_an_error(broker: Broker, topic: str, admin: Admin) -> None:
    with pytest.raises(Exception, match=r"(?i)retention\.ms|invalid.?config|40"):
        admin.alter(broker.bootstrap, "topic", topic, {"retention.ms": "soon"})
    assert admin.describe(broker.bootstrap, "topic", topic)["retention.ms"] == "604800000"


@every_admin
def test_the_brokers_configs_are_described(broker: Broker, connection: wire.Connection, admin: Admin) -> None:
    node = str(connection.metadata([]).brokers[0].node_id)
    found = admin.describe(broker.bootstrap, "broker", node)
    assert len(found) >= 340
    assert found["node.id"] == node
    assert found["ssl.keystore.password"] is None


def test_librdkafka_appends_to_lists_and_deletes(broker: Broker, topic: str) -> None:
    client = confluent.AdminClient({"bootstrap.servers": broker.bootstrap})

    def change(operation: confluent.AlterConfigOpType, value: str | None) -> None:
        entry = confluent.ConfigEntry("cleanup.policy", value, incremental_operation=operation)
        resource = confluent.ConfigResource("topic", topic, incremental_configs=[entry])
        (future,) = client.incremental_alter_configs([resource]).values()
        future.result(TIMEOUT)

    def policy() -> str | None:
        return Confluent().describe(broker.bootstrap, "topic", topic)["cleanup.policy"]

    change(confluent.AlterConfigOpType.APPEND, "compact")
    poll("both policies", lambda: policy() == "delete,compact", every=0.1)
    change(confluent.AlterConfigOpType.SUBTRACT, "delete")
    poll("one policy", lambda: policy() == "compact", every=0.1)
    change(confluent.AlterConfigOpType.DELETE, None)
    poll("the default", lambda: policy() == "delete", every=0.1)
