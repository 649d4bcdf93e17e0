"""IncrementalAlterConfigs (key 44), versions 0-1.

KIP-339; levels of loggers KIP-412, client metrics KIP-714, groups KIP-1071
Resources are changed one after another, each wholly or not at all.
"""

from tailrace_core.errors import InvalidRequest, TailraceError
from tailrace_core.membership import ConfigChange, ConfigOperation
from tailrace_gateway.kafka.config_resources import alter, answer_of, refuse_repeated
from tailrace_gateway.kafka.context import Call
from tailrace_gateway.kafka.routes import Api
from tailrace_gateway.kafka.schema.messages.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResourceResponse,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)


async def handle(call: Call, request: IncrementalAlterConfigsRequest) -> IncrementalAlterConfigsResponse:
    answers = []
    repeated = refuse_repeated([(asked.resource_type, asked.resource_name) for asked in request.resources])
    for asked, refused in zip(request.resources, repeated, strict=True):
        failed: TailraceError | None = refused
        if failed is None:
            try:
                changes = [_change(config) for config in asked.configs]
            except InvalidRequest as error:
                failed = error
            else:
                failed = await alter(
                    call,
                    asked.resource_type,
                    asked.resource_name,
                    changes,
                    replaces=False,
                    validate_only=request.validate_only,
                )
        answers.append(answer_of(AlterConfigsResourceResponse, asked, failed))
    return IncrementalAlterConfigsResponse(responses=answers)


def _change(config: AlterableConfig) -> ConfigChange:
    try:
        return ConfigChange(config.name, config.value, ConfigOperation(config.config_operation))
    except ValueError:
        allowed = ", ".join(f"{one.value} ({one.name})" for one in ConfigOperation)
        raise InvalidRequest(
            f"Unknown operation {config.config_operation} on {config.name}; allowed: {allowed}"
        ) from None


API = Api(key=44, name="IncrementalAlterConfigs", versions=range(2), handle=handle)
