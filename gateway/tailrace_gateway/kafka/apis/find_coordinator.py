"""FindCoordinator (key 10), versions 0-6.

v1 transaction coordinators, error message · v4 several keys, an answer for each (KIP-699) · v6 share groups (KIP-932)
Not done: coordinators. Every key gets COORDINATOR_NOT_AVAILABLE, which clients retry. It is served all the same, since
librdkafka concludes from it which codecs a broker knows.
"""

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

_KEYS_FROM: Final = 4
_KEY_TYPE_FROM: Final = {0: 0, 1: 1, 2: 6}
"""Groups, transactions, share groups: the version from which each may be asked for."""
_NO_NODE: Final = -1


def handle(call: Call, request: FindCoordinatorRequest) -> FindCoordinatorResponse:
    error = _refusal(call.version, request.key_type)
    code, text = kafka_code(error), str(error)
    if call.version < _KEYS_FROM:
        return FindCoordinatorResponse(error_code=code, error_message=text, node_id=_NO_NODE, host="", port=-1)
    return FindCoordinatorResponse(
        coordinators=[
            Coordinator(key=key, node_id=_NO_NODE, host="", port=-1, error_code=code, error_message=text)
            for key in request.coordinator_keys
        ]
    )


def _refusal(version: int, key_type: int) -> TailraceError:
    first = _KEY_TYPE_FROM.get(key_type)
    if first is None or version < first:
        return InvalidRequest(f"version {version} does not know coordinators of type {key_type}")
    return CoordinatorNotAvailable("no coordinator is available on this broker")


API = Api(key=10, name="FindCoordinator", versions=range(7), handle=handle)
