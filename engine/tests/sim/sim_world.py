"""One simulated run: a broker that lives, dies and starts again, its clients, its disk and stores, and what goes wrong.

The broker is the product's own wiring (runtime/storage.py) over the real controller; only the ports are simulated. A
run is a sequence of lives. All but the last end with a crash at some callback, or with a stop. In the last life nothing
goes wrong any more, and everything must become well: all is acknowledged, uploaded, released, and read back.
"""

import asyncio
import contextlib
import gc
import logging
import traceback
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from random import Random
from typing import Any, NoReturn

from engine_support import NOW_MS, SeededEntropy
from sim_clients import Admin, Auditor, Client, Consumer, Producer
from sim_faults import SKEW_MS_MAX, Faults
from sim_groups import REBALANCE_MS, SESSION_MS, GroupModel, Member, Standalone
from sim_metadata import SimMetadataStore
from sim_model import PartitionModel, TopicModel

from tailrace_controller.runtime.active import LocalController
from tailrace_core.errors import StorageUnavailable
from tailrace_core.ids import TopicId
from tailrace_core.membership import Topic
from tailrace_core.settings import GroupSettings
from tailrace_engine.runtime.compaction import CompactionOptions
from tailrace_engine.runtime.coordinator import Coordinator
from tailrace_engine.runtime.engine import Engine
from tailrace_engine.runtime.internal_topics import group_coordinator
from tailrace_engine.runtime.partition import Partition
from tailrace_engine.runtime.retention import RetentionOptions
from tailrace_engine.runtime.storage import BrokerStorage, StorageOptions
from tailrace_engine.sim.disk import SimDisk
from tailrace_engine.sim.loop import SimClock, SimCrash, SimLoop
from tailrace_engine.sim.objects import SimObjectFaults, SimObjectStore
from tailrace_engine.sim.trace import SimFailure, Trace
from tailrace_engine.tier import layout
from tailrace_engine.tier.reader import TierReaderOptions
from tailrace_engine.tier.uploader import UploadOptions
from tailrace_engine.wal.writer import WalOptions

KIB = 1024
NO_FOLDER = Path("/dev/null/sim")
"""Nothing is damaged, so nothing is put in quarantine."""
GRACE_MS = 2_000
PATIENCE_SECONDS = 120.0
"""Virtual: within it everything becomes well when nothing goes wrong any more."""
REGISTRATION_MS = 600_000
DEEP_CHECK_STEPS = 97


