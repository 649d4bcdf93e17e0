"""From a key and a version to what serves it."""

from typing import Any

import pytest

from tailrace_gateway.kafka import schema
from tailrace_gateway.kafka.apis import APIS
from tailrace_gateway.kafka.routes import Api, Routes
from tailrace_gateway.kafka.schema.messages.fetch import (
    FetchableTopicResponse,
    FetchResponse,
    PartitionData,
)

MANY = [(api, version) for api in APIS for version in api.versions]


def routes(*apis: Api) -> Routes:
    return Routes(apis or APIS, lambda api: lambda reply, request: None)


def test_only_what_is_in_the_table_is_found() -> None:
    table = routes()
    for key in range(-2, 100):
        for version in (-1, *range(20), 127, 32767):
            api = table.apis.get(key)
            assert (table.find(key, version) is not None) == (api is not None and version in api.versions)


def test_each_key_is_served_by_one_api_which_answers_in_one_way() -> None:
    assert len({api.key for api in APIS}) == len(APIS)
    for api in APIS:
        assert (api.handle is None) != (api.direct is None)


@pytest.mark.parametrize(("api", "version"), MANY, ids=[f"{api.name}-{version}" for api, version in MANY])
def test_each_version_has_its_codec_and_headers(api: Api, version: int) -> None:
    route = routes().find(api.key, version)
    assert route is not None
    request = schema.request(api.key)()
    encoded = type(request).encoder(version)(request)
    decoded, end = route.decode(memoryview(encoded), 0)
    assert end == len(encoded)
    assert type(decoded) is type(request)
    response: Any = schema.response(api.key)
    assert b"".join(route.encode_parts(response())) == response.encoder(version)(response())
    assert route.flexible_header == (schema.request_header_version(api.key, version) == 2)
    assert route.response_header.size == 8 + schema.response_header_version(api.key, version)


def test_a_route_is_made_once_and_known_as_used() -> None:
    table = routes()
    assert table.used() == []
    route = table.find(3, 9)
    assert table.find(3, 9) is route
    assert table.used() == [route]


def test_the_lowest_route_is_the_oldest_version() -> None:
    lowest = routes().lowest(18)
    assert lowest is not None
    assert lowest.version == 0
    assert routes().lowest(999) is None


def test_records_of_a_fetch_are_sent_as_they_are() -> None:
    route = routes().find(1, 12)
    assert route is not None
    records = schema.RecordBuffers([b"a" * 100, b"b" * 50], 150)
    data = PartitionData(partition_index=0, high_watermark=1, records=records)
    parts = route.encode_parts(FetchResponse(responses=[FetchableTopicResponse(topic="x", partitions=[data])]))
    assert any(part is records.parts[0] for part in parts)
