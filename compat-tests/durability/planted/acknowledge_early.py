"""Tailrace with a fault: a write is said to be done when it is asked for, and is made 50 ms later.

Takes the arguments of `tailrace`. The power cut must find it, on any backend.
"""

from __future__ import annotations

from typing import Any

from tailrace_engine.disk.port import WriteBuffer
from tailrace_engine.disk.threads import ThreadDisk
from tailrace_engine.disk.uring import UringDisk
from tailrace_gateway.main import main

LATE_SECONDS = 0.05


def late(write: Any) -> Any:
    def write_late(self: Any, number: int, buffer: WriteBuffer, length: int, position: int, on_done: Any) -> None:
        kept = WriteBuffer(length)
        kept.view[:] = buffer.view[:length]
        self._loop.call_later(LATE_SECONDS, write, self, number, kept, length, position, lambda error: None)
        self._loop.call_soon(on_done, None)

    return write_late


for disk in (ThreadDisk, UringDisk):
    disk.write = late(disk.write)  # type: ignore[method-assign]

raise SystemExit(main())
