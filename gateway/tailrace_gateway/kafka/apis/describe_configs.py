"""DescribeConfigs (key 32), versions 1-4.

v1 sources and synonyms (KIP-226) · v3 types and documentation (KIP-569)
The documentation is ours: what the config does here. What brokers, groups and client metrics may be described need not
have configs of their own; the values of a cluster's default (a broker without a name) are those that were set.
A null or empty list of names asks for all; names that do not exist are left out.
"""

from collections.abc import Collection

from tailrace_core.config_states import ConfigState
from tailrace_core.errors import TailraceError
from tailrace_core.kafka_configs import UpdateMode, definitions
from tailrace_core.membership import ConfigEntry, ConfigResource, ConfigSource, ResourceType
from tailrace_gateway.errors import kafka_code
from tailrace_gateway.kafka import broker_loggers
from tailrace_gateway.kafka.config_resources import resource_of
from tailrace_gateway.kafka.context import Call
from tailrace_gateway.kafka.routes import Api
from tailrace_gateway.kafka.schema.messages.describe_configs import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribeConfigsResourceResult,
    DescribeConfigsResponse,
    DescribeConfigsResult,
    DescribeConfigsSynonym,
)


def handle(call: Call, request: DescribeConfigsRequest) -> DescribeConfigsResponse:
    return DescribeConfigsResponse(results=[_describe(call, request, asked) for asked in request.resources])


def _describe(call: Call, request: DescribeConfigsRequest, asked: DescribeConfigsResource) -> DescribeConfigsResult:
    result = DescribeConfigsResult(
        error_code=0, error_message="", resource_type=asked.resource_type, resource_name=asked.resource_name
    )
    wanted = frozenset(asked.configuration_keys or ())
    try:
        resource = resource_of(asked.resource_type, asked.resource_name)
        if resource.type is ResourceType.BROKER_LOGGER:
            broker_loggers.check_name(call.services.membership.image, resource.name)
            result.configs = _loggers(wanted)
        else:
            result.configs = _configs(call, request, resource, wanted)
    except TailraceError as error:
        result.error_code = kafka_code(error)
        result.error_message = str(error)
    return result


def _configs(
    call: Call, request: DescribeConfigsRequest, resource: ConfigResource, wanted: Collection[str]
) -> list[DescribeConfigsResourceResult]:
    known = definitions(resource.type)
    found = []
    for entry in call.services.membership.image.config_entries(resource):
        if wanted and entry.name not in wanted:
            continue
        definition = known[entry.name]
        fixed = resource.type is ResourceType.BROKER and (
            definition.update_mode is UpdateMode.READ_ONLY or definition.state is ConfigState.REFUSED
        )
        found.append(
            DescribeConfigsResourceResult(
                name=entry.name,
                value=None if definition.is_sensitive else entry.value,
                read_only=fixed,
                config_source=entry.source.value,
                is_sensitive=definition.is_sensitive,
                synonyms=_synonyms(entry, definition.is_sensitive) if request.include_synonyms else [],
                config_type=definition.type,
                documentation=definition.about if request.include_documentation else None,
            )
        )
    return found


def _synonyms(entry: ConfigEntry, is_sensitive: bool) -> list[DescribeConfigsSynonym]:
    return [
        DescribeConfigsSynonym(name=one.name, value=None if is_sensitive else one.value, source=one.source.value)
        for one in entry.synonyms
    ]


def _loggers(wanted: Collection[str]) -> list[DescribeConfigsResourceResult]:
    return [
        DescribeConfigsResourceResult(
            name=name,
            value=level,
            read_only=False,
            config_source=ConfigSource.BROKER_LOGGER.value,
            is_sensitive=False,
            synonyms=[],
        )
        for name, level in broker_loggers.levels().items()
        if not wanted or name in wanted
    ]


API = Api(key=32, name="DescribeConfigs", versions=range(1, 5), handle=handle)
