"""ListConfigResources (key 74), versions 0-1.

v0 client metrics (KIP-1000) · v1 all types (KIP-1142)
Topics and brokers are all that there are; groups and client metrics those that have configs.
"""

from collections.abc import Sequence
from typing import Final

from tailrace_core.membership import ClusterImage, ResourceType
from tailrace_gateway.errors import ErrorCode, answering
from tailrace_gateway.kafka.context import Call
from tailrace_gateway.kafka.routes import Api
from tailrace_gateway.kafka.schema.messages.list_config_resources import (
    ConfigResource,
    ListConfigResourcesRequest,
    ListConfigResourcesResponse,
)

_TYPES: Final = (
    ResourceType.GROUP,
    ResourceType.CLIENT_METRICS,
    ResourceType.BROKER_LOGGER,
    ResourceType.BROKER,
    ResourceType.TOPIC,
)


def handle(call: Call, request: ListConfigResourcesRequest) -> ListConfigResourcesResponse:
    asked = request.resource_types if call.version else [ResourceType.CLIENT_METRICS]
    if any(number not in _TYPES for number in asked):
        return ListConfigResourcesResponse(error_code=answering(ErrorCode.UNSUPPORTED_VERSION), config_resources=[])
    image = call.services.membership.image
    found = [
        ConfigResource(resource_name=name, resource_type=resource_type)
        for resource_type in _TYPES
        if not asked or resource_type in asked
        for name in _names(image, resource_type)
    ]
    return ListConfigResourcesResponse(error_code=0, config_resources=found)


def _names(image: ClusterImage, resource_type: ResourceType) -> Sequence[str]:
    if resource_type is ResourceType.TOPIC:
        return [topic.name for topic in image.topics]
    if resource_type in (ResourceType.BROKER, ResourceType.BROKER_LOGGER):
        return [str(broker.node_id) for broker in image.brokers]
    return image.config_resources(resource_type)


API = Api(key=74, name="ListConfigResources", versions=range(2), handle=handle)
