"""The APIs of classic groups over sockets, on the real coordinator; compat-tests/protocol compares them with Kafka."""

import asyncio
import struct
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any

import pytest

from tailrace_core.errors import CoordinatorLoadInProgress, StorageUnavailable
from tailrace_gateway.errors import ErrorCode
from tailrace_gateway.kafka.schema.messages.delete_groups import DeleteGroupsRequest
from tailrace_gateway.kafka.schema.messages.describe_groups import DescribeGroupsRequest
from tailrace_gateway.kafka.schema.messages.find_coordinator import FindCoordinatorRequest
from tailrace_gateway.kafka.schema.messages.heartbeat import HeartbeatRequest
from tailrace_gateway.kafka.schema.messages.join_group import JoinGroupRequest, JoinGroupRequestProtocol
from tailrace_gateway.kafka.schema.messages.leave_group import LeaveGroupRequest, MemberIdentity
from tailrace_gateway.kafka.schema.messages.list_groups import ListGroupsRequest
from tailrace_gateway.kafka.schema.messages.sync_group import SyncGroupRequest, SyncGroupRequestAssignment

GROUP = "g"
OPERATIONS = 3400
NOT_ASKED = -(1 << 31)


def join(version: int, member_id: str = "", **options: Any) -> JoinGroupRequest:
    fields: dict[str, Any] = {
        "group_id": GROUP,
        "session_timeout_ms": 30_000,
        "rebalance_timeout_ms": 30_000 if version else -1,
        "member_id": member_id,
        "protocol_type": "consumer",
        "protocols": [JoinGroupRequestProtocol(name="range", metadata=b"\0\0\0\0\0\0\xff\xff\xff\xff")],
    }
    return JoinGroupRequest(**{**fields, **options})


def find(broker: Any, listener: str = "PLAINTEXT") -> Any:
    return broker.ask(FindCoordinatorRequest(key=GROUP), 3, listener)


def stable(broker: Any, version: int = 3, **options: Any) -> Any:
    """Join alone and sync; the answer to the join."""
    find(broker)
    joined = broker.ask(join(version, **options), version)
    assert joined.error_code == 0, joined
    assignment = [SyncGroupRequestAssignment(member_id=joined.member_id, assignment=b"all")]
    sync = SyncGroupRequest(group_id=GROUP, generation_id=1, member_id=joined.member_id, assignments=assignment)
    assert broker.ask(sync, 3).error_code == 0
    return joined


# --- FindCoordinator


@pytest.mark.parametrize("listener", ["PLAINTEXT", "EXTERNAL"])
def test_the_coordinator_is_told_at_the_address_of_the_listener(broker: Any, listener: str) -> None:
    found = find(broker, listener)
    assert (found.error_code, found.node_id) == (0, 7)
    assert (found.host, found.port) == (f"{listener.lower()}.example", broker.ports[listener])


def test_the_topic_of_groups_is_made_when_a_coordinator_is_first_looked_for(broker: Any) -> None:
    assert broker.membership.image.topic("__consumer_offsets") is None
    assert find(broker).error_code == 0
    topic = broker.membership.image.topic("__consumer_offsets")
    assert (topic.partition_count, topic.configs.cleanup_policy) == (50, ("compact",))
    assert find(broker).error_code == 0


def test_a_topic_that_cannot_be_made_is_no_coordinator(broker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object) -> None:
        raise StorageUnavailable("the disk is full")

    monkeypatch.setattr(broker.membership, "create_topics", refuse)
    found = find(broker)
    assert (found.error_code, found.node_id, found.host) == (ErrorCode.COORDINATOR_NOT_AVAILABLE, -1, "")


@pytest.mark.parametrize("version", range(4, 7))
def test_each_key_is_answered(broker: Any, version: int) -> None:
    response = broker.ask(FindCoordinatorRequest(coordinator_keys=["a", "", "a"]), version)
    assert [(each.key, each.error_code, each.node_id) for each in response.coordinators] == [
        ("a", 0, 7),
        ("", 0, 7),
        ("a", 0, 7),
    ]


