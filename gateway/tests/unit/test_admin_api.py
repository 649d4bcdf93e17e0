"""The admin API over sockets, on a whole broker in this process."""

import asyncio
import gc
import json
import time
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tailrace_core.limits import HTTP_BODY_BYTES_MAX
from tailrace_core.settings_load import load
from tailrace_engine.coordinator.group_messages import (
    CommitOffsets,
    JoinGroup,
    LeaveGroup,
    LeavingMember,
    OffsetToCommit,
    SyncGroup,
)
from tailrace_gateway.admin.routes import ROUTES
from tailrace_gateway.broker import Broker

SETTINGS = (
    "kafka.listeners=PLAINTEXT://127.0.0.1:0",
    "http.listen=127.0.0.1:0",
    "wal.backend=buffered",
    "wal.segment_bytes=4194304",
    "wal.capacity_bytes=67108864",
    "engine.hot_bytes=8388608",
    "groups.initial_rebalance_delay_ms=0",
)
DEADLINE_SECONDS = 20.0
RecordBatch = Callable[[Sequence[int]], bytes]


class Api:
    """A broker, and the client's side. Methods run the broker's loop until they are done."""

    def __init__(self, folder: object) -> None:
        self._runner = asyncio.Runner()
        self.broker = Broker(load(None, {}, [*SETTINGS, f"broker.data_dir={folder}"]))
        self._runner.run(self.broker.start())

    def stop(self) -> None:
        self._runner.run(self.broker.stop())
        self._runner.close()

    def raw(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body, by an ordinary client on a connection of its own."""

        def ask() -> tuple[int, dict[str, str], bytes]:
            connection = HTTPConnection("127.0.0.1", self.broker.http.port, timeout=DEADLINE_SECONDS)
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            answer = response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
            connection.close()
            return answer

        return self._runner.run(asyncio.to_thread(ask))

    def call(self, method: str, path: str, body: object = None) -> Any:
        """The answer's object; the status must be one of success."""
        status, _, text = self._sent(method, path, body)
        assert status < 300, (status, text)
        return json.loads(text)

    def refused(self, method: str, path: str, body: object = None) -> tuple[int, str, str]:
        """Status, code and message."""
        status, _, text = self._sent(method, path, body)
        error = json.loads(text)["error"]
        assert sorted(error) == ["code", "message"]
        return status, error["code"], error["message"]

    def _sent(self, method: str, path: str, body: object) -> tuple[int, dict[str, str], bytes]:
        headers = {} if method == "GET" else {"Content-Type": "application/json"}
        return self.raw(method, path, None if body is None else json.dumps(body).encode(), headers)

    def topic(self, name: str, partition_count: int = 1) -> Any:
        return self.call("POST", "/v1/topics", {"name": name, "partition_count": partition_count})

    def produce(self, topic: str, batch: bytes, partition: int = 0) -> None:
        async def append() -> None:
            found = self.broker.engine.partition(topic, partition)
            self.broker.engine.append(found, memoryview(bytearray(batch)), None, 0)
            deadline = time.monotonic() + DEADLINE_SECONDS
            while found.state.high_watermark < found.state.log_end_offset:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.001)

        self._runner.run(append())

    def ask_group(self, group_id: str, request: object) -> Any:
        """What the group's coordinator answers."""

        async def ask() -> Any:
            await self.broker.groups.ensure_topic()
            future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            self.broker.groups.ask(group_id, request, future.set_result)
            return await asyncio.wait_for(future, DEADLINE_SECONDS)

        return self._runner.run(ask())

    def commit(self, group_id: str, topic: str, offsets: dict[int, int]) -> None:
        known = self.broker.membership.image.topic(topic)
        assert known is not None
        commits = tuple(
            OffsetToCommit(topic, known.topic_id, partition, offset, -1, "noted")
            for partition, offset in offsets.items()
        )
        outcome = self.ask_group(group_id, CommitOffsets(group_id, -1, "", None, commits))
        assert not any(outcome.errors)

    def join(self, group_id: str, assignment: bytes = b"", protocol_type: str = "consumer") -> str:
        """One member that leads and is assigned; its id."""
        subscription = b"\0\0\0\0\0\1\0\6orders\xff\xff\xff\xff"
        protocols = (("range", subscription),)
        asked = JoinGroup(
            group_id, "", None, "app", "/10.0.0.1", 60_000, 60_000, protocol_type, protocols, False, False
        )
        joined = self.ask_group(group_id, asked)
        self.ask_group(
            group_id,
            SyncGroup(
                group_id, joined.generation_id, joined.member_id, None, None, None, ((joined.member_id, assignment),)
            ),
        )
        member_id: str = joined.member_id
        return member_id

    def leave(self, group_id: str, member_id: str) -> None:
        self.ask_group(group_id, LeaveGroup(group_id, (LeavingMember(member_id, None),)))


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """One broker for all tests here; each has topics and groups of its own."""
    thresholds, callbacks = gc.get_threshold(), gc.callbacks[:]
    running = Api(tmp_path_factory.mktemp("admin") / "data")
    yield running
    running.stop()
    gc.set_threshold(*thresholds)
    gc.callbacks[:] = callbacks
    gc.unfreeze()


