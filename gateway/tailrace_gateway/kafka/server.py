"""Kafka over TCP: the asyncio side of the connections, and what they share on one loop."""

import asyncio
import logging
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Final, cast

from tailrace_core.addresses import Listener
from tailrace_core.settings import KafkaSettings
from tailrace_core.telemetry import histogram
from tailrace_engine.api import StorageEngine
from tailrace_gateway.kafka.busy_poll import CONNECTIONS_MAX, BusyPoll
from tailrace_gateway.kafka.connection import Connection, ConnectionLimits, Reply
from tailrace_gateway.kafka.context import Call, Services
from tailrace_gateway.kafka.receive import Inbox, ReceivePool
from tailrace_gateway.kafka.routes import Api, Routes
from tailrace_gateway.kafka.schema import Message
from tailrace_gateway.observability.logging import noisy
from tailrace_gateway.observability.loop_pauses import LoopPauses

logger = logging.getLogger(__name__)

_SWEEP_SECONDS: Final = 0.5
"""How late a produce timeout or an idle close may come."""
_TCP_PEER_GONE: Final = (7, 8)
"""Linux' numbers of the states CLOSE and CLOSE_WAIT."""


class KafkaServer:
    """All listeners and connections of one loop; the Host of its connections."""

    def __init__(self, settings: KafkaSettings, receive_budget_bytes: int) -> None:
        self.limits: ConnectionLimits = settings
        self.routes: Routes
        self.services: Services
        self.engine: StorageEngine
        self.busy_poll: BusyPoll
        self.loop_pauses: LoopPauses
        self.connections: dict[Connection, None] = {}
        self.connections_by_ip: dict[str, int] = {}
        self.connections_accepted = 0
        self.connections_refused: dict[str, int] = dict.fromkeys(("connections", "connections_per_ip"), 0)
        """By which limit."""
        self.throttled = 0
        """Times that a client was told to wait."""
        self.connections_closed: dict[str, int] = dict.fromkeys(
            ("client", "gone", "idle", "slow_consumer", "malformed", "error", "stop"), 0
        )
        self.malformed: dict[str, int] = dict.fromkeys(("size", "api", "version", "body"), 0)
        """Requests that could not be served, by what was wrong with them."""
        self.received_bytes = 0
        self.loop_pause_times = histogram("tailrace_loop_pause_seconds")
        self.pool = ReceivePool(receive_budget_bytes)
        self._settings = settings
        self._shared = bytearray(settings.receive_bytes)
        self._dirty: list[Connection] = []
        self._held_back: dict[Connection, None] = {}
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    async def start(self, services: Services) -> None:
        """Begin to accept connections."""
        self.services = services
        self.engine = services.engine
        self.busy_poll = BusyPoll(services.loop, services.clock, self._settings.busy_poll_us / 1_000_000)
        self.loop_pauses = LoopPauses(
            services.loop,
            services.clock,
            lambda: self.received_bytes,
            lambda: len(self.connections) <= CONNECTIONS_MAX,
            self.loop_pause_times,
        )
        services.engine.on_completions = self._on_completions
        services.engine.on_room = self._on_room
        self._sweeper = self._loop.call_later(_SWEEP_SECONDS, self._sweep)
        for server in self._servers:
            await server.start_serving()

    async def listen(self, listener: Listener) -> int:
        """Bind a listener; gives its port. Connections are accepted once start was called."""
        server = await self._loop.create_server(
            lambda: _Protocol(self, listener.name),
            listener.host or None,
            listener.port,
            backlog=1024,
            start_serving=False,
        )
        self._servers.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port

    def bind(self, api: Api) -> Callable[[Any, Any], None]:
        """The function (reply, request) that serves an API."""
        if api.direct is not None:
            return partial(api.direct, self.services)
        handle = api.handle
        assert handle is not None

        def call(reply: Reply, request: Any) -> None:
            answer = handle(Call(self.services, reply.connection, reply.client_id, reply.route.version), request)
            if isinstance(answer, Message):
                reply.send(answer)
            else:
                self.spawn(self._answer(reply, answer))

        return call

    async def _answer(self, reply: Reply, answer: Awaitable[Message]) -> None:
        try:
            reply.send(await answer)
        except Exception:
            logger.exception("a %s request failed", reply.route.name)
            reply.drop()
        self.flush()

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine until it ends or the server closes."""
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a request's task failed", exc_info=error)

    # --- the connections' host

    def hold_back(self, connection: Connection) -> None:
        self._held_back[connection] = None

    def mute(self, connection: Connection, milliseconds: int) -> None:
        self.throttled += 1
        self._loop.call_later(milliseconds / 1000, self._on_mute_over, connection)

    def _on_mute_over(self, connection: Connection) -> None:
        self._guard(connection, connection.on_mute_over)
        self.flush()

    def _on_completions(self) -> None:
        self._on_event()
        self.flush()

    def _on_event(self) -> None:
        if not self.loop_pauses.is_running:
            self.loop_pauses.start()
        if len(self.connections) <= CONNECTIONS_MAX:
            self.busy_poll.on_event()

    def _on_room(self) -> None:
        held, self._held_back = self._held_back, {}
        for connection in held:
            connection.held_back = False
            self._guard(connection, connection.proceed)
        self.flush()

    def _guard(self, connection: Connection, step: Callable[[], None]) -> None:
        """One connection's bug must not reach the others, nor the engine that called."""
        try:
            step()
        except Exception:
            logger.exception("a request of %s failed", connection.peer)
            connection.close("a request failed")

    def on_dirty(self, connection: Connection) -> None:
        self._dirty.append(connection)

    def flush(self) -> None:
        """Send what became ready. Sending may start requests that are ready at once: until nothing is left."""
        while self._dirty:
            dirty, self._dirty = self._dirty, []
            for connection in dirty:
                self._guard(connection, connection.flush)
        self.pool.wake()

    def on_stalled(self, connection: Connection) -> None:
        self.pool.stall(connection)

    def on_malformed(self, connection: Connection, why: str, part: str) -> None:
        self.malformed[part] += 1
        logger.warning("closing a connection: %s", why, extra=noisy(peer=connection.peer))
        connection.close(why, "malformed")

    def on_closed(self, connection: Connection) -> None:
        if self.connections.pop(connection, False) is None:
            self._leave(connection.ip)
        self.connections_closed[connection.closed_for] += 1
        self._held_back.pop(connection, None)
        if connection.stalled:
            self.pool.forget(connection)

    # --- limits of connections

    def may_accept(self, ip: str) -> bool:
        """Whether one more connection of this address is let in. The limits may change; those that are there stay."""
        limits = self.services.dynamic
        if len(self.connections) >= limits.connections_max:
            limit, allowed = "connections", limits.connections_max
        else:
            limit = "connections_per_ip"
            allowed = dict(limits.connections_per_ip_overrides).get(ip, limits.connections_per_ip_max)
            if self.connections_by_ip.get(ip, 0) < allowed:
                return True
        self.connections_refused[limit] += 1
        logger.warning("refusing a connection: %s is %d", limit, allowed, extra=noisy(peer=ip))
        return False

    def enter(self, connection: Connection) -> None:
        """A connection begins."""
        self.connections[connection] = None
        self.connections_accepted += 1
        self.connections_by_ip[connection.ip] = self.connections_by_ip.get(connection.ip, 0) + 1

    def _leave(self, ip: str) -> None:
        left = self.connections_by_ip[ip] - 1
        if left:
            self.connections_by_ip[ip] = left
        else:
            del self.connections_by_ip[ip]

    # --- time

    def _sweep(self) -> None:
        self._sweeper = self._loop.call_later(_SWEEP_SECONDS, self._sweep)
        now = self._loop.time()
        idle_seconds = self._settings.connections_max_idle_ms / 1000
        for connection in list(self.connections):
            if connection.held_back and _is_gone(connection):
                connection.close("its client has left", "gone")
            elif not connection.idle:
                connection.check_deadlines(now)
            elif connection.active:
                connection.active = False
                connection.last_active = now
            elif 0 <= idle_seconds < now - connection.last_active:
                connection.close("it was idle", "idle")
        self.flush()

    # --- end

    async def stop_accepting(self) -> None:
        """Close the listeners; connections go on."""
        for server in self._servers:
            server.close()

    async def close(self) -> None:
        """Close everything."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self.connections):
            connection.end()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _is_gone(connection: Connection) -> bool:
    """Whether the client has closed a connection that is not read: nothing else tells of it meanwhile."""
    if sys.platform != "linux":
        return False
    sock = connection.transport.get_extra_info("socket")
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] in _TCP_PEER_GONE


class _Protocol(asyncio.BufferedProtocol):
    """Feeds one connection."""

    __slots__ = ("_connection", "_listener", "_refused", "_server")

    def __init__(self, server: KafkaServer, listener: str) -> None:
        self._server = server
        self._listener = listener
        self._refused = False
        self._connection: Connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        server = self._server
        sock = transport.get_extra_info("socket")
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = transport.get_extra_info("peername")
        ip = peer[0] if peer else ""
        if not server.may_accept(ip):
            self._refused = True
            cast(asyncio.Transport, transport).abort()
            return
        inbox = Inbox(server._shared, server.pool, server._settings.socket_request_max_bytes)
        self._connection = Connection(
            server, cast(asyncio.Transport, transport), inbox, self._listener, f"{ip}:{peer[1]}" if peer else "", ip
        )
        server.enter(self._connection)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._connection.inbox.writable()

    def buffer_updated(self, nbytes: int) -> None:
        server = self._server
        connection = self._connection
        connection.active = True
        server.received_bytes += nbytes
        server._on_event()
        try:
            connection.on_received(nbytes)
        except Exception:
            logger.exception("a request of %s failed", connection.peer)
            connection.close("a request failed")
        server.flush()

    def pause_writing(self) -> None:
        self._connection.on_writing_paused()

    def resume_writing(self) -> None:
        self._server._guard(self._connection, self._connection.on_writing_resumed)
        self._server.flush()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._refused:
            self._connection.on_lost()