@pytest.mark.parametrize(
    ("version", "key_type", "key", "code"),
    [
        (1, 1, "t", ErrorCode.COORDINATOR_NOT_AVAILABLE),
        (6, 1, "t", ErrorCode.COORDINATOR_NOT_AVAILABLE),
        (5, 2, "s:AAAAAAAAAAAAAAAAAAAAAA:0", ErrorCode.INVALID_REQUEST),
        (6, 2, "s:AAAAAAAAAAAAAAAAAAAAAA:0", ErrorCode.COORDINATOR_NOT_AVAILABLE),
        (6, 2, "s", ErrorCode.INVALID_REQUEST),
        (6, 3, "s", ErrorCode.INVALID_REQUEST),
    ],
)
def test_only_groups_have_a_coordinator(broker: Any, version: int, key_type: int, key: str, code: ErrorCode) -> None:
    request = (
        FindCoordinatorRequest(key=key, key_type=key_type)
        if version < 4
        else FindCoordinatorRequest(coordinator_keys=[key], key_type=key_type)
    )
    response = broker.ask(request, version)
    found = response if version < 4 else response.coordinators[0]
    assert (found.error_code, found.node_id, found.host, found.port) == (code, -1, "", -1)
    assert found.error_message


# --- membership


@pytest.mark.parametrize("version", range(10))
def test_join_in_every_version(broker: Any, version: int) -> None:
    find(broker)
    joined = broker.ask(join(version), version)
    if version >= 4:
        assert (joined.error_code, joined.generation_id) == (ErrorCode.MEMBER_ID_REQUIRED, -1)
        assert joined.protocol_name == (None if version >= 7 else "")
        assert joined.member_id
        joined = broker.ask(join(version, joined.member_id), version)
    assert (joined.error_code, joined.generation_id, joined.protocol_name) == (0, 1, "range")
    assert joined.leader == joined.member_id == joined.members[0].member_id
    if version >= 7:
        assert joined.protocol_type == "consumer"


@pytest.mark.parametrize("version", range(10))
def test_a_refused_join_names_the_member_that_asked(broker: Any, version: int) -> None:
    find(broker)
    for group_id, code in ((GROUP, ErrorCode.UNKNOWN_MEMBER_ID), ("", ErrorCode.INVALID_GROUP_ID)):
        refused = broker.ask(join(version, "me", group_id=group_id), version)
        assert (refused.error_code, refused.member_id, refused.leader) == (code, "me", "")
        assert refused.protocol_name == (None if version >= 7 else "")


@pytest.mark.parametrize("version", range(5, 10))
def test_static_members_are_known_by_their_instance(broker: Any, version: int) -> None:
    first = stable(broker, version, group_instance_id="i")
    again = broker.ask(join(version, group_instance_id="i"), version)
    assert (again.error_code, again.generation_id) == (0, 1)
    assert again.skip_assignment == (version >= 9)
    fenced = HeartbeatRequest(group_id=GROUP, generation_id=1, member_id=first.member_id, group_instance_id="i")
    assert broker.ask(fenced, 3).error_code == ErrorCode.FENCED_INSTANCE_ID


@pytest.mark.parametrize("version", range(6))
def test_sync_in_every_version(broker: Any, version: int) -> None:
    find(broker)
    member_id = broker.ask(join(3), 3).member_id
    sync = SyncGroupRequest(
        group_id=GROUP,
        generation_id=1,
        member_id=member_id,
        protocol_type="consumer",
        protocol_name="range",
        assignments=[SyncGroupRequestAssignment(member_id=member_id, assignment=b"all")],
    )
    synced = broker.ask(sync, version)
    assert (synced.error_code, synced.assignment) == (0, b"all")
    assert (synced.protocol_type, synced.protocol_name) == (("consumer", "range") if version >= 5 else (None, None))
    sync.generation_id = 2
    assert broker.ask(sync, version).error_code == ErrorCode.ILLEGAL_GENERATION
    sync.group_id = ""
    assert broker.ask(sync, version).error_code == ErrorCode.INVALID_GROUP_ID


