"""`tailrace admin topics`."""

import argparse
from functools import partial

from tailrace_admin import configs
from tailrace_admin.output import size
from tailrace_admin.session import (
    DONE,
    REFUSED,
    Commands,
    Session,
    WrongUsage,
    add_changes,
    command,
    completes,
    name_and_value,
    noun,
)


def add(commands: Commands) -> None:
    verbs = noun(commands, "topics", "topics and their partitions")
    listing = command(verbs, "list", list_topics, "all topics, with their sizes", "topics list\ntopics list --internal")
    listing.add_argument("--internal", action="store_true", help="those of the broker itself, too")
    describe = command(
        verbs,
        "describe",
        describe_topics,
        "partitions of topics: offsets and sizes",
        "topics describe orders\ntopics describe orders payments --json",
    )
    completes(describe.add_argument("topics", nargs="+", metavar="TOPIC"), "topics")
    create = command(
        verbs,
        "create",
        create_topic,
        "make a topic",
        "topics create orders --partitions 12\ntopics create audit --config retention.ms=-1 --dry-run",
    )
    create.add_argument("topic", metavar="TOPIC")
    create.add_argument("--partitions", type=int, default=-1, metavar="N", help="default: the broker's num.partitions")
    create.add_argument("--replication-factor", type=int, default=-1, metavar="N", help="default: the broker's")
    create.add_argument(
        "--config", type=name_and_value, action="append", default=[], metavar="NAME=VALUE", help="may be given often"
    )
    create.add_argument("--dry-run", action="store_true", help="check it, make nothing")
    delete = command(verbs, "delete", delete_topics, "delete topics with all their records", "topics delete orders")
    completes(delete.add_argument("topics", nargs="+", metavar="TOPIC"), "topics")
    grow = command(
        verbs,
        "add-partitions",
        add_partitions,
        "give a topic more partitions",
        "topics add-partitions orders --total 24",
    )
    completes(grow.add_argument("topic", metavar="TOPIC"), "topics")
    grow.add_argument("--total", type=int, required=True, metavar="N", help="how many there are then")
    grow.add_argument("--dry-run", action="store_true", help="check it, change nothing")
    alter = command(
        verbs,
        "alter",
        alter_topic,
        "change a topic's configs, all of them or none",
        "topics alter orders --set retention.ms=3600000\ntopics alter orders --delete retention.ms",
    )
    completes(alter.add_argument("topic", metavar="TOPIC"), "topics")
    add_changes(alter)
    shorten = command(
        verbs,
        "delete-records",
        delete_records,
        "delete the oldest records of partitions",
        "topics delete-records orders --before 0=1500 --before 1=1480\ntopics delete-records orders --all",
    )
    completes(shorten.add_argument("topic", metavar="TOPIC"), "topics")
    shorten.add_argument(
        "--before",
        type=_partition_and_offset,
        action="append",
        default=[],
        metavar="PARTITION=OFFSET",
        help="records below this offset; -1 for all",
    )
    shorten.add_argument("--all", action="store_true", help="all records of all partitions")


def _partition_and_offset(text: str) -> dict[str, int]:
    partition, offset = name_and_value(text)
    try:
        return {"partition": int(partition), "offset": int(offset)}
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not PARTITION=OFFSET") from None


def list_topics(session: Session, arguments: argparse.Namespace) -> int:
    answer = session.client.pages("topics", lambda count: session.out.progress(f"{count} topics"))
    if not arguments.internal:
        answer["topics"] = [topic for topic in answer["topics"] if not topic["is_internal"]]
    rows = [
        (topic["name"], topic["partition_count"], topic["replication_factor"], size(topic["size_bytes"]))
        for topic in answer["topics"]
    ]
    session.out.value(answer, session.out.table(("TOPIC", "PARTITIONS", "REPLICAS", "SIZE"), rows))
    return DONE


def describe_topics(session: Session, arguments: argparse.Namespace) -> int:
    for name in arguments.topics:
        topic = session.known("topics", name, partial(session.client.get, "topics", name))
        out, partitions = session.out, topic["partitions"]
        records = sum((one["high_watermark"] or 0) - (one["log_start_offset"] or 0) for one in partitions)
        total = sum(one["size_bytes"] for one in partitions)
        lines = [out.heading(f"{topic['name']}  id {topic['topic_id']}, {records} offsets, {size(total)}")]
        lines += [f"  {config}={value}" for config, value in topic["configs"].items()]
        rows = [
            (
                one["partition"],
                one["leader"],
                one["leader_epoch"],
                one["log_start_offset"],
                one["high_watermark"],
                one["tier_end_offset"],
                size(one["size_bytes"]),
                size(one["upload_pending_bytes"]),
            )
            for one in partitions
        ]
        columns = ("PARTITION", "LEADER", "EPOCH", "LOG START", "HIGH WATERMARK", "UPLOADED TO", "SIZE", "PENDING")
        lines += out.table(columns, rows)
        lines += [
            out.bad(f"partition {one['partition']} is offline: {one['error']['message']}")
            for one in partitions
            if one["error"]
        ]
        out.value(topic, lines)
    return DONE


def create_topic(session: Session, arguments: argparse.Namespace) -> int:
    body = {
        "name": arguments.topic,
        "partition_count": arguments.partitions,
        "replication_factor": arguments.replication_factor,
        "configs": dict(arguments.config),
        "validate_only": arguments.dry_run,
    }
    topic = session.client.send("POST", "topics", body=body)
    done = "would be made" if arguments.dry_run else "made"
    session.out.value(topic, [f"{topic['name']} {done} with {topic['partition_count']} partitions"])
    return DONE


def delete_topics(session: Session, arguments: argparse.Namespace) -> int:
    session.confirm(f"Delete {', '.join(arguments.topics)} with all records")
    for name in arguments.topics:
        topic = session.known("topics", name, partial(session.client.send, "DELETE", "topics", name))
        session.out.value(topic, [f"{name} deleted"])
    return DONE


def add_partitions(session: Session, arguments: argparse.Namespace) -> int:
    name, body = arguments.topic, {"partition_count": arguments.total, "validate_only": arguments.dry_run}
    topic = session.known("topics", name, lambda: session.client.send("POST", "topics", name, "partitions", body=body))
    done = "would have" if arguments.dry_run else "has"
    session.out.value(topic, [f"{name} {done} {topic['partition_count']} partitions"])
    return DONE


def alter_topic(session: Session, arguments: argparse.Namespace) -> int:
    return configs.alter(session, arguments, "topics", arguments.topic)


def delete_records(session: Session, arguments: argparse.Namespace) -> int:
    name = arguments.topic
    if bool(arguments.before) == arguments.all:
        raise WrongUsage("say which records: either --before PARTITION=OFFSET or --all")
    before = arguments.before
    if arguments.all:
        topic = session.known("topics", name, lambda: session.client.get("topics", name))
        before = [{"partition": one["partition"], "offset": -1} for one in topic["partitions"]]
    session.confirm(f"Delete records of {len(before)} partitions of {name}")
    answer = session.known(
        "topics",
        name,
        lambda: session.client.send("POST", "topics", name, "delete-records", body={"partitions": before}),
    )
    rows = [
        (one["partition"], one["log_start_offset"], one["error"]["message"] if one["error"] else "")
        for one in answer["partitions"]
    ]
    session.out.value(answer, session.out.table(("PARTITION", "LOG START", "ERROR"), rows))
    return REFUSED if any(one["error"] for one in answer["partitions"]) else DONE
