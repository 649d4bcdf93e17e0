"""The command `tailrace`.

Nearly all of a start is imports, so `main` decides how they run before it asks for any: without the collector, which
would look through the growing heap a hundred times to find nothing, and without pydantic's plug-ins, for which it would
read the metadata of every installed package. The collector comes back with gc_policy.
"""

import argparse
import gc
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tailrace_core.settings import Settings


_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def parser() -> argparse.ArgumentParser:
    """What may be said on the command line."""
    top = argparse.ArgumentParser(
        prog="tailrace", description="A Kafka-compatible broker that keeps its data in object storage."
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="run a broker with its controller in one process")
    serve.add_argument("--data-dir", metavar="DIR", help="folder of all data (default ./tailrace-data)")
    serve.add_argument("--kafka", metavar="HOST:PORT", help="where Kafka clients connect (default 127.0.0.1:9092)")
    serve.add_argument(
        "--http", metavar="HOST:PORT", help="health, metrics and administration (default 127.0.0.1:9644)"
    )
    serve.add_argument("--config", metavar="FILE", type=Path, help="settings in TOML; see config/REFERENCE.md")
    serve.add_argument(
        "--set",
        metavar="SECTION.KEY=VALUE",
        action="append",
        default=[],
        help="one setting, by its own or by Kafka's name; may be given many times",
    )
    commands.add_parser("admin", help="administer a broker that runs; see tailrace admin --help", add_help=False)
    return top


def settings_of(arguments: argparse.Namespace) -> "Settings":
    """Raises InvalidSettings."""
    from tailrace_core.settings_load import load

    given = list(arguments.set)
    if arguments.data_dir is not None:
        given.append(f"broker.data_dir={arguments.data_dir}")
    if arguments.kafka is not None:
        given.append(f"kafka.listeners=PLAINTEXT://{arguments.kafka}")
    if arguments.http is not None:
        given.append(f"http.listen={arguments.http}")
    return load(arguments.config, os.environ, given)


def _leave(number: int, frame: object) -> None:
    """A stop during the start: nothing is acknowledged yet, so nothing is to be finished."""
    raise SystemExit(0)


async def serve(settings: "Settings") -> None:
    """Run a broker until SIGTERM or SIGINT."""
    import asyncio

    from tailrace_gateway.broker import Broker

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    broker = Broker(settings)
    await broker.start()
    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, stop.set)
    sys.stdout.write(f"{broker.banner()}\n")
    sys.stdout.flush()
    await stop.wait()
    await broker.stop()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; gives the exit status: 0, or 1 with one line that says what is wrong. `admin` has its own."""
    words = sys.argv[1:] if arguments is None else arguments
    if list(words[:1]) == ["admin"]:
        from tailrace_admin.main import main as administer

        return administer(words[1:])
    parsed = parser().parse_args(words)
    for number in _STOP_SIGNALS:
        signal.signal(number, _leave)
    gc.disable()
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    import uvloop

    from tailrace_core.errors import TailraceError
    from tailrace_gateway.observability.logging import configure

    try:
        settings = settings_of(parsed)
        configure(settings.logging.level, settings.logging.format)
        uvloop.run(serve(settings))
    except (TailraceError, OSError) as error:
        sys.stderr.write(f"tailrace: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
