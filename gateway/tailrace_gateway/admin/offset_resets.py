"""/v1/groups/{group}/reset-offsets: where a group without members goes on reading.

A target outside of what a partition holds is moved to its nearest end, as Kafka's own tool does, and the answer says
so. Nothing is committed when one of the partitions has no answer.
"""

from enum import Enum
from typing import Final, NamedTuple

from tailrace_core.errors import GroupIdNotFound, InvalidRequest, NonEmptyGroup, TailraceError
from tailrace_core.limits import ADMIN_COMMIT_OFFSETS_MAX
from tailrace_engine.coordinator.group_messages import (
    NO_GENERATION,
    CommitOffsets,
    CommittedOffsets,
    FetchedOffset,
    OffsetToCommit,
)
from tailrace_gateway.admin.context import AdminContext, Asked, Body, Pace, outcome_of
from tailrace_gateway.admin.groups import TopicPartitions, committed, described, places
from tailrace_gateway.admin.topics import Int64, known_topic
from tailrace_gateway.kafka.context import Services


class Target(Enum):
    EARLIEST = "earliest"
    LATEST = "latest"
    CURRENT = "current"
    """What is committed; moved into what the partition holds."""
    OFFSET = "offset"
    TIME = "time"
    SHIFT = "shift"


_NEEDS: Final = {Target.OFFSET: "offset", Target.TIME: "timestamp_ms", Target.SHIFT: "shift_by"}


class ResetOffsetsBody(Body):
    """topics: null for all that the group has committed offsets of. The rest as `to` needs it.

    timestamp_ms: to the first record that is not older; behind the last one where there is none.
    """

    to: Target
    topics: list[TopicPartitions] | None = None
    offset: Int64 | None = None
    timestamp_ms: Int64 | None = None
    shift_by: Int64 | None = None
    dry_run: bool = False


class _Move(NamedTuple):
    topic: str
    partition: int
    previous: FetchedOffset | None
    offset: int
    is_clamped: bool


async def reset_offsets(context: AdminContext, asked: Asked) -> dict[str, object]:
    services, group_id, body = context.services, asked.path["group"], asked.body
    _check(body)
    await _check_without_members(services, group_id)
    before = await committed(services, group_id)
    chosen = list(before) if body.topics is None else places(services, body.topics)
    if not chosen:
        raise InvalidRequest(f"group {group_id!r} has no committed offsets; name topics")
    pace = Pace()
    moves = []
    for topic, partition in sorted(chosen):
        moves.append(await _move(services, body, topic, partition, before.get((topic, partition))))
        await pace.step()
    if not body.dry_run:
        await _commit(services, group_id, moves)
    return {
        "group_id": group_id,
        "dry_run": body.dry_run,
        "offsets": [
            {
                "topic": move.topic,
                "partition": move.partition,
                "previous_offset": None if move.previous is None else move.previous.offset,
                "new_offset": move.offset,
                "is_clamped": move.is_clamped,
            }
            for move in moves
        ],
    }


def _check(body: ResetOffsetsBody) -> None:
    needed = _NEEDS.get(body.to)
    for field in _NEEDS.values():
        given = getattr(body, field) is not None
        if given != (field == needed):
            raise InvalidRequest(f"to {body.to.value!r} {'takes no' if given else 'needs'} {field}")


async def _check_without_members(services: Services, group_id: str) -> None:
    """A group that is not there may be given offsets."""
    try:
        group = await described(services, group_id)
    except GroupIdNotFound:
        return
    if group.members:
        raise NonEmptyGroup(
            f"group {group_id!r} is {group.state} with {len(group.members)} members; "
            "offsets are reset while it is Empty: stop its consumers"
        )


async def _move(
    services: Services, body: ResetOffsetsBody, topic: str, index: int, previous: FetchedOffset | None
) -> _Move:
    partition = services.engine.partition(topic, index)
    match body.to:
        case Target.EARLIEST:
            wanted = partition.state.log_start_offset
        case Target.LATEST:
            wanted = partition.state.high_watermark
        case Target.OFFSET:
            wanted = body.offset or 0
        case Target.TIME:
            found = await services.engine.find_timestamp(partition, body.timestamp_ms or 0)
            wanted = partition.state.high_watermark if found is None else found.offset
        case _:
            if previous is None:
                raise InvalidRequest(
                    f"the group has no committed offset of {topic}-{index} that could be moved; "
                    "allowed: earliest, latest, offset, time"
                )
            wanted = previous.offset + (body.shift_by or 0)
    state = partition.state
    offset = min(max(wanted, state.log_start_offset), state.high_watermark)
    return _Move(topic, index, previous, offset, offset != wanted)


async def _commit(services: Services, group_id: str, moves: list[_Move]) -> None:
    """Raises the first error that there is; what was committed before it stays."""
    await services.groups.ensure_topic()
    for start in range(0, len(moves), ADMIN_COMMIT_OFFSETS_MAX):
        offsets = tuple(
            OffsetToCommit(move.topic, known_topic(services, move.topic).topic_id, move.partition, move.offset, -1, "")
            for move in moves[start : start + ADMIN_COMMIT_OFFSETS_MAX]
        )
        request = CommitOffsets(group_id, NO_GENERATION, "", None, offsets)
        result: CommittedOffsets = await outcome_of(services.groups, group_id, request)
        for error in result.errors:
            if isinstance(error, TailraceError):
                raise error
