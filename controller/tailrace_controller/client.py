"""What a process that runs brokers imports of the controller: how to open one, as a core.membership.Membership."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from tailrace_controller.runtime.active import LocalController
from tailrace_controller.store.sqlite import SqliteStore
from tailrace_core.errors import TailraceError
from tailrace_core.membership import Membership
from tailrace_core.ports import Entropy


async def open_local_controller(
    path: Path,
    entropy: Entropy,
    loop: asyncio.AbstractEventLoop,
    config_defaults: Mapping[str, str] | None = None,
) -> Membership:
    """The controller of one node, with its metadata in the SQLite file at path, which is made where it is not there.

    config_defaults are the broker's own defaults of topic settings, by the topic settings' names. Raises
    DataFolderInUse, DataCorrupt, FormatTooNew, StorageUnavailable, and InvalidConfig for a default.
    """
    store = await SqliteStore.open(path, loop)
    try:
        return await LocalController.open(store, entropy, config_defaults or {})
    except TailraceError:
        await store.close()
        raise
