"""ApiVersions, InitProducerId, DescribeCluster and DescribeProducers, over sockets."""

from typing import Any

import pytest

from tailrace_core.errors import StorageUnavailable
from tailrace_gateway.errors import ErrorCode
from tailrace_gateway.kafka import schema
from tailrace_gateway.kafka.apis import APIS
from tailrace_gateway.kafka.producer_ids import BLOCK_IDS
from tailrace_gateway.kafka.schema.messages.api_versions import ApiVersionsRequest
from tailrace_gateway.kafka.schema.messages.describe_cluster import DescribeClusterRequest
from tailrace_gateway.kafka.schema.messages.describe_producers import DescribeProducersRequest, TopicRequest
from tailrace_gateway.kafka.schema.messages.init_producer_id import InitProducerIdRequest

T0 = 1_700_000_000_000


# --- ApiVersions


@pytest.mark.parametrize("version", range(5))
def test_api_versions_says_what_is_served_and_no_more(broker: Any, version: int) -> None:
    request = ApiVersionsRequest(client_software_name="a-client", client_software_version="1.0")
    response = broker.ask(request, version)
    assert response.error_code == 0
    said = {row.api_key: (row.min_version, row.max_version) for row in response.api_keys}
    served = {api.key: (api.versions[0], api.versions[-1]) for api in APIS}
    assert said == served | {0: (0, 13)}, "Produce is said from 0, or librdkafka drops features"
    for api in APIS:
        assert api.name == schema.API_KEYS[api.key]
        assert set(api.versions) <= set(schema.request(api.key).versions)


@pytest.mark.parametrize("name", ["", "-a", "a-", "a b", "ä"])
def test_a_client_names_its_software_properly(broker: Any, name: str) -> None:
    for fields in ({"client_software_name": name}, {"client_software_version": name}):
        request = ApiVersionsRequest(**{"client_software_name": "a", "client_software_version": "1", **fields})
        assert broker.ask(request, 3).error_code == ErrorCode.INVALID_REQUEST


# --- InitProducerId


@pytest.mark.parametrize("version", range(6))
def test_idempotent_producers_get_new_ids_in_epoch_0(broker: Any, version: int) -> None:
    answers = [broker.ask(InitProducerIdRequest(transactional_id=None), version) for _ in range(3)]
    assert [(answer.error_code, answer.producer_epoch) for answer in answers] == [(0, 0)] * 3
    ids = [answer.producer_id for answer in answers]
    assert ids == list(range(ids[0], ids[0] + 3))


def test_a_producer_that_says_its_last_id_gets_a_new_one(broker: Any) -> None:
    first = broker.ask(InitProducerIdRequest(transactional_id=None), 4).producer_id
    answer = broker.ask(InitProducerIdRequest(transactional_id=None, producer_id=first, producer_epoch=0), 4)
    assert (answer.error_code, answer.producer_epoch) == (0, 0)
    assert answer.producer_id != first


def test_ids_are_taken_from_the_store_in_blocks_and_none_is_given_twice(broker: Any) -> None:
    before = broker.store.revision
    ids = [broker.run(broker.server.services.producer_ids.allocate()) for _ in range(BLOCK_IDS + 1)]
    assert len(set(ids)) == len(ids)
    assert broker.store.revision == before + 2


def test_ids_are_not_given_while_the_store_fails(broker: Any) -> None:
    broker.store.failure = StorageUnavailable("no disk")
    answer = broker.ask(InitProducerIdRequest(transactional_id=None), 4)
    assert (answer.error_code, answer.producer_id) == (ErrorCode.KAFKA_STORAGE_ERROR, -1)
    broker.store.failure = None
    assert broker.ask(InitProducerIdRequest(transactional_id=None), 4).error_code == 0


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"transactional_id": "t"}, ErrorCode.COORDINATOR_NOT_AVAILABLE),
        ({"transactional_id": ""}, ErrorCode.INVALID_REQUEST),
        ({"transactional_id": None, "producer_id": 5}, ErrorCode.INVALID_REQUEST),
        ({"transactional_id": None, "producer_epoch": 0}, ErrorCode.INVALID_REQUEST),
    ],
)
def test_no_id_for_what_contradicts_itself_or_is_not_built(
    broker: Any, fields: dict[str, Any], code: ErrorCode
) -> None:
    answer = broker.ask(InitProducerIdRequest(**fields), 4)
    assert (answer.error_code, answer.producer_id, answer.producer_epoch) == (code, -1, -1)


# --- DescribeCluster


@pytest.mark.parametrize("version", range(3))
@pytest.mark.parametrize("listener", ["PLAINTEXT", "EXTERNAL"])
def test_the_cluster_has_the_addresses_of_the_listener(broker: Any, version: int, listener: str) -> None:
    response = broker.ask(DescribeClusterRequest(), version, listener=listener)
    assert (response.error_code, response.controller_id) == (0, 7)
    assert response.cluster_id == broker.membership.image.cluster_id
    assert response.cluster_authorized_operations == -(2**31)
    (node,) = response.brokers
    assert (node.broker_id, node.rack, node.is_fenced) == (7, "rack-a", False)
    assert (node.host, node.port) == (f"{listener.lower()}.example", broker.ports[listener])


def test_authorized_operations_are_told_when_asked_for(broker: Any) -> None:
    response = broker.ask(DescribeClusterRequest(include_cluster_authorized_operations=True), 1)
    assert response.cluster_authorized_operations == 0b1_1111_1010_0000


def test_only_brokers_have_endpoints(broker: Any) -> None:
    for endpoint_type, code in ((2, ErrorCode.MISMATCHED_ENDPOINT_TYPE), (3, ErrorCode.UNSUPPORTED_ENDPOINT_TYPE)):
        response = broker.ask(DescribeClusterRequest(endpoint_type=endpoint_type), 1)
        assert (response.error_code, response.brokers) == (code, [])
        assert response.error_message


# --- DescribeProducers


def test_the_producers_that_a_partition_remembers(broker: Any, record_batch: Any) -> None:
    broker.topic("x", 2)
    broker.produce("x", record_batch([T0, T0 + 9], producer=(5, 1, 0)))
    broker.produce("x", record_batch([T0 + 3], producer=(5, 1, 2)))
    broker.produce("x", record_batch([T0 + 1], producer=(6, 0, 0)))
    broker.produce("x", record_batch([T0 + 2]))
    asked = DescribeProducersRequest(topics=[TopicRequest(name="x", partition_indexes=[0, 1, 2])])
    (topic,) = broker.ask(asked, 0).topics
    first, empty, missing = topic.partitions
    assert [
        (one.producer_id, one.producer_epoch, one.last_sequence, one.last_timestamp) for one in first.active_producers
    ] == [(5, 1, 2, T0 + 3), (6, 0, 0, T0 + 1)]
    for one in first.active_producers:
        assert one.coordinator_epoch == one.current_txn_start_offset == -1
    assert (empty.error_code, empty.active_producers) == (0, [])
    assert missing.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert missing.error_message
