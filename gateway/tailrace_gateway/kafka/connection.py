"""One Kafka connection: bytes in, requests started in order, responses out in order. No asyncio here.

Every request that is started gets a `Reply`, a place in the connection's queue; responses leave from the head of the
queue as they become ready. Requests of one connection start in order. Only Produce overlaps Produce, bounded in
requests and bytes; every other request is a barrier: it starts when everything before it is answered and holds back
everything after it. So a client reads its own writes on one connection, and Kafka's order (one request at a time) holds
wherever a client could notice. What cannot start yet waits in the inbox, and the socket is not read meanwhile.
"""

import logging
from collections import deque
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, Protocol

from tailrace_gateway.kafka.receive import FrameSizeError, Inbox
from tailrace_gateway.kafka.schema import Buffer, DecodeError, Message

if TYPE_CHECKING:
    from tailrace_engine.api import StorageEngine
    from tailrace_gateway.kafka.routes import Route, Routes

logger = logging.getLogger(__name__)

_HEADER: Final = Struct(">hhih")
_JOINED_BYTES_MAX: Final = 16 << 10
"""Small responses are copied together: cheaper than many buffers in one system call."""
API_VERSIONS_KEY: Final = 18
"""The only API that answers versions it does not know (KIP-511); its handler gets no request then."""


class Transport(Protocol):
    """The part of an asyncio transport that a connection uses."""

    def write(self, data: Buffer, /) -> None: ...

    def writelines(self, parts: list[Any], /) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def abort(self) -> None: ...

    def close(self) -> None: ...

    def get_write_buffer_size(self) -> int: ...

    def get_extra_info(self, name: str) -> Any: ...


class Reply:
    """The place of one request's response. `send` fills it, `drop` closes the connection instead.

    timeout_ms bounds the wait where it is set; its clock begins at the next sweep. After `done` nothing changes it any
    more: late completions of a request that was answered otherwise find it done.
    """

    __slots__ = (
        "client_id",
        "connection",
        "correlation_id",
        "deadline",
        "done",
        "parts",
        "received_bytes",
        "route",
        "timeout_ms",
    )

    def __init__(
        self, connection: "Connection", route: "Route", correlation_id: int, client_id: str, received_bytes: int
    ) -> None:
        self.connection = connection
        self.route = route
        self.correlation_id = correlation_id
        self.client_id = client_id
        self.received_bytes = received_bytes
        self.parts: list[Buffer] | None = None
        self.done = False
        self.timeout_ms = -1
        self.deadline = 0.0

    def send(self, response: Message) -> None:
        """Encode the response and let it go as soon as it is its turn.

        One that cannot be encoded closes the connection: nothing that follows could ever leave. It is not raised, as
        the caller may be the engine, whose bug it is not.
        """
        if self.done:
            return
        try:
            parts = self.route.encode_parts(response)
        except Exception:
            logger.exception("the response to a %s request cannot be encoded", self.route.name)
            self.drop()
            return
        self.send_parts(parts)

    def send_parts(self, body: list[Buffer]) -> None:
        """As send, for a body that is encoded already."""
        if self.done:
            return
        self.done = True
        header = self.route.response_header
        size = header.size - 4
        for part in body:
            size += len(part)
        self.route.sent_bytes += size + 4
        self.parts = [header.pack(size, self.correlation_id), *body]
        self.connection.on_reply_done(self)

    def send_nothing(self) -> None:
        """The request has no response (acks=0)."""
        if not self.done:
            self.done = True
            self.parts = []
            self.connection.on_reply_done(self)

    def drop(self) -> None:
        """Close the connection: the request cannot be answered."""
        self.done = True
        self.connection.close("a request could not be answered")

    def on_timeout(self) -> None:
        """The deadline has passed. Requests with a deadline override this."""

    def on_closed(self) -> None:
        """The connection is gone. Requests that wait somewhere override this and leave."""
        self.done = True


class ConnectionLimits(Protocol):
    """What bounds a connection; kafka settings."""

    @property
    def produce_in_flight_requests_max(self) -> int: ...

    @property
    def produce_in_flight_bytes_max(self) -> int: ...

    @property
    def response_pending_bytes_max(self) -> int: ...


class Host(Protocol):
    """What a connection needs of its server."""

    limits: ConnectionLimits
    routes: "Routes"

    engine: "StorageEngine"
    """It says when it takes no more data for now."""

    def hold_back(self, connection: "Connection") -> None:
        """Let the connection proceed when the engine takes data again."""

    def mute(self, connection: "Connection", milliseconds: int) -> None:
        """Call the connection's on_mute_over after this time."""

    def on_dirty(self, connection: "Connection") -> None:
        """The connection has responses to send at the end of this call."""

    def on_stalled(self, connection: "Connection") -> None:
        """The connection waits for room in the receive pool."""

    def on_malformed(self, connection: "Connection", why: str, part: str) -> None:
        """A client sent what cannot be served, in its size, api, version or body; its connection is closed."""

    def on_closed(self, connection: "Connection") -> None: ...


