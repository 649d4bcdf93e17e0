"""DeleteGroups (key 42), versions 0-2.

A group that cannot be deleted does not keep the others. What is named twice is deleted and answered once.
"""

from functools import partial

from tailrace_engine.coordinator.group_messages import DeleteGroup
from tailrace_gateway.kafka.connection import Reply
from tailrace_gateway.kafka.context import Services
from tailrace_gateway.kafka.group_answers import Gathered, code_of
from tailrace_gateway.kafka.routes import Api
from tailrace_gateway.kafka.schema.messages.delete_groups import (
    DeletableGroupResult,
    DeleteGroupsRequest,
    DeleteGroupsResponse,
)


def handle(services: Services, reply: Reply, request: DeleteGroupsRequest) -> None:
    response = DeleteGroupsResponse()
    gathered = Gathered(reply, response)
    for group_id in dict.fromkeys(request.groups_names):
        result = DeletableGroupResult(group_id=group_id)
        response.results.append(result)
        gathered.waiting += 1
        services.groups.ask(group_id, DeleteGroup(group_id), partial(_on_answer, gathered, result))
    gathered.arrived()


def _on_answer(gathered: Gathered, result: DeletableGroupResult, outcome: object) -> None:
    result.error_code = code_of(outcome)
    gathered.arrived()


API = Api(key=42, name="DeleteGroups", versions=range(3), direct=handle)
