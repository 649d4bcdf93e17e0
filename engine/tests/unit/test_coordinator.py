"""The owner of coordinators over real storage: what is answered when, and what becomes of it when things fail."""

import asyncio
import errno
from pathlib import Path
from typing import Any

import pytest
from coordinator_support import (
    START_MS,
    TOPIC,
    Break,
    Coordinated,
    Get,
    Put,
    PutAt,
    WaitFor,
    Words,
    coordinated,
    held_disk,
    turns,
)
from engine_support import NOW_MS, Node, SeededEntropy, make_batch, until
from group_support import Groups

from tailrace_core.batch import batch_spans, read_header
from tailrace_core.errors import (
    CoordinatorLoadInProgress,
    CoordinatorNotAvailable,
    DataCorrupt,
    InvalidCommitOffsetSize,
    NotCoordinator,
)
from tailrace_core.limits import INTERNAL_TOPIC_IN_FLIGHT_BYTES_MAX
from tailrace_engine.coordinator.group_messages import (
    CommitOffsets,
    CommittedOffsets,
    DeleteGroup,
    FetchOffsets,
    OffsetToCommit,
)
from tailrace_engine.coordinator.group_parts import GroupOptions
from tailrace_engine.coordinator.groups import GroupShard
from tailrace_engine.log.records import keys_and_values


def test_an_answer_waits_until_its_records_are_durable(tmp_path: Path) -> None:
    async def test(made: Coordinated) -> None:
        await made.asked("g", Put({b"before": b"1"}))
        with held_disk(made.node) as disk:
            put = made.ask("g", Put({b"a": b"1"}))
            await until(lambda: disk.held)
            assert made.words("g")[b"a"] == b"1", "the next request decides on it"
            assert put == []
            disk.let_go()
            await until(lambda: put)
        assert put == [2]

    coordinated(tmp_path, test)


def test_a_read_waits_for_what_was_decided_before_it(tmp_path: Path) -> None:
    async def test(made: Coordinated) -> None:
        await made.asked("g", Put({b"before": b"1"}))
        with held_disk(made.node) as disk:
            put = made.ask("g", Put({b"a": b"1"}))
            same_pass = made.ask("g", Get(b"a"))
            await until(lambda: disk.held)
            later = made.ask("g", Get(b"a"))
            await turns()
            assert (put, same_pass, later) == ([], [], [])
            disk.let_go()
            await until(lambda: later)
            assert (put, same_pass, later) == ([2], [b"1"], [b"1"])

    coordinated(tmp_path, test)


def test_a_read_of_what_is_durable_is_answered_at_once(tmp_path: Path) -> None:
    async def test(made: Coordinated) -> None:
        assert made.ask("g", Get(b"a")) == [None]
        await made.asked("g", Put({b"a": b"1"}))
        assert made.ask("g", Get(b"a")) == [b"1"]
        assert made.flushes == 0, "who asked sends the answer"

    coordinated(tmp_path, test)


def test_another_shard_does_not_wait(tmp_path: Path) -> None:
    async def test(made: Coordinated) -> None:
        assert made.coordinator.partition_for("a") != made.coordinator.partition_for("b")
        with held_disk(made.node) as disk:
            made.ask("a", Put({b"a": b"1"}))
            await until(lambda: disk.held)
            assert made.ask("b", Get(b"a")) == [None]

    coordinated(tmp_path, test)


def test_what_one_pass_of_the_loop_decides_is_one_batch(tmp_path: Path) -> None:
    async def test(made: Coordinated) -> None:
        answers = [made.ask("g", Put({b"%d" % at: b"v", b"x%d" % at: None})) for at in range(50)]
        await until(lambda: answers[-1])
        assert answers == [[2 * at + 2 - at] for at in range(50)]
        partition = made.owner("g").partition
        (batch,) = await made.node.read_all(partition)
        ((_, size, base),) = batch_spans(batch)
        header = read_header(batch)
        assert (size, base, header.record_count, header.codec) == (len(batch), 0, 100, 0)
        assert (header.base_timestamp_ms, header.max_timestamp_ms) == (NOW_MS, NOW_MS)
        expected = [pair for at in range(50) for pair in ((b"%d" % at, b"v"), (b"x%d" % at, None))]
        assert list(keys_and_values(batch, header)) == expected
        assert made.coordinator.records_appended == 100

    coordinated(tmp_path, test)