# --- topics


def test_a_topic_is_made_listed_described_grown_and_deleted(api: Api, record_batch: RecordBatch) -> None:
    status, headers, _ = api._sent("POST", "/v1/topics", {"name": "a", "configs": {"retention.ms": "5000"}})
    assert (status, headers["content-type"]) == (201, "application/json")
    assert api.call("POST", "/v1/topics/a/partitions", {"partition_count": 3})["partition_count"] == 3
    batch = record_batch([1, 2, 3])
    api.produce("a", batch, 2)
    (listed,) = [topic for topic in api.call("GET", "/v1/topics")["topics"] if topic["name"] == "a"]
    assert listed == {
        "name": "a",
        "topic_id": listed["topic_id"],
        "partition_count": 3,
        "replication_factor": 1,
        "is_internal": False,
        "size_bytes": len(batch),
    }
    topic = api.call("GET", "/v1/topics/a")
    assert topic["topic_id"] == listed["topic_id"]
    assert topic["configs"] == {"retention.ms": "5000"}
    assert [one["partition"] for one in topic["partitions"]] == [0, 1, 2]
    assert topic["partitions"][2] == {
        "partition": 2,
        "leader": 1,
        "leader_epoch": 0,
        "replicas": [1],
        "in_sync_replicas": [1],
        "log_start_offset": 0,
        "high_watermark": 3,
        "log_end_offset": 3,
        "tier_end_offset": 0,
        "size_bytes": len(batch),
        "upload_pending_bytes": len(batch),
        "error": None,
    }
    assert api.call("DELETE", "/v1/topics/a")["name"] == "a"
    assert api.refused("GET", "/v1/topics/a") == (404, "UNKNOWN_TOPIC_OR_PARTITION", "there is no topic 'a'")


def test_what_is_only_validated_is_not_made(api: Api) -> None:
    assert api.call("POST", "/v1/topics", {"name": "dry", "validate_only": True})["validate_only"] is True
    assert api.refused("GET", "/v1/topics/dry")[0] == 404
    api.topic("small")
    body = {"partition_count": 7, "validate_only": True}
    assert api.call("POST", "/v1/topics/small/partitions", body)["partition_count"] == 7
    assert len(api.call("GET", "/v1/topics/small")["partitions"]) == 1


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/v1/topics", {"name": "there"}, 409, "TOPIC_ALREADY_EXISTS"),
        ("POST", "/v1/topics", {"name": "not/allowed"}, 400, "INVALID_TOPIC_EXCEPTION"),
        ("POST", "/v1/topics", {"name": "n", "partition_count": 0}, 400, "INVALID_PARTITIONS"),
        ("POST", "/v1/topics", {"name": "n", "replication_factor": 3}, 400, "INVALID_REPLICATION_FACTOR"),
        ("POST", "/v1/topics", {"name": "n", "configs": {"retention.ms": "x"}}, 400, "INVALID_CONFIG"),
        ("DELETE", "/v1/topics/absent", None, 404, "UNKNOWN_TOPIC_OR_PARTITION"),
        ("POST", "/v1/topics/there/partitions", {"partition_count": 1}, 400, "INVALID_PARTITIONS"),
        ("POST", "/v1/topics/absent/delete-records", {"partitions": [{"partition": 0, "offset": 1}]}, 404, None),
        ("POST", "/v1/topics/there/delete-records", {"partitions": []}, 400, "INVALID_REQUEST"),
        ("GET", "/v1/groups/absent", None, 404, "GROUP_ID_NOT_FOUND"),
        ("DELETE", "/v1/groups/absent", None, 404, "GROUP_ID_NOT_FOUND"),
        ("GET", "/v1/configs/topics/absent", None, 404, "UNKNOWN_TOPIC_OR_PARTITION"),
        ("GET", "/v1/configs/tables/a", None, 400, "INVALID_REQUEST"),
        ("GET", "/v1/configs/brokers/7", None, 400, "INVALID_REQUEST"),
        ("GET", "/v1/brokers/7", None, 404, "BROKER_ID_NOT_REGISTERED"),
        ("GET", "/v1/other", None, 404, "NOT_FOUND"),
        ("GET", "/v1/topics/", None, 404, "NOT_FOUND"),
    ],
)
def test_a_refusal_has_the_code_of_kafka_and_a_status_of_its_class(
    api: Api, method: str, path: str, body: object, status: int, code: str | None
) -> None:
    if not any(topic["name"] == "there" for topic in api.call("GET", "/v1/topics")["topics"]):
        api.topic("there")
    found = api.refused(method, path, body)
    assert found[0] == status
    assert code in (None, found[1])
    assert found[2]


