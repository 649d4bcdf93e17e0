"""The response that most Produce requests get, without encoding it each time."""

from struct import Struct
from typing import Final

from tailrace_core.ids import TopicId
from tailrace_gateway.kafka.schema.messages.produce import (
    PartitionProduceResponse,
    ProduceResponse,
    TopicProduceData,
    TopicProduceResponse,
)

_LOG_START_VERSION: Final = 5
_MARKS: Final = (0x5A5A_0001_5A5A_0001, 0x5A5A_0002_5A5A_0002, 0x5A5A_0003_5A5A_0003)
"""Numbers that stand nowhere else in a response."""
_PIECES_KEPT: Final = 1 << 16


class ProduceSuccesses:
    """Encoded responses that tell of one partition's success, but for its three numbers. One per broker.

    Most requests hold one batch, and most succeed: their response is then put together from three pieces of bytes. What
    goes before and after the numbers is cut out of the encoding of a response, once.
    """

    def __init__(self) -> None:
        self._pieces: dict[tuple[int, str, TopicId, int], tuple[bytes, Struct, bytes]] = {}

    def encode(
        self, version: int, topic: TopicProduceData, index: int, base_offset: int, append_time_ms: int, log_start: int
    ) -> bytes:
        """The body of the response."""
        key = (version, topic.name, topic.topic_id, index)
        pieces = self._pieces.get(key)
        if pieces is None:
            if len(self._pieces) >= _PIECES_KEPT:
                self._pieces.clear()
            pieces = self._pieces[key] = _cut(version, topic, index)
        head, numbers, tail = pieces
        if version < _LOG_START_VERSION:
            return head + numbers.pack(base_offset, append_time_ms) + tail
        return head + numbers.pack(base_offset, append_time_ms, log_start) + tail


def _cut(version: int, topic: TopicProduceData, index: int) -> tuple[bytes, Struct, bytes]:
    answer = PartitionProduceResponse(index=index)
    answer.base_offset, answer.log_append_time_ms, answer.log_start_offset = _MARKS
    told = TopicProduceResponse(name=topic.name, topic_id=topic.topic_id, partition_responses=[answer])
    response = ProduceResponse(responses=[told])
    whole = bytes(ProduceResponse.encoder(version)(response))
    numbers = Struct(">qq" if version < _LOG_START_VERSION else ">qqq")
    head, _, tail = whole.partition(numbers.pack(*_MARKS[: numbers.size // 8]))
    return head, numbers, tail
