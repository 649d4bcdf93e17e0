"""Produce (key 0), versions 3-13.

v3 record batches of magic 2 only · v7 zstd (KIP-110) · v8 error messages (KIP-467) · v10 leader hints (KIP-951)
v13 topics by id (KIP-516)
Requests of one connection overlap: each is answered, in order, when its batches are durable. acks=0 gets no response,
but keeps its place until then, so that what comes after it sees its records; an error there closes the connection, so
that the producer notices.
A batch that has to be compressed anew leaves the loop; the connection's next request starts when it is appended.
While the WAL or the memory fill up, answers carry a throttle time and the connection is not read for so long (KIP-219;
the engine's log/throttle.py says how long).
Not done: transactional batches (INVALID_TXN_STATE).
"""

from tailrace_core.errors import (
    InternalTopic,
    InvalidRecord,
    InvalidRequiredAcks,
    RecordsRefused,
    RequestTimedOut,
    TailraceError,
    UnsupportedCompression,
)
from tailrace_core.ids import NO_TOPIC_ID
from tailrace_core.membership import INTERNAL_TOPICS
from tailrace_engine.api import Partition
from tailrace_gateway.errors import kafka_code
from tailrace_gateway.kafka import leader_hints
from tailrace_gateway.kafka.connection import Reply
from tailrace_gateway.kafka.context import Services
from tailrace_gateway.kafka.routes import Api
from tailrace_gateway.kafka.schema import Buffer
from tailrace_gateway.kafka.schema.messages.produce import (
    BatchIndexAndErrorMessage,
    LeaderIdAndEpoch,
    NodeEndpoint,
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
    TopicProduceResponse,
)

_ZSTD = 4
_INTERNAL_CLIENT = "__admin_client"


class ProduceReply(Reply):
    """Waits for the batches of one request."""

    __slots__ = ("acks", "answers", "encoded", "failed", "later", "services", "topics", "waiting")

    acks: int
    topics: list[tuple[TopicProduceData, list[PartitionProduceResponse]]]
    answers: list[PartitionProduceResponse]
    """Those of all topics, by the ordinals that the appends were given."""
    encoded: bytes | None
    """The whole response, where it tells of one success; an error makes it void."""
    failed: bool
    """A batch was refused or lost."""
    later: dict[int, Partition] | None
    """By ordinal, where batches go that have to be compressed anew first. Until then no further request is started."""
    services: Services
    waiting: int
    """Appends that are not durable yet, and one while the request is being appended."""

    def put_off(self, ordinal: int, partition: Partition) -> None:
        """An append will be made later."""
        if self.later is None:
            self.later = {}
            self.connection.hold_back()
        self.later[ordinal] = partition

    def on_appended(self, ordinal: int, base_offset: int, log_append_time_ms: int) -> None:
        assert self.later is not None
        answer = self.answers[ordinal]
        partition = self.later.pop(ordinal)
        if not answer.error_code:
            answer.base_offset = base_offset
            answer.log_append_time_ms = log_append_time_ms
            answer.log_start_offset = partition.state.log_start_offset
        if not self.later:
            self.connection.let_go()

    def on_durable(self) -> None:
        self.waiting -= 1
        if not self.waiting:
            self._answer()

    def _answer(self) -> None:
        services = self.services
        throttle_time_ms = services.engine.throttle_time_ms
        if self.acks:
            if self.encoded is not None and not throttle_time_ms:
                self.send_parts([self.encoded])
            else:
                self.send(self._response(throttle_time_ms))
        elif self.failed:
            self.drop()
        else:
            self.send_nothing()
        if throttle_time_ms:
            self.connection.mute(throttle_time_ms)
        if services.produce_latency.timed is self:
            services.produce_latency.end()

    def _response(self, throttle_time_ms: int) -> ProduceResponse:
        response = ProduceResponse(
            responses=[
                TopicProduceResponse(name=topic.name, topic_id=topic.topic_id, partition_responses=answers)
                for topic, answers in self.topics
            ],
            throttle_time_ms=throttle_time_ms,
        )
        if self.failed and self.route.version >= leader_hints.PRODUCE_HINTS_FROM:
            self._hint(response)
        return response

    def _hint(self, response: ProduceResponse) -> None:
        """Name the leader with the errors that mean another one."""
        services = self.services
        leader = leader_hints.leader(services.membership.image)
        for answer in self.answers:
            if answer.error_code in leader_hints.PRODUCE_HINTED:
                answer.current_leader = LeaderIdAndEpoch(leader_id=leader.leader_id, leader_epoch=leader.leader_epoch)
                response.node_endpoints = [
                    NodeEndpoint(node_id=broker.node_id, host=broker.host, port=broker.port, rack=broker.rack)
                    for broker in leader_hints.endpoints(services.metadata, self.connection.listener, leader.leader_id)
                ]

    def on_append_failed(self, ordinal: int, error: TailraceError) -> None:
        self.fail(self.answers[ordinal], error)
        self.on_durable()

    def fail(self, answer: PartitionProduceResponse, error: TailraceError) -> None:
        """Answer this partition with an error."""
        self.failed = True
        self.encoded = None
        answer.error_code = kafka_code(error)
        answer.error_message = str(error)
        if isinstance(error, RecordsRefused):
            answer.record_errors = [
                BatchIndexAndErrorMessage(batch_index=index, batch_index_error_message=reason)
                for index, reason in error.records
            ]
        answer.base_offset = -1
        answer.log_append_time_ms = -1
        answer.log_start_offset = -1

    def on_timeout(self) -> None:
        error = RequestTimedOut("the batch was not durable in time; it may still be")
        for answer in self.answers:
            if not answer.error_code:
                self.fail(answer, error)
        self._answer()

    def on_closed(self) -> None:
        self.done = True
        if self.services.produce_latency.timed is self:
            self.services.produce_latency.forget()


