"""DescribeCluster (key 60), versions 0-2.

v1 endpoint type (KIP-919): only brokers are here, controllers have no endpoints of their own · v2 fenced brokers
(KIP-1073), of which there are none. Addresses are those of the listener that the client came in on. Authorized
operations, when asked for, are all that exist, as there is no authorizer.
"""

from typing import Final

from tailrace_gateway.errors import ErrorCode, answering
from tailrace_gateway.kafka.context import Call
from tailrace_gateway.kafka.routes import Api
from tailrace_gateway.kafka.schema.messages.describe_cluster import (
    DescribeClusterBroker,
    DescribeClusterRequest,
    DescribeClusterResponse,
)

_BROKERS: Final = 1
_CONTROLLERS: Final = 2
_CLUSTER_OPERATIONS: Final = sum(1 << operation for operation in (5, 7, 8, 9, 10, 11, 12))
"""Create, alter, describe, cluster action, describe and alter configs, idempotent write (Kafka's AclOperation)."""


def handle(call: Call, request: DescribeClusterRequest) -> DescribeClusterResponse:
    if request.endpoint_type != _BROKERS:
        known = request.endpoint_type == _CONTROLLERS
        return DescribeClusterResponse(
            error_code=answering(ErrorCode.MISMATCHED_ENDPOINT_TYPE if known else ErrorCode.UNSUPPORTED_ENDPOINT_TYPE),
            error_message=f"this endpoint is one of brokers (1), not of type {request.endpoint_type}",
        )
    services = call.services
    response = DescribeClusterResponse(
        cluster_id=services.membership.image.cluster_id,
        controller_id=services.membership.image.controller_id,
        brokers=[
            DescribeClusterBroker(broker_id=broker.node_id, host=broker.host, port=broker.port, rack=broker.rack)
            for broker in services.metadata.brokers(call.connection.listener)
        ],
    )
    if request.include_cluster_authorized_operations:
        response.cluster_authorized_operations = _CLUSTER_OPERATIONS
    return response


API = Api(key=60, name="DescribeCluster", versions=range(3), handle=handle)
