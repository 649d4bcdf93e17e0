"""One connection: which requests start when, in which order responses leave, and what closes it."""

import struct
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace_gateway.kafka.connection import Connection, Reply
from tailrace_gateway.kafka.receive import Inbox, ReceivePool
from tailrace_gateway.kafka.routes import Api, Routes
from tailrace_gateway.kafka.schema import Message
from tailrace_gateway.kafka.schema.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse
from tailrace_gateway.kafka.schema.messages.metadata import MetadataRequest, MetadataRequestTopic, MetadataResponse
from tailrace_gateway.kafka.schema.messages.produce import ProduceRequest, ProduceResponse

APIS = (
    Api(key=0, name="Produce", versions=range(3, 14), overlaps=True),
    Api(key=3, name="Metadata", versions=range(14)),
    Api(key=18, name="ApiVersions", versions=range(5)),
)
RESPONSES: dict[int, type[Message]] = {0: ProduceResponse, 3: MetadataResponse, 18: ApiVersionsResponse}


class Wire:
    """The transport's end of a connection."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.reading = True
        self.aborted = False
        self.pending = 0

    def write(self, data: Any) -> None:
        self.sent += data

    def writelines(self, parts: list[Any]) -> None:
        for part in parts:
            self.sent += part

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def abort(self) -> None:
        self.aborted = True

    def get_write_buffer_size(self) -> int:
        return self.pending


@dataclass
class Limits:
    produce_in_flight_requests_max: int = 100
    produce_in_flight_bytes_max: int = 1 << 20
    response_pending_bytes_max: int = 1 << 20


@dataclass
class Engine:
    must_hold_back: bool = False
    throttle_time_ms: int = 0


class Host:
    """A server whose APIs leave the answers to the test: `started` has the replies that wait for one."""

    def __init__(self, answer_at_once: bool = False, shared_bytes: int = 1 << 16, budget_bytes: int = 1 << 20) -> None:
        self.limits = Limits()
        self.pool = ReceivePool(budget_bytes)
        self.shared = bytearray(shared_bytes)
        self.answer_at_once = answer_at_once
        self.engine = Engine()
        self.held_back: list[Connection] = []
        self.muted: list[tuple[Connection, int]] = []
        self.malformed: list[str] = []
        self.started: list[Reply] = []
        self.requests: list[Any] = []
        self.dirty: list[Connection] = []
        self.routes = Routes(APIS, lambda api: self.handle)

    def handle(self, reply: Reply, request: Any) -> None:
        self.started.append(reply)
        self.requests.append(request)
        if self.answer_at_once:
            answer(reply)

    def hold_back(self, connection: Connection) -> None:
        self.held_back.append(connection)

    def mute(self, connection: Connection, milliseconds: int) -> None:
        self.muted.append((connection, milliseconds))

    def on_dirty(self, connection: Connection) -> None:
        self.dirty.append(connection)

    def on_stalled(self, connection: Connection) -> None:
        self.pool.stall(connection)

    def on_malformed(self, connection: Connection, why: str, part: str) -> None:
        self.malformed.append(part)
        connection.close(why)

    def on_closed(self, connection: Connection) -> None:
        if connection.stalled:
            self.pool.forget(connection)

    def flush(self) -> None:
        while self.dirty:
            self.dirty.pop(0).flush()
        self.pool.wake()


class Client:
    """One connection of a host, and what a client sees of it."""

    def __init__(self, host: Host, frame_bytes_max: int = 1 << 20) -> None:
        self.host = host
        self.wire = Wire()
        self.inbox = Inbox(host.shared, host.pool, frame_bytes_max)
        self.connection = Connection(host, self.wire, self.inbox, "PLAINTEXT", "peer")

    def send(self, data: bytes) -> int:
        """Give bytes as far as the connection reads; how many it took."""
        taken = 0
        while taken < len(data) and self.wire.reading and not self.wire.aborted:
            room = self.inbox.writable()
            count = min(len(room), len(data) - taken)
            assert count, "a read needs somewhere to go"
            room[:count] = data[taken : taken + count]
            taken += count
            self.connection.on_received(count)
            self.host.flush()
        return taken

    def responses(self) -> list[int]:
        """Correlation ids of what was sent, each decoded to its end."""
        found = []
        sent = bytes(self.wire.sent)
        position = 0
        while position < len(sent):
            size, correlation_id = struct.unpack_from(">ii", sent, position)
            assert position + 4 + size <= len(sent)
            found.append(correlation_id)
            position += 4 + size
        return found


def answer(reply: Reply) -> None:
    reply.send(RESPONSES[reply.route.api.key]())


def frame(
    request: Message, version: int, correlation_id: int, client_id: bytes | None = b"me", tags: bytes = b"\0"
) -> bytes:
    name = struct.pack(">h", -1) if client_id is None else struct.pack(">h", len(client_id)) + client_id
    header = struct.pack(">hhi", request.api_key, version, correlation_id) + name
    body = (header + tags if version in type(request).flexible else header) + request.encoder(version)(request)
    return struct.pack(">i", len(body)) + body


def produce(correlation_id: int, padding: int = 0) -> bytes:
    return frame(ProduceRequest(transactional_id="x" * padding or None, acks=1, timeout_ms=1), 9, correlation_id)


def metadata(correlation_id: int) -> bytes:
    return frame(MetadataRequest(topics=[MetadataRequestTopic(name=f"topic-{correlation_id}")]), 9, correlation_id)


def test_frames_cut_at_any_byte_give_the_same_requests_in_the_same_order() -> None:
    data = (
        frame(ApiVersionsRequest(client_software_name="me", client_software_version="1"), 3, 1)
        + frame(MetadataRequest(topics=None), 1, 2)
        + produce(3, padding=40)
        + produce(4)
        + metadata(5)
    )
    whole = Client(Host(answer_at_once=True))
    whole.send(data)
    assert whole.responses() == [1, 2, 3, 4, 5]
    for cut in range(1, len(data)):
        client = Client(Host(answer_at_once=True))
        client.send(data[:cut])
        client.send(data[cut:])
        assert client.wire.sent == whole.wire.sent, cut
        assert client.host.requests == whole.host.requests, cut
        assert client.host.pool.bytes_used == 0
    bytewise = Client(Host(answer_at_once=True))
    for place in range(len(data)):
        bytewise.send(data[place : place + 1])
    assert bytewise.wire.sent == whole.wire.sent


def test_produce_requests_overlap_and_are_answered_in_order() -> None:
    client = Client(Host())
    client.send(produce(1) + produce(2) + produce(3))
    first, second, third = client.host.started
    answer(third)
    answer(second)
    client.host.flush()
    assert client.responses() == []
    answer(first)
    client.host.flush()
    assert client.responses() == [1, 2, 3]


def test_any_other_request_waits_for_all_before_it_and_holds_back_all_after_it() -> None:
    client = Client(Host())
    client.send(produce(1) + produce(2) + metadata(3) + metadata(4) + produce(5))
    started = client.host.started
    assert [reply.correlation_id for reply in started] == [1, 2]
    answer(started[1])
    client.host.flush()
    assert len(started) == 2
    answer(started[0])
    client.host.flush()
    assert [reply.correlation_id for reply in started] == [1, 2, 3]
    answer(started[2])
    client.host.flush()
    assert [reply.correlation_id for reply in started] == [1, 2, 3, 4]
    answer(started[3])
    client.host.flush()
    assert [reply.correlation_id for reply in started] == [1, 2, 3, 4, 5]
    answer(started[4])
    client.host.flush()
    assert client.responses() == [1, 2, 3, 4, 5]


def test_no_more_produce_requests_overlap_than_the_limit_and_the_socket_is_not_read_meanwhile() -> None:
    client = Client(Host())
    client.host.limits.produce_in_flight_requests_max = 3
    client.send(b"".join(produce(number) for number in range(5)))
    started = client.host.started
    assert len(started) == 3
    assert not client.wire.reading
    answer(started[0])
    client.host.flush()
    assert len(started) == 4
    assert not client.wire.reading
    answer(started[1])
    client.host.flush()
    assert len(started) == 5
    assert client.wire.reading


def test_overlap_is_bounded_in_bytes_and_one_request_is_always_let_in() -> None:
    client = Client(Host())
    client.host.limits.produce_in_flight_bytes_max = 1000
    client.send(produce(1, padding=3000) + produce(2))
    started = client.host.started
    assert [reply.correlation_id for reply in started] == [1]
    answer(started[0])
    client.host.flush()
    assert [reply.correlation_id for reply in started] == [1, 2]


def test_data_that_the_engine_cannot_take_waits_and_other_requests_go_on() -> None:
    client = Client(Host())
    client.host.engine.must_hold_back = True
    client.send(metadata(1))
    answer(client.host.started[0])
    client.host.flush()
    client.send(produce(2))
    assert len(client.host.started) == 1
    assert client.host.held_back == [client.connection]
    assert not client.wire.reading
    client.host.engine.must_hold_back = False
    client.connection.held_back = False
    client.connection.proceed()
    assert [reply.correlation_id for reply in client.host.started] == [1, 2]
    assert client.wire.reading


def test_a_muted_connection_answers_and_starts_nothing_until_the_time_is_over() -> None:
    client = Client(Host())
    client.send(produce(1) + produce(2))
    first, second = client.host.started
    answer(first)
    client.connection.mute(100)
    client.connection.mute(200)
    assert client.host.muted == [(client.connection, 100)]
    client.host.flush()
    client.send(produce(3) + metadata(4))
    assert not client.wire.reading
    answer(second)
    client.host.flush()
    assert client.responses() == [1, 2]
    assert len(client.host.started) == 2
    client.connection.on_mute_over()
    assert client.host.started[-1].correlation_id == 3
    answer(client.host.started[-1])
    client.host.flush()
    assert client.host.started[-1].correlation_id == 4
    assert client.wire.reading


def test_the_end_of_a_mute_does_not_start_what_an_untaken_response_holds_back() -> None:
    client = Client(Host())
    client.connection.mute(100)
    client.connection.on_writing_paused()
    client.send(produce(1))
    client.connection.on_mute_over()
    assert not client.host.started
    client.connection.on_writing_resumed()
    assert [reply.correlation_id for reply in client.host.started] == [1]


def test_a_request_without_a_response_keeps_its_place() -> None:
    client = Client(Host())
    client.send(produce(1) + produce(2) + produce(3))
    first, second, third = client.host.started
    second.send_nothing()
    answer(third)
    answer(first)
    client.host.flush()
    assert client.responses() == [1, 3]
    assert client.connection.idle


def test_a_dropped_request_closes_the_connection_and_tells_those_that_wait() -> None:
    client = Client(Host())
    client.send(produce(1) + produce(2))
    first, second = client.host.started
    second.drop()
    assert client.wire.aborted
    assert first.done
    answer(first)
    client.host.flush()
    assert client.wire.sent == b""


def test_a_response_that_cannot_be_encoded_closes_the_connection_and_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = Client(Host())
    client.send(produce(1) + metadata(2) + produce(3))
    (first,) = client.host.started
    answer(first)
    client.host.flush()
    _, second = client.host.started
    second.send(MetadataResponse(controller_id="one"))
    client.host.flush()
    assert client.wire.aborted
    assert second.done
    assert client.responses() == [1]
    assert len(client.host.started) == 2
    (record,) = caplog.records
    assert "Metadata" in record.getMessage()
    assert record.exc_info is not None


def test_a_reply_is_answered_once() -> None:
    client = Client(Host())
    client.send(produce(1) + produce(2))
    first, second = client.host.started
    answer(first)
    answer(first)
    answer(second)
    client.host.flush()
    assert client.responses() == [1, 2]


def test_a_request_that_waits_is_told_when_its_time_is_up_counted_from_the_first_look() -> None:
    client = Client(Host())
    client.send(produce(1) + produce(2))
    told: list[int] = []

    class Timed(Reply):
        __slots__ = ()

        def on_timeout(self) -> None:
            told.append(self.correlation_id)
            answer(self)

    for reply, timeout_ms in zip(client.host.started, (1000, -1), strict=True):
        reply.__class__ = Timed
        reply.timeout_ms = timeout_ms
    for now in (4.0, 4.9):
        client.connection.check_deadlines(now)
    assert told == []
    for now in (5.0, 6.0):
        client.connection.check_deadlines(now)
    assert told == [1]


MALFORMED = {
    "a negative size": ("size", struct.pack(">i", -1)),
    "a size beyond the limit": ("size", struct.pack(">i", (1 << 20) + 1)),
    "an empty frame": ("size", struct.pack(">i", 0)),
    "a header of one byte": ("size", struct.pack(">i", 1) + b"\0"),
    "a header that ends before the correlation id": ("size", struct.pack(">ihh", 4, 3, 1)),
    "a header without a client id": ("body", struct.pack(">ihhi", 8, 3, 1, 1)),
    "an unknown key": ("api", struct.pack(">ihhih", 10, 999, 0, 1, -1)),
    "a negative key": ("api", struct.pack(">ihhih", 10, -1, 0, 1, -1)),
    "a key that is not served": ("api", struct.pack(">ihhih", 10, 4, 0, 1, -1)),
    "a version below": ("version", struct.pack(">ihhih", 10, 0, 2, 1, -1)),
    "a version above": ("version", struct.pack(">ihhih", 10, 3, 14, 1, -1)),
    "a negative version": ("version", struct.pack(">ihhih", 10, 3, -1, 1, -1)),
    "a client id beyond the frame": ("body", struct.pack(">ihhih", 10, 3, 1, 1, 5)),
    "a client id of negative size": ("body", struct.pack(">ihhih", 10, 3, 1, 1, -2)),
    "a client id that is not UTF-8": ("body", frame(MetadataRequest(), 1, 1, client_id=b"\xff\xfe")),
    "a tag that reaches beyond the frame": ("body", frame(MetadataRequest(), 9, 1, tags=b"\x01\x05\x7f")),
    "a tag section without end": ("body", frame(MetadataRequest(), 9, 1, tags=b"\xff\xff\xff\xff\xff\xff")),
    "a body that is cut": ("body", struct.pack(">ihhihi", 14, 3, 1, 1, -1, 7)),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_what_cannot_be_served_closes_the_connection_without_an_answer(what: str) -> None:
    client = Client(Host())
    part, data = MALFORMED[what]
    client.send(data + metadata(2))
    assert client.wire.aborted
    assert client.wire.sent == b""
    assert client.host.requests == []
    assert client.host.malformed == [part]
    assert client.host.pool.bytes_used == 0


@pytest.mark.parametrize("size", [0, 1])
def test_a_tiny_frame_at_the_very_end_of_the_receive_buffer_is_malformed_like_any_other(size: int) -> None:
    host = Host(answer_at_once=True, shared_bytes=1 << 14)
    client = Client(host)
    tiny = struct.pack(">i", size) + bytes(size)
    first = produce(1, padding=(1 << 14) - len(tiny) - len(produce(1, padding=1 << 13)) + (1 << 13))
    assert len(first + tiny) == 1 << 14
    client.send(first + tiny)
    assert client.wire.aborted
    assert len(host.malformed) == 1


def test_a_malformed_frame_leaves_neighbours_alone() -> None:
    host = Host(answer_at_once=True)
    one, two = Client(host), Client(host)
    two.send(metadata(1)[:7])
    one.send(MALFORMED["an unknown key"][1])
    two.send(metadata(1)[7:])
    assert one.wire.aborted
    assert two.responses() == [1]


def test_a_later_version_of_api_versions_gets_the_oldest_answer_without_its_body_being_read() -> None:
    client = Client(Host(answer_at_once=True))
    body = struct.pack(">hhi", 18, 127, 77) + b"\xff" * 9
    client.send(struct.pack(">i", len(body)) + body + metadata(78))
    assert client.host.requests[0] is None
    assert client.host.started[0].route.version == 0
    assert client.responses() == [77, 78]


@pytest.mark.parametrize("client_id", [None, b"", "größe".encode()])
def test_client_ids_are_utf8_and_none_is_empty(client_id: bytes | None) -> None:
    client = Client(Host(answer_at_once=True))
    client.send(frame(MetadataRequest(), 1, 1, client_id=client_id))
    assert client.host.started[0].client_id == (client_id or b"").decode()


def test_unknown_tags_of_the_header_are_skipped() -> None:
    client = Client(Host(answer_at_once=True))
    client.send(frame(MetadataRequest(), 9, 1, tags=b"\x02\x00\x03abc\x80\x01\x00"))
    assert client.host.requests == [MetadataRequest()]


def test_bytes_after_a_requests_end_are_passed_over() -> None:
    client = Client(Host(answer_at_once=True))
    client.send(struct.pack(">ihhihi", 15, 3, 1, 1, -1, 0) + b"x" + frame(MetadataRequest(), 9, 2))
    assert len(client.host.requests) == 2


def test_a_consumer_that_does_not_take_its_responses_is_closed_beyond_the_limit() -> None:
    client = Client(Host())
    client.send(produce(1) + produce(2))
    client.connection.on_writing_paused()
    client.wire.pending = client.host.limits.response_pending_bytes_max
    answer(client.host.started[0])
    client.host.flush()
    assert not client.wire.aborted
    client.wire.pending += 1
    answer(client.host.started[1])
    client.host.flush()
    assert client.wire.aborted


def test_while_the_client_takes_no_responses_no_request_is_started() -> None:
    client = Client(Host(answer_at_once=True))
    client.connection.on_writing_paused()
    client.send(metadata(1))
    assert client.host.started == []
    assert not client.wire.reading
    client.connection.on_writing_resumed()
    client.host.flush()
    assert client.responses() == [1]
    assert client.wire.reading


def test_a_connection_without_room_in_the_pool_reads_on_when_there_is_some() -> None:
    host = Host(answer_at_once=True, budget_bytes=1 << 16)
    client = Client(host, frame_bytes_max=30 << 20)
    other = host.pool.take(1 << 10, must=True)
    assert other is not None
    data = frame(MetadataRequest(topics=[MetadataRequestTopic(name="x" * 30_000)] * 100), 1, 1)
    taken = client.send(data)
    assert taken < len(data)
    assert not client.wire.reading
    assert client.connection.stalled
    host.pool.give(other)
    host.flush()
    assert client.wire.reading
    assert client.send(data[taken:]) == len(data) - taken
    assert client.responses() == [1]
    assert host.pool.bytes_used == 0


def test_a_stalled_connection_that_closes_leaves_the_pool() -> None:
    host = Host(budget_bytes=1 << 16)
    client = Client(host, frame_bytes_max=30 << 20)
    assert host.pool.take(1 << 10, must=True) is not None
    client.send(frame(MetadataRequest(topics=[MetadataRequestTopic(name="x" * 30_000)] * 100), 1, 1))
    assert client.connection.stalled
    used = host.pool.bytes_used
    client.connection.on_lost()
    assert host.pool.bytes_used < used
    host.flush()


@given(
    kinds=st.lists(st.tuples(st.booleans(), st.integers(0, 200)), min_size=1, max_size=20),
    cuts=st.lists(st.integers(1, 300), max_size=30),
    requests_max=st.integers(1, 5),
    seed=st.integers(0, 2**32),
)
def test_every_request_is_started_once_and_answered_in_order(
    kinds: list[tuple[bool, int]], cuts: list[int], requests_max: int, seed: int
) -> None:
    turns = Random(seed)
    host = Host()
    host.limits.produce_in_flight_requests_max = requests_max
    client = Client(host)
    data = b"".join(
        produce(number, padding) if overlaps else metadata(number) for number, (overlaps, padding) in enumerate(kinds)
    )
    waiting: list[Reply] = []
    seen = 0
    while data or seen < len(kinds) or waiting:
        if data and client.wire.reading and (not waiting or turns.random() < 0.5):
            cut = cuts.pop() if cuts else len(data)
            data = data[client.send(data[:cut]) :]
        elif waiting:
            answer(waiting.pop(turns.randrange(len(waiting))))
            host.flush()
        waiting += host.started[seen:]
        seen = len(host.started)
        assert sum(not reply.done for reply in host.started) <= max(requests_max, 1)
    assert [reply.correlation_id for reply in host.started] == list(range(len(kinds)))
    assert client.responses() == list(range(len(kinds)))
    assert host.pool.bytes_used == 0


def test_a_request_that_holds_back_its_connection_is_overtaken_by_none_that_follow() -> None:
    host = Host()
    client = Client(host)
    client.send(produce(1) + produce(2))
    assert len(host.started) == 2
    client.connection.hold_back()
    client.send(produce(3) + metadata(4))
    assert len(host.started) == 2
    answer(host.started[0])
    host.flush()
    assert (client.responses(), len(host.started)) == ([1], 2)
    client.connection.let_go()
    host.flush()
    assert len(host.started) == 3
    for reply in list(host.started[1:]):
        answer(reply)
        host.flush()
    assert client.responses() == [1, 2, 3]
    answer(host.started[3])
    host.flush()
    assert client.responses() == [1, 2, 3, 4]


def test_letting_go_of_a_closed_connection_does_nothing() -> None:
    host = Host()
    client = Client(host)
    client.send(produce(1))
    client.connection.hold_back()
    client.connection.close("why")
    client.connection.let_go()
    host.flush()
    assert client.responses() == []
