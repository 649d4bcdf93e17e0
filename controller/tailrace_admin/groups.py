"""`tailrace admin groups`."""

import argparse
from collections.abc import Sequence
from datetime import datetime
from functools import partial

from tailrace_admin.client import Answer, Refused
from tailrace_admin.output import Cell
from tailrace_admin.session import (
    DONE,
    REFUSED,
    Commands,
    Session,
    command,
    completes,
    noun,
    topic_and_partitions,
)


def add(commands: Commands) -> None:
    verbs = noun(commands, "groups", "consumer groups, their members, offsets and lag")
    listing = command(verbs, "list", list_groups, "all groups", "groups list\ngroups list --state Stable")
    listing.add_argument("--state", default="", metavar="STATE", help="Empty, Stable, PreparingRebalance, ...")
    describe = command(
        verbs,
        "describe",
        describe_groups,
        "offsets, lag and owner of each partition; members",
        "groups describe billing\ngroups describe billing --members",
    )
    completes(describe.add_argument("groups", nargs="+", metavar="GROUP"), "groups")
    describe.add_argument("--members", action="store_true", help="the members and what they are assigned")
    lag = command(
        verbs, "lag", lag_of_groups, "how much groups have still to read, by topic", "groups lag\ngroups lag billing"
    )
    completes(lag.add_argument("groups", nargs="*", metavar="GROUP", help="default: all"), "groups")
    reset = command(
        verbs,
        "reset-offsets",
        reset_offsets,
        "say where a group without members goes on reading",
        """groups reset-offsets billing --to-earliest --dry-run
        groups reset-offsets billing --to-time 2026-01-31T12:00:00Z --topic orders
        groups reset-offsets billing --shift-by -100 --topic orders:0,3""",
    )
    completes(reset.add_argument("group", metavar="GROUP"), "groups")
    target = reset.add_mutually_exclusive_group(required=True)
    for word, about in (
        ("earliest", "the oldest record"),
        ("latest", "what comes from now on"),
        ("current", "what is committed, moved into what there is"),
    ):
        target.add_argument(f"--to-{word}", dest="to", action="store_const", const={"to": word}, help=about)
    target.add_argument("--to-offset", dest="to", type=_offset, metavar="OFFSET", help="this offset, in each partition")
    target.add_argument(
        "--to-time",
        dest="to",
        type=_time,
        metavar="TIME",
        help="the first record that is not older: 2026-01-31T12:00:00Z (without a zone: this computer's), or "
        "milliseconds since 1970",
    )
    target.add_argument("--shift-by", dest="to", type=_shift, metavar="N", help="N further on; negative: back")
    _add_topics(reset, required=False)
    reset.add_argument("--dry-run", action="store_true", help="tell what it would be, change nothing")
    forget = command(
        verbs,
        "delete-offsets",
        delete_offsets,
        "forget what a group has committed for topics that it does not read",
        "groups delete-offsets billing --topic orders",
    )
    completes(forget.add_argument("group", metavar="GROUP"), "groups")
    _add_topics(forget, required=True)
    delete = command(verbs, "delete", delete_groups, "delete groups without members", "groups delete billing")
    completes(delete.add_argument("groups", nargs="+", metavar="GROUP"), "groups")


def _add_topics(parser: argparse.ArgumentParser, required: bool) -> None:
    action = parser.add_argument(
        "--topic",
        dest="topics",
        type=topic_and_partitions,
        action="append",
        required=required,
        metavar="TOPIC[:0,1]",
        help="these partitions alone; may be given often"
        + ("" if required else "; default: all that the group has offsets of"),
    )
    completes(action, "topics")


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def _offset(text: str) -> dict[str, object]:
    return {"to": "offset", "offset": _whole(text)}


def _shift(text: str) -> dict[str, object]:
    return {"to": "shift", "shift_by": _whole(text)}


def _time(text: str) -> dict[str, object]:
    if text.isdecimal():
        return {"to": "time", "timestamp_ms": int(text)}
    try:
        return {"to": "time", "timestamp_ms": int(datetime.fromisoformat(text).timestamp() * 1000)}
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a time like 2026-01-31T12:00:00Z nor milliseconds"
        ) from None


def list_groups(session: Session, arguments: argparse.Namespace) -> int:
    query = {"state": arguments.state} if arguments.state else {}
    answer = session.client.pages("groups", lambda count: session.out.progress(f"{count} groups"), **query)
    rows = [
        (group["group_id"], group["state"], group["group_type"], group["protocol_type"]) for group in answer["groups"]
    ]
    session.out.value(answer, session.out.table(("GROUP", "STATE", "TYPE", "PROTOCOL TYPE"), rows))
    return DONE


def _group(session: Session, group_id: str) -> Answer:
    answer: Answer = session.known("groups", group_id, lambda: session.client.get("groups", group_id))
    return answer


