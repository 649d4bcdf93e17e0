"""The way into the admin API, without importing it: a broker that nobody administers does not pay for it."""

import asyncio
from collections.abc import Callable

from tailrace_gateway.observability.http import Handler, Request, Response


class LazyAdmin:
    """A Handler. `load` gives the one that answers; it runs once, in a thread, at the first request."""

    def __init__(self, load: Callable[[], Handler]) -> None:
        self._load = load
        self._loading = asyncio.Lock()
        self._handler: Handler | None = None

    async def __call__(self, request: Request) -> Response:
        async with self._loading:
            if self._handler is None:
                self._handler = await asyncio.to_thread(self._load)
        return await self._handler(request)
