"""The APIs that are served: one file each, and this one table of them. ApiVersions is derived from it."""

from typing import Final

from tailrace_gateway.kafka.apis import api_versions, fetch, metadata, produce
from tailrace_gateway.kafka.routes import Api

APIS: Final[tuple[Api, ...]] = (
    produce.API,
    fetch.API,
    metadata.API,
    api_versions.API,
)