def test_a_batch_is_as_large_as_the_topic_allows_and_decisions_are_not_divided(tmp_path: Path) -> None:
    async def test(made: Coordinated) -> None:
        await made.node.controller.alter_topic_configs(TOPIC, {"max.message.bytes": "3000"})
        answers = [made.ask("g", Put({b"%d-%d" % (at, part): bytes(300) for part in range(4)})) for at in range(6)]
        await until(lambda: answers[-1])
        assert answers == [[4], [8], [12], [16], [20], [24]]
        batches = await made.node.read_all(made.owner("g").partition)
        assert [read_header(batch).record_count for batch in batches] == [8, 8, 8]
        assert all(len(batch) <= 3000 for batch in batches)

    coordinated(tmp_path, test)


def test_a_decision_that_fits_into_no_batch_is_refused_and_others_go_on(tmp_path: Path) -> None:
    async def test(made: Coordinated) -> None:
        await made.node.controller.alter_topic_configs(TOPIC, {"max.message.bytes": "3000"})
        before = made.ask("g", Put({b"a": b"1"}))
        large = made.ask("g", Put({b"large": bytes(3000)}))
        after = made.ask("g", Put({b"b": b"1"}))
        await until(lambda: after)
        assert isinstance(large[0], InvalidCommitOffsetSize)
        assert (before, after) == ([1], [2])
        assert made.words("g") == {b"a": b"1", b"b": b"1"}

    coordinated(tmp_path, test)


def test_what_only_forgets_may_take_several_batches(tmp_path: Path) -> None:
    async def test(made: Coordinated) -> None:
        await made.node.controller.alter_topic_configs(TOPIC, {"max.message.bytes": "1000"})
        names = [b"word-%d" % at for at in range(100)]
        for name in names:
            made.ask("g", Put({name: b"1"}))
        assert await made.asked("g", Put(dict.fromkeys(names))) == 100
        assert made.words("g") == {}
        await made.restart()
        await made.loaded()
        assert made.words("g") == {}

    coordinated(tmp_path, test)


def test_a_group_of_many_offsets_is_deleted_and_stays_so(tmp_path: Path) -> None:
    async def committed(made: Coordinated, group_id: str) -> int:
        return len((await made.asked("g", FetchOffsets(group_id, None, -1, None))).offsets)

    async def run() -> None:
        async with Node(tmp_path, sim_seed=1) as node:
            made = Coordinated(node, make_shard=lambda: GroupShard(GroupOptions(), SeededEntropy(1), Groups()))
            await made.coordinator.ensure_topic()
            for topic in range(4):
                offsets = tuple(OffsetToCommit(f"t{topic}", bytes(16), each, 5, -1, "") for each in range(500))
                for group_id in ("g", "other"):
                    answer = await made.asked("g", CommitOffsets(group_id, -1, "", None, offsets))
                    assert answer == CommittedOffsets((None,) * 500)
            with held_disk(node):
                deleted = made.ask("g", DeleteGroup("g"))
                shard = made.owner("g").shard
                assert isinstance(shard, GroupShard)
                await until(lambda: shard.counts.offsets == 2_000)
                await turns()
                assert deleted == [], "it is not durable"
            await until(lambda: deleted)
            assert deleted == [None]
            for _ in range(2):
                assert (await committed(made, "g"), await committed(made, "other")) == (0, 2_000)
                await made.restart()
                await made.loaded()
            made.coordinator.stop()

    asyncio.run(run())


def test_a_request_may_wait_for_another(tmp_path: Path) -> None:
    async def test(made: Coordinated) -> None:
        waiting = made.ask("g", WaitFor(b"a"))
        await turns()
        assert waiting == []
        assert await made.asked("g", Put({b"a": b"1"})) == 1
        assert waiting == [b"1"]

    coordinated(tmp_path, test)


# --- time