def test_records_are_deleted_and_each_partition_tells_its_own_error(api: Api, record_batch: RecordBatch) -> None:
    api.topic("shortened", 2)
    api.produce("shortened", record_batch([1, 2, 3]))
    asked = [{"partition": 0, "offset": 2}, {"partition": 1, "offset": 9}, {"partition": 5, "offset": 0}]
    answer = api.call("POST", "/v1/topics/shortened/delete-records", {"partitions": asked})
    first, second, third = answer["partitions"]
    assert first == {"partition": 0, "log_start_offset": 2, "error": None}
    assert second["error"]["code"] == "OFFSET_OUT_OF_RANGE"
    assert third["error"]["code"] == "UNKNOWN_TOPIC_OR_PARTITION"
    assert api.call("GET", "/v1/topics/shortened")["partitions"][0]["log_start_offset"] == 2
    asked = [{"partition": 0, "offset": -1}]
    answer = api.call("POST", "/v1/topics/shortened/delete-records", {"partitions": asked})
    assert answer["partitions"][0]["log_start_offset"] == 3


def test_a_list_comes_in_pages(api: Api) -> None:
    for name in ("page-a", "page-b", "page-c"):
        api.topic(name)
    first = api.call("GET", "/v1/topics?after=page-&limit=2")
    assert [topic["name"] for topic in first["topics"]] == ["page-a", "page-b"]
    second = api.call("GET", f"/v1/topics?limit=1&after={first['next_after']}")
    assert second["topics"][0]["name"] == "page-c"
    last = api.call("GET", "/v1/topics?after=zzzz")
    assert last == {"topics": [], "next_after": None}
    assert api.refused("GET", "/v1/topics?limit=501")[:2] == (400, "INVALID_REQUEST")


def test_a_topic_of_many_partitions_is_described_in_whole(api: Api) -> None:
    api.topic("wide", 1_200)
    partitions = api.call("GET", "/v1/topics/wide")["partitions"]
    assert [one["partition"] for one in partitions] == list(range(1_200))
    api.call("DELETE", "/v1/topics/wide")


# --- groups


def test_a_group_is_described_with_members_offsets_and_lag(api: Api, record_batch: RecordBatch) -> None:
    api.topic("orders", 2)
    api.produce("orders", record_batch([1, 2, 3]))
    api.commit("readers", "orders", {0: 1})
    assignment = b"\0\1\0\0\0\1\0\6orders\0\0\0\2\0\0\0\1\0\0\0\0\xff\xff\xff\xff"
    member_id = api.join("readers", assignment)
    group = api.call("GET", "/v1/groups/readers")
    assert (group["group_id"], group["state"], group["protocol_type"]) == ("readers", "Stable", "consumer")
    assert (group["protocol_name"], group["coordinator"], group["lag"]) == ("range", 1, 2)
    assert group["members"] == [
        {
            "member_id": member_id,
            "group_instance_id": None,
            "client_id": "app",
            "client_host": "/10.0.0.1",
            "assignment": [{"topic": "orders", "partitions": [0, 1]}],
        }
    ]
    first, second = group["offsets"]
    assert first == {
        "topic": "orders",
        "partition": 0,
        "committed_offset": 1,
        "committed_leader_epoch": -1,
        "metadata": "noted",
        "log_start_offset": 0,
        "high_watermark": 3,
        "lag": 2,
        "member_id": member_id,
        "error": None,
    }
    assert (second["partition"], second["committed_offset"], second["lag"]) == (1, None, None)
    listed = api.call("GET", "/v1/groups?state=stable")["groups"]
    assert {"group_id": "readers", "state": "Stable", "protocol_type": "consumer", "group_type": "classic"} in listed
    assert "readers" not in [one["group_id"] for one in api.call("GET", "/v1/groups?state=Empty")["groups"]]