class Connection:
    """State of one connection. Everything happens in synchronous calls on the loop's thread."""

    __slots__ = (
        "_barrier",
        "_in_flight_bytes",
        "_muted",
        "_paused_reading",
        "_replies",
        "_starting",
        "_stopped",
        "_writing_paused",
        "active",
        "closed",
        "closed_for",
        "dirty",
        "held_back",
        "host",
        "inbox",
        "ip",
        "last_active",
        "listener",
        "peer",
        "stalled",
        "transport",
    )

    def __init__(self, host: Host, transport: Transport, inbox: Inbox, listener: str, peer: str, ip: str = "") -> None:
        self.host = host
        self.transport = transport
        self.inbox = inbox
        self.listener = listener
        """The listener's name: it decides which addresses the client is told."""
        self.peer = peer
        self.ip = ip
        """The client's address, as limits count it."""
        self.active = True
        """Something was received since the last sweep."""
        self.last_active = 0.0
        self.closed = False
        self.closed_for = "client"
        self.dirty = False
        self.held_back = False
        self.stalled = False
        self._replies: deque[Reply] = deque()
        self._barrier = False
        self._in_flight_bytes = 0
        self._paused_reading = False
        self._writing_paused = False
        self._muted = False
        self._stopped = False
        """Writing is paused, or muted: no request is started."""
        self._starting = False

    # --- in

    def on_received(self, count: int) -> None:
        """count bytes were read into inbox.writable()."""
        self._start_requests(self.inbox.on_received(count))

    def proceed(self) -> None:
        """Something that held requests back may be over."""
        if not self.closed and (self.inbox.waiting_bytes or self._paused_reading):
            self._start_requests(self.inbox.view())

    def on_receive_room(self) -> None:
        """The receive pool has room again."""
        self.stalled = False
        self.proceed()

    def _start_requests(self, view: memoryview) -> None:
        """Start the frames that may start; keep the rest and read on only while nothing is held back."""
        if self._starting:
            return
        self._starting = True
        inbox = self.inbox
        blocked = False
        replies = self._replies
        engine = self.host.engine
        try:
            while not self.closed:
                size = inbox.next_frame_size(view)
                if size < 0:
                    break
                start = inbox.start + 4
                is_produce = not (view[start] or view[start + 1])
                # The first test is the usual case, a Produce with nothing before it; _may_start knows all the others.
                if (replies or not is_produce or self._stopped or engine.must_hold_back) and not self._may_start(
                    is_produce
                ):
                    if replies and replies[0].done:
                        self._send_ready()
                        continue
                    blocked = True
                    break
                inbox.start = start + size
                self._start(view[start : start + size])
        except FrameSizeError as error:
            self.host.on_malformed(self, str(error), "size")
        finally:
            self._starting = False
        if self.closed:
            inbox.release()
            return
        room = inbox.keep()
        if not room and not blocked and not self.stalled:
            self.stalled = True
            self.host.on_stalled(self)
        if blocked or not room:
            if not self._paused_reading:
                self._paused_reading = True
                self.transport.pause_reading()
        elif self._paused_reading:
            self._paused_reading = False
            self.transport.resume_reading()

    def _may_start(self, is_produce: bool) -> bool:
        if self._barrier or self._stopped:
            return False
        if not is_produce:
            return not self._replies
        if self.host.engine.must_hold_back:
            if not self.held_back:
                self.held_back = True
                self.host.hold_back(self)
            return False
        if not self._replies:
            return True
        limits = self.host.limits
        return (
            len(self._replies) < limits.produce_in_flight_requests_max
            and self._in_flight_bytes < limits.produce_in_flight_bytes_max
        )

    def _start(self, frame: memoryview) -> None:
        """Decode one request and hand it to its API. Whatever cannot be decoded closes the connection (protocol)."""
        host = self.host
        size = len(frame)
        if size < 10:
            api_key, api_version, correlation_id, client_id_size = (*_HEADER.unpack(bytes(frame) + bytes(10 - size)),)
        else:
            api_key, api_version, correlation_id, client_id_size = _HEADER.unpack_from(frame)
        route = host.routes.find(api_key, api_version)
        if route is None:
            oldest = host.routes.lowest(api_key) if api_key == API_VERSIONS_KEY else None
            if oldest is None:
                part = "version" if api_key in host.routes.apis else "api"
                host.on_malformed(self, f"no API with key {api_key} and version {api_version}", part)
                return
            reply = Reply(self, oldest, correlation_id, "", size)
            self._barrier = True
            self._replies.append(reply)
            oldest.requests += 1
            oldest.handle(reply, None)
            return
        try:
            if size < 10:
                raise DecodeError(f"a request header of {size} bytes")
            position = 10
            client_id = ""
            if client_id_size > 0:
                position += client_id_size
                if position > size:
                    raise DecodeError(f"a client id of {client_id_size} bytes in a frame of {size}")
                client_id = str(frame[10:position], "utf-8")
            elif client_id_size < -1:
                raise DecodeError(f"a client id of {client_id_size} bytes")
            if route.flexible_header:
                if position < size and frame[position] == 0:  # an empty tag section
                    position += 1
                else:
                    position = skip_tags(frame, position)
            request, _ = route.decode(frame, position)  # librdkafka leaves bytes after a request's end; so they pass
        except (DecodeError, UnicodeDecodeError) as error:
            host.on_malformed(self, f"{route.name} version {api_version}: {error}", "body")
            return
        route.requests += 1
        reply = route.new_reply(self, route, correlation_id, client_id, size)
        self._replies.append(reply)
        self._in_flight_bytes += size
        if not route.overlaps:
            self._barrier = True
        route.handle(reply, request)

    # --- out

    def hold_back(self) -> None:
        """Start no further request until let_go, whatever overlaps: one that was started has yet to take its place."""
        self._barrier = True

    def let_go(self) -> None:
        """The end of hold_back; what it held starts at the end of this call."""
        self._barrier = False
        if not self.dirty and not self.closed:
            self.dirty = True
            self.host.on_dirty(self)

    def on_reply_done(self, reply: Reply) -> None:
        """A response is ready; it leaves at the end of this call if it is its turn."""
        if not self.dirty and not self.closed and self._replies and self._replies[0].done:
            self.dirty = True
            self.host.on_dirty(self)

    def flush(self) -> None:
        """Send the responses whose turn it is, and start what they held back."""
        self.dirty = False
        if self.closed:
            return
        self._send_ready()
        if self.inbox.waiting_bytes or self._paused_reading:
            self.proceed()

    def _send_ready(self) -> None:
        replies = self._replies
        out: list[Buffer] = []
        while replies and replies[0].done:
            reply = replies.popleft()
            if reply.parts:
                out += reply.parts
            self._in_flight_bytes -= reply.received_bytes
        if not replies:
            self._barrier = False
            self._in_flight_bytes = 0
        if out:
            if sum(map(len, out)) <= _JOINED_BYTES_MAX:
                self.transport.write(b"".join(out))
            else:
                self.transport.writelines(out)
            if self._writing_paused:
                pending = self.transport.get_write_buffer_size()
                if pending > self.host.limits.response_pending_bytes_max:
                    self.close(f"{pending} bytes of responses wait for the client to take them", "slow_consumer")

    def on_writing_paused(self) -> None:
        """The socket takes no more; no further request is started."""
        self._writing_paused = self._stopped = True

    def on_writing_resumed(self) -> None:
        """The socket takes data again."""
        self._writing_paused = False
        self._stopped = self._muted
        self.proceed()

    # --- throttling

    def mute(self, milliseconds: int) -> None:
        """Start no further request for a while: the client was told to wait so long (KIP-219)."""
        if not self._muted and not self.closed:
            self._muted = self._stopped = True
            self.host.mute(self, milliseconds)

    def on_mute_over(self) -> None:
        """The time is over."""
        self._muted = False
        self._stopped = self._writing_paused
        self.proceed()

    # --- time and end

    def check_deadlines(self, now: float) -> None:
        """Answer the requests whose deadline has passed."""
        for reply in list(self._replies):
            if reply.timeout_ms < 0 or reply.done:
                continue
            if not reply.deadline:
                reply.deadline = now + reply.timeout_ms / 1000
            elif reply.deadline <= now:
                reply.on_timeout()

    @property
    def idle(self) -> bool:
        """Nothing is being answered."""
        return not self._replies

    def close(self, why: str, reason: str = "error") -> None:
        """Close at once. Requests that wait are told by Reply.on_closed. reason is the metric's word for why."""
        if not self.closed:
            self.closed_for = reason
            self.transport.abort()
            self.on_lost()

    def end(self) -> None:
        """Close when the client has what was answered: the broker stops."""
        if not self.closed:
            self.closed_for = "stop"
            self.transport.close()
            self.on_lost()

    def on_lost(self) -> None:
        """The transport is gone: leave every place in which something of this connection waits."""
        if self.closed:
            return
        self.closed = True
        for reply in self._replies:
            reply.on_closed()
        self._replies.clear()
        if not self._starting:
            self.inbox.release()
        self.host.on_closed(self)


def skip_tags(frame: memoryview, position: int) -> int:
    """The position after a tag section whose tags mean nothing to us. Raises DecodeError."""
    count, position = _uvarint(frame, position)
    for _ in range(count):
        _, position = _uvarint(frame, position)
        size, position = _uvarint(frame, position)
        position += size
        if position > len(frame):
            raise DecodeError(f"a tag of {size} bytes reaches beyond the frame")
    return position


def _uvarint(frame: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 35, 7):
        if position >= len(frame):
            raise DecodeError("the frame ends inside a header's tag section")
        byte = frame[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise DecodeError("a varint of more than 5 bytes")
