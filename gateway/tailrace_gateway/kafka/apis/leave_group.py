"""LeaveGroup (key 13), versions 0-5.

v1 throttle time · v3 several members at once, static ones by their instance id (KIP-345) · v5 reason (KIP-800)
"""

from typing import Final

from tailrace_core.errors import TailraceError
from tailrace_engine.coordinator.group_messages import LeaveGroup, LeavingMember, LeftGroup
from tailrace_gateway.errors import kafka_code
from tailrace_gateway.kafka.connection import Reply
from tailrace_gateway.kafka.context import Services
from tailrace_gateway.kafka.group_answers import code_of, no_group_id
from tailrace_gateway.kafka.routes import Api
from tailrace_gateway.kafka.schema.messages.leave_group import LeaveGroupRequest, LeaveGroupResponse, MemberResponse

_MEMBERS_FROM: Final = 3


class LeaveGroupReply(Reply):
    """Waits until the leaving is durable."""

    __slots__ = ()

    def on_answer(self, outcome: LeftGroup | TailraceError) -> None:
        if isinstance(outcome, TailraceError):
            self.send(LeaveGroupResponse(error_code=kafka_code(outcome)))
        elif self.route.version < _MEMBERS_FROM:
            ((_, error),) = outcome.members
            self.send(LeaveGroupResponse(error_code=code_of(error)))
        else:
            self.send(
                LeaveGroupResponse(
                    members=[
                        MemberResponse(
                            member_id=member.member_id,
                            group_instance_id=member.group_instance_id,
                            error_code=code_of(error),
                        )
                        for member, error in outcome.members
                    ]
                )
            )


def handle(services: Services, reply: LeaveGroupReply, request: LeaveGroupRequest) -> None:
    group_id = request.group_id
    if not group_id:
        reply.on_answer(no_group_id())
        return
    if reply.route.version < _MEMBERS_FROM:
        members: tuple[LeavingMember, ...] = (LeavingMember(request.member_id, None),)
    else:
        members = tuple(
            LeavingMember(member.member_id, member.group_instance_id, member.reason or "") for member in request.members
        )
    services.groups.ask(group_id, LeaveGroup(group_id, members), reply.on_answer)


API = Api(key=13, name="LeaveGroup", versions=range(6), direct=handle, new_reply=LeaveGroupReply)
