"""Topics by each client's admin API."""

from __future__ import annotations

import pytest
from clients.all_clients import CLIENTS
from clients.drivers import DRIVERS, Driver
from harness import wire
from harness.batches import Record
from harness.process import Broker, poll

ADMINS = [driver for driver in CLIENTS if "admin" not in driver.lacks]
every_admin = pytest.mark.parametrize("driver", ADMINS, ids=lambda driver: driver.name)


@every_admin
def test_a_topic_is_created_grown_and_deleted(broker: Broker, topic_name: str, driver: Driver) -> None:
    address = broker.bootstrap
    driver.create_topic(address, topic_name, 3, {"retention.ms": "3600000"})
    poll("three partitions", lambda: driver.partition_count(address, topic_name) == 3, every=0.1)
    driver.create_partitions(address, topic_name, 5)
    poll("five partitions", lambda: driver.partition_count(address, topic_name) == 5, every=0.1)
    driver.produce(address, topic_name, 4, [Record(b"in the new partition", b"k")])
    assert driver.consume(address, topic_name, 4, 1)[0].value == b"in the new partition"
    driver.delete_topic(address, topic_name)
    poll("no such topic", lambda: driver.partition_count(address, topic_name) is None, every=0.1)


@every_admin
def test_creating_a_topic_twice_is_an_error(broker: Broker, topic: str, driver: Driver) -> None:
    with pytest.raises(Exception, match=r"(?i)exists"):
        driver.create_topic(broker.bootstrap, topic, 1, {})


@every_admin
def test_an_unknown_config_is_an_error(broker: Broker, topic_name: str, driver: Driver) -> None:
    with pytest.raises(Exception, match=r"(?i)no.such.config|INVALID_CONFIG|InvalidConfig|40"):
        driver.create_topic(broker.bootstrap, topic_name, 1, {"no.such.config": "1"})


def test_kcat_lists_topics_and_partitions(broker: Broker, connection: wire.Connection, topic_name: str) -> None:
    topic = connection.create_usable_topic(topic_name, 7)
    assert DRIVERS[0].partition_count(broker.bootstrap, topic) == 7
