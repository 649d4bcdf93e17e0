"""From an API key and a version to the functions that serve it. ApiVersions is derived from the same table."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from tailrace_gateway.kafka import schema
from tailrace_gateway.kafka.connection import Reply
from tailrace_gateway.kafka.schema import Buffer, Message

if TYPE_CHECKING:
    from tailrace_gateway.kafka.context import Call, Services

_RESPONSE_HEADERS: Final = {0: Struct(">ii"), 1: Struct(">iix")}
"""Size and correlation id; version 1 ends with an empty tag section."""

DirectHandler = Callable[["Services", Any, Any], None]
"""(services, reply, request): answers through the reply, now or later, without a task."""
CallHandler = Callable[["Call", Any], Message | Awaitable[Message]]
"""(call, request): gives the response, or an awaitable of it."""


@dataclass(frozen=True, slots=True)
class Api:
    """One row of the table of APIs.

    versions are those that are served; advertised_from is what ApiVersions says instead of their first one, where
    clients draw conclusions from it. Exactly one of handle and direct is given; direct ones bring a Reply of their own.
    """

    key: int
    name: str
    versions: range
    handle: CallHandler | None = None
    direct: DirectHandler | None = None
    new_reply: type[Reply] = Reply
    overlaps: bool = False
    """Whether requests of one connection overlap each other; the others are barriers."""
    advertised_from: int | None = None


class Route:
    """One API in one version, with what the connection needs of it at hand."""

    __slots__ = (
        "api",
        "decode",
        "encode_parts",
        "flexible_header",
        "handle",
        "name",
        "new_reply",
        "overlaps",
        "requests",
        "response_header",
        "sent_bytes",
        "version",
    )

    def __init__(self, api: Api, version: int, handle: Callable[[Any, Any], None]) -> None:
        self.api = api
        self.name = api.name
        self.version = version
        self.overlaps = api.overlaps
        self.new_reply = api.new_reply
        self.handle = handle
        self.requests = 0
        self.sent_bytes = 0
        """Of responses, with their headers."""
        request = schema.request(api.key)
        self.decode = request.decoder(version)
        self.encode_parts = _parts_encoder(schema.response(api.key), version)
        self.flexible_header = schema.request_header_version(api.key, version) == 2
        self.response_header = _RESPONSE_HEADERS[schema.response_header_version(api.key, version)]


def _parts_encoder(response: type[Message], version: int) -> Callable[[Message], list[Buffer]]:
    if response.__name__ == "FetchResponse":
        return response.parts_encoder(version)
    encode = response.encoder(version)
    return lambda message: [encode(message)]


class Routes:
    """All that is served. Routes are made when a client first uses them."""

    def __init__(self, apis: tuple[Api, ...], bind: Callable[[Api], Callable[[Any, Any], None]]) -> None:
        """bind gives the function (reply, request) that serves an API."""
        self.apis = {api.key: api for api in apis}
        self._bind = bind
        self._routes: dict[int, Route] = {}

    def find(self, api_key: int, api_version: int) -> Route | None:
        """The route; None when this API or version is not served."""
        route = self._routes.get(api_key << 16 | api_version)
        if route is not None:
            return route
        api = self.apis.get(api_key)
        if api is None or api_version not in api.versions:
            return None
        route = Route(api, api_version, self._bind(api))
        self._routes[api_key << 16 | api_version] = route
        return route

    def lowest(self, api_key: int) -> Route | None:
        """The oldest version's route, for ApiVersions requests of versions that we do not know (KIP-511)."""
        return self.find(api_key, self.apis[api_key].versions[0]) if api_key in self.apis else None

    def used(self) -> list[Route]:
        """The routes that clients have used, for metrics."""
        return list(self._routes.values())
