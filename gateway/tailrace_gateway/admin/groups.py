"""/v1/groups: list, describe with members, offsets and lag, reset and delete offsets, delete.

Lag is the high watermark less the committed offset: what the group has still to read.
"""

from collections.abc import Mapping, Sequence

from pydantic import Field

from tailrace_core.errors import (
    GroupIdNotFound,
    InvalidRequest,
    NotCoordinator,
    TailraceError,
)
from tailrace_core.ids import NO_TOPIC_ID
from tailrace_core.schema.declare import Message, Struct, array, binary, f, int32, string
from tailrace_core.schema.errors import DecodeError
from tailrace_engine.coordinator.group_messages import (
    DeleteGroup,
    DeleteOffsets,
    DescribedGroup,
    DescribedMember,
    DescribeGroup,
    FetchedOffset,
    FetchedOffsets,
    FetchOffsets,
    ListedGroup,
    ListGroups,
)
from tailrace_gateway.admin.answers import error_value
from tailrace_gateway.admin.context import AdminContext, Asked, Body, Pace, outcome_of, outcomes_of_all
from tailrace_gateway.admin.topics import PageQuery, known_topic
from tailrace_gateway.kafka.context import Services

_CONSUMER = "consumer"


class AssignedTopic(Struct):
    topic: str = f(string, "0+")
    partitions: list[int] = f(array(int32), "0+")


class ConsumerProtocolAssignment(Message, versions="0", flexible="none"):
    """What the leader of a group of type "consumer" gives a member: the part that all versions begin with."""

    assigned: list[AssignedTopic] = f(array(AssignedTopic), "0+")
    user_data: bytes | None = f(binary, "0+", nullable="0+")


_decode_assignment = ConsumerProtocolAssignment.decoder(0)


class GroupsQuery(PageQuery):
    """state: of Kafka's words, in any case; empty for all."""

    state: str = ""


class TopicPartitions(Body):
    """partitions: null for all of the topic."""

    topic: str
    partitions: list[int] | None = Field(None, min_length=1)


class DeleteOffsetsBody(Body):
    topics: list[TopicPartitions] = Field(min_length=1)


async def list_groups(context: AdminContext, asked: Asked) -> dict[str, object]:
    """While a shard loads, its error: half a list would mislead."""
    states = (asked.query.state,) if asked.query.state else ()
    found: list[ListedGroup] = []
    for outcome in await outcomes_of_all(context.services.groups, ListGroups(states)):
        if not isinstance(outcome, TailraceError):
            found += outcome
        elif not isinstance(outcome, NotCoordinator):
            raise outcome
    groups = sorted(group for group in found if group.group_id > asked.query.after)
    page = groups[: asked.query.limit]
    return {
        "groups": [
            {
                "group_id": group.group_id,
                "state": group.state,
                "protocol_type": group.protocol_type,
                "group_type": group.group_type,
            }
            for group in page
        ],
        "next_after": page[-1].group_id if len(groups) > len(page) else None,
    }


def check_coordinated(services: Services, group_id: str) -> None:
    """Raises GroupIdNotFound while no group ever was: a question does not create the topic of groups."""
    if services.membership.image.topic(services.groups.topic_name) is None:
        raise GroupIdNotFound(f"there is no group {group_id!r}")


async def described(services: Services, group_id: str) -> DescribedGroup:
    """Raises GroupIdNotFound, and what coordinators answer instead."""
    check_coordinated(services, group_id)
    group: DescribedGroup = await outcome_of(services.groups, group_id, DescribeGroup(group_id))
    return group


async def committed(services: Services, group_id: str) -> dict[tuple[str, int], FetchedOffset]:
    """Everything that was committed for topics that still are there, and are the same."""
    if services.membership.image.topic(services.groups.topic_name) is None:
        return {}
    fetched: FetchedOffsets = await outcome_of(services.groups, group_id, FetchOffsets(group_id, None, -1, None))
    image = services.membership.image
    found = {}
    for offset in fetched.offsets:
        topic = image.topic(offset.topic_name)
        if topic is not None and offset.topic_id in (topic.topic_id, NO_TOPIC_ID):
            found[offset.topic_name, offset.partition] = offset
    return found