def test_an_assignment_of_an_unknown_form_is_told_as_unknown(api: Api) -> None:
    for group_id, assignment, protocol_type in (("odd", b"\0\1\x7f", "consumer"), ("connect", b"\0\1", "connect")):
        member_id = api.join(group_id, assignment, protocol_type)
        (member,) = api.call("GET", f"/v1/groups/{group_id}")["members"]
        assert (member["member_id"], member["assignment"]) == (member_id, None)


def test_a_group_id_of_any_letters_is_a_path(api: Api) -> None:
    api.topic("lettered")
    group_id = "a/b c?ü%"
    api.commit(group_id, "lettered", {0: 0})
    assert api.call("GET", f"/v1/groups/{quote(group_id, safe='')}")["group_id"] == group_id


def test_offsets_go_where_they_are_told_and_a_dry_run_moves_nothing(api: Api, record_batch: RecordBatch) -> None:
    api.topic("moved", 2)
    api.produce("moved", record_batch([1_000, 2_000, 3_000, 4_000]))
    asked = {"partitions": [{"partition": 0, "offset": 1}]}
    api.call("POST", "/v1/topics/moved/delete-records", asked)
    api.commit("mover", "moved", {0: 3})
    path = "/v1/groups/mover/reset-offsets"

    def reset(**body: object) -> list[tuple[int, int | None, int, bool]]:
        answer = api.call("POST", path, body)
        assert answer["dry_run"] is body.get("dry_run", False)
        return [
            (one["partition"], one["previous_offset"], one["new_offset"], one["is_clamped"])
            for one in answer["offsets"]
        ]

    def committed() -> int:
        first: int = api.call("GET", "/v1/groups/mover")["offsets"][0]["committed_offset"]
        return first

    assert reset(to="earliest", dry_run=True) == [(0, 3, 1, False)]
    assert committed() == 3
    assert reset(to="earliest") == [(0, 3, 1, False)]
    assert committed() == 1
    assert reset(to="latest") == [(0, 1, 4, False)]
    assert reset(to="shift", shift_by=-2) == [(0, 4, 2, False)]
    assert reset(to="shift", shift_by=-7) == [(0, 2, 1, True)]
    assert reset(to="offset", offset=3) == [(0, 1, 3, False)]
    assert reset(to="offset", offset=99) == [(0, 3, 4, True)]
    assert reset(to="current") == [(0, 4, 4, False)]
    assert reset(to="time", timestamp_ms=2_500) == [(0, 4, 2, False)]
    assert reset(to="time", timestamp_ms=9_000) == [(0, 2, 4, False)]
    assert reset(to="earliest", topics=[{"topic": "moved"}]) == [(0, 4, 1, False), (1, None, 0, False)]
    assert reset(to="latest", topics=[{"topic": "moved", "partitions": [1]}]) == [(1, 0, 0, False)]
    assert committed() == 1


def test_a_group_that_is_not_there_is_given_offsets(api: Api) -> None:
    api.topic("first")
    body = {"to": "latest", "topics": [{"topic": "first"}]}
    assert api.call("POST", "/v1/groups/new/reset-offsets", body)["offsets"][0]["previous_offset"] is None
    assert api.call("GET", "/v1/groups/new")["state"] == "Empty"


