"""What the APIs of groups have in common: outcomes of coordinators as codes, and answers of several groups at once."""

from typing import Final

from tailrace_core.errors import InvalidGroupId, TailraceError
from tailrace_gateway.errors import kafka_code
from tailrace_gateway.kafka.connection import Connection, Reply
from tailrace_gateway.kafka.schema import Message

GROUP_OPERATIONS: Final = sum(1 << operation for operation in (3, 6, 8, 10, 11))
"""What may be done with a group: read, delete, describe, describe and alter configs (Kafka's AclOperation)."""


def code_of(outcome: object) -> int:
    """The code of an outcome; 0 for all that is no error."""
    return kafka_code(outcome) if isinstance(outcome, TailraceError) else 0


def no_group_id() -> InvalidGroupId:
    """The answer to an empty group id. Offsets may be committed and fetched with one, as in Kafka."""
    return InvalidGroupId("a group id is not empty")


def client_host(connection: Connection) -> str:
    """The client's address as Kafka writes it, "/127.0.0.1"."""
    return "/" + connection.peer.rpartition(":")[0]


class Gathered:
    """A response that is filled in by several groups' coordinators, and sent when the last of them has answered.

    Add one to waiting for each that is asked. It begins at one, for the request that is being taken apart: `arrived`
    at the end of that.
    """

    __slots__ = ("_reply", "response", "waiting")

    def __init__(self, reply: Reply, response: Message) -> None:
        self._reply = reply
        self.response = response
        self.waiting = 1

    def arrived(self) -> None:
        """One of those that were waited for is there."""
        self.waiting -= 1
        if not self.waiting:
            self._reply.send(self.response)
