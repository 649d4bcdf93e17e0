"""All coordinators of one internal topic: who asks, loads, and drops their shards.

A shard per partition, made when it is first needed: at the start of the broker for every partition that has data, else
with the first request. Partitions that nobody used cost nothing. Loading reads the partition from its log start to its
log end, off the hot path and in slices, and answers CoordinatorLoadInProgress meanwhile. A shard whose log failed, or
that is offline, is loaded again with back-off; nothing is answered from what it had decided before. A shard whose log
has a record that cannot be decoded would not be what its log says, and reading it again would not help: it is left
alone until the next start, and the other shards serve.

The gateway calls `ask`, `ask_all` and `ensure_topic`; the broker calls `start` once, after the engine's, and `stop`.
"""

import logging
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final, Protocol

from tailrace_core.errors import CoordinatorNotAvailable, TailraceError, TopicAlreadyExists
from tailrace_core.membership import ChangeEvent, Membership, NewTopic, TopicCreated, TopicDefaults, TopicDeleted
from tailrace_core.ports import Clock, Loop
from tailrace_core.schema.errors import DecodeError
from tailrace_engine.coordinator.decision import Shard
from tailrace_engine.coordinator.group_messages import TopicsDeleted
from tailrace_engine.coordinator.routing import partition_for
from tailrace_engine.runtime.engine import Engine
from tailrace_engine.runtime.partition import Partition
from tailrace_engine.runtime.shard_loading import Loading, replay_log, walk_wal
from tailrace_engine.runtime.shard_owner import ShardOwner

logger = logging.getLogger(__name__)

_LOADS_AT_ONCE: Final = 4
"""While one waits for the disk or the store, others replay."""
_BACK_OFF_SECONDS: Final = (0.1, 0.5, 2.0, 10.0)
_CALM_SECONDS: Final = 60.0
"""Failures that are further apart have nothing to do with each other."""
_PROGRESS_SECONDS: Final = 1.0

_INTERNAL_CONFIGS: Final = {"cleanup.policy": "compact", "compression.type": "producer", "segment.bytes": "104857600"}
"""As Apache Kafka creates its internal topics."""


class _Place(Protocol):
    """What stands at a partition: a ShardOwner, a Loading, or an _Empty."""

    def ask(self, request: Any, on_answer: Callable[[Any], object]) -> None:
        """on_answer gets the outcome, exactly once."""

    def tell(self, request: Any) -> None:
        """Something that a shard must know, and nobody waits for."""


