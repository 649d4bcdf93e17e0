"""The simulation finds bugs: each test plants one into the real code, and some of the first seeds must fail over it.

What is planted is what a person could write. A seed range that finds nothing any more means that the simulation has
lost an eye.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from sim_world import World

from tailrace_engine.coordinator.classic_group import ClassicGroup
from tailrace_engine.coordinator.decision import Now
from tailrace_engine.coordinator.groups import GroupShard
from tailrace_engine.log.producers import AppendedBatch
from tailrace_engine.log.state import LogState
from tailrace_engine.runtime.engine import Engine
from tailrace_engine.runtime.partition import AppendWaiter, Partition
from tailrace_engine.runtime.recompression import Recompression
from tailrace_engine.runtime.shard_owner import ShardOwner
from tailrace_engine.runtime.start import EngineStart
from tailrace_engine.sim.trace import SimFailure
from tailrace_engine.tier.uploader import Uploader
from tailrace_engine.tier.writer import BuiltObject
from tailrace_engine.wal import recovery
from tailrace_engine.wal.format import GroupFields, any_group_generation, group_prefix, read_group_header
from tailrace_engine.wal.writer import Wal

SEEDS = 150


def failure_of(seed: int) -> SimFailure | None:
    try:
        World(seed).run()
    except SimFailure as failure:
        return failure
    return None


def found(*texts: str) -> None:
    """One of the texts is in what the first seed that finds something says."""
    failure = next((failure for seed in range(1, SEEDS + 1) if (failure := failure_of(seed)) is not None), None)
    assert failure is not None, f"{SEEDS} seeds found nothing"
    assert any(text in failure.what for text in texts), failure
    assert f"make sim SEED={failure.seed}" in str(failure)


def plant(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Replace a method by what make builds around it."""
    monkeypatch.setattr(owner, name, make(getattr(owner, name)))


def test_acknowledging_before_the_sync_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def around(write: Any) -> Any:
        def write_and_tell(self: Wal, group: Any, number: int, buffer: Any, position: int) -> None:
            write(self, group, number, buffer, position)
            if group.entries and self.fenced is None:
                entries, group.entries = group.entries, []
                self._on_durable(entries)

        return write_and_tell

    plant(monkeypatch, Wal, "_write", around)
    found("high watermark went back", "offset out of range", "is used twice", "nothing was damaged")


def test_a_header_whose_sync_never_begins_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def around(start_sync: Any) -> Any:
        def only_for_bytes(self: Wal) -> None:
            if self._unsynced_bytes:
                start_sync(self)

        return only_for_bytes

    plant(monkeypatch, Wal, "_start_sync", around)
    found("it did not come to")


def test_wal_released_before_the_commit_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def around(commit: Any) -> Any:
        async def release_and_commit(self: Uploader, new: Any, built: BuiltObject) -> bool:
            for extent in built.extents:
                self._engine.on_committed(extent)
            return bool(await commit(self, new, built))

        return release_and_commit

    plant(monkeypatch, Uploader, "_commit", around)
    found("is let go below", "went back")


def test_an_offset_used_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def apply_append(self: LogState, record_count: int) -> int:
        base_offset = self.log_end_offset
        self.log_end_offset = base_offset + max(record_count - 1, 1)
        return base_offset

    monkeypatch.setattr(LogState, "apply_append", apply_append)
    found("is used twice", "read a batch from")


def test_an_end_of_the_log_forgotten_with_its_last_object_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def around(load: Any) -> Any:
        async def load_extents_alone(self: EngineStart) -> None:
            await load(self)
            for partition in self._engine.partitions():
                if not len(self._membership.extents(partition.topic_id, partition.partition)):
                    partition.tier_end_offset = partition.state.log_start_offset = 0
                    partition.state.high_watermark = partition.state.log_end_offset = 0

        return load_extents_alone

    plant(monkeypatch, EngineStart, "load", around)
    found("went back", "nothing was damaged", "read a batch from")