def test_from_version_5_on_sync_says_the_protocol(broker: Any) -> None:
    request = SyncGroupRequest(group_id="", generation_id=1, member_id="m", protocol_type="consumer")
    assert broker.ask(request, 5).error_code == ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    assert broker.ask(request, 4).error_code == ErrorCode.INVALID_GROUP_ID


@pytest.mark.parametrize("version", range(5))
def test_heartbeat_in_every_version(broker: Any, version: int) -> None:
    member_id = stable(broker).member_id
    for group_id, generation, member, code in (
        (GROUP, 1, member_id, 0),
        (GROUP, 2, member_id, ErrorCode.ILLEGAL_GENERATION),
        (GROUP, 1, "nobody", ErrorCode.UNKNOWN_MEMBER_ID),
        ("", 1, member_id, ErrorCode.INVALID_GROUP_ID),
    ):
        request = HeartbeatRequest(group_id=group_id, generation_id=generation, member_id=member)
        assert broker.ask(request, version).error_code == code


@pytest.mark.parametrize("version", range(3))
def test_one_member_leaves(broker: Any, version: int) -> None:
    member_id = stable(broker).member_id
    assert broker.ask(LeaveGroupRequest(group_id="", member_id="m"), version).error_code == ErrorCode.INVALID_GROUP_ID
    request = LeaveGroupRequest(group_id=GROUP, member_id=member_id)
    assert broker.ask(request, version).error_code == 0
    assert broker.ask(request, version).error_code == ErrorCode.UNKNOWN_MEMBER_ID


@pytest.mark.parametrize("version", range(3, 6))
def test_several_members_leave(broker: Any, version: int) -> None:
    stable(broker, 5, group_instance_id="i")
    members = [MemberIdentity(member_id="", group_instance_id="i"), MemberIdentity(member_id="nobody")]
    left = broker.ask(LeaveGroupRequest(group_id=GROUP, members=members), version)
    assert left.error_code == 0
    assert [(each.member_id, each.group_instance_id, each.error_code) for each in left.members] == [
        ("", "i", 0),
        ("nobody", None, ErrorCode.UNKNOWN_MEMBER_ID),
    ]
    refused = broker.ask(LeaveGroupRequest(group_id="", members=members), version)
    assert (refused.error_code, refused.members) == (ErrorCode.INVALID_GROUP_ID, [])


# --- administration


@pytest.mark.parametrize("version", range(7))
def test_describe_in_every_version(broker: Any, version: int) -> None:
    member_id = stable(broker).member_id
    request = DescribeGroupsRequest(groups=[GROUP, "other"], include_authorized_operations=version >= 3)
    found, missing = broker.ask(request, version).groups
    assert (found.group_id, found.error_code, found.group_state) == (GROUP, 0, "Stable")
    assert (found.protocol_type, found.protocol_data) == ("consumer", "range")
    assert found.authorized_operations == (OPERATIONS if version >= 3 else NOT_ASKED)
    (member,) = found.members
    assert (member.member_id, member.client_host, member.member_assignment) == (member_id, "/127.0.0.1", b"all")
    assert (missing.group_id, missing.group_state) == ("other", "Dead")
    assert missing.error_code == (ErrorCode.GROUP_ID_NOT_FOUND if version >= 6 else 0)
    assert bool(missing.error_message) == (version >= 6)
    assert missing.authorized_operations == (OPERATIONS if 3 <= version < 6 else NOT_ASKED)
    assert broker.ask(DescribeGroupsRequest(), version).groups == []


