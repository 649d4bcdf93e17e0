"""DescribeGroups (key 15), versions 0-6.

v1 throttle time · v3 authorized operations (KIP-430) · v4 static members (KIP-345)
v6 GROUP_ID_NOT_FOUND with a message, instead of the state Dead alone (KIP-1043)
Groups are answered in the order of the request, each by itself.
"""

from functools import partial
from typing import Final

from tailrace_core.errors import GroupIdNotFound, TailraceError
from tailrace_engine.coordinator import group_messages
from tailrace_engine.coordinator.group_messages import DescribeGroup
from tailrace_gateway.errors import kafka_code
from tailrace_gateway.kafka.connection import Reply
from tailrace_gateway.kafka.context import Services
from tailrace_gateway.kafka.group_answers import GROUP_OPERATIONS, Gathered
from tailrace_gateway.kafka.routes import Api
from tailrace_gateway.kafka.schema.messages.describe_groups import (
    DescribedGroup,
    DescribedGroupMember,
    DescribeGroupsRequest,
    DescribeGroupsResponse,
)

_NOT_FOUND_FROM: Final = 6
_DEAD: Final = "Dead"


def handle(services: Services, reply: Reply, request: DescribeGroupsRequest) -> None:
    response = DescribeGroupsResponse()
    gathered = Gathered(reply, response)
    operations = GROUP_OPERATIONS if request.include_authorized_operations else None
    for group_id in request.groups:
        answer = DescribedGroup(group_id=group_id)
        response.groups.append(answer)
        gathered.waiting += 1
        on_answer = partial(_on_answer, gathered, answer, reply.route.version, operations)
        services.groups.ask(group_id, DescribeGroup(group_id), on_answer)
    gathered.arrived()


def _on_answer(
    gathered: Gathered,
    answer: DescribedGroup,
    version: int,
    operations: int | None,
    outcome: group_messages.DescribedGroup | TailraceError,
) -> None:
    if isinstance(outcome, TailraceError):
        if isinstance(outcome, GroupIdNotFound):
            answer.group_state = _DEAD
        if version >= _NOT_FOUND_FROM or not isinstance(outcome, GroupIdNotFound):
            answer.error_code = kafka_code(outcome)
            answer.error_message = str(outcome) if version >= _NOT_FOUND_FROM else None
    else:
        answer.group_state = outcome.state
        answer.protocol_type = outcome.protocol_type
        answer.protocol_data = outcome.protocol_name
        answer.members = [
            DescribedGroupMember(
                member_id=member.member_id,
                group_instance_id=member.group_instance_id,
                client_id=member.client_id,
                client_host=member.client_host,
                member_metadata=member.metadata,
                member_assignment=member.assignment,
            )
            for member in outcome.members
        ]
    if operations is not None and not answer.error_code:
        answer.authorized_operations = operations
    gathered.arrived()


API = Api(key=15, name="DescribeGroups", versions=range(7), direct=handle)
