"""The offsets that one group has committed.

An offset belongs to a topic by name and, where it is known, by id: to a recreated topic the old one's says nothing.

When an offset may go: without members, the retention after the group became empty; of a group that never had any, the
retention after the commit. With members, only of topics that none of them subscribes to, which can be told of stable
groups of type "consumer" alone. An offset that was committed with a retention of its own goes at that time.
"""

from __future__ import annotations

from collections.abc import Iterator

from tailrace_core.errors import OffsetMetadataTooLarge
from tailrace_core.ids import NO_TOPIC_ID, TopicId
from tailrace_core.settings import INT64_MAX
from tailrace_engine.coordinator.classic_group import ClassicGroup
from tailrace_engine.coordinator.decision import Now, Record
from tailrace_engine.coordinator.group_messages import CommitOffsets, FetchedOffset, OffsetToCommit
from tailrace_engine.coordinator.group_parts import CONSUMER, EMPTY, STABLE, GroupCounts, GroupOptions
from tailrace_engine.coordinator.records import OffsetCommitValue, offset_commit_record

_MINUTE_MS = 60_000


class GroupOffsets:
    """Kept state alone: it changes in put and forget, which replay calls."""

    __slots__ = ("_by_topic", "_counts")

    def __init__(self, counts: GroupCounts) -> None:
        self._by_topic: dict[str, dict[int, OffsetCommitValue]] = {}
        self._counts = counts

    def __iter__(self) -> Iterator[tuple[str, int, OffsetCommitValue]]:
        for topic_name, partitions in self._by_topic.items():
            for partition, value in partitions.items():
                yield topic_name, partition, value

    def put(self, topic_name: str, partition: int, value: OffsetCommitValue) -> None:
        """The last commit is the one that counts, whatever its offset."""
        partitions = self._by_topic.get(topic_name)
        if partitions is None:
            partitions = self._by_topic[topic_name] = {}
        if partition not in partitions:
            self._counts.offsets += 1
        partitions[partition] = value

    def forget(self, topic_name: str, partition: int) -> None:
        """As if nothing had been committed."""
        partitions = self._by_topic.get(topic_name)
        if partitions is not None and partitions.pop(partition, None) is not None:
            self._counts.offsets -= 1
            if not partitions:
                del self._by_topic[topic_name]

    def get(self, topic_name: str, partition: int) -> OffsetCommitValue | None:
        """What was committed last, for whichever topic of that name."""
        partitions = self._by_topic.get(topic_name)
        return None if partitions is None else partitions.get(partition)

    def fetch(self, topic_name: str, topic_id: TopicId, partition: int) -> FetchedOffset:
        """The committed offset for the topic of this id, -1 without one."""
        value = self.get(topic_name, partition)
        if value is None or not _is_of(value, topic_id):
            return nothing_committed(topic_name, topic_id, partition)
        return FetchedOffset(topic_name, topic_id, partition, value.offset, value.leader_epoch, value.metadata)

    def fetch_all(self) -> tuple[FetchedOffset, ...]:
        """All there is, with the ids of the topics at the time of the commit."""
        return tuple(
            FetchedOffset(topic_name, value.topic_id, partition, value.offset, value.leader_epoch, value.metadata)
            for topic_name, partition, value in self
        )

    def topic_names(self) -> list[str]:
        """Those with an offset."""
        return list(self._by_topic)

    def partitions(self, topic_name: str) -> list[int]:
        """Those with an offset for whichever topic of that name."""
        return list(self._by_topic.get(topic_name, ()))

    def of_topic(self, topic_name: str, topic_id: TopicId) -> list[int]:
        """The partitions with an offset for the topic of this id."""
        partitions = self._by_topic.get(topic_name, {})
        return [partition for partition, value in partitions.items() if _is_of(value, topic_id)]


def _is_of(value: OffsetCommitValue, topic_id: TopicId) -> bool:
    return value.topic_id == topic_id or NO_TOPIC_ID in (value.topic_id, topic_id)


def nothing_committed(topic_name: str, topic_id: TopicId, partition: int) -> FetchedOffset:
    """The answer where there is no offset, which is not an error."""
    return FetchedOffset(topic_name, topic_id, partition, -1, -1, "")


def commit_record(
    request: CommitOffsets, offset: OffsetToCommit, options: GroupOptions, now: Now
) -> Record | OffsetMetadataTooLarge:
    """The record that keeps one offset of a commit that its group allows."""
    if len(offset.metadata) > options.offset_metadata_bytes_max:
        return OffsetMetadataTooLarge(
            f"{len(offset.metadata)} characters beside the offset, {options.offset_metadata_bytes_max} are allowed"
        )
    asked_ms = request.retention_time_ms
    value = OffsetCommitValue(
        offset=offset.offset,
        leader_epoch=offset.leader_epoch,
        metadata=offset.metadata,
        commit_timestamp=now.wall_ms,
        expire_timestamp=-1 if asked_ms == -1 else min(now.wall_ms + asked_ms, INT64_MAX),
        topic_id=offset.topic_id,
    )
    return offset_commit_record(request.group_id, offset.topic_name, offset.partition, value)


def expiry_ms(group: ClassicGroup, value: OffsetCommitValue, options: GroupOptions) -> int | None:
    """When an offset of a topic that nobody subscribes to may go, by the wall clock; None while that is not settled."""
    if group.protocol_type == "":
        since_ms = value.commit_timestamp
    elif group.state == EMPTY:
        since_ms = value.commit_timestamp if group.state_timestamp_ms == -1 else group.state_timestamp_ms
    elif group.state == STABLE and group.protocol_type == CONSUMER and group.topics is not None:
        since_ms = value.commit_timestamp
    else:
        return None
    if value.expire_timestamp != -1:
        return value.expire_timestamp
    return since_ms + options.offsets_retention_minutes * _MINUTE_MS