def test_time_decides_once_it_has_come(tmp_path: Path) -> None:
    async def test(made: Coordinated) -> None:
        waiting = made.ask("g", WaitFor(b"a"))
        made.ask("g", PutAt(b"a", START_MS + 30))
        made.ask("g", PutAt(b"b", START_MS + 20))
        made.clock.steady_ms += 20
        await until(lambda: b"b" in made.words("g"))
        assert waiting == []
        made.clock.steady_ms += 10
        await until(lambda: waiting)
        assert waiting == [b"due"]
        partition = made.owner("g").partition
        await made.node.durable(partition)
        assert partition.state.high_watermark == 2
        assert made.flushes >= 2, "nobody asked, so the gateway is told to send"

    coordinated(tmp_path, test)


def test_a_deadline_that_moves_away_is_not_met_early(tmp_path: Path) -> None:
    async def test(made: Coordinated) -> None:
        made.ask("g", PutAt(b"a", START_MS + 5))
        made.ask("g", PutAt(b"a", START_MS + 3_600_000))
        made.ask("g", PutAt(b"b", START_MS + 10))
        made.node.clock.ms += 86_400_000
        made.clock.steady_ms += 15
        await until(lambda: b"b" in made.words("g"))
        assert b"a" not in made.words("g")

    coordinated(tmp_path, test)


# --- loss


def test_a_failed_append_loses_the_shard_and_nothing_is_answered_from_it(tmp_path: Path) -> None:
    async def test(made: Coordinated) -> None:
        await made.asked("g", Put({b"kept": b"1"}))
        with held_disk(made.node) as disk:
            put = made.ask("g", Put({b"lost": b"1"}))
            read = made.ask("g", Get(b"lost"))
            waiting = made.ask("g", WaitFor(b"x"))
            await until(lambda: disk.held)
            assert made.node.disk is not None
            made.node.disk.write_failure = OSError(errno.EIO, "the disk is broken")
            disk.let_go()
            await until(lambda: waiting)
        assert [type(outcomes[0]) for outcomes in (put, read, waiting)] == [NotCoordinator] * 3
        assert made.coordinator.shards_lost == 1
        assert isinstance(made.ask("g", Get(b"kept"))[0], CoordinatorLoadInProgress | CoordinatorNotAvailable)
        made.node.disk.write_failure = None
        await made.restart()
        await made.loaded()
        assert made.words("g")[b"kept"] == b"1"
        assert made.coordinator.in_flight_bytes == 0

    coordinated(tmp_path, test)