def describe_groups(session: Session, arguments: argparse.Namespace) -> int:
    for group_id in arguments.groups:
        group = _group(session, group_id)
        out = session.out
        count = len(group["members"])
        lines = [out.heading(f"{group['group_id']}  {group['state']}, {count} members, lag {group['lag']}")]
        lines += _members(session, group) if arguments.members else _offsets(session, group)
        out.value(group, lines)
    return DONE


def _offsets(session: Session, group: Answer) -> list[str]:
    clients = {member["member_id"]: member for member in group["members"]}
    rows = []
    for one in group["offsets"]:
        member = clients.get(one["member_id"], {})
        owner: Sequence[Cell] = (member.get("member_id"), member.get("client_host"))
        offsets = (one["committed_offset"], one["high_watermark"], one["lag"])
        rows.append((one["topic"], one["partition"], *offsets, *owner))
    columns = ("TOPIC", "PARTITION", "COMMITTED", "HIGH WATERMARK", "LAG", "MEMBER", "HOST")
    lines = session.out.table(columns, rows)
    return lines + [
        session.out.bad(f"{one['topic']}-{one['partition']}: {one['error']['message']}")
        for one in group["offsets"]
        if one["error"]
    ]


def _members(session: Session, group: Answer) -> list[str]:
    rows = []
    for member in group["members"]:
        assignment = member["assignment"]
        assigned = (
            "(not known)"
            if assignment is None
            else " ".join(f"{one['topic']}:{','.join(map(str, one['partitions']))}" for one in assignment)
        )
        named = (member["member_id"], member["group_instance_id"], member["client_id"], member["client_host"])
        rows.append((*named, assigned))
    return session.out.table(("MEMBER", "INSTANCE", "CLIENT", "HOST", "ASSIGNED"), rows)


def lag_of_groups(session: Session, arguments: argparse.Namespace) -> int:
    group_ids = arguments.groups or list(session.client.names("groups"))
    rows: list[Sequence[Cell]] = []
    groups = []
    for count, group_id in enumerate(group_ids):
        session.out.progress(f"{count} of {len(group_ids)} groups")
        try:
            group = _group(session, group_id)
        except Refused as error:
            if arguments.groups or error.code != "GROUP_ID_NOT_FOUND":
                raise
            continue  # it went while we were asking
        lags: dict[str, int] = {}
        for one in group["offsets"]:
            lags[one["topic"]] = lags.get(one["topic"], 0) + (one["lag"] or 0)
        groups.append({"group_id": group_id, "state": group["state"], "lag": group["lag"], "topics": lags})
        rows += [(group_id, group["state"], topic, lag) for topic, lag in lags.items()]
    session.out.value({"groups": groups}, session.out.table(("GROUP", "STATE", "TOPIC", "LAG"), rows))
    return DONE


def reset_offsets(session: Session, arguments: argparse.Namespace) -> int:
    group_id = arguments.group
    if not arguments.dry_run:
        session.confirm(f"Reset offsets of {group_id}")
    body = {**arguments.to, "topics": arguments.topics, "dry_run": arguments.dry_run}
    answer = _with_topics(session, arguments, "reset-offsets", body)
    rows = [
        (
            one["topic"],
            one["partition"],
            one["previous_offset"],
            one["new_offset"],
            "moved into what there is" if one["is_clamped"] else "",
        )
        for one in answer["offsets"]
    ]
    lines = session.out.table(("TOPIC", "PARTITION", "COMMITTED", "NEW", "REMARK"), rows)
    session.out.value(answer, lines)
    if arguments.dry_run:
        session.out.remark("nothing was changed")
    return DONE


def _with_topics(session: Session, arguments: argparse.Namespace, what: str, body: dict[str, object]) -> Answer:
    """Names near a topic that is not there are told where one was named."""
    named = arguments.topics or []

    def ask() -> Answer:
        return session.client.send("POST", "groups", arguments.group, what, body=body)

    if len(named) == 1:
        answer: Answer = session.known("topics", named[0]["topic"], ask)
        return answer
    return ask()


def delete_offsets(session: Session, arguments: argparse.Namespace) -> int:
    session.confirm(f"Delete offsets of {arguments.group}")
    answer = _with_topics(session, arguments, "delete-offsets", {"topics": arguments.topics})
    rows = [
        (one["topic"], one["partition"], one["error"]["message"] if one["error"] else "deleted")
        for one in answer["offsets"]
    ]
    session.out.value(answer, session.out.table(("TOPIC", "PARTITION", "RESULT"), rows))
    return REFUSED if any(one["error"] for one in answer["offsets"]) else DONE


def delete_groups(session: Session, arguments: argparse.Namespace) -> int:
    session.confirm(f"Delete {', '.join(arguments.groups)}")
    for name in arguments.groups:
        answer = session.known("groups", name, partial(session.client.send, "DELETE", "groups", name))
        session.out.value(answer, [f"{name} deleted"])
    return DONE
