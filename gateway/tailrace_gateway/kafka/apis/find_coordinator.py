"""FindCoordinator (key 10), versions 0-6.

v1 transaction coordinators, error message · v4 several keys, an answer for each (KIP-699) · v6 share groups (KIP-932)
This broker coordinates all groups. The topic that keeps them is created when somebody first asks, and the answer waits
for it (Kafka lets the client ask again).
Not done: coordinators of transactions and share groups. Their keys get COORDINATOR_NOT_AVAILABLE, which clients retry.
"""

import re
from collections.abc import Awaitable
from typing import Final

from tailrace_core.errors import CoordinatorNotAvailable, InvalidRequest, TailraceError
from tailrace_gateway.errors import kafka_code
from tailrace_gateway.kafka.context import Call
from tailrace_gateway.kafka.routes import Api
from tailrace_gateway.kafka.schema.messages.find_coordinator import (
    Coordinator,
    FindCoordinatorRequest,
    FindCoordinatorResponse,
)
from tailrace_gateway.kafka.schema.messages.metadata import MetadataResponseBroker

_KEYS_FROM: Final = 4
_GROUP: Final = 0
_SHARE: Final = 2
_KEY_TYPE_FROM: Final = {_GROUP: 0, 1: 1, _SHARE: 6}
"""Groups, transactions, share groups: the version from which each may be asked for."""
_SHARE_KEY: Final = re.compile(r".+:[\w-]{22}:\d+", re.ASCII | re.DOTALL)
"""Group, topic id in base64, partition."""
_NO_NODE: Final = MetadataResponseBroker(node_id=-1, host="", port=-1)


def handle(call: Call, request: FindCoordinatorRequest) -> FindCoordinatorResponse | Awaitable[FindCoordinatorResponse]:
    services = call.services
    if request.key_type == _GROUP and services.membership.image.topic(services.groups.topic_name) is None:
        return _create_topic(call, request)
    return _answer(call, request)


async def _create_topic(call: Call, request: FindCoordinatorRequest) -> FindCoordinatorResponse:
    try:
        await call.services.groups.ensure_topic()
    except TailraceError as error:
        return _answer(call, request, CoordinatorNotAvailable(f"the topic of groups was not created: {error}"))
    return _answer(call, request)


def _answer(
    call: Call, request: FindCoordinatorRequest, unavailable: TailraceError | None = None
) -> FindCoordinatorResponse:
    if call.version < _KEYS_FROM:
        node, error = _find(call, request.key_type, request.key, unavailable)
        return FindCoordinatorResponse(
            error_code=0 if error is None else kafka_code(error),
            error_message="NONE" if error is None else str(error),
            node_id=node.node_id,
            host=node.host,
            port=node.port,
        )
    response = FindCoordinatorResponse()
    for key in request.coordinator_keys:
        node, error = _find(call, request.key_type, key, unavailable)
        response.coordinators.append(
            Coordinator(
                key=key,
                node_id=node.node_id,
                host=node.host,
                port=node.port,
                error_code=0 if error is None else kafka_code(error),
                error_message="" if error is None else str(error),
            )
        )
    return response


def _find(
    call: Call, key_type: int, key: str, unavailable: TailraceError | None
) -> tuple[MetadataResponseBroker, TailraceError | None]:
    """Who coordinates this key; where nobody does, no node and the error."""
    first = _KEY_TYPE_FROM.get(key_type)
    if first is None or call.version < first:
        return _NO_NODE, InvalidRequest(f"version {call.version} does not know coordinators of type {key_type}")
    if key_type == _SHARE and not _SHARE_KEY.fullmatch(key):
        return _NO_NODE, InvalidRequest(f"{key!r} is not a group, a topic id and a partition, with colons between them")
    if key_type == _GROUP and unavailable is None:
        services = call.services
        for broker in services.metadata.brokers(call.connection.listener):
            if broker.node_id == services.membership.image.controller_id:
                return broker, None
    return _NO_NODE, unavailable or CoordinatorNotAvailable("no coordinator is available on this broker")


API = Api(key=10, name="FindCoordinator", versions=range(7), handle=handle)
