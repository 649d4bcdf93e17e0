"""JoinGroup (key 11), versions 0-9.

v1 rebalance timeout (before: the session timeout) · v4 a new member is told its id first (KIP-394)
v5 static members (KIP-345) · v7 protocol type in the answer (KIP-559) · v8 reason (KIP-800)
v9 a static leader may be told to keep the assignment (KIP-814)
The answer waits for the group, without a task. A client that leaves meanwhile stays a member until its session ends.
"""

from typing import Final

from tailrace_core.errors import GroupMaxSizeReached, MemberIdRequired, TailraceError
from tailrace_engine.coordinator.group_messages import JoinedGroup, JoinGroup
from tailrace_gateway.errors import kafka_code
from tailrace_gateway.kafka.connection import Reply
from tailrace_gateway.kafka.context import Services
from tailrace_gateway.kafka.group_answers import client_host, no_group_id
from tailrace_gateway.kafka.routes import Api
from tailrace_gateway.kafka.schema.messages.join_group import (
    JoinGroupRequest,
    JoinGroupResponse,
    JoinGroupResponseMember,
)

_REBALANCE_TIMEOUT_FROM: Final = 1
_MEMBER_ID_REQUIRED_FROM: Final = 4
_NULL_PROTOCOL_FROM: Final = 7
_SKIP_ASSIGNMENT_FROM: Final = 9


class JoinGroupReply(Reply):
    """Waits for the group to be complete."""

    __slots__ = ("member_id",)

    member_id: str
    """As the request named it."""

    def on_answer(self, outcome: JoinedGroup | TailraceError) -> None:
        if isinstance(outcome, TailraceError):
            self.send(
                JoinGroupResponse(
                    error_code=kafka_code(outcome),
                    protocol_name=None if self.route.version >= _NULL_PROTOCOL_FROM else "",
                    member_id=self._member_id_with(outcome),
                )
            )
            return
        self.send(
            JoinGroupResponse(
                generation_id=outcome.generation_id,
                protocol_type=outcome.protocol_type,
                protocol_name=outcome.protocol_name,
                leader=outcome.leader,
                skip_assignment=outcome.skip_assignment,
                member_id=outcome.member_id,
                members=[
                    JoinGroupResponseMember(
                        member_id=member.member_id,
                        group_instance_id=member.group_instance_id,
                        metadata=member.metadata,
                    )
                    for member in outcome.members
                ],
            )
        )

    def _member_id_with(self, error: TailraceError) -> str:
        if isinstance(error, MemberIdRequired):
            return error.member_id
        return "" if isinstance(error, GroupMaxSizeReached) else self.member_id


def handle(services: Services, reply: JoinGroupReply, request: JoinGroupRequest) -> None:
    version = reply.route.version
    group_id = request.group_id
    reply.member_id = request.member_id
    if not group_id:
        reply.on_answer(no_group_id())
        return
    session_timeout_ms = request.session_timeout_ms
    join = JoinGroup(
        group_id=group_id,
        member_id=request.member_id,
        group_instance_id=request.group_instance_id,
        client_id=reply.client_id,
        client_host=client_host(reply.connection),
        session_timeout_ms=session_timeout_ms,
        rebalance_timeout_ms=(
            request.rebalance_timeout_ms if version >= _REBALANCE_TIMEOUT_FROM else session_timeout_ms
        ),
        protocol_type=request.protocol_type,
        protocols=tuple((protocol.name, protocol.metadata) for protocol in request.protocols),
        requires_known_member_id=version >= _MEMBER_ID_REQUIRED_FROM,
        supports_skipping_assignment=version >= _SKIP_ASSIGNMENT_FROM,
        reason=request.reason or "",
    )
    services.groups.ask(group_id, join, reply.on_answer)


API = Api(key=11, name="JoinGroup", versions=range(10), direct=handle, new_reply=JoinGroupReply)