def test_a_reset_of_a_group_with_members_is_refused_and_says_what_to_do(api: Api) -> None:
    api.topic("busy")
    api.commit("active", "busy", {0: 0})
    member_id = api.join("active")
    found = api.refused("POST", "/v1/groups/active/reset-offsets", {"to": "earliest", "dry_run": True})
    assert found == (
        409,
        "NON_EMPTY_GROUP",
        "group 'active' is Stable with 1 members; offsets are reset while it is Empty: stop its consumers",
    )
    assert api.refused("DELETE", "/v1/groups/active")[:2] == (409, "NON_EMPTY_GROUP")
    api.leave("active", member_id)
    api.call("POST", "/v1/groups/active/reset-offsets", {"to": "earliest"})
    assert api.call("DELETE", "/v1/groups/active") == {"group_id": "active"}
    assert api.refused("GET", "/v1/groups/active")[1] == "GROUP_ID_NOT_FOUND"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"to": "offset"}, "to 'offset' needs offset"),
        ({"to": "earliest", "offset": 1}, "to 'earliest' takes no offset"),
        ({"to": "time", "shift_by": 1}, "to 'time' needs timestamp_ms"),
        ({"to": "noon"}, "to: Input should be 'earliest', 'latest', 'current', 'offset', 'time' or 'shift'"),
        ({}, "to is missing"),
        ({"to": "earliest", "topics": [{"topic": "absent"}]}, "there is no topic 'absent'"),
        (
            {"to": "earliest", "topics": [{"topic": "asked", "partitions": [4]}]},
            "asked has no partition 4; allowed: 0 to 1",
        ),
        ({"to": "shift", "shift_by": 1, "topics": [{"topic": "asked"}]}, "allowed: earliest, latest, offset, time"),
        ({"to": "earliest"}, "has no committed offsets; name topics"),
    ],
)
def test_a_reset_that_contradicts_itself_is_told_what_is_allowed(api: Api, body: object, said: str) -> None:
    if not any(topic["name"] == "asked" for topic in api.call("GET", "/v1/topics")["topics"]):
        api.topic("asked", 2)
    assert said in api.refused("POST", "/v1/groups/asking/reset-offsets", body)[2]


def test_offsets_are_deleted_where_nobody_reads(api: Api) -> None:
    api.topic("orders2", 2)
    api.commit("forgetful", "orders2", {0: 0, 1: 0})
    body = {"topics": [{"topic": "orders2", "partitions": [1]}]}
    assert api.call("POST", "/v1/groups/forgetful/delete-offsets", body)["offsets"] == [
        {"topic": "orders2", "partition": 1, "error": None}
    ]
    assert [one["partition"] for one in api.call("GET", "/v1/groups/forgetful")["offsets"]] == [0]


def test_offsets_of_a_topic_that_members_read_are_kept(api: Api) -> None:
    if not any(topic["name"] == "orders" for topic in api.call("GET", "/v1/topics")["topics"]):
        api.topic("orders", 2)
    api.commit("reading", "orders", {0: 0})
    api.join("reading")
    answer = api.call("POST", "/v1/groups/reading/delete-offsets", {"topics": [{"topic": "orders", "partitions": [0]}]})
    assert answer["offsets"][0]["error"]["code"] == "GROUP_SUBSCRIBED_TO_TOPIC"


# --- configs


def config_of(answer: Any, name: str) -> Any:
    (found,) = [config for config in answer["configs"] if config["name"] == name]
    return found


def test_configs_of_a_topic_are_told_with_their_sources_and_changed(api: Api) -> None:
    api.topic("configured")
    path = "/v1/configs/topics/configured"
    before = config_of(api.call("GET", path), "cleanup.policy")
    assert (before["value"], before["source"], before["type"]) == ("delete", "DEFAULT_CONFIG", "LIST")
    changes = [
        {"name": "cleanup.policy", "operation": "append", "value": "compact"},
        {"name": "retention.ms", "value": "7000"},
    ]
    answer = api.call("PATCH", path, {"changes": changes})
    assert config_of(answer, "retention.ms")["value"] == "7000"
    found = config_of(api.call("GET", "/v1/topics/configured/configs"), "retention.ms")
    assert found["source"] == "DYNAMIC_TOPIC_CONFIG"
    assert found["synonyms"][0] == {"name": "retention.ms", "value": "7000", "source": "DYNAMIC_TOPIC_CONFIG"}
    assert found["documentation"]
    assert found["state"] == "works"
    assert config_of(api.call("GET", path), "cleanup.policy")["value"] == "delete,compact"
    api.call("PATCH", path, {"changes": [{"name": "cleanup.policy", "operation": "subtract", "value": "compact"}]})
    api.call("PATCH", "/v1/topics/configured/configs", {"changes": [{"name": "retention.ms", "operation": "delete"}]})
    after = api.call("GET", path)
    assert config_of(after, "cleanup.policy")["value"] == "delete"
    assert config_of(after, "retention.ms")["source"] == "DEFAULT_CONFIG"


