"""The table of the admin API's routes, and how a request passes it.

Who may ask: a browser that was led here by a foreign page must not change anything, and must not read anything by a
name that an attacker's DNS points here. So the Host must be one of this broker's own, an Origin must be the same, and
what changes something must say that it is JSON, which no foreign page can without being allowed to.
"""

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import ValidationError

from tailrace_core.errors import RequestTimedOut, TailraceError
from tailrace_core.limits import ADMIN_REQUEST_SECONDS_MAX
from tailrace_gateway.admin import brokers, configs, groups, offset_resets, topics
from tailrace_gateway.admin.answers import JSON, Refusal, answer, explain, failure, refusal
from tailrace_gateway.admin.context import AdminContext, Asked, Body, Query
from tailrace_gateway.observability.http import Handler, Request, Response

AdminHandler: TypeAlias = Callable[[AdminContext, Asked], Awaitable[Mapping[str, object]]]


class Route(NamedTuple):
    """pattern: a path whose segments in braces are names."""

    method: str
    pattern: str
    handle: AdminHandler
    query: type[Query] = Query
    body: type[Body] = Body
    status: int = 200


ROUTES: Final = (
    Route("GET", "/v1/topics", topics.list_topics, query=topics.PageQuery),
    Route("POST", "/v1/topics", topics.create_topic, body=topics.CreateTopicBody, status=201),
    Route("GET", "/v1/topics/{topic}", topics.describe_topic),
    Route("DELETE", "/v1/topics/{topic}", topics.delete_topic),
    Route("POST", "/v1/topics/{topic}/partitions", topics.create_partitions, body=topics.CreatePartitionsBody),
    Route("POST", "/v1/topics/{topic}/delete-records", topics.delete_records, body=topics.DeleteRecordsBody),
    Route("GET", "/v1/topics/{topic}/configs", configs.describe_topic_configs),
    Route("PATCH", "/v1/topics/{topic}/configs", configs.alter_topic_configs, body=configs.AlterConfigsBody),
    Route("GET", "/v1/groups", groups.list_groups, query=groups.GroupsQuery),
    Route("GET", "/v1/groups/{group}", groups.describe_group),
    Route("DELETE", "/v1/groups/{group}", groups.delete_group),
    Route("POST", "/v1/groups/{group}/reset-offsets", offset_resets.reset_offsets, body=offset_resets.ResetOffsetsBody),
    Route("POST", "/v1/groups/{group}/delete-offsets", groups.delete_offsets, body=groups.DeleteOffsetsBody),
    Route("GET", "/v1/configs", configs.list_resources),
    Route("GET", "/v1/configs/{type}/{name}", configs.describe_configs),
    Route("PATCH", "/v1/configs/{type}/{name}", configs.alter_configs, body=configs.AlterConfigsBody),
    Route("GET", "/v1/brokers", brokers.list_brokers),
    Route("GET", "/v1/brokers/{node_id}", brokers.describe_broker),
)


def handler(context: AdminContext) -> Handler:
    """The function that answers all of it."""
    settings = context.services.settings
    names = [settings.http.listen.host, *(listener.host for listener in settings.kafka.advertised)]
    hosts = _Hosts(names)

    async def handle(request: Request) -> Response:
        try:
            hosts.check(request)
            route, path = _route_of(request)
            asked = Asked(path, _query(route, request), _body(route, request))
            async with asyncio.timeout(ADMIN_REQUEST_SECONDS_MAX):
                return await answer(route.status, await route.handle(context, asked))
        except Refusal as error:
            return refusal(error)
        except TimeoutError:
            return failure(RequestTimedOut("not done in time; it may still be done"))
        except TailraceError as error:
            return failure(error)

    return handle


class _Hosts:
    """The names under which this broker may be addressed."""

    def __init__(self, names: list[str]) -> None:
        self._names = {name.lower() for name in names} | {"localhost"}
        self._takes_any_address = any(_is_unspecified(name) for name in names)

    def check(self, request: Request) -> None:
        """Raises Refusal."""
        host = request.headers.get("host", "")
        if not self._is_own(_name_in(host)):
            raise Refusal(
                403, "FORBIDDEN", f"the Host {host!r} is not this broker; allowed: {', '.join(sorted(self._names))}"
            )
        origin = request.headers.get("origin")
        if origin is not None and origin.partition("://")[2].lower() != host.lower():
            raise Refusal(403, "FORBIDDEN", f"a page of {origin!r} may not use this broker; allowed: http://{host}")

    def _is_own(self, name: str) -> bool:
        if name in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        # An address cannot be rebound. Where the broker listens at all of them, it does not know its own.
        return address.is_loopback or self._takes_any_address


def _name_in(host: str) -> str:
    """The name or address of HOST or HOST:PORT; empty where it is neither."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_unspecified(name: str) -> bool:
    try:
        return not name or ipaddress.ip_address(name).is_unspecified
    except ValueError:
        return False


def _route_of(request: Request) -> tuple[Route, Mapping[str, str]]:
    """Raises Refusal."""
    method = "GET" if request.method == "HEAD" else request.method
    segments = request.path.split("/")
    fitting = [(route, found) for route in ROUTES if (found := _fit(route.pattern.split("/"), segments)) is not None]
    for route, path in fitting:
        if route.method == method:
            return route, path
    if fitting:
        allowed = ", ".join(route.method for route, _ in fitting)
        raise Refusal(405, "METHOD_NOT_ALLOWED", f"not with {method}; allowed: {allowed}", {"Allow": allowed})
    known = dict.fromkeys(route.pattern for route in ROUTES)
    raise Refusal(404, "NOT_FOUND", f"nothing at {request.path}; served: {' '.join(known)}")


def _fit(pattern: list[str], segments: list[str]) -> Mapping[str, str] | None:
    if len(pattern) != len(segments):
        return None
    found = {}
    for expected, segment in zip(pattern, segments, strict=True):
        if expected.startswith("{") and segment:
            found[expected[1:-1]] = unquote(segment)
        elif expected != segment:
            return None
    return found


def _query(route: Route, request: Request) -> Body:
    return _checked(route.query, lambda: route.query.model_validate(dict(parse_qsl(request.query, True))))


def _body(route: Route, request: Request) -> Body:
    if route.method == "GET":
        return Body()
    said = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if said != JSON:
        raise Refusal(415, "UNSUPPORTED_MEDIA_TYPE", f"the content-type is {said!r}; allowed: {JSON}")
    return _checked(route.body, lambda: route.body.model_validate_json(request.body or b"{}"))


def _checked(model: type[Body], validate: Callable[[], Body]) -> Body:
    try:
        return validate()
    except ValidationError as error:
        raise explain(error, list(model.model_fields)) from None
