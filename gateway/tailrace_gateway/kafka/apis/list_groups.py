"""ListGroups (key 16), versions 0-5.

v1 throttle time · v4 states (KIP-518) · v5 types (KIP-848)
Every shard that was ever used is asked. While one is loading, the answer is its error, as half a list would mislead.
"""

from functools import partial

from tailrace_core.errors import NotCoordinator, TailraceError
from tailrace_engine.coordinator import group_messages
from tailrace_gateway.errors import kafka_code
from tailrace_gateway.kafka.connection import Reply
from tailrace_gateway.kafka.context import Services
from tailrace_gateway.kafka.routes import Api
from tailrace_gateway.kafka.schema.messages.list_groups import ListedGroup, ListGroupsRequest, ListGroupsResponse


def handle(services: Services, reply: Reply, request: ListGroupsRequest) -> None:
    groups = group_messages.ListGroups(tuple(request.states_filter), tuple(request.types_filter))
    services.groups.ask_all(groups, partial(_on_answers, reply))


def _on_answers(reply: Reply, outcomes: list[tuple[group_messages.ListedGroup, ...] | TailraceError]) -> None:
    response = ListGroupsResponse()
    for outcome in outcomes:
        if not isinstance(outcome, TailraceError):
            response.groups += [
                ListedGroup(
                    group_id=group.group_id,
                    protocol_type=group.protocol_type,
                    group_state=group.state,
                    group_type=group.group_type,
                )
                for group in outcome
            ]
        elif not isinstance(outcome, NotCoordinator):
            reply.send(ListGroupsResponse(error_code=kafka_code(outcome)))
            return
    reply.send(response)


API = Api(key=16, name="ListGroups", versions=range(6), direct=handle)
