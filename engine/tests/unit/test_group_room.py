"""How much the members of groups may hold: what a record can keep, and what the broker has room for."""

from __future__ import annotations

import pytest
from group_support import GROUP, Groups

from tailrace_core import limits
from tailrace_core.errors import CoordinatorNotAvailable, GroupMaxSizeReached, MemberIdRequired, UnknownMemberId
from tailrace_engine.coordinator.deadlines import Deadline, Deadlines
from tailrace_engine.coordinator.group_messages import DeleteGroup, JoinedGroup
from tailrace_engine.coordinator.group_parts import MEMBER_OVERHEAD_BYTES

KIB, MIB = 1 << 10, 1 << 20


def saying(size: int) -> tuple[tuple[str, bytes], ...]:
    return (("range", bytes(size)),)


def test_metadata_that_no_record_can_keep_is_refused_before_an_id_is_given_out() -> None:
    groups = Groups()
    ticket = groups.join(protocols=saying(5 * MIB), requires_known_member_id=True)
    assert isinstance(groups.answers[ticket], GroupMaxSizeReached)
    assert groups.shard.counts.member_bytes == 0
    assert not groups.shard._groups


def test_the_metadata_of_a_groups_members_counts_together() -> None:
    groups = Groups()
    first = groups.stable(3, protocols=saying(300 * KIB))
    assert isinstance(groups.answers[groups.join(protocols=saying(300 * KIB))], GroupMaxSizeReached)
    assert groups.state() == "Stable", "who is refused rebalances nobody"
    assert groups.heartbeat(first[1].member_id, first[1].generation_id) is None
    assert groups.join(group_id="another", protocols=saying(300 * KIB)) in groups.waiting


def test_of_several_protocols_the_shortest_metadata_counts() -> None:
    groups = Groups()
    either = (("range", bytes(2 * MIB)), ("sticky", b""))
    assert isinstance(groups.settle([groups.join(protocols=either)])[0], JoinedGroup)


def test_a_member_that_says_more_is_refused_and_stays_what_it_was() -> None:
    groups = Groups()
    (member,) = groups.stable(1, protocols=saying(600 * KIB))
    before = groups.shard.counts.member_bytes
    assert isinstance(groups.answers[groups.join(member.member_id, protocols=saying(2 * MIB))], GroupMaxSizeReached)
    assert groups.shard.counts.member_bytes == before
    assert groups.heartbeat(member.member_id, member.generation_id) is None


def test_beyond_the_brokers_room_new_members_are_refused_and_known_ones_go_on() -> None:
    groups = Groups(member_bytes_max=2 * MIB)
    (member,) = groups.stable(1, protocols=saying(100 * KIB))
    groups.other_counts.member_bytes = 2 * MIB
    new = groups.join(group_id="new", requires_known_member_id=True)
    assert isinstance(groups.answers[new], CoordinatorNotAvailable)
    assert isinstance(
        groups.answers[groups.join(member.member_id, protocols=saying(101 * KIB))], CoordinatorNotAvailable
    )
    again = groups.join(member.member_id, protocols=saying(100 * KIB))
    assert isinstance(groups.answers[again], JoinedGroup)
    groups.other_counts.member_bytes = 0
    assert groups.join() in groups.waiting


def test_a_static_member_that_comes_back_takes_the_room_that_it_had() -> None:
    groups = Groups(member_bytes_max=MIB)
    groups.stable(1, instance_id="one", protocols=saying(600 * KIB))
    assert isinstance(groups.answers[groups.join(instance_id="one", protocols=saying(600 * KIB))], JoinedGroup)


def test_room_comes_back_when_sessions_end() -> None:
    groups = Groups(member_bytes_max=4 * MIB)
    refused = []
    for number in range(20):
        ticket = groups.join(group_id=f"g{number}", protocols=saying(MIB // 2))
        refused.append(isinstance(groups.answers.get(ticket), CoordinatorNotAvailable))
    assert refused == [False] * 7 + [True] * 13
    groups.advance(400_000)
    assert groups.shard.counts.member_bytes == 0
    assert groups.join(protocols=saying(MIB // 2)) in groups.waiting


def test_ids_that_nobody_joins_with_are_bounded_and_end_with_their_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PENDING_MEMBERS_MAX", 3)
    groups = Groups()
    groups.other_counts.pending_members = 1
    answers = [groups.answers[groups.join(requires_known_member_id=True)] for _ in range(4)]
    assert [type(answer) for answer in answers] == [MemberIdRequired] * 2 + [CoordinatorNotAvailable] * 2
    assert groups.shard.counts.pending_members == 2
    assert groups.shard.counts.member_bytes > 2 * MEMBER_OVERHEAD_BYTES
    assert groups.join(answers[0].member_id) in groups.waiting, "who has an id is let in"
    assert groups.join(instance_id="one") in groups.waiting, "static members need none"
    groups.advance(10_000)
    assert groups.shard.counts.pending_members == 0
    assert isinstance(groups.answers[groups.join(requires_known_member_id=True)], MemberIdRequired)
    assert isinstance(groups.answers[groups.join(answers[1].member_id)], UnknownMemberId)


def test_a_deleted_group_takes_no_room() -> None:
    groups = Groups()
    groups.commit(1)
    assert isinstance(groups.answers[groups.join(requires_known_member_id=True)], MemberIdRequired)
    assert groups.shard.counts.pending_members == 1
    assert groups.call(DeleteGroup(GROUP)) is None
    assert (groups.shard.counts.pending_members, groups.shard.counts.member_bytes) == (0, 0)


def test_a_loaded_shard_counts_what_it_has_read() -> None:
    groups = Groups()
    groups.stable(3, protocols=saying(KIB))
    before = groups.shard.counts.member_bytes
    groups.restart()
    assert groups.shard.counts.member_bytes == before


def test_deadlines_that_are_called_off_are_forgotten_before_their_time() -> None:
    deadlines = Deadlines()
    due: list[int] = []
    kept = [Deadline(lambda now, at=at: due.append(at)) for at in range(50)]
    for at, deadline in enumerate(kept):
        deadlines.set(deadline, 1_000_000 + at)
    for _ in range(100_000):
        gone = Deadline(lambda now: due.append(-1))
        deadlines.set(gone, 1_800_000)
        deadlines.clear(gone)
    assert len(deadlines._heap) < 2_000
    assert deadlines.next_ms() == 1_000_000
    assert deadlines.pop_due(999_999) is None
    assert [deadlines.pop_due(2_000_000) for _ in range(51)] == [*kept, None]
