"""AlterConfigs (key 33), versions 0-2.

KIP-133. What a resource has and the request does not name is removed. Deprecated, and still what old tools send.
"""

from tailrace_core.membership import ConfigChange
from tailrace_gateway.kafka.config_resources import alter, answer_of, refuse_repeated
from tailrace_gateway.kafka.context import Call
from tailrace_gateway.kafka.routes import Api
from tailrace_gateway.kafka.schema.messages.alter_configs import (
    AlterConfigsRequest,
    AlterConfigsResourceResponse,
    AlterConfigsResponse,
)


async def handle(call: Call, request: AlterConfigsRequest) -> AlterConfigsResponse:
    answers = []
    repeated = refuse_repeated([(asked.resource_type, asked.resource_name) for asked in request.resources])
    for asked, refused in zip(request.resources, repeated, strict=True):
        failed = refused or await alter(
            call,
            asked.resource_type,
            asked.resource_name,
            [ConfigChange(config.name, config.value) for config in asked.configs],
            replaces=True,
            validate_only=request.validate_only,
        )
        answers.append(answer_of(AlterConfigsResourceResponse, asked, failed))
    return AlterConfigsResponse(responses=answers)


API = Api(key=33, name="AlterConfigs", versions=range(3), handle=handle)
