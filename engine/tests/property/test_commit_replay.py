"""What a shard keeps of its own commits, which it does not decode, is what the log says to one that loads them."""

from __future__ import annotations

from group_support import Groups
from hypothesis import given
from hypothesis import strategies as st

from tailrace_core.settings import INT64_MAX
from tailrace_engine.coordinator.decision import Record
from tailrace_engine.coordinator.group_messages import CommitOffsets, CommittedOffsets, OffsetToCommit
from tailrace_engine.coordinator.groups import GroupShard

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
INT32 = st.integers(-(1 << 31), (1 << 31) - 1)
OFFSETS = st.builds(
    OffsetToCommit,
    topic_name=st.sampled_from(["orders", "invoices", "é" * 60]),
    topic_id=st.sampled_from([bytes(16), b"orders-orders-id", bytes(range(16))]),
    partition=st.integers(0, 3),
    offset=st.integers(-(1 << 63), INT64_MAX),
    leader_epoch=INT32,
    metadata=TEXTS,
)
COMMITS = st.builds(
    CommitOffsets,
    group_id=TEXTS | st.sampled_from(["billing", "g" * 70]),
    generation_id=st.just(-1),
    member_id=st.just(""),
    group_instance_id=st.none(),
    offsets=st.lists(OFFSETS, min_size=1, max_size=4).map(tuple),
    retention_time_ms=st.sampled_from([-1, 0, 60_000, INT64_MAX]),
)


def kept(shard: GroupShard) -> object:
    """All that it knows of offsets, times included."""
    return {group_id: (list(group.offsets), group.retention.due_ms) for group_id, group in shard._groups.items()}


@given(st.lists(COMMITS, min_size=1, max_size=6))
def test_a_commit_is_kept_as_the_log_has_it(commits: list[CommitOffsets]) -> None:
    groups = Groups()
    for commit in commits:
        groups.wall_ms += 1
        assert isinstance(groups.call(commit), CommittedOffsets)
    loaded = GroupShard(groups.options, groups.entropy, groups)
    for record in groups.log:
        assert record == Record(record.key, record.value)
        loaded.replay(record)
    assert kept(loaded) == kept(groups.shard)
