"""A small HTTP/1.1 server for health, metrics and what an administrator asks: h11 on asyncio's streams.

Everything is bounded (core/limits.py): header and body bytes, connections, the time of a request. A route is a path
and, for each method, an async function from Request to Response. HEAD is answered wherever GET is. All paths below a
prefix may go to one function, which looks at the method itself.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import h11

from tailrace_core.limits import (
    HTTP_BODY_BYTES_MAX,
    HTTP_CONNECTIONS_MAX,
    HTTP_HEADER_BYTES_MAX,
    HTTP_IDLE_SECONDS_MAX,
    HTTP_REQUEST_SECONDS_MAX,
)

TEXT = "text/plain; charset=utf-8"
_RECEIVE_BYTES = 16 << 10

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """path has no query; query is what follows the question mark, undecoded."""

    method: str
    path: str
    query: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    """By name in small letters; of what is there twice, the last one."""


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    body: bytes
    content_type: str = TEXT
    headers: Mapping[str, str] = field(default_factory=dict)


Handler: TypeAlias = Callable[[Request], Awaitable[Response]]
Routes: TypeAlias = Mapping[str, Mapping[str, Handler]]
"""Path → method → handler. Read at every request, so that a route may be added later."""


def text(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """A line of plain text."""
    return Response(status, f"{message}\n".encode(), headers=headers or {})


class HttpServer:
    """Serves routes until it is closed. Made by start_http."""

    def __init__(self, routes: Routes, prefixes: Mapping[str, Handler]) -> None:
        self._routes = routes
        self._prefixes = prefixes
        self._server: asyncio.Server
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def _listen(self, host: str, port: int) -> None:
        self._server = await asyncio.start_server(self._serve, host or None, port, limit=_RECEIVE_BYTES)

    @property
    def port(self) -> int:
        """The port that was bound."""
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def close(self) -> None:
        """Stop listening and end all connections."""
        self._server.close()
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._connections) >= HTTP_CONNECTIONS_MAX:
            writer.close()
            return
        self._connections[task] = writer
        try:
            await self._converse(h11.Connection(h11.SERVER, HTTP_HEADER_BYTES_MAX), reader, writer)
        except (OSError, TimeoutError, h11.LocalProtocolError):
            _logger.debug("an HTTP connection broke off", exc_info=True)
        except asyncio.CancelledError:
            # close() ends the conversation; asyncio.start_server would log a cancelled callback as an error.
            pass
        except Exception:
            _logger.exception("an HTTP connection failed")
        finally:
            del self._connections[task]
            writer.close()

    async def _converse(self, peer: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seconds = HTTP_REQUEST_SECONDS_MAX
        while True:
            try:
                request = await self._receive(peer, reader, writer, seconds)
            except h11.RemoteProtocolError as error:
                if peer.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                    refusal = text(error.error_status_hint, "not an HTTP request that is served here")
                    await self._send(peer, writer, refusal, head=False)
                return
            if request is None:
                return
            await self._send(peer, writer, await self._answer(request), head=request.method == "HEAD")
            if peer.our_state is not h11.DONE or peer.their_state is not h11.DONE:
                return
            peer.start_next_cycle()
            seconds = HTTP_IDLE_SECONDS_MAX

    async def _receive(
        self, peer: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float
    ) -> Request | None:
        """The next whole request; None when the peer has ended. seconds is how long its first byte may take."""
        head: h11.Request | None = None
        body = bytearray()
        started = bool(peer.trailing_data[0])
        async with asyncio.timeout(HTTP_REQUEST_SECONDS_MAX if started else seconds) as patience:
            while True:
                match peer.next_event():
                    case h11.Request() as head:
                        if peer.they_are_waiting_for_100_continue:
                            writer.write(peer.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
                    case h11.Data(data=data):
                        body += data
                        if len(body) > HTTP_BODY_BYTES_MAX:
                            raise h11.RemoteProtocolError("the body is too large", error_status_hint=413)
                    case h11.EndOfMessage():
                        assert head is not None
                        path, _, query = head.target.decode("latin-1").partition("?")
                        headers = {name.decode("ascii"): value.decode("latin-1") for name, value in head.headers}
                        return Request(head.method.decode("ascii"), path, query, bytes(body), headers)
                    case h11.ConnectionClosed():
                        return None
                    case _:
                        peer.receive_data(await reader.read(_RECEIVE_BYTES))
                        if not started:
                            started = True
                            patience.reschedule(asyncio.get_running_loop().time() + HTTP_REQUEST_SECONDS_MAX)

    async def _answer(self, request: Request) -> Response:
        handler = next((found for prefix, found in self._prefixes.items() if request.path.startswith(prefix)), None)
        if handler is None:
            methods = self._routes.get(request.path)
            if methods is None:
                return text(404, "nothing here; served: " + " ".join(sorted([*self._routes, *self._prefixes])))
            handler = methods.get("GET" if request.method == "HEAD" else request.method)
            if handler is None:
                allowed = [*methods, "HEAD"] if "GET" in methods else [*methods]
                return text(405, "not with this method", {"Allow": ", ".join(allowed)})
        try:
            return await handler(request)
        except Exception:
            _logger.exception("an HTTP request failed", extra={"fields": {"path": request.path}})
            return text(500, "failed; the log says why")

    async def _send(self, peer: h11.Connection, writer: asyncio.StreamWriter, response: Response, head: bool) -> None:
        headers = [
            ("Content-Type", response.content_type),
            ("Content-Length", str(len(response.body))),
            *response.headers.items(),
        ]
        start = peer.send(h11.Response(status_code=response.status, headers=headers))
        content = b"" if head else peer.send(h11.Data(data=response.body))
        end = peer.send(h11.EndOfMessage())
        writer.write((start or b"") + (content or b"") + (end or b""))
        async with asyncio.timeout(HTTP_REQUEST_SECONDS_MAX):
            await writer.drain()


async def start_http(host: str, port: int, routes: Routes, prefixes: Mapping[str, Handler] | None = None) -> HttpServer:
    """Listen at host and port (0: any) and serve routes, and what begins with a prefix.

    Raises OSError where the address is not to be had.
    """
    server = HttpServer(routes, prefixes or {})
    await server._listen(host, port)
    return server
