"""`tailrace admin brokers`."""

import argparse

from tailrace_admin.output import size
from tailrace_admin.session import DONE, Commands, Session, WrongUsage, command, completes, noun


def add(commands: Commands) -> None:
    verbs = noun(commands, "brokers", "brokers, what they keep and how they are")
    command(verbs, "list", list_brokers, "all brokers and where clients reach them", "brokers list")
    describe = command(
        verbs, "describe", describe_broker, "health and storage of a broker", "brokers describe\nbrokers describe 1"
    )
    node = describe.add_argument("node_id", nargs="?", metavar="NODE-ID", help="needed where there are several")
    completes(node, "brokers")


def list_brokers(session: Session, arguments: argparse.Namespace) -> int:
    answer = session.client.get("brokers")
    rows = [
        (
            broker["node_id"],
            broker["rack"],
            "yes" if broker["is_controller"] else "no",
            broker["broker_epoch"],
            broker["leader_epoch"],
            " ".join(f"{one['listener']}://{one['host']}:{one['port']}" for one in broker["endpoints"]),
        )
        for broker in answer["brokers"]
    ]
    lines = [session.out.heading(f"cluster {answer['cluster_id']}")]
    columns = ("NODE", "RACK", "CONTROLLER", "BROKER EPOCH", "LEADER EPOCH", "ENDPOINTS")
    session.out.value(answer, lines + session.out.table(columns, rows))
    return DONE


def describe_broker(session: Session, arguments: argparse.Namespace) -> int:
    node_id = arguments.node_id
    if node_id is None:
        known = list(session.client.names("brokers"))
        if len(known) != 1:
            raise WrongUsage(f"say which broker: {', '.join(known)}")
        (node_id,) = known
    broker = session.client.get("brokers", node_id)
    storage, out = broker["storage"], session.out
    fields = {
        "ready": "yes" if broker["is_ready"] else out.bad(f"no: {broker['reason']}"),
        "topics": broker["topic_count"],
        "partitions": broker["partition_count"],
        "epochs": f"broker {broker['broker_epoch']}, leader {broker['leader_epoch']}",
        "data": storage["data_dir"],
        "objects": f"{storage['object_store']}, {size(storage['uploaded_bytes'])} of batches",
        "waiting for upload": size(storage["upload_pending_bytes"]),
        "durability": storage["durability"],
        "WAL": f"{storage['wal_backend']}, sync {storage['wal_sync']}, "
        f"{size(storage['wal_used_bytes'])} of {size(storage['wal_capacity_bytes'])}",
        "hot log": f"{size(storage['hot_bytes'])} of {size(storage['hot_budget_bytes'])}",
        "producers": out.bad("held back until there is room") if storage["holds_back"] else "taken",
    }
    lines = [out.heading(f"broker {broker['node_id']}")]
    lines += [f"  {name:<20}{value}" for name, value in fields.items()]
    if storage["wal_fenced"]:
        lines.append(out.bad(f"the WAL takes no writes: {storage['wal_fenced']}"))
    lines += [
        out.bad(f"{one['topic']}-{one['partition']} is offline: {one['error']['message']}")
        for one in broker["offline_partitions"]
    ]
    out.value(broker, lines)
    return DONE
