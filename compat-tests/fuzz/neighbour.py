"""A client beside the fuzz, in a process of its own: it produces, reads back, commits, heartbeats and rebalances, and
every answer must be right. Runs until its standard input ends, then prints one line of JSON."""

from __future__ import annotations

import json
import select
import sys
import time
import uuid

from harness import wire
from harness.batches import Record, make_batch, parse_records
from harness.groups import Group, subscription

PAUSE_SECONDS = 0.02
PREFIX = "neighbour-"
"""Of its topic, whose settings are its own so that no change of the broker's defaults reaches it."""
CONFIGS = {"max.message.bytes": "1000000", "retention.ms": "-1", "compression.type": "producer"}
CONFIGS |= {"message.timestamp.type": "CreateTime", "cleanup.policy": "delete", "min.insync.replicas": "1"}


def main() -> None:
    host, port = sys.argv[1], int(sys.argv[2])
    name = PREFIX + uuid.uuid4().hex
    with wire.Connection(host, port, timeout=60) as connection, wire.Connection(host, port, timeout=60) as for_group:
        connection.create_usable_topic(name, configs=CONFIGS)
        group = Group(for_group, name)
        group.find()
        group.become_stable(protocols=(("range", subscription(name)),))
        latencies, step = [], 0
        print("ready", flush=True)
        while not select.select([sys.stdin], [], [], PAUSE_SECONDS)[0]:
            began = time.monotonic()
            value = b"%d" % step
            answer = connection.produce(name, {0: make_batch([Record(value)])})[0]
            assert (answer.error_code, answer.base_offset) == (0, step), answer
            found = connection.fetch(name, {0: step}, max_wait_ms=0)[0]
            assert found.error_code == 0, found
            assert [record.value for record in parse_records(found.records)] == [value]
            latencies.append(time.monotonic() - began)
            step += 1
            if step % 5 == 0:
                assert group.heartbeat() == 0
                assert group.commit(name, {0: step}) == {0: 0}
                assert group.fetch({name: [0]}) == {(name, 0): (step, "")}
            if step % 50 == 0:
                assert group.leave() == [0]
                group.member_id, group.generation = "", -1
                assert group.become_stable(protocols=(("range", subscription(name)),)) == b"all of it"
    latencies.sort()
    milliseconds = [round(1000 * latencies[int(len(latencies) * share)], 1) for share in (0.5, 0.99)]
    print(
        json.dumps(
            {"steps": step, "p50_ms": milliseconds[0], "p99_ms": milliseconds[1]}
            | {"max_ms": round(1000 * latencies[-1], 1)}
        )
    )


if __name__ == "__main__":
    main()
