"""Tailrace as the installed command: one process, in its two sync modes.

The names of settings and metrics that the bench depends on stand here and nowhere else.
"""

from __future__ import annotations

import os
import re
import sys
import urllib.request
from pathlib import Path

from server import Server, free_port

HOT_BYTES = 256 << 20
COLD_HOT_BYTES = 64 << 20

SMALL_HOT_LOG = {"engine.hot_bytes": COLD_HOT_BYTES}
EAGER_UPLOAD = {"upload.interval_ms": 500}
"""All that was produced is in the object store soon after, also what fills no object."""
UPLOAD_HELD_BACK = {
    "upload.interval_ms": 86_400_000,
    "upload.bytes": 1 << 30,
    "upload.pressure_ratio": 1,
    "engine.hot_bytes": 2 << 30,
}
"""Up to 1 GiB stays in the WAL alone."""


class TailraceAlways(Server):
    """wal.sync=always: acknowledged means synced."""

    label = "tailrace-always"
    sync = "always"

    def __init__(self, instance: str = "main", settings: dict[str, object] | None = None) -> None:
        super().__init__(instance)
        self.settings: dict[str, object] = settings or {}
        self._http_port = 0

    def prepare(self) -> None:
        self._http_port = free_port()

    def command(self) -> list[str]:
        settings = {
            "wal.sync": self.sync,
            "engine.hot_bytes": HOT_BYTES,
            "groups.initial_rebalance_delay_ms": 0,
            **self.settings,
        }
        return [
            executable(),
            "serve",
            f"--data-dir={self.folder / 'data'}",
            f"--kafka=127.0.0.1:{self.port}",
            f"--http=127.0.0.1:{self._http_port}",
            *(f"--set={name}={value}" for name, value in settings.items()),
        ]

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._http_port}/metrics", timeout=10) as answer:
            return str(answer.read().decode())

    def uploaded_bytes(self) -> int:
        return self._metric("tailrace_uploaded_bytes_total")

    def wal_used_bytes(self) -> int:
        return self._metric("tailrace_wal_used_bytes")

    def _metric(self, name: str) -> int:
        found = re.search(rf"^{name} (\S+)", self.metrics(), re.MULTILINE)
        if not found:
            raise RuntimeError(f"/metrics has no {name}")
        return int(float(found[1]))


class TailraceInterval(TailraceAlways):
    """wal.sync=interval: acknowledged means handed to the operating system, which is what Kafka's default promises."""

    label = "tailrace-interval"
    sync = "interval"


def executable() -> str:
    """The command of the environment that runs the bench, or $TAILRACE."""
    return os.environ.get("TAILRACE") or str(Path(sys.executable).parent / "tailrace")