def test_a_duplicate_answered_before_its_original_is_durable_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer_at_once(
        self: Engine, partition: Partition, original: AppendedBatch, waiter: AppendWaiter | None, ordinal: int
    ) -> tuple[int, int]:
        if waiter is not None:
            waiter.on_durable()
        return original.base_offset, -1

    monkeypatch.setattr(Engine, "_answer_duplicate", answer_at_once)
    found("acknowledged is up to")


def test_a_duplicate_that_is_appended_again_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Partition, "find_duplicate", lambda self, header: None)
    found("of an idempotent producer", "is used twice")


def test_a_recycled_group_taken_for_a_new_one_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    newest = 0

    def read_any(buffer: memoryview, position: int, prefix: bytes) -> GroupFields | None:
        nonlocal newest
        fields = read_group_header(buffer, position, prefix)
        if fields is not None:
            newest = fields[0]
            return fields
        use = any_group_generation(buffer, position)
        old = read_group_header(buffer, position, group_prefix(*use)) if use is not None else None
        if old is None or old[0] > newest:
            return None
        newest += 1
        return newest, *old[1:]

    monkeypatch.setattr(recovery, "read_group_header", read_any)
    found("sequence")


def test_a_tail_uploaded_beyond_the_high_watermark_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def around(plan: Any) -> Any:
        def plan_all(self: Uploader) -> Any:
            return [(partition, partition.state.log_end_offset) for partition, _ in plan(self)]

        return plan_all

    plant(monkeypatch, Uploader, "_plan", around)
    found("the high watermark is", "nothing was damaged")


def test_a_batch_that_overtakes_others_when_it_is_compressed_first_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def around(on_done: Any) -> Any:
        def to_the_front(self: Recompression, later: Any, *arguments: Any) -> None:
            queue = self.queues[later.partition]
            queue.remove(later)
            queue.appendleft(later)
            on_done(self, later, *arguments)

        return to_the_front

    plant(monkeypatch, Recompression, "_on_done", around)
    found("sends its batches in order")


def test_a_log_start_that_passes_what_is_to_be_kept_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "tailrace_engine.runtime.retention.plan_log_start",
        lambda extents, log_start, *_: max((extent.end_offset for extent in extents), default=log_start),
    )
    found("that was to be kept")


def test_a_reply_from_a_coordinator_s_state_that_was_lost_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer_at_once(self: ShardOwner, ticket: Any, outcome: Any) -> None:
        del self._held[ticket]
        ticket.on_answer(outcome)

    monkeypatch.setattr(ShardOwner, "_answer", answer_at_once)
    found("has committed", "it was in", "gives partition")


def test_sessions_on_the_wall_clock_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def on_the_wall_clock(decide: Any) -> Any:
        return lambda self, *arguments: decide(self, *arguments[:-1], Now(arguments[-1].wall_ms, arguments[-1].wall_ms))

    def as_a_steady_time(next_deadline_ms: Any) -> Any:
        def around(self: GroupShard, now: Now) -> int | None:
            deadline_ms = next_deadline_ms(self, Now(now.wall_ms, now.wall_ms))
            return None if deadline_ms is None else deadline_ms - now.wall_ms + now.steady_ms

        return around

    for name in ("decide", "expire", "on_loaded"):
        plant(monkeypatch, GroupShard, name, on_the_wall_clock)
    plant(monkeypatch, GroupShard, "next_deadline_ms", as_a_steady_time)
    found("was taken for gone")


def test_a_partition_given_to_two_members_of_one_generation_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def around(assign: Any) -> Any:
        def assign_the_first_to_all(self: ClassicGroup, assignments: dict[str, bytes], now: Now) -> None:
            first = next(iter(assignments.values()), b"")
            assign(self, dict.fromkeys(assignments, first), now)

        return assign_the_first_to_all

    plant(monkeypatch, ClassicGroup, "_assign", around)
    found("gives partition")


def test_a_deleted_group_whose_offsets_come_back_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def around(forget_group: Any) -> Any:
        nothing = SimpleNamespace(topic_names=lambda: ())
        return lambda self, group_id, offsets, ticket: forget_group(self, group_id, nothing, ticket)

    plant(monkeypatch, GroupShard, "_forget_group", around)
    found("was deleted, and has committed")
