"""SyncGroup (key 14), versions 0-5.

v1 throttle time · v3 static members (KIP-345) · v5 protocol type and name, which have to be the group's (KIP-559)
The answer waits for the leader's assignment, without a task.
"""

from typing import Final

from tailrace_core.errors import InconsistentGroupProtocol, TailraceError
from tailrace_engine.coordinator.group_messages import SyncedGroup, SyncGroup
from tailrace_gateway.errors import kafka_code
from tailrace_gateway.kafka.connection import Reply
from tailrace_gateway.kafka.context import Services
from tailrace_gateway.kafka.group_answers import no_group_id
from tailrace_gateway.kafka.routes import Api
from tailrace_gateway.kafka.schema.messages.sync_group import SyncGroupRequest, SyncGroupResponse

_PROTOCOL_FROM: Final = 5


class SyncGroupReply(Reply):
    """Waits for the assignment."""

    __slots__ = ()

    def on_answer(self, outcome: SyncedGroup | TailraceError) -> None:
        if isinstance(outcome, TailraceError):
            self.send(SyncGroupResponse(error_code=kafka_code(outcome)))
        else:
            self.send(
                SyncGroupResponse(
                    protocol_type=outcome.protocol_type,
                    protocol_name=outcome.protocol_name,
                    assignment=outcome.assignment,
                )
            )


def handle(services: Services, reply: SyncGroupReply, request: SyncGroupRequest) -> None:
    group_id = request.group_id
    if reply.route.version >= _PROTOCOL_FROM and (request.protocol_type is None or request.protocol_name is None):
        reply.on_answer(InconsistentGroupProtocol("protocol type and name have to be said"))
        return
    if not group_id:
        reply.on_answer(no_group_id())
        return
    sync = SyncGroup(
        group_id=group_id,
        generation_id=request.generation_id,
        member_id=request.member_id,
        group_instance_id=request.group_instance_id,
        protocol_type=request.protocol_type,
        protocol_name=request.protocol_name,
        assignments=tuple((assignment.member_id, assignment.assignment) for assignment in request.assignments),
    )
    services.groups.ask(group_id, sync, reply.on_answer)


API = Api(key=14, name="SyncGroup", versions=range(6), direct=handle, new_reply=SyncGroupReply)
