"""The internal topics of a broker, and which coordinators live on them: for the broker and the simulation alike."""

from collections.abc import Callable, Coroutine
from typing import Any, Final

from tailrace_core.batch import HEADER_BYTES
from tailrace_core.membership import Membership
from tailrace_core.ports import Clock, Entropy, Loop
from tailrace_core.settings import GroupSettings
from tailrace_engine.coordinator.group_messages import CommitOffsets
from tailrace_engine.coordinator.group_parts import GroupCounts, GroupOptions
from tailrace_engine.coordinator.groups import GroupShard
from tailrace_engine.runtime.coordinator import Coordinator
from tailrace_engine.runtime.engine import Engine

CONSUMER_OFFSETS: Final = "__consumer_offsets"


class _Room:
    """Implements group_parts.Room."""

    def __init__(self, membership: Membership) -> None:
        self._membership = membership
        self.coordinator: Coordinator

    def record_bytes_max(self) -> int:
        topic = self._membership.image.topic(CONSUMER_OFFSETS)
        assert topic is not None, "who asks is one of its shards"
        return min(topic.configs.max_message_bytes, topic.configs.segment_bytes) - HEADER_BYTES

    def counts(self) -> list[GroupCounts]:
        return [shard.counts for shard in self.coordinator.shards() if isinstance(shard, GroupShard)]


def group_coordinator(
    settings: GroupSettings,
    engine: Engine,
    membership: Membership,
    clock: Clock,
    entropy: Entropy,
    loop: Loop,
    spawn: Callable[[Coroutine[Any, Any, None]], object],
) -> Coordinator:
    """The coordinators of consumer groups. See Coordinator for spawn, and for what its owner does with it."""
    options = GroupOptions(
        initial_rebalance_delay_ms=settings.initial_rebalance_delay_ms,
        session_timeout_ms_min=settings.session_timeout_ms_min,
        session_timeout_ms_max=settings.session_timeout_ms_max,
        members_max=settings.members_max,
        member_bytes_max=settings.member_bytes_max,
        offset_metadata_bytes_max=settings.offset_metadata_bytes_max,
        offsets_retention_minutes=settings.offsets_retention_minutes,
        offsets_retention_check_interval_ms=settings.offsets_retention_check_interval_ms,
    )
    room = _Room(membership)
    coordinator = room.coordinator = Coordinator(
        CONSUMER_OFFSETS,
        settings.offsets_topic_num_partitions,
        lambda: GroupShard(options, entropy, room),
        (CommitOffsets,),
        engine,
        membership,
        clock,
        loop,
        spawn,
    )
    return coordinator