def test_a_bug_in_an_append_loses_the_shard_and_shifts_no_later_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(made: Coordinated) -> None:
        await made.asked("g", Put({b"kept": b"1"}))
        owner = made.owner("g")
        with monkeypatch.context() as broken:
            broken.setattr(made.node.engine, "append", lambda *_: 1 // 0)
            put, read = made.ask("g", Put({b"lost": b"1"})), made.ask("g", Get(b"lost"))
            await until(lambda: owner.closed)
        assert [type(outcomes[0]) for outcomes in (put, read)] == [NotCoordinator] * 2
        assert "ZeroDivisionError" in caplog.text
        await made.loaded()
        assert made.words("g") == {b"kept": b"1"}
        assert await made.asked("g", Put({b"a": b"1"})) == 2
        assert made.coordinator.in_flight_bytes == 0

    coordinated(tmp_path, test)


def test_a_shard_that_was_lost_is_read_again_from_the_log(tmp_path: Path) -> None:
    async def test(made: Coordinated) -> None:
        await made.asked("g", Put({b"a": b"1", b"b": b"1"}))
        await made.asked("g", Put({b"b": None}))
        lost = made.owner("g")
        waiting = made.ask("g", WaitFor(b"x"))
        with held_disk(made.node) as disk:
            put = made.ask("g", Put({b"c": b"1"}))
            await until(lambda: disk.held)
            broken = made.ask("g", Break())
            await turns()
            assert [type(outcomes[0]) for outcomes in (put, broken, waiting)] == [NotCoordinator] * 3
            assert isinstance(made.ask("g", Get(b"a"))[0], CoordinatorLoadInProgress)
            await turns()
            assert made.coordinator.loading == 1, "what is not durable yet is not read"
            assert made.flushes == 1
        await made.loaded()
        assert made.owner("g") is not lost
        assert made.words("g") == {b"a": b"1", b"c": b"1"}
        assert made.ask("g", Get(b"c")) == [b"1"]
        assert made.coordinator.in_flight_bytes == 0

    coordinated(tmp_path, test)


def test_an_offline_partition_is_not_available_until_it_is_back(tmp_path: Path) -> None:
    async def test(made: Coordinated) -> None:
        await made.asked("g", Put({b"a": b"1"}))
        partition = made.owner("g").partition
        made.node.engine.take_offline(partition, DataCorrupt("a bad block"))
        assert isinstance(await made.asked("g", Put({b"b": b"1"})), NotCoordinator)
        await until(lambda: isinstance(made.ask("g", Get(b"a"))[0], CoordinatorNotAvailable))
        partition.damage = None
        await until(lambda: made.ask("g", Get(b"a")) == [b"1"])
        assert made.words("g") == {b"a": b"1"}

    coordinated(tmp_path, test)


def test_after_stop_nothing_is_served_but_what_was_decided(tmp_path: Path) -> None:
    async def test(made: Coordinated) -> None:
        waiting = made.ask("g", WaitFor(b"a"))
        put = made.ask("g", Put({b"b": b"1"}))
        made.coordinator.stop()
        assert isinstance(waiting[0], NotCoordinator)
        assert isinstance(made.ask("g", Get(b"a"))[0], CoordinatorNotAvailable)
        await until(lambda: put)
        assert put == [1]

    coordinated(tmp_path, test)


# --- the topic


def test_the_topic_is_made_once_and_as_kafka_makes_it(tmp_path: Path) -> None:
    async def test(made: Coordinated) -> None:
        assert isinstance(made.ask("g", Get(b"a"))[0], CoordinatorNotAvailable)
        partition = made.coordinator.partition_for("g")
        await asyncio.gather(*(made.coordinator.ensure_topic() for _ in range(5)))
        topic = made.node.controller.image.topic(TOPIC)
        assert topic is not None
        assert topic.partition_count == 4
        assert topic.overrides == {
            "cleanup.policy": "compact",
            "compression.type": "producer",
            "segment.bytes": "104857600",
        }
        assert made.ask("g", Get(b"a")) == [None]
        assert made.owner("g").partition.partition == partition

    coordinated(tmp_path, test, topic=False)


def test_with_the_topic_all_it_kept_is_gone(tmp_path: Path) -> None:
    async def test(made: Coordinated) -> None:
        await made.asked("g", Put({b"a": b"1"}))
        waiting = made.ask("g", WaitFor(b"x"))
        await made.node.controller.delete_topics([TOPIC])
        assert isinstance(waiting[0], NotCoordinator)
        assert isinstance(made.ask("g", Get(b"a"))[0], CoordinatorNotAvailable)
        await made.coordinator.ensure_topic()
        assert made.ask("g", Get(b"a")) == [None]

    coordinated(tmp_path, test)


def test_all_shards_hear_of_deleted_topics_those_that_load_too(tmp_path: Path) -> None:
    async def test(made: Coordinated) -> None:
        for key in "abcdefg":
            await made.asked(key, Put({b"a": b"1"}))
        made.owner("a").close("to read it again")
        await made.node.topic("t")
        await made.node.controller.delete_topics(["t"])
        await made.loaded()
        assert len(made.coordinator.shards()) == 4
        for shard in made.coordinator.shards():
            assert isinstance(shard, Words)
            assert shard.deleted == ["t"]

    coordinated(tmp_path, test)


def test_all_shards_are_asked_in_the_order_of_partitions(tmp_path: Path) -> None:
    async def test(made: Coordinated) -> None:
        outcomes: list[Any] = []
        made.coordinator.ask_all(Get(b"a"), outcomes.append)
        assert outcomes == [[]]
        for key in "abcd":
            await made.asked(key, Put({b"a": b"%d" % made.coordinator.partition_for(key)}))
        made.coordinator.ask_all(Get(b"a"), outcomes.append)
        assert outcomes[1] == [b"0", b"1", b"2", b"3"]
        made.owner("a").close("to read it again")
        made.coordinator.ask_all(Get(b"a"), outcomes.append)
        loading = made.coordinator.partition_for("a")
        assert isinstance(outcomes[2].pop(loading), CoordinatorLoadInProgress)
        assert len(outcomes[2]) == 3

    coordinated(tmp_path, test)


# --- bounds


def test_users_that_are_held_back_do_not_stop_coordinators(tmp_path: Path) -> None:
    async def test(made: Coordinated) -> None:
        node = made.node
        partition = await node.partition("t")
        await made.asked("g", Put({b"a": b"1"}))
        while not node.engine.must_hold_back:
            node.append(partition)
            await turns(1)
        await node.durable(partition)
        assert node.engine.must_hold_back
        for at in range(20):
            assert await made.asked("g", Put({b"a": b"%d" % at})) == 1
        assert node.engine.must_hold_back

    coordinated(tmp_path, test, capacity_bytes=4 << 20)


def test_a_burst_of_users_data_leaves_the_coordinators_slice_alone(tmp_path: Path) -> None:
    async def test(made: Coordinated) -> None:
        node = made.node
        partition = await node.partition("t")
        await made.asked("g", Put({b"a": b"1"}))
        while not node.engine.must_hold_back:  # all within one pass of the loop
            node.append(partition, make_batch(value=bytes(2000)))
        assert node.wal.room_bytes(internal=True) > 0
        assert await made.asked("g", Put({b"a": b"2"})) == 1
        await node.durable(partition)

    coordinated(tmp_path, test, capacity_bytes=1 << 20)


def test_coordinators_do_not_go_beyond_their_own_slice_of_the_log(tmp_path: Path) -> None:
    async def test(made: Coordinated) -> None:
        outcome: Any = None
        for _ in range(1000):
            outcome = await made.asked("g", Put({b"a": bytes(3000)}))
            if outcome != 1:
                break
        assert isinstance(outcome, CoordinatorNotAvailable)
        assert made.ask("g", Get(b"b")) == [None], "what appends nothing is answered"
        waiting = made.ask("g", WaitFor(b"b"))
        made.ask("g", PutAt(b"b", START_MS))
        await until(lambda: waiting)
        assert waiting == [b"due"], "there is room for what keeps groups going"
        lost = made.coordinator
        for at in range(1000):
            word = b"due%d" % at
            made.ask("g", PutAt(word, START_MS))
            await until(lambda word=word: lost.shards_lost or word in made.words("g"))
            if lost.shards_lost:
                break
        assert made.coordinator.shards_lost == 1
        assert made.node.wal.ring.free_bytes() > 0
        await made.node.uploader.flush()
        await made.loaded()
        assert await made.asked("g", Put({b"a": b"1"})) > 1

    coordinated(tmp_path, test, capacity_bytes=1 << 20)


def test_a_slow_disk_bounds_what_is_decided_and_not_durable(tmp_path: Path) -> None:
    async def test(made: Coordinated) -> None:
        await made.node.controller.alter_topic_configs(TOPIC, {"max.message.bytes": "60000"})
        await made.asked("g", Put({b"a": b"1"}))
        with held_disk(made.node) as disk:
            count = INTERNAL_TOPIC_IN_FLIGHT_BYTES_MAX // 50_000 + 10
            answers = [made.ask("g", Put({b"a": bytes(50_000)})) for _ in range(count)]
            refused = [outcomes for outcomes in answers if outcomes]
            assert 10 < len(refused) < count // 2
            await until(lambda: disk.held)
            assert made.coordinator.in_flight_bytes <= INTERNAL_TOPIC_IN_FLIGHT_BYTES_MAX
            while not all(answers):
                disk.let_go()
                await turns(1)
        assert {type(outcomes[0]) for outcomes in refused} <= {CoordinatorNotAvailable}
        assert made.coordinator.in_flight_bytes == 0

    coordinated(tmp_path, test, segment_bytes=1 << 20, capacity_bytes=256 << 20)
