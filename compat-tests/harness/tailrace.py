"""How a Tailrace broker is started: the command a user types, on free ports and a given data folder."""

from __future__ import annotations

import os
import shlex
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from harness.process import HOST, Broker, Setting, Settings, free_port

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (ROOT / "engine", ROOT / "controller", ROOT / "gateway")


def default_command() -> list[str]:
    """TAILRACE_COMMAND, else the installed program beside this Python, else the sources of this tree."""
    if given := os.environ.get("TAILRACE_COMMAND"):
        return shlex.split(given)
    program = Path(sys.executable).parent / "tailrace"
    return [str(program)] if program.exists() else [sys.executable, "-m", "tailrace_gateway.main"]


class Tailrace(Broker):
    """`tailrace serve` as a child; `program` replaces the command in front of `serve` (the planted builds do)."""

    name = "tailrace"
    bounds_memory = True

    def __init__(
        self,
        folder: Path,
        settings: Settings | None = None,
        *,
        data_dir: Path | None = None,
        program: Sequence[str] | None = None,
    ) -> None:
        super().__init__(HOST, free_port())
        self.http_port = free_port()
        self.data_dir = data_dir or folder / "data"
        self.log_path = folder / "tailrace.log"
        self.settings: dict[Setting, str | int] = {Setting.INITIAL_REBALANCE_DELAY_MS: 0, **(settings or {})}
        self._program = list(program or default_command())
        self._environment = {"PYTHONPATH": os.pathsep.join(map(str, PACKAGES))}

    def command(self) -> Sequence[str]:
        return [
            *self._program,
            "serve",
            *("--data-dir", str(self.data_dir)),
            *("--kafka", self.bootstrap),
            *("--http", f"{HOST}:{self.http_port}"),
            *("--set", f"advertised.listeners=PLAINTEXT://{self.bootstrap}"),
            *(word for key, value in self.settings.items() for word in ("--set", f"{key}={value}")),
        ]

    def http(self, path: str) -> str:
        """The body of an HTTP GET on the admin port; raises HTTPError for a status of 400 and more."""
        with urllib.request.urlopen(f"http://{HOST}:{self.http_port}{path}", timeout=10) as answer:
            body: bytes = answer.read()
        return body.decode()
