"""`tailrace admin configs`."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tailrace_admin.client import Answer, Refused
from tailrace_admin.output import Output
from tailrace_admin.session import (
    DONE,
    Commands,
    Session,
    add_changes,
    changes_of,
    command,
    completes,
    near,
    noun,
)

TYPES: Final = ("topics", "brokers", "groups", "client-metrics", "broker-loggers")
_DEFAULT: Final = "DEFAULT_CONFIG"


def add(commands: Commands) -> None:
    verbs = noun(commands, "configs", "configs of topics, brokers, groups and client metrics; levels of loggers")
    command(verbs, "list", list_resources, "what has configs", "configs list")
    describe = command(
        verbs,
        "describe",
        describe_configs,
        "values in force, where they come from, and what they do here",
        """configs describe topics orders
        configs describe topics orders retention.ms --docs
        configs describe brokers 1 --all
        configs describe brokers default""",
    )
    _add_resource(describe)
    describe.add_argument("names", nargs="*", metavar="CONFIG", help="these configs alone")
    describe.add_argument("--all", action="store_true", help="those with their default value, too")
    describe.add_argument("--docs", action="store_true", help="what each does, what is allowed, and its synonyms")
    alter = command(
        verbs,
        "alter",
        alter_configs,
        "change configs, all of them or none",
        """configs alter topics orders --set retention.ms=3600000
        configs alter topics orders --append cleanup.policy=compact --delete max.message.bytes
        configs alter brokers default --set log.retention.ms=86400000 --dry-run
        configs alter broker-loggers 1 --set tailrace_engine=DEBUG""",
    )
    _add_resource(alter)
    add_changes(alter)


def _add_resource(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("type", choices=TYPES, metavar="TYPE", help=", ".join(TYPES))
    name = parser.add_argument("name", metavar="NAME", help='topic, group, or node id; "default" for all brokers')
    completes(name, "resources")


def list_resources(session: Session, arguments: argparse.Namespace) -> int:
    answer = session.client.get("configs")
    rows = [(kind, name) for kind in TYPES for name in answer[kind]]
    session.out.value(answer, session.out.table(("TYPE", "NAME"), rows))
    return DONE


def describe_configs(session: Session, arguments: argparse.Namespace) -> int:
    answer = session.known(
        arguments.type, arguments.name, lambda: session.client.get("configs", arguments.type, arguments.name)
    )
    found: Sequence[Mapping[str, Any]] = answer["configs"]
    if arguments.names:
        known = [config["name"] for config in found]
        for name in arguments.names:
            if name not in known:
                raise Refused("INVALID_CONFIG", f"{arguments.type} have no config {name!r}{near(name, known)}")
        found = [config for config in found if config["name"] in arguments.names]
    elif not arguments.all:
        found = [config for config in found if config["source"] != _DEFAULT]
    lines = documented(session.out, found) if arguments.docs else listed(session.out, found)
    if not found:
        lines = ["all configs have their defaults; --all shows them"]
    session.out.value({**answer, "configs": found}, lines)
    return DONE


def listed(out: Output, configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """A table, a line a config."""
    rows = [(config["name"], _shown(config), config["source"], _remark(config)) for config in configs]
    return out.table(("CONFIG", "VALUE", "SOURCE", "REMARK"), rows)


def _shown(config: Mapping[str, Any]) -> str:
    if config["is_sensitive"]:
        return "(hidden)"
    value = config["value"]
    return "(not set)" if value is None else value or "(empty)"


def _remark(config: Mapping[str, Any]) -> str:
    said = [] if config["state"] == "works" else [str(config["state"])]
    return ", ".join([*said, "read-only"] if config["is_read_only"] else said)


def documented(out: Output, configs: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    for config in configs:
        lines.append(out.heading(f"{config['name']} = {_shown(config)}"))
        lines.append(f"  {config['documentation']}")
        allowed = f"; allowed: {config['allowed']}" if config["allowed"] else ""
        lines.append(f"  type {config['type']}{allowed}")
        lines += [f"  {one['source']}: {one['name']}={one['value']}" for one in config["synonyms"]]
    return lines


def alter_configs(session: Session, arguments: argparse.Namespace) -> int:
    return alter(session, arguments, arguments.type, arguments.name)


def alter(session: Session, arguments: argparse.Namespace, kind: str, name: str) -> int:
    """Send the changes of the command line."""
    body = {"changes": changes_of(arguments), "validate_only": arguments.dry_run}

    def ask() -> Answer:
        return session.client.send("PATCH", "configs", kind, name, body=body)

    try:
        answer = session.known(kind, name, ask)
    except Refused as error:
        if error.code not in ("INVALID_CONFIG", "INVALID_REQUEST"):
            raise
        raise Refused(error.code, str(error) + _near_config(session, kind, name, body["changes"])) from None
    if arguments.dry_run:
        session.out.value(answer, ["would be accepted; nothing was changed"])
    else:
        session.out.value(answer, listed(session.out, answer["configs"]) if answer["configs"] else ["changed"])
    return DONE


def _near_config(session: Session, kind: str, name: str, changes: Any) -> str:
    """Names like those that were given and do not exist."""
    describable = name
    if kind == "brokers" and name == "default":
        describable = next(iter(session.client.names("brokers")), "")
    known = [config["name"] for config in session.client.get("configs", kind, describable)["configs"]]
    unknown = [change["name"] for change in changes if change["name"] not in known]
    return "".join(near(one, known) for one in unknown[:1])