@pytest.mark.parametrize("version", range(6))
def test_list_in_every_version(broker: Any, version: int) -> None:
    assert broker.ask(ListGroupsRequest(), version).groups == []
    stable(broker)
    (found,) = broker.ask(ListGroupsRequest(), version).groups
    assert (found.group_id, found.protocol_type) == (GROUP, "consumer")
    assert found.group_state == ("Stable" if version >= 4 else "")
    assert found.group_type == ("classic" if version >= 5 else "")
    if version >= 4:
        assert broker.ask(ListGroupsRequest(states_filter=["empty"]), version).groups == []
        assert len(broker.ask(ListGroupsRequest(states_filter=["STABLE"]), version).groups) == 1
    if version >= 5:
        assert broker.ask(ListGroupsRequest(types_filter=["share"]), version).groups == []


def test_half_a_list_is_not_given(broker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stable(broker)
    monkeypatch.setattr(broker.groups, "ask_all", lambda _, on_answers: on_answers([(), CoordinatorLoadInProgress("")]))
    response = broker.ask(ListGroupsRequest(), 5)
    assert (response.error_code, response.groups) == (ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, [])


@pytest.mark.parametrize("version", range(3))
def test_delete_in_every_version(broker: Any, version: int) -> None:
    member_id = stable(broker).member_id
    response = broker.ask(DeleteGroupsRequest(groups_names=[GROUP, "other", GROUP]), version)
    assert [(each.group_id, each.error_code) for each in response.results] == [
        (GROUP, ErrorCode.NON_EMPTY_GROUP),
        ("other", ErrorCode.GROUP_ID_NOT_FOUND),
    ]
    broker.ask(LeaveGroupRequest(group_id=GROUP, member_id=member_id), 0)
    (result,) = broker.ask(DeleteGroupsRequest(groups_names=[GROUP]), version).results
    assert result.error_code == 0
    assert broker.ask(ListGroupsRequest(), 5).groups == []


# --- answers that wait


async def _send(broker: Any, request: Any, version: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", broker.ports["PLAINTEXT"])
    flexible = b"\0" if version >= 6 else b""
    body = struct.pack(">hhih", request.api_key, version, 1, -1) + flexible + request.encoder(version)(request)
    writer.write(struct.pack(">i", len(body)) + body)
    return reader, writer


def _until_rebalancing(broker: Any, member_id: str) -> None:
    request = HeartbeatRequest(group_id=GROUP, generation_id=1, member_id=member_id)
    deadline = broker.run(_now()) + 20
    while broker.ask(request, 3).error_code != ErrorCode.REBALANCE_IN_PROGRESS:
        assert broker.run(_now()) < deadline


async def _now() -> float:
    return asyncio.get_running_loop().time()


def _close(broker: Any, writer: asyncio.StreamWriter) -> None:
    async def close() -> None:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    broker.run(close())


def test_a_join_waits_for_the_others_and_is_flushed_with_theirs(broker: Any) -> None:
    leader = stable(broker).member_id
    reader, writer = broker.run(_send(broker, join(3), 3))
    _until_rebalancing(broker, leader)
    assert broker.ask(join(3, leader), 3).generation_id == 2

    def receive() -> Awaitable[bytes]:
        return asyncio.wait_for(reader.readexactly(14), 20)

    _, correlation_id, _, error_code = struct.unpack(">iiih", broker.run(receive()))
    assert (correlation_id, error_code) == (1, 0)
    _close(broker, writer)


def test_a_client_that_leaves_while_it_waits_harms_nobody(broker: Any) -> None:
    leader = stable(broker).member_id
    _, writer = broker.run(_send(broker, join(3), 3))
    _until_rebalancing(broker, leader)
    _close(broker, writer)
    joined = broker.ask(join(3, leader), 3)
    assert (joined.error_code, len(joined.members)) == (0, 2)


def test_what_waits_is_answered_when_time_decides(broker: Any) -> None:
    leader = stable(broker, rebalance_timeout_ms=200).member_id
    joined = broker.ask(join(3, rebalance_timeout_ms=200), 3)
    assert (joined.error_code, joined.generation_id) == (0, 2)
    assert leader not in [member.member_id for member in joined.members]
