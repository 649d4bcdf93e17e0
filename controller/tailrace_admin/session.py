"""What a command works with, and the parts of commands that nouns share."""

import argparse
import difflib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from tailrace_admin.client import Client, Refused
from tailrace_admin.output import Output

DONE: Final = 0
REFUSED: Final = 1
WRONG_USAGE: Final = 2
UNREACHABLE: Final = 3


class WrongUsage(Exception):
    """The text says what is allowed."""


@dataclass
class Session:
    """One run of the command."""

    client: Client
    out: Output
    is_yes: bool
    """Nothing is asked back."""

    def confirm(self, what: str) -> None:
        """Ask before something that cannot be undone, where somebody is there to answer. Raises WrongUsage for a no."""
        if self.is_yes or not sys.stdin.isatty():
            return
        sys.stderr.write(f"{what}? [y/N] ")
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise WrongUsage("nothing was done; --yes goes on without asking")

    def known(self, noun: str, name: str, ask: Callable[[], Any]) -> Any:
        """What ask gives; where the broker knows no such name, its refusal with the names that are near."""
        try:
            return ask()
        except Refused as error:
            if error.code not in ("UNKNOWN_TOPIC_OR_PARTITION", "GROUP_ID_NOT_FOUND"):
                raise
            raise Refused(error.code, str(error) + near(name, list(self.client.names(noun)))) from None


Run: TypeAlias = Callable[[Session, argparse.Namespace], int]
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def near(name: str, names: Sequence[str]) -> str:
    """A clause with the most similar names; empty without any."""
    found = difflib.get_close_matches(name, names, 3)
    return f"; did you mean {' or '.join(map(repr, found))}?" if found else ""


def common() -> argparse.ArgumentParser:
    """Options that may stand behind any command. Without a default, so that one given before it is kept."""
    parent = argparse.ArgumentParser(add_help=False)
    options = parent.add_argument_group("of all commands")
    add_common(options, argparse.SUPPRESS)
    return parent


def add_common(options: "argparse._ActionsContainer", default: Any) -> None:
    options.add_argument(
        "--url",
        default=default,
        metavar="URL",
        help="the broker's HTTP address (TAILRACE_ADMIN_URL, else http://127.0.0.1:9644)",
    )
    options.add_argument("--json", action="store_true", default=default, help="the API's answer, one object a line")
    options.add_argument("--yes", action="store_true", default=default, help="do not ask back")


def command(commands: Commands, name: str, run: Run, about: str, examples: str) -> argparse.ArgumentParser:
    """A command that runs. examples: lines behind `tailrace admin`."""
    lines = "\n".join(f"  tailrace admin {line.strip()}" for line in examples.strip().splitlines())
    parser = commands.add_parser(
        name,
        help=about,
        description=about[0].upper() + about[1:] + ".",
        epilog=f"examples:\n{lines}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common()],
    )
    parser.set_defaults(run=run, parser=parser)
    return parser


def noun(commands: Commands, name: str, about: str) -> Commands:
    """A noun, whose commands are added to what this gives."""
    parser = commands.add_parser(name, help=about, description=about[0].upper() + about[1:] + ".")
    verbs: Commands = parser.add_subparsers(dest="verb", required=True, metavar="COMMAND")
    return verbs


def completes(action: argparse.Action, kind: str) -> None:
    """Shells complete this with names of that kind: topics, groups or brokers."""
    action.completes = kind  # type: ignore[attr-defined]


def name_and_value(text: str) -> tuple[str, str]:
    """NAME=VALUE of the command line."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def topic_and_partitions(text: str) -> dict[str, object]:
    """TOPIC or TOPIC:0,1,5 of the command line, as bodies have it."""
    topic, colon, numbers = text.partition(":")
    if not colon:
        return {"topic": topic, "partitions": None}
    if not topic or not all(number.isdecimal() for number in numbers.split(",")):
        raise argparse.ArgumentTypeError(f"{text!r} is neither TOPIC nor TOPIC:PARTITION,PARTITION")
    return {"topic": topic, "partitions": [int(number) for number in numbers.split(",")]}


def add_changes(parser: argparse.ArgumentParser) -> None:
    """--set and the others, for changes_of."""
    for word, meta, about in (
        ("set", "NAME=VALUE", "give a config a value"),
        ("append", "NAME=VALUES", "add to a list"),
        ("subtract", "NAME=VALUES", "take out of a list"),
    ):
        parser.add_argument(f"--{word}", metavar=meta, type=name_and_value, action="append", default=[], help=about)
    parser.add_argument("--delete", metavar="NAME", action="append", default=[], help="take a config's own value away")
    parser.add_argument("--dry-run", action="store_true", help="check it, change nothing")


def changes_of(arguments: argparse.Namespace) -> list[Mapping[str, object]]:
    """What add_changes took, as bodies have it. Raises WrongUsage."""
    changes: list[Mapping[str, object]] = [
        {"name": name, "operation": word, "value": value}
        for word in ("set", "append", "subtract")
        for name, value in getattr(arguments, word)
    ]
    changes += [{"name": name, "operation": "delete"} for name in arguments.delete]
    if not changes:
        raise WrongUsage("nothing to change; allowed: --set, --delete, --append, --subtract")
    return changes