def test_configs_of_all_brokers_are_those_of_each(api: Api) -> None:
    path = "/v1/configs/brokers/default"
    changes = [{"name": "log.retention.ms", "value": "123456"}]
    api.call("PATCH", path, {"changes": changes, "validate_only": True})
    assert api.call("GET", path)["configs"] == []
    api.call("PATCH", path, {"changes": changes})
    (found,) = api.call("GET", path)["configs"]
    assert (found["name"], found["source"]) == ("log.retention.ms", "DYNAMIC_DEFAULT_BROKER_CONFIG")
    assert config_of(api.call("GET", "/v1/configs/brokers/1"), "log.retention.ms")["value"] == "123456"
    assert config_of(api.call("GET", "/v1/configs/brokers/1"), "node.id")["is_read_only"] is True
    answer = api.call("PATCH", path, {"changes": [{"name": "log.retention.ms", "operation": "delete"}]})
    assert answer["configs"] == []
    assert "1" in api.call("GET", "/v1/configs")["brokers"]


def test_levels_of_loggers_are_told_and_changed(api: Api) -> None:
    path = "/v1/configs/broker-loggers/1"
    before = config_of(api.call("GET", path), "tailrace_gateway.broker")["value"]
    change = {"name": "tailrace_gateway.broker", "value": "DEBUG"}
    api.call("PATCH", path, {"changes": [change], "validate_only": True})
    assert config_of(api.call("GET", path), "tailrace_gateway.broker")["value"] == before
    (changed,) = api.call("PATCH", path, {"changes": [change]})["configs"]
    assert (changed["value"], changed["source"]) == ("DEBUG", "DYNAMIC_BROKER_LOGGER_CONFIG")
    api.call("PATCH", path, {"changes": [{"name": "tailrace_gateway.broker", "operation": "delete"}]})
    assert config_of(api.call("GET", path), "tailrace_gateway.broker")["value"] == before
    wrong = {"changes": [{"name": "tailrace_gateway.broker", "value": "LOUD"}]}
    assert "allowed: FATAL, ERROR, WARN" in api.refused("PATCH", path, wrong)[2]
    assert api.refused("GET", "/v1/configs/broker-loggers/7")[0] == 400


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "retention.mss", "value": "1"}, "retention.mss"),
        ({"name": "retention.ms", "value": "x"}, "Not a number of type LONG"),
        ({"name": "retention.ms"}, "retention.ms: set needs a value"),
        ({"name": "retention.ms", "operation": "delete", "value": "1"}, "retention.ms: delete takes no value"),
        ({"name": "retention.ms", "operation": "double"}, "'set', 'delete', 'append' or 'subtract'"),
    ],
)
def test_a_wrong_change_of_configs_is_refused_with_what_is_allowed(api: Api, change: object, said: str) -> None:
    if not any(topic["name"] == "strict" for topic in api.call("GET", "/v1/topics")["topics"]):
        api.topic("strict")
    status, _, message = api.refused("PATCH", "/v1/configs/topics/strict", {"changes": [change]})
    assert status == 400
    assert said in message


# --- brokers


def test_a_broker_tells_its_endpoints_health_and_storage(api: Api) -> None:
    answer = api.call("GET", "/v1/brokers")
    (listed,) = answer["brokers"]
    assert (answer["controller_id"], listed["node_id"], listed["is_controller"]) == (1, 1, True)
    port = api.broker.listeners[0].port
    assert listed["endpoints"] == [{"listener": "PLAINTEXT", "host": "127.0.0.1", "port": port}]
    broker = api.call("GET", "/v1/brokers/1")
    assert {**broker, **listed} == broker
    assert (broker["is_ready"], broker["reason"], broker["offline_partitions"]) == (True, "ok", [])
    assert broker["topic_count"] == len(api.broker.membership.image.topics)
    storage = broker["storage"]
    assert (storage["wal_backend"], storage["wal_sync"], storage["wal_fenced"]) == ("buffered", "always", None)
    assert storage["wal_capacity_bytes"] == 64 << 20
    assert storage["hot_budget_bytes"] == 8 << 20
    assert storage["holds_back"] is False


