"""`tailrace admin`: words to a command, and its outcome to an exit status."""

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from tailrace_admin import brokers, completion, configs, groups, topics
from tailrace_admin.client import Client, Refused, Unreachable, WrongUrl
from tailrace_admin.output import Output
from tailrace_admin.session import DONE, REFUSED, UNREACHABLE, WRONG_USAGE, Session, WrongUsage, add_common, command

DEFAULT_URL: Final = "http://127.0.0.1:9644"
URL_VARIABLE: Final = "TAILRACE_ADMIN_URL"
COMPLETE: Final = "__complete"
INTERRUPTED: Final = 130
_COMPLETE_SECONDS: Final = 2.0
"""A person has pressed a key and waits."""

_EPILOG: Final = """exit status: 0 done, 1 refused by the broker, 2 wrong usage, 3 no broker there

examples:
  tailrace admin topics list
  tailrace admin groups lag
  tailrace admin --url http://10.0.0.7:9644 brokers describe
  source <(tailrace admin completion bash)"""


def parser() -> argparse.ArgumentParser:
    """The tree of all words."""
    top = argparse.ArgumentParser(
        prog="tailrace admin",
        description="Administer a broker over HTTP.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_common(top, None)
    commands = top.add_subparsers(dest="noun", required=True, metavar="COMMAND")
    for one in (topics, groups, configs, brokers):
        one.add(commands)
    shell = command(
        commands,
        "completion",
        _no_session,
        "a script that completes words in a shell",
        "completion bash > /etc/bash_completion.d/tailrace",
    )
    shell.add_argument("shell", choices=completion.SHELLS, metavar="SHELL", help=", ".join(completion.SHELLS))
    return top


def _no_session(session: Session, arguments: argparse.Namespace) -> int:
    session.out.value({}, [completion.script(arguments.shell, parser())])
    return DONE


def main(words: Sequence[str]) -> int:
    """Run `tailrace admin` with these words; gives the exit status."""
    url = os.environ.get(URL_VARIABLE) or DEFAULT_URL
    if words and words[0] == COMPLETE:
        return _complete(url, *words[1:])
    try:
        arguments, unknown = parser().parse_known_args(words)
        if unknown:
            # The command's own usage tells what it takes; parse_args would show that of all commands.
            arguments.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    except SystemExit as end:
        # argparse has said what is wrong, or the help.
        return WRONG_USAGE if end.code else DONE
    out = Output(bool(arguments.json))
    if arguments.run is _no_session:
        out.is_json = False
    try:
        client = Client(arguments.url or url)
        try:
            return int(arguments.run(Session(client, out, bool(arguments.yes)), arguments))
        finally:
            client.close()
    except (WrongUrl, WrongUsage) as error:
        out.error(str(error))
        return WRONG_USAGE
    except Refused as error:
        out.error(f"{error.code}: {error}")
        return REFUSED
    except Unreachable as error:
        out.error(str(error))
        return UNREACHABLE
    except BrokenPipeError:
        # Who reads has seen enough. Python would complain once more when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        out.end_progress()
        return INTERRUPTED
    return DONE


def _complete(url: str, kind: str = "", prefix: str = "", *_: str) -> int:
    """Names of a kind, one a line, for the shell's completion, which has no use for errors."""
    out = Output(False)
    with suppress(WrongUrl, Refused, Unreachable):
        client = Client(url, _COMPLETE_SECONDS)
        out.value({}, [name for name in client.names(kind) if name.startswith(prefix)])
        client.close()
    return DONE
