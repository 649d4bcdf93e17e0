"""What a process that runs brokers imports of the controller: how to open one, as a core.membership.Membership."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from tailrace_controller.runtime.active import LocalController
from tailrace_controller.store.measured import MeasuredStore
from tailrace_controller.store.sqlite import SqliteStore
from tailrace_core.errors import TailraceError
from tailrace_core.membership import Membership
from tailrace_core.ports import Clock, Entropy
from tailrace_core.telemetry import Histogram


async def open_local_controller(
    path: Path,
    entropy: Entropy,
    loop: asyncio.AbstractEventLoop,
    broker_configs: Mapping[str, str] | None = None,
    measured: tuple[Clock, Histogram] | None = None,
) -> Membership:
    """The controller of one node, with its metadata in the SQLite file at path, which is made where it is not there.

    broker_configs is what the broker was started with (core.kafka_configs.static_broker_configs). measured: the clock
    and the histogram for how long commits take, in microseconds. Raises DataFolderInUse, DataCorrupt, FormatTooNew,
    StorageUnavailable, and InvalidConfig for one of broker_configs.
    """
    opened = await SqliteStore.open(path, loop)
    store = opened if measured is None else MeasuredStore(opened, *measured)
    try:
        return await LocalController.open(store, entropy, broker_configs or {})
    except TailraceError:
        await store.close()
        raise