class Coordinator:
    """Implements shard_owner.ShardHost."""

    def __init__(
        self,
        topic_name: str,
        partition_count: int,
        make_shard: Callable[[], Shard],
        bulk_requests: tuple[type, ...],
        engine: Engine,
        membership: Membership,
        clock: Clock,
        loop: Loop,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        """partition_count is for the topic's creation. bulk_requests: types that are refused when room gets short.

        spawn runs a coroutine until it ends or the broker stops.
        """
        self.topic_name = topic_name
        self.bulk_requests = bulk_requests
        self.engine = engine
        self.clock = clock
        self.loop = loop
        self.on_answers: Callable[[], None] = lambda: None
        """Called after answers that no request and no completion of the engine led to: the gateway sends them."""
        self.in_flight_bytes = 0
        self.records_appended = 0
        self.shards_lost = 0
        """Times that a shard was dropped because its log failed."""
        self.loads = 0
        self.loaded_records = 0
        self.load_seconds = 0.0
        """How long loading was going on, in all."""
        self._partition_count = partition_count
        self._make_shard = make_shard
        self._membership = membership
        self._spawn = spawn
        self._places: list[_Place | None] = []
        """By partition; empty while there is no topic. The count stays until a restart, as in Kafka: it decides which
        shard an id belongs to."""
        self._to_load: deque[Loading] = deque()
        self._loaders = 0
        self._progress = _Progress(0.0)
        self._stopped = False
        self._failures: dict[int, tuple[int, float]] = {}
        """By partition: how many followed each other, and when the last one was."""

    # --- for gateways

    def partition_for(self, key: str) -> int:
        """The partition that keeps what belongs to an id."""
        return partition_for(key, len(self._places) or self._partition_count)

    def ask(self, key: str, request: Any, on_answer: Callable[[Any], object]) -> None:
        """Hand a request to the shard of an id; on_answer gets the outcome exactly once, at once or later.

        Outcomes besides the shard's: CoordinatorNotAvailable, CoordinatorLoadInProgress, NotCoordinator, and
        InvalidCommitOffsetSize for what does not fit into one batch of the topic.
        """
        places = self._places
        if not places:
            on_answer(CoordinatorNotAvailable(f"there is no topic {self.topic_name} yet"))
            return
        index = partition_for(key, len(places))
        place = places[index]
        if place is None:
            place = self._open(index)
        place.ask(request, on_answer)

    def ask_all(self, request: Any, on_answers: Callable[[list[Any]], object]) -> None:
        """Hand a request to every shard; on_answers gets their outcomes, in the order of partitions.

        Shards that were never used are not asked; those that load answer CoordinatorLoadInProgress.
        """
        places = [place for place in self._places if place is not None]
        outcomes: list[Any] = [None] * len(places)
        missing = len(places)
        if not missing:
            on_answers(outcomes)

        def take(number: int, outcome: Any) -> None:
            nonlocal missing
            outcomes[number] = outcome
            missing -= 1
            if not missing:
                on_answers(outcomes)

        for number, place in enumerate(places):
            place.ask(request, partial(take, number))

    async def ensure_topic(self) -> None:
        """Create the topic where it is not there. Raises TailraceError."""
        if self._places:
            return
        new = NewTopic(self.topic_name, self._partition_count, 1, configs=_INTERNAL_CONFIGS)
        (created,) = await self._membership.create_topics([new], TopicDefaults())
        if isinstance(created, TailraceError) and not isinstance(created, TopicAlreadyExists):
            raise created

    # --- for the broker

    def start(self) -> None:
        """Load what has data, in the background. Requests may come from now on."""
        self._membership.subscribe(self._on_change)
        topic = self._membership.image.topic(self.topic_name)
        if topic is not None:
            self._on_topic(topic.partition_count)

    def stop(self) -> None:
        """Take no more requests; what is decided is still answered when it is durable."""
        self._stopped = True
        for place in self._take_places():
            place.retire("the broker stops")

    def shards(self) -> Sequence[Shard]:
        """Those that serve, for metrics."""
        return [place.shard for place in self._places if isinstance(place, ShardOwner)]

    @property
    def loading(self) -> int:
        """Partitions that are being loaded, or wait for it."""
        return sum(isinstance(place, Loading) for place in self._places)

    def _on_change(self, event: ChangeEvent) -> None:
        match event:
            case TopicCreated(topic) if topic.name == self.topic_name and not self._stopped:
                self._on_topic(topic.partition_count)
            case TopicDeleted(topic):
                if topic.name == self.topic_name:
                    for place in self._take_places():
                        place.close(f"{self.topic_name} was deleted")
                    return
                request = TopicsDeleted(((topic.name, topic.topic_id),))
                for known in self._places:
                    if known is not None:
                        known.tell(request)

    def _on_topic(self, partition_count: int) -> None:
        self._places = [None] * partition_count
        loadings: list[Loading] = []
        in_wal: dict[Partition, Loading] = {}
        for index in range(partition_count):
            partition = self._partition(index)
            if partition is None or partition.state.log_end_offset > partition.state.log_start_offset:
                self._places[index] = loading = Loading(index)
                loadings.append(loading)
                if partition is not None and partition.wal_index is not None:
                    in_wal[partition] = loading
        self._progress = _Progress(self.clock.monotonic())
        if in_wal:
            self._spawn(self._load_after_walk(loadings, in_wal))
        else:
            for loading in loadings:
                self._enqueue(loading)

    async def _load_after_walk(self, loadings: list[Loading], in_wal: dict[Partition, Loading]) -> None:
        try:
            walked = await walk_wal(self.engine, in_wal, self._on_records)
            for partition, found in walked.items():
                in_wal[partition].walked = found
        except Exception as error:
            known = isinstance(error, TailraceError)
            logger.warning("%s: %s; its partitions are read one by one", self.topic_name, error, exc_info=not known)
        for loading in loadings:
            self._enqueue(loading)

    def _take_places(self) -> list[ShardOwner]:
        """There are no shards any more; gives those that served."""
        places, self._places = self._places, []
        self._to_load.clear()
        return [place for place in places if isinstance(place, ShardOwner)]

    # --- shards come and go

    def _partition(self, index: int) -> Partition | None:
        """None where it is offline."""
        try:
            return self.engine.partition(self.topic_name, index)
        except TailraceError:
            return None

    def _open(self, index: int) -> _Place:
        """The first request of a partition."""
        partition = self._partition(index)
        if partition is None or partition.state.log_end_offset > partition.state.log_start_offset:
            return self._begin_load(index, 0.0)
        return self._begin_to_serve(index, partition, self._make_shard())

    def _begin_to_serve(self, index: int, partition: Partition, shard: Shard) -> ShardOwner:
        owner = ShardOwner(self, partition, shard)
        self._places[index] = owner
        owner.start()
        return owner

    def _begin_load(self, index: int, seconds: float) -> Loading:
        loading = Loading(index)
        self._places[index] = loading
        if seconds:
            self.loop.call_later(seconds, self._enqueue, loading)
        else:
            self._enqueue(loading)
        return loading

    def _enqueue(self, loading: Loading) -> None:
        if not self._stands(loading):
            return
        if self._progress.ended:
            self._progress = _Progress(self.clock.monotonic())
        self._to_load.append(loading)
        if self._loaders < _LOADS_AT_ONCE:
            self._loaders += 1
            self._spawn(self._load_all())

    def _stands(self, loading: Loading) -> bool:
        """Whether the load is still wanted: the topic may be gone, or be another."""
        return loading.index < len(self._places) and self._places[loading.index] is loading

    async def _load_all(self) -> None:
        """One of the loaders: until nothing waits to be loaded."""
        try:
            while self._to_load:
                loading = self._to_load.popleft()
                if self._stands(loading):
                    await self._load(loading)
        finally:
            self._loaders -= 1
            if not self._loaders and not self._stopped:
                self._tell_progress("loaded")
                self._progress.ended = True
                self.load_seconds += self._progress.told - self._progress.began

    async def _load(self, loading: Loading) -> None:
        index = loading.index
        try:
            partition = self.engine.partition(self.topic_name, index)
            if self.engine.wal.fenced is not None:
                raise self.engine.wal.fenced.with_traceback(None)
            shard = self._make_shard()
            await replay_log(self.engine, partition, shard, loading.walked, self._on_records)
        except DecodeError as error:
            logger.error("%s-%d is not served until the next start: %s", self.topic_name, index, error)
            loading.unavailable = CoordinatorNotAvailable(f"{self.topic_name}-{index} cannot be decoded: {error}")
            loading.walked = None
            return
        except Exception as error:
            known = isinstance(error, TailraceError)
            logger.warning("%s-%d cannot be loaded: %s", self.topic_name, index, error, exc_info=not known)
            if self._stands(loading):
                loading.unavailable = CoordinatorNotAvailable(f"{self.topic_name}-{index} cannot be read: {error}")
                self.loop.call_later(self._back_off_seconds(index), self._enqueue, loading)
            return
        if not self._stands(loading):
            return
        self.loads += 1
        self._progress.partitions += 1
        owner = self._begin_to_serve(index, partition, shard)
        for request in loading.missed:
            owner.tell(request)

    def _on_records(self, count: int) -> None:
        self.loaded_records += count
        self._progress.records += count
        if self.clock.monotonic() - self._progress.told >= _PROGRESS_SECONDS:
            self._tell_progress("loading")

    def _tell_progress(self, what: str) -> None:
        progress = self._progress
        progress.told = self.clock.monotonic()
        logger.info(
            "%s %s: %d records of %d partitions in %.1f s",
            what,
            self.topic_name,
            progress.records,
            progress.partitions,
            progress.told - progress.began,
        )

    def _back_off_seconds(self, index: int) -> float:
        """Before the next load; longer with each failure that follows soon after another."""
        now = self.clock.monotonic()
        count, last = self._failures.get(index, (0, now))
        count = count + 1 if now - last < _CALM_SECONDS else 1
        self._failures[index] = count, now
        return _BACK_OFF_SECONDS[min(count, len(_BACK_OFF_SECONDS)) - 1]

    # --- for the owners of shards

    def on_shard_lost(self, owner: ShardOwner, reason: str) -> None:
        self.loop.call_soon(self.flush_answers)
        index = owner.partition.partition
        if index >= len(self._places) or self._places[index] is not owner:
            return
        self.shards_lost += 1
        logger.warning("%s has lost its coordinator and reads it again: %s", owner.partition.name, reason)
        self._begin_load(index, self._back_off_seconds(index))

    def flush_answers(self) -> None:
        self.on_answers()


class _Progress:
    """What the loads since the last time that nothing was being loaded have done."""

    __slots__ = ("began", "ended", "partitions", "records", "told")

    def __init__(self, now: float) -> None:
        self.began = self.told = now
        self.ended = False
        self.partitions = 0
        self.records = 0