async def describe_group(context: AdminContext, asked: Asked) -> dict[str, object]:
    services, group_id = context.services, asked.path["group"]
    group = await described(services, group_id)
    offsets = await committed(services, group_id)
    owners: dict[tuple[str, int], str] = {}
    members = []
    for member in group.members:
        assignment = _assignment(group, member)
        for topic, partitions in (assignment or {}).items():
            owners |= {(topic, partition): member.member_id for partition in partitions}
        members.append(_member(member, assignment))
    pace = Pace()
    lines = []
    for place in sorted({**owners, **offsets}):
        lines.append(_offset(services, *place, offsets.get(place), owners.get(place)))
        await pace.step()
    lags = [lag for line in lines if isinstance(lag := line["lag"], int)]
    return {
        "group_id": group_id,
        "state": group.state,
        "protocol_type": group.protocol_type,
        "protocol_name": group.protocol_name,
        "coordinator": services.membership.image.controller_id,
        "coordinator_partition": services.groups.partition_for(group_id),
        "lag": sum(lags),
        "members": members,
        "offsets": lines,
    }


def _assignment(group: DescribedGroup, member: DescribedMember) -> dict[str, list[int]] | None:
    """Partitions by topic; None where it is not of a form that is known."""
    if group.protocol_type != _CONSUMER or not member.assignment:
        return {} if not member.assignment else None
    try:
        value, _ = _decode_assignment(member.assignment, 2)
    except DecodeError:
        return None
    return {assigned.topic: sorted(assigned.partitions) for assigned in value.assigned}


def _member(member: DescribedMember, assignment: Mapping[str, Sequence[int]] | None) -> dict[str, object]:
    return {
        "member_id": member.member_id,
        "group_instance_id": member.group_instance_id,
        "client_id": member.client_id,
        "client_host": member.client_host,
        "assignment": None
        if assignment is None
        else [{"topic": topic, "partitions": list(partitions)} for topic, partitions in assignment.items()],
    }


def _offset(
    services: Services, topic: str, index: int, offset: FetchedOffset | None, owner: str | None
) -> dict[str, object]:
    said: dict[str, object] = {
        "topic": topic,
        "partition": index,
        "committed_offset": None if offset is None else offset.offset,
        "committed_leader_epoch": None if offset is None else offset.leader_epoch,
        "metadata": None if offset is None else offset.metadata,
        "log_start_offset": None,
        "high_watermark": None,
        "lag": None,
        "member_id": owner,
        "error": None,
    }
    try:
        state = services.engine.partition(topic, index).state
    except TailraceError as error:
        return said | {"error": error_value(error)}
    said |= {"log_start_offset": state.log_start_offset, "high_watermark": state.high_watermark}
    if offset is not None:
        said["lag"] = max(state.high_watermark - offset.offset, 0)
    return said


async def delete_group(context: AdminContext, asked: Asked) -> dict[str, object]:
    group_id = asked.path["group"]
    check_coordinated(context.services, group_id)
    await outcome_of(context.services.groups, group_id, DeleteGroup(group_id))
    return {"group_id": group_id}


def places(services: Services, topics: Sequence[TopicPartitions]) -> list[tuple[str, int]]:
    """The partitions that are named, each once. Raises UnknownTopicOrPartition and InvalidRequest."""
    found: dict[tuple[str, int], None] = {}
    for one in topics:
        topic = known_topic(services, one.topic)
        for partition in range(topic.partition_count) if one.partitions is None else one.partitions:
            if not 0 <= partition < topic.partition_count:
                raise InvalidRequest(
                    f"{topic.name} has no partition {partition}; allowed: 0 to {topic.partition_count - 1}"
                )
            found[topic.name, partition] = None
    return list(found)


async def delete_offsets(context: AdminContext, asked: Asked) -> dict[str, object]:
    """Of partitions that no member reads."""
    services, group_id = context.services, asked.path["group"]
    check_coordinated(services, group_id)
    partitions = places(services, asked.body.topics)
    deleted = await outcome_of(services.groups, group_id, DeleteOffsets(group_id, tuple(partitions)))
    return {
        "group_id": group_id,
        "offsets": [
            {"topic": topic, "partition": partition, "error": None if error is None else error_value(error)}
            for (topic, partition), error in zip(partitions, deleted.errors, strict=True)
        ],
    }