def handle(services: Services, reply: ProduceReply, request: ProduceRequest) -> None:
    engine = services.engine
    version = reply.route.version
    acks = request.acks
    reply.topics = topics = []
    reply.answers = answers = []
    reply.encoded = None
    reply.waiting = 1
    reply.acks = acks
    reply.failed = False
    reply.later = None
    reply.services = services
    latency = services.produce_latency
    if latency.timed is None:
        latency.begin(reply)
    for topic in request.topic_data:
        topic_answers: list[PartitionProduceResponse] = []
        topics.append((topic, topic_answers))
        for data in topic.partition_data:
            answer = PartitionProduceResponse(index=data.index)
            topic_answers.append(answer)
            answers.append(answer)
            try:
                if not -1 <= acks <= 1:
                    raise InvalidRequiredAcks(f"acks is -1 (all), 0 or 1, not {acks}")
                if topic.topic_id != NO_TOPIC_ID:
                    partition = engine.partition_by_id(topic.topic_id, data.index)
                else:
                    partition = engine.partition(topic.name, data.index)
                batch = _single_batch(partition, data.records, version, reply.client_id)
                data.records = None  # a view of the receive buffer, which is to be given back
                reply.waiting += 1
                try:
                    base_offset, append_time_ms = engine.append(partition, batch, reply, len(answers) - 1)
                except TailraceError:
                    reply.waiting -= 1
                    raise
            except TailraceError as error:
                reply.fail(answer, error)
                continue
            if base_offset < 0:
                reply.put_off(len(answers) - 1, partition)
                continue
            answer.base_offset = base_offset
            answer.log_append_time_ms = append_time_ms
            answer.log_start_offset = log_start = partition.state.log_start_offset
    if len(answers) == len(topics) == 1 and not reply.failed and reply.later is None:
        reply.encoded = services.produce_successes.encode(
            version, topic, answer.index, base_offset, append_time_ms, log_start
        )
    if acks:
        reply.timeout_ms = max(request.timeout_ms, 0)
    reply.on_durable()


def _single_batch(partition: Partition, records: "Buffer | object", version: int, client_id: str) -> memoryview:
    """The request's records of a partition, as the one batch that they have to be."""
    if not isinstance(records, memoryview) or not records:
        raise InvalidRecord("exactly one record batch per partition is accepted in a request")
    if version < 7 and len(records) > 22 and records[22] & 7 == _ZSTD:
        raise UnsupportedCompression("zstd needs version 7 of Produce")
    if partition.topic_name in INTERNAL_TOPICS and client_id != _INTERNAL_CLIENT:
        raise InternalTopic(f"clients may not write to {partition.topic_name}")
    return records


API = Api(
    key=0,
    name="Produce",
    versions=range(3, 14),
    direct=handle,
    new_reply=ProduceReply,
    overlaps=True,
    advertised_from=0,  # librdkafka drops features when the minimum is above 0
)
