"""The HTTP server, asked over real sockets."""

import asyncio
import gc
from collections.abc import Awaitable, Callable

import pytest

from tailrace_core.limits import HTTP_BODY_BYTES_MAX, HTTP_CONNECTIONS_MAX
from tailrace_core.telemetry import Registry
from tailrace_gateway.observability import http
from tailrace_gateway.observability.exporter import Exporter
from tailrace_gateway.observability.health import routes
from tailrace_gateway.observability.http import HttpServer, Request, Response, Routes, start_http, text


def serve(table: Routes, client: Callable[[HttpServer], Awaitable[None]]) -> None:
    async def run() -> None:
        server = await start_http("127.0.0.1", 0, table)
        try:
            await client(server)
        finally:
            await server.close()

    asyncio.run(asyncio.wait_for(run(), 30))
    gc.collect()


async def ask(server: HttpServer, *sent: bytes) -> bytes:
    """All that comes back until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    for part in sent:
        writer.write(part)
        await writer.drain()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def get(path: str, method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()


async def echo(request: Request) -> Response:
    return text(200, f"{request.method} {request.query} {request.body.decode()}")


async def fail(_: Request) -> Response:
    raise RuntimeError("planted")


ECHO: Routes = {"/echo": {"GET": echo, "POST": echo}, "/fail": {"GET": fail}}


def test_health_says_that_the_process_lives() -> None:
    async def client(server: HttpServer) -> None:
        answer = await ask(server, get("/healthz"))
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.endswith(b"\r\n\r\nok\n")

    serve(routes(lambda: (False, "recovering"), Exporter(Registry())), client)


def test_a_broker_that_is_not_ready_answers_503_with_the_reason_and_then_200() -> None:
    state = [(False, "replaying the WAL"), (True, "ready")]

    async def client(server: HttpServer) -> None:
        answer = await ask(server, get("/readyz"))
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"replaying the WAL" in answer
        assert (await ask(server, get("/readyz"))).startswith(b"HTTP/1.1 200")

    serve(routes(lambda: state.pop(0), Exporter(Registry())), client)


def test_metrics_are_served_in_prometheus_text() -> None:
    registry = Registry()
    registry.observe("tailrace_topics", lambda: 2)

    async def client(server: HttpServer) -> None:
        answer = await ask(server, get("/metrics"))
        assert b"content-type: text/plain; version=0.0.4" in answer.lower()
        assert answer.endswith(b"tailrace_topics 2\n")

    serve(routes(lambda: (True, "ready"), Exporter(registry)), client)


def test_an_unknown_path_is_404_and_a_wrong_method_405_with_the_allowed_ones() -> None:
    async def client(server: HttpServer) -> None:
        assert (await ask(server, get("/other"))).startswith(b"HTTP/1.1 404")
        answer = await ask(server, get("/echo", "DELETE"))
        assert answer.startswith(b"HTTP/1.1 405")
        assert b"Allow: GET, POST, HEAD\r\n" in answer

    serve(ECHO, client)


def test_head_is_answered_like_get_without_the_body() -> None:
    async def client(server: HttpServer) -> None:
        answer = await ask(server, get("/echo", "HEAD"))
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.endswith(b"\r\n\r\n")

    serve(ECHO, client)


def test_a_body_in_pieces_and_a_query_reach_the_handler() -> None:
    async def client(server: HttpServer) -> None:
        head = b"POST /echo?a=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\n"
        assert (await ask(server, head[:30], head[30:] + b"ab", b"cd")).endswith(b"POST a=1 abcd\n")

    serve(ECHO, client)


def test_a_kept_connection_serves_pipelined_requests_in_order() -> None:
    async def client(server: HttpServer) -> None:
        first = b"GET /echo?1 HTTP/1.1\r\nHost: x\r\n\r\n"
        answer = await ask(server, first + get("/echo?2"))
        assert answer.count(b"HTTP/1.1 200") == 2
        assert answer.index(b"GET 1") < answer.index(b"GET 2")

    serve(ECHO, client)


def test_a_handler_that_fails_is_500_and_the_server_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async def client(server: HttpServer) -> None:
        assert (await ask(server, get("/fail"))).startswith(b"HTTP/1.1 500")
        assert (await ask(server, get("/echo"))).startswith(b"HTTP/1.1 200")

    serve(ECHO, client)
    assert "planted" in caplog.text


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"rubbish\r\n\r\n", b"400"),
        (b"\x00\x00\x00\x12\x00\x12\x00\x00" * 9, b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 40_000, b"431"),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n" + bytes(HTTP_BODY_BYTES_MAX + 1), b"413"),
    ],
)
def test_what_is_not_http_or_too_large_is_refused_and_closed(sent: bytes, status: bytes) -> None:
    async def client(server: HttpServer) -> None:
        try:
            answer = await ask(server, sent)
        except ConnectionError:
            return  # the refusal may be overtaken by the reset of what was not read
        assert answer.startswith(b"HTTP/1.1 " + status)

    serve(ECHO, client)


def test_a_request_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "HTTP_REQUEST_SECONDS_MAX", 0.05)

    async def client(server: HttpServer) -> None:
        assert await ask(server, b"GET /echo HTTP/1.1\r\nHost:") == b""
        assert await ask(server) == b""

    serve(ECHO, client)


def test_connections_beyond_the_bound_are_refused_and_a_free_slot_is_used_again() -> None:
    async def client(server: HttpServer) -> None:
        held = []
        for _ in range(HTTP_CONNECTIONS_MAX):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readuntil(b"GET  \n")
            held.append(writer)
        assert await ask(server) == b""
        held[0].close()
        async with asyncio.timeout(10):
            while True:
                try:
                    if (await ask(server, get("/echo"))).startswith(b"HTTP/1.1 200"):
                        break
                except ConnectionError:
                    continue
        for writer in held:
            writer.close()

    serve(ECHO, client)


def test_closing_ends_open_connections() -> None:
    async def run() -> None:
        server = await start_http("127.0.0.1", 0, ECHO)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"GET  \n")
        await server.close()
        assert await reader.read() == b""
        writer.close()

    asyncio.run(asyncio.wait_for(run(), 10))
