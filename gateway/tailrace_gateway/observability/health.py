"""/healthz: the process lives. /readyz: it takes requests; otherwise 503 and the reason. /metrics."""

from collections.abc import Callable, Mapping

from tailrace_gateway.observability.exporter import CONTENT_TYPE, Exporter
from tailrace_gateway.observability.http import Handler, Request, Response, text


def routes(ready: Callable[[], tuple[bool, str]], exporter: Exporter) -> dict[str, Mapping[str, Handler]]:
    """The table of routes that every broker has. ready gives whether the broker serves, and why not."""

    async def healthz(_: Request) -> Response:
        # A loop that hangs does not come here, which is what the probe is to find out.
        return text(200, "ok")

    async def readyz(_: Request) -> Response:
        serves, reason = ready()
        return text(200 if serves else 503, reason)

    async def metrics(_: Request) -> Response:
        return Response(200, (await exporter.scrape()).encode(), CONTENT_TYPE)

    return {"/healthz": {"GET": healthz}, "/readyz": {"GET": readyz}, "/metrics": {"GET": metrics}}