def test_every_route_and_field_stands_in_the_reference() -> None:
    text = (Path(__file__).parents[3] / "docs" / "http-api.md").read_text(encoding="utf-8")
    for route in ROUTES:
        assert f"`{route.method} {route.pattern}`" in text
        for field in {**route.query.model_fields, **route.body.model_fields}:
            assert f"`{field}`" in text, (route.pattern, field)


# --- who may ask, and how


def test_a_host_that_is_not_the_brokers_is_refused(api: Api) -> None:
    for host in ("evil.example", "evil.example:9644", "10.1.2.3", "", "127.0.0.1.evil.example", "[::2]", "[", "ü"):
        status, _, text = api.raw("GET", "/v1/topics", headers={"Host": host.encode("utf-8").decode("latin-1")})
        assert (status, json.loads(text)["error"]["code"]) == (403, "FORBIDDEN"), host
    for host in ("localhost:1", "127.0.0.1", "LOCALHOST", "[::1]:9644", "127.5.5.5:80"):
        assert api.raw("GET", "/v1/topics", headers={"Host": host})[0] == 200, host


def test_a_page_of_another_origin_is_refused(api: Api) -> None:
    host = f"127.0.0.1:{api.broker.http.port}"
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1"):
        assert api.raw("GET", "/v1/topics", headers={"Host": host, "Origin": origin})[0] == 403
    assert api.raw("GET", "/v1/topics", headers={"Host": host, "Origin": f"http://{host}"})[0] == 200


def test_what_changes_something_must_say_that_it_is_json(api: Api) -> None:
    body = b'{"name": "sneaked"}'
    for said in ("text/plain", "application/x-www-form-urlencoded", ""):
        status, _, text = api.raw("POST", "/v1/topics", body, {"Content-Type": said})
        assert (status, json.loads(text)["error"]["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert api.raw("DELETE", "/v1/topics/sneaked")[0] == 415
    assert api.refused("GET", "/v1/topics/sneaked")[0] == 404
    said = "Application/JSON; charset=utf-8"
    assert api.raw("POST", "/v1/topics", body, {"Content-Type": said})[0] == 201


def test_fields_that_are_not_known_are_refused_by_name(api: Api) -> None:
    _, code, message = api.refused("POST", "/v1/topics", {"name": "x", "partitions": 3})
    assert code == "INVALID_REQUEST"
    assert "unknown field 'partitions'; allowed: name, partition_count" in message
    assert "unknown field 'sort'" in api.refused("GET", "/v1/topics?sort=1")[2]
    assert "unknown field 'really'" in api.refused("DELETE", "/v1/topics/x", {"really": True})[2]
    deep = {"partitions": [{"partition": 0, "offset": 1, "colour": 2}]}
    assert "unknown field 'partitions.0.colour'" in api.refused("POST", "/v1/topics/x/delete-records", deep)[2]


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"7",
        b'"text"',
        b"\xff\xfe",
        b"[" * 10_000,
        b'{"name": 5}',
        b'{"name": "n", "partition_count": "3"}',
    ],
)
def test_a_body_that_is_no_such_object_is_refused(api: Api, body: bytes) -> None:
    status, _, text = api.raw("POST", "/v1/topics", body, {"Content-Type": "application/json"})
    assert status == 400
    assert json.loads(text)["error"]["code"] == "INVALID_REQUEST"


def test_a_body_beyond_the_bound_is_refused(api: Api) -> None:
    try:
        status, _, _ = api.raw(
            "POST", "/v1/topics", b" " * (HTTP_BODY_BYTES_MAX + 1), {"Content-Type": "application/json"}
        )
    except ConnectionError:
        return  # the refusal may be overtaken by the reset of what was not read
    assert status == 413


def test_a_wrong_method_is_told_the_right_ones(api: Api) -> None:
    status, headers, _ = api.raw("PUT", "/v1/topics", b"{}", {"Content-Type": "application/json"})
    assert (status, headers["allow"]) == (405, "GET, POST")
    assert api.raw("HEAD", "/v1/topics")[::2] == (200, b"")