class World:
    """run() raises SimFailure."""

    def __init__(self, seed: int, write: Callable[[str], object] | None = None) -> None:
        self.seed = seed
        random = self.random = Random(f"{seed}/world")
        self.clock = SimClock(NOW_MS)
        self.loop: SimLoop | None = None
        self.trace = Trace(self._now, write)
        self.models: dict[TopicId, TopicModel] = {}
        self._asked: dict[str, list[Mapping[str, str]]] = {}
        self.failure: SimFailure | None = None
        self.steps = 0
        """In the lives before this one."""
        self.skew_ms_most = 0
        self.producing = True
        self.is_last = False

        self.metadata: dict[str, bytes] = {}
        self.store = SimObjectStore(
            Random(f"{seed}/store"), SimObjectFaults(), lambda what: self.trace("store", what), self._on_put
        )
        self.disk: SimDisk | None = None
        self.entropy = SeededEntropy(random.getrandbits(32))
        self.sync = random.choice(["always", "always", "always", "interval"])
        segment_bytes = 64 * KIB
        # By the product's own bounds all groups here are small: one at a time, in interval mode written at once.
        large_groups = {"bulk_bytes": 4 * KIB, "now_bytes_max": 4 * KIB, "unsynced_bytes_max": 32 * KIB}
        group_bounds = large_groups if random.random() < 0.5 else {}
        self.options = StorageOptions(
            hot_bytes=random.choice([6, 20, 60]) * KIB,
            tier=TierReaderOptions(
                cache_bytes=random.choice([8, 64]) * KIB,
                index_cache_bytes=random.choice([1, 64]) * KIB,
                block_bytes=4 * KIB,
                get_bytes=random.choice([4, 16]) * KIB,
                read_ahead_bytes_min=4 * KIB,
                read_ahead_bytes_max=16 * KIB,
                read_ahead_budget_bytes=32 * KIB,
            ),
            wal=WalOptions(
                "sim",
                self.sync,
                segment_bytes=segment_bytes,
                capacity_bytes=random.choice([3, 4, 8]) * segment_bytes,
                **group_bounds,
            ),
            upload=UploadOptions(random.choice([4, 16, 64]) * KIB, random.choice([300, 2_000]), 0.75),
            retention=RetentionOptions(random.choice([500, 3_000]), random.choice([1_000, 5_000]), GRACE_MS, 10**11),
            compaction=CompactionOptions(dirty_bytes=1, check_interval_ms=1_000, memory_bytes=64 * KIB),
        )
        self.group_settings = GroupSettings(
            initial_rebalance_delay_ms=random.choice([0, 300]),
            session_timeout_ms_min=1,
            offsets_retention_check_interval_ms=2**31 - 1,
            offsets_topic_num_partitions=random.choice([1, 3]),
        )
        self.unsynced_bytes_max = random.choice([8 * KIB, 64 * KIB])
        self.storage: BrokerStorage
        self.engine: Engine
        self.membership: LocalController
        self.groups: Coordinator
        self.metadata_store: SimMetadataStore
        self._room: list[asyncio.Future[None]] = []
        self._watched: list[tuple[Partition, PartitionModel]] = []
        self._tasks: list[asyncio.Task[Any]] = []
        names = [f"t{number}" for number in range(random.choice([1, 2, 3]))]
        self.producers = [Producer(self, f"producer{n}", idempotent=n > 0) for n in range(random.choice([2, 4]))]
        group_ids = ["g0", "g1"][: random.choice([1, 1, 2])]
        self.groups_of = {group_id: GroupModel(group_id, self.fail) for group_id in [*group_ids, "alone"]}
        static = random.choice([0, 0, 2])
        self.members = [
            Member(self, f"{group_id}.member{n}", group_id, n < static) for group_id in group_ids for n in range(3)
        ]
        self.standalone = Standalone(self, "standalone", "alone")
        self.admin = Admin(self, "admin", names)
        self.clients: list[Client] = [
            *self.producers,
            *[Consumer(self, f"consumer{n}") for n in range(2)],
            *self.members,
            self.standalone,
            self.admin,
        ]
        self.lives = 0
        self._has_lost = False
        """The power cut before this life may have taken what clients know of."""
        self._next_sequence = 1
        """Of the WAL: what no group has yet."""
        self._garbage_count = 0
        self._is_dropping = False
        """What is logged then is said by nobody: the process has ended."""

    def _now(self) -> float:
        return self.loop.time() if self.loop is not None else 0.0

    # --- lives

    def run(self) -> None:
        """All of it."""
        handler = _LogToTrace(self)
        loggers = [logging.getLogger(name) for name in ("tailrace_engine", "tailrace_controller")]
        before = [(logger.propagate, logger.level) for logger in loggers]
        gc_was_on = gc.isenabled()
        gc.disable()  # when objects die is a part of the run
        for logger in loggers:
            logger.addHandler(handler)
            logger.propagate = False
            logger.setLevel(logging.INFO)
        try:
            for left in range(self.random.randint(2, 5), -1, -1):
                self.is_last = not left
                self._live()
        finally:
            for logger, (propagate, level) in zip(loggers, before, strict=True):
                logger.removeHandler(handler)
                logger.propagate = propagate
                logger.setLevel(level)
            if gc_was_on:
                gc.enable()

    def _live(self) -> None:
        self.lives += 1
        start = self._now()
        loop = SimLoop(Random(f"{self.seed}/loop{self.lives}"), start, self._on_step, self._on_error)
        self.loop = self.clock.loop = loop
        self._watched, self._room, self._tasks = [], [], []
        wal = self.options.wal
        if self.disk is None:
            self.disk = SimDisk(
                loop,
                Random(f"{self.seed}/disk"),
                wal.sync == "interval",
                None,
                lambda what: self.trace("disk", what),
            )
        self.metadata_store = SimMetadataStore(
            loop,
            Random(f"{self.seed}/metadata{self.lives}"),
            self.metadata,
            lambda what: self.trace("metadata", what),
        )
        if not self.is_last and self.random.random() < 0.85:
            loop.crash_at = int(10 ** self.random.uniform(1.3, 3.7))
        self.trace("world", f"life {self.lives} begins")
        is_clean = False
        try:
            is_clean = loop.run(self._life())
        except SimCrash:
            self.trace("world", f"crash at callback {loop.steps}")
        except SimFailure:
            raise
        except BaseException as error:
            self._fail_with(error)
        finally:
            self._cut_off(loop, is_clean)
        if self.failure is not None:
            raise self.failure

    def _cut_off(self, loop: SimLoop, is_clean: bool) -> None:
        assert self.disk is not None
        if hasattr(self, "storage") and hasattr(self.storage, "wal"):
            self._next_sequence = max(self._next_sequence, self.storage.wal._next_sequence)
        self.metadata_store.cut_off()
        self.store = self.store.cut_off()
        self.steps += loop.steps
        power = self.random.random() < 0.6
        # Under wal.sync=interval a power cut may take what is acknowledged; what was synced at a stop stays.
        self._has_lost |= power and self.disk.immediate and not is_clean
        self.disk = self.disk.power_cut(loop) if power else self.disk.kill(loop)
        self._is_dropping = True
        loop.drop()
        self._is_dropping = False

    async def _life(self) -> bool:
        """One process. Whether it ended with everything written."""
        loop = self.loop
        assert loop is not None
        assert self.disk is not None
        self.disk._loop = loop
        faults = Faults(self)
        faults.at_start(quiet=self.is_last)
        try:
            await self._start()
        except StorageUnavailable as error:
            if self.is_last:
                self.fail(f"the start failed though nothing is wrong: {error}")
            self.trace("world", f"the start failed: {error}")
            await asyncio.sleep(1)
            return False
        for job in self.storage.jobs():
            self._spawn(job)
        auditor = Auditor(self, "auditor")
        auditing = self._spawn(auditor.run())
        running = {client.name: self._spawn(client.run()) for client in self.clients}
        if self.is_last:
            await asyncio.sleep(self.random.random() * 3)
            await self._settle(auditor, auditing, running)
        else:
            self._spawn(faults.run())
            await asyncio.sleep(self.random.uniform(1, 15))
        return await self._stop(list(running.values()))

    async def _start(self) -> None:
        self.membership = await LocalController.open(self.metadata_store, self.entropy, {})
        disk = self.disk
        self.storage = BrokerStorage(
            NO_FOLDER,
            self.options,
            self.store,
            self.membership,
            self.clock,
            self.entropy,
            lambda *_: disk,
        )
        self.engine = self.storage.engine
        self.engine._unsynced_bytes_max = self.unsynced_bytes_max
        await self.storage.recover()
        taken = self.storage.wal.durable_sequence
        if taken >= self._next_sequence:
            self.fail(
                f"recovery took WAL groups up to sequence {taken}, {self._next_sequence - 1} was the last written"
            )
        for group in self.groups_of.values():
            group.begin_life()
        if self._has_lost:
            self._forget_what_was_lost()
        begun = await self.membership.start_broker(1, None, {"PLAINTEXT": ("127.0.0.1", 9092)})
        self.storage.start(1, begun)
        self.engine.on_room = self._on_room
        loop = self.loop
        assert loop is not None
        self.groups = group_coordinator(
            self.group_settings, self.engine, self.membership, self.clock, self.entropy, loop, self._spawn
        )
        self.groups.start()
        self.membership.subscribe(lambda _: self._watch())
        self.trace("world", f"the broker runs in leader epoch {begun.leader_epoch}")
        for topic_id, model in list(self.models.items()):
            if self.membership.image.topic_by_id(topic_id) is None:
                if not model.deletion_asked:
                    self.fail(f"topic {model.name} is gone, and nobody deleted it")
                del self.models[topic_id]
        self._watch()

    def _forget_what_was_lost(self) -> None:
        self._has_lost = False
        for topic_id, model in self.models.items():
            for index, each in enumerate(model.partitions):
                partition = self.engine.find(topic_id, index)
                if partition is not None:
                    each.forget_from(partition.state.high_watermark)
        for group in self.groups_of.values():
            group.forget()

    async def _stop(self, clients: list[asyncio.Task[Any]]) -> bool:
        """As broker.py does."""
        self.trace("world", "the broker stops")
        for task in clients:
            task.cancel()
        self.groups.stop()
        is_clean = await self.storage.wal.close(3.0)
        for task in self._tasks:
            task.cancel()
        await self.storage.tier.close()
        await self.membership.close()
        self.trace("world", f"the broker has stopped, clean={is_clean}")
        return is_clean

    def _spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        assert self.loop is not None
        task = self.loop.create_task(coroutine)
        self._tasks.append(task)
        task.add_done_callback(self._on_task_done)
        return task

    def _on_task_done(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail_with(error)

    # --- everything becomes well

    async def _settle(
        self, auditor: Auditor, auditing: asyncio.Task[Any], running: dict[str, asyncio.Task[Any]]
    ) -> None:
        self.trace("world", "everything is to become well")
        self.producing = False
        engine, wal = self.engine, self.storage.wal
        waiting = [auditing, *[running[producer.name] for producer in self.producers]]
        await self._until("all that was sent is acknowledged, and all was read", lambda: all(t.done() for t in waiting))
        running[self.admin.name].cancel()
        await self._until("all members are in one generation", self._groups_are_settled)
        for member in [*self.members, self.standalone]:
            running[member.name].cancel()
        await asyncio.sleep((SESSION_MS + REBALANCE_MS) / 500)  # their groups become empty
        await self._until("everything is uploaded", lambda: not engine.unuploaded)
        await self._until("the WAL is released", lambda: not any(s.live for s in wal.ring.used.values()))
        if engine.must_hold_back or wal.fenced is not None:
            self.fail("producers are held back, or refused, and nothing is in the way")
        await auditor.run()
        budget, engine.hot.budget_bytes = engine.hot.budget_bytes, -1
        engine.hot.evict()
        engine.hot.budget_bytes = budget
        if engine.hot.bytes_used:
            self.fail(f"everything left memory, and {engine.hot.bytes_used} bytes are counted")
        await auditor.run()
        # All that was registered expires.
        self.clock.skew_ms = self.skew_ms_most = 2 * SKEW_MS_MAX + REGISTRATION_MS
        await self._until("only objects that the catalog refers to are left", self._no_garbage)

    def _groups_are_settled(self) -> bool:
        for group_id, model in self.groups_of.items():
            members = [member for member in self.members if member.group_id == group_id]
            generations = {member.generation if member.is_settled else -1 for member in members}
            if len(generations) > 1 or min(generations, default=0) < max(model.generation, 0):
                return False
        return True

    def stands(self, topic_id: TopicId) -> bool:
        """Whether nobody has asked for the topic to be deleted."""
        model = self.models.get(topic_id)
        return model is not None and not model.deletion_asked

    def _no_garbage(self) -> bool:
        referred = set()
        for topic in self.membership.image.topics:
            for index in range(topic.partition_count):
                extents = self.membership.extents(topic.topic_id, index)
                referred |= {extents[place].object.key for place in range(len(extents))}
        missing = sorted(referred - set(self.store.objects))
        if missing:
            self.fail(f"the catalog refers to objects that are not there: {', '.join(missing)}")
        garbage = sorted(set(self.store.objects) - referred)
        if len(garbage) != self._garbage_count:
            self._garbage_count = len(garbage)
            self.trace("world", f"nothing refers to {len(garbage)} objects: {' '.join(garbage[:9])}")
        return not garbage

    async def _until(self, what: str, condition: Callable[[], bool]) -> None:
        deadline = self._now() + PATIENCE_SECONDS
        while not condition():
            if self._now() > deadline:
                self.fail(f"nothing goes wrong any more, and in {PATIENCE_SECONDS} s it did not come to: {what}")
            await asyncio.sleep(0.1)

    # --- for clients

    def model_of(self, topic: Topic) -> TopicModel:
        """Of this incarnation."""
        model = self.models.get(topic.topic_id)
        if model is None:
            model = self.models[topic.topic_id] = TopicModel(topic.name, topic.topic_id)
        while len(model.partitions) < topic.partition_count:
            name = f"{topic.name}-{len(model.partitions)}"
            each = PartitionModel(name, self.fail)
            for configs in self._asked.get(topic.name, []):
                _ask(each, configs)
            model.partitions.append(each)
        return model

    def configs_asked(self, topic_name: str, configs: Mapping[str, str]) -> None:
        """They may be in force from now on."""
        self._asked.setdefault(topic_name, []).append(configs)
        for model in self.models.values():
            if model.name == topic_name:
                for each in model.partitions:
                    _ask(each, configs)

    async def room(self) -> None:
        """Until the engine takes more, as the gateway waits."""
        while self.engine.must_hold_back:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._room.append(future)
            await future

    def _on_room(self) -> None:
        waiting, self._room = self._room, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    # --- invariants

    def _watch(self) -> None:
        """Topics have changed."""
        self._watched = []
        for topic in self.membership.image.topics:
            model = self.model_of(topic)
            for index, each in enumerate(model.partitions):
                partition = self.engine.find(topic.topic_id, index)
                if partition is not None:
                    self._watched.append((partition, each))

    def _on_step(self) -> None:
        if self.failure is not None:
            raise self.failure
        for partition, model in self._watched:
            state = partition.state
            high_watermark = state.high_watermark
            if high_watermark != model.high_watermark:
                if high_watermark < model.high_watermark:
                    self.fail(
                        f"{model.name}: the high watermark went back from {model.high_watermark} to {high_watermark}"
                    )
                model.high_watermark = high_watermark
            if high_watermark < model.acknowledged_end or high_watermark > state.log_end_offset:
                self.fail(
                    f"{model.name}: the high watermark is {high_watermark}, acknowledged is up to "
                    f"{model.acknowledged_end}, the log ends at {state.log_end_offset}"
                )
            if state.log_start_offset != model.log_start:
                if state.log_start_offset < model.log_start:
                    self.fail(
                        f"{model.name}: the log start went back from {model.log_start} to {state.log_start_offset}"
                    )
                model.on_log_start(state.log_start_offset, self.clock.true_ms() + self.skew_ms_most)
            if partition.damage is not None and not partition.deleted:
                self.fail(f"{model.name} went offline, and nothing was damaged: {partition.damage}")
        assert self.loop is not None
        if self.loop.steps % DEEP_CHECK_STEPS == 0 and self._watched:
            self._check_deep()

    def _check_deep(self) -> None:
        """What costs more to look at."""
        engine, wal = self.engine, self.storage.wal
        live: dict[int, int] = {}
        unuploaded = 0
        for partition, _ in self._watched:
            unuploaded += partition.unuploaded_bytes
            kept_end = self.membership.extents(partition.topic_id, partition.partition).committed_end
            if partition.tier_end_offset > max(kept_end, partition.state.log_start_offset):
                self.fail(f"{partition.name} is let go below {partition.tier_end_offset}, the catalog has {kept_end}")
            if partition.damage is None:
                for segment, count in partition.wal_records().items():
                    live[segment] = live.get(segment, 0) + count
        for segment, count in live.items():
            used = wal.ring.used.get(segment)
            if used is None or used.live < count:
                self.fail(f"WAL segment {segment} has {count} records that only it holds, and counts {used}")
        if unuploaded != engine.unuploaded_bytes:
            self.fail(f"{unuploaded} bytes wait for an upload, {engine.unuploaded_bytes} are counted")
        hot = engine.hot
        bound = hot.budget_bytes + self.unsynced_bytes_max + len(self.producers) * 5 * 6 * KIB
        if hot.bytes_used > bound:
            self.fail(f"the hot log takes {hot.bytes_used} bytes, its budget is {hot.budget_bytes}")
        tier = self.options.tier
        if self.storage.tier.buffer_bytes_held > tier.cache_bytes + tier.read_ahead_budget_bytes:
            self.fail(f"the tier's reader holds {self.storage.tier.buffer_bytes_held} bytes")

    def _on_put(self, key: str, data: bytes) -> None:
        """What is about to be uploaded lies below the high watermark."""
        for extent in layout.parse_footer(key, len(data), data).extents:
            partition = self.engine.find(extent.topic_id, extent.partition)
            if partition is not None and extent.end_offset > partition.state.high_watermark:
                self.fail(
                    f"{partition.name}: {key} holds it up to {extent.end_offset}, "
                    f"the high watermark is {partition.state.high_watermark}"
                )

    # --- failing

    def fail(self, what: str) -> NoReturn:
        """An invariant does not hold. The run ends with the callback, whoever catches this."""
        if self.failure is None:
            step = self.steps + (self.loop.steps if self.loop is not None else 0)
            self.failure = SimFailure(self.seed, step, what, self.trace)
        raise self.failure

    def _fail_with(self, error: BaseException) -> None:
        if not isinstance(error, SimFailure):
            with contextlib.suppress(SimFailure):
                self.fail("".join(traceback.format_exception(error)))

    def _on_error(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self._fail_with(error if error is not None else RuntimeError(str(context)))


def _ask(model: PartitionModel, configs: Mapping[str, str]) -> None:
    retention_ms = int(configs.get("retention.ms", "604800000"))
    if retention_ms >= 0:
        least = model.retention_ms_least
        model.retention_ms_least = retention_ms if least is None else min(least, retention_ms)
    model.retention_bytes_set |= "retention.bytes" in configs
    model.append_time_set |= "message.timestamp.type" in configs


class _LogToTrace(logging.Handler):
    """The product's log is a part of the trace; exceptions and damage in it are failures."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        if self._world._is_dropping:
            return
        self._world.trace("log", record.getMessage())
        if record.exc_info and record.exc_info[1] is not None:
            self._world._fail_with(record.exc_info[1])
        elif record.levelno >= logging.ERROR and "the WAL is fenced" not in record.getMessage():
            self._world._fail_with(RuntimeError(f"nothing was damaged, and the log says: {record.getMessage()}"))
