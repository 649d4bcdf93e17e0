"""Heartbeat (key 12), versions 0-4.

v1 throttle time · v3 static members (KIP-345)
"""

from tailrace_engine.coordinator.group_messages import Heartbeat
from tailrace_gateway.kafka.connection import Reply
from tailrace_gateway.kafka.context import Services
from tailrace_gateway.kafka.group_answers import code_of, no_group_id
from tailrace_gateway.kafka.routes import Api
from tailrace_gateway.kafka.schema.messages.heartbeat import HeartbeatRequest, HeartbeatResponse


class HeartbeatReply(Reply):
    """Waits until what the answer depends on is durable."""

    __slots__ = ()

    def on_answer(self, outcome: object) -> None:
        self.send(HeartbeatResponse(error_code=code_of(outcome)))


def handle(services: Services, reply: HeartbeatReply, request: HeartbeatRequest) -> None:
    group_id = request.group_id
    if not group_id:
        reply.on_answer(no_group_id())
        return
    heartbeat = Heartbeat(group_id, request.generation_id, request.member_id, request.group_instance_id)
    services.groups.ask(group_id, heartbeat, reply.on_answer)


API = Api(key=12, name="Heartbeat", versions=range(5), direct=handle, new_reply=HeartbeatReply)
