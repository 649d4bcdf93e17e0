"""The controller of one node: the one owner of the metadata image, on the loop.

A change is decided by a pure rule on the image, committed to the store, applied to the image, told to the subscribers,
and answered; so nobody ever sees what is not durable. Changes that concern the same partition, object or counter, and
all changes of topics and brokers, wait for one another, because each must be decided on what the one before it left.
Others are in the store at the same time, which syncs them together. Waiting changes start in the order they came.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Generic, NamedTuple, TypeVar

from tailrace_controller.metadata import config_changes, objects
from tailrace_controller.metadata import format as fmt
from tailrace_controller.metadata import topics as topic_rules
from tailrace_controller.metadata.catalog import CatalogPartition
from tailrace_controller.metadata.configs import ConfigRules
from tailrace_controller.metadata.decision import Decision
from tailrace_controller.metadata.image import Image
from tailrace_controller.store import MetadataStore
from tailrace_core.errors import (
    InvalidRequest,
    InvalidSettings,
    StorageUnavailable,
    TailraceError,
    UnknownTopicOrPartition,
)
from tailrace_core.extents import StoredObject
from tailrace_core.ids import NO_TOPIC_ID, NodeId, ProducerId, TopicId, topic_id_text
from tailrace_core.membership import (
    Broker,
    BrokerStart,
    ChangeEvent,
    CommitResult,
    ConfigChange,
    ConfigChanged,
    ConfigOperation,
    ConfigResource,
    CreatedTopic,
    Endpoint,
    NewPartitions,
    NewTopic,
    ObjectRef,
    PlacedExtent,
    ResourceType,
    Topic,
    TopicCreated,
    TopicDefaults,
)
from tailrace_core.ports import Entropy

R = TypeVar("R")

logger = logging.getLogger(__name__)

_COUNTER_MAX: Final = 2**63 - 1
_EVERYTHING: Final = None
"""As a change's scope: it runs alone."""


class _Change(NamedTuple, Generic[R]):
    scope: frozenset[Hashable] | None
    decide: Callable[[], Decision[R]]
    reply: "asyncio.Future[R]"


class LocalController:
    """core.membership.Membership over a store that this process alone commits to."""

    def __init__(self, image: Image, store: MetadataStore, entropy: Entropy) -> None:
        """Use open(): the image must be that of the store."""
        self._image = image
        self._store = store
        self._entropy = entropy
        self._subscribers: list[Callable[[ChangeEvent], object]] = []
        self._waiting: deque[_Change[Any]] = deque()
        self._in_flight: list[_Change[Any]] = []
        self._held: set[Hashable] = set()
        """The scopes of all that is in flight."""
        self._closed: asyncio.Future[None] | None = None

    @classmethod
    async def open(cls, store: MetadataStore, entropy: Entropy, broker_configs: Mapping[str, str]) -> "LocalController":
        """Load the image; a fresh store gets its cluster id. broker_configs: what the broker was started with, by the
        broker configs' names. Raises what the store raises, InvalidConfig for one that is not allowed, and
        FormatTooNew.
        """
        image = Image(ConfigRules(broker_configs))
        image.load((await store.load()).items)
        controller = cls(image, store, entropy)
        if not image.cluster_id:
            await controller._change(_EVERYTHING, controller._plan_cluster_id)
        return controller

    @property
    def image(self) -> Image:
        return self._image

    def extents(self, topic_id: TopicId, partition: int) -> CatalogPartition:
        return self._image.catalog.partition(topic_id, partition)

    def subscribe(self, callback: Callable[[ChangeEvent], object]) -> Callable[[], None]:
        # A list that is replaced, never changed: it may be walked through while a subscriber comes or goes.
        self._subscribers = [*self._subscribers, callback]

        def unsubscribe() -> None:
            self._subscribers = [one for one in self._subscribers if one is not callback]

        return unsubscribe

    async def start_broker(
        self, node_id: NodeId, rack: str | None, endpoints: Mapping[str, tuple[str, int]]
    ) -> BrokerStart:
        return await self._change(_EVERYTHING, lambda: self._plan_broker_start(node_id, rack, endpoints))

    async def create_topics(
        self, topics: Sequence[NewTopic], defaults: TopicDefaults, validate_only: bool = False
    ) -> list[CreatedTopic | TailraceError]:
        return await self._change(
            _EVERYTHING,
            lambda: topic_rules.plan_create(self._image, topics, defaults, self._new_topic_id, validate_only),
        )

    async def delete_topics(self, topics: Sequence[str | TopicId]) -> list[Topic | TailraceError]:
        return await self._change(_EVERYTHING, lambda: topic_rules.plan_delete(self._image, topics))

    async def create_partitions(
        self, topics: Sequence[NewPartitions], validate_only: bool = False
    ) -> list[Topic | TailraceError]:
        return await self._change(_EVERYTHING, lambda: topic_rules.plan_grow(self._image, topics, validate_only))

    async def alter_topic_configs(self, name: str, changes: Mapping[str, str | None]) -> Topic:
        delete, put = ConfigOperation.DELETE, ConfigOperation.SET
        asked = [ConfigChange(config, text, delete if text is None else put) for config, text in changes.items()]
        await self.alter_configs(ConfigResource(ResourceType.TOPIC, name), asked)
        topic = self._image.topic(name)
        if topic is None:
            raise UnknownTopicOrPartition(f"The topic '{name}' was deleted.")
        return topic

    async def alter_configs(
        self,
        resource: ConfigResource,
        changes: Sequence[ConfigChange],
        replaces: bool = False,
        validate_only: bool = False,
    ) -> None:
        await self._change(
            _EVERYTHING,
            lambda: config_changes.plan_alter_configs(self._image, resource, changes, replaces, validate_only),
        )

    async def allocate_producer_ids(self, count: int) -> ProducerId:
        return await self._count(fmt.PRODUCER_ID, count)

    async def reserve_object_ids(self, count: int) -> int:
        return await self._count(fmt.OBJECT_ID, count)

    async def register_object(self, object_id: int, key: str, expires_at_ms: int) -> None:
        await self._change(
            frozenset([object_id]), lambda: objects.plan_register(self._image, object_id, key, expires_at_ms)
        )

    async def renew_registration(self, object_id: int, expires_at_ms: int) -> bool:
        return await self._change(
            frozenset([object_id]), lambda: objects.plan_renew(self._image, object_id, expires_at_ms)
        )

    async def commit_object(self, stored: StoredObject, now_ms: int) -> CommitResult:
        scope = frozenset([stored.object_id, *((extent.topic_id, extent.partition) for extent in stored.extents)])
        return await self._change(scope, lambda: objects.plan_commit(self._image, stored, now_ms))

    async def replace_extents(
        self, stored: StoredObject, replaced: Sequence[PlacedExtent], now_ms: int
    ) -> CommitResult:
        scope = frozenset([stored.object_id, *((extent.topic_id, extent.partition) for extent in stored.extents)])
        return await self._change(scope, lambda: objects.plan_replace(self._image, stored, replaced, now_ms))

    async def trim(self, topic_id: TopicId, partition: int, log_start_offset: int) -> int:
        return await self._change(
            frozenset([(topic_id, partition)]),
            lambda: objects.plan_trim(self._image, topic_id, partition, log_start_offset),
        )

    async def skip_offsets(self, topic_id: TopicId, partition: int, end_offset: int) -> int:
        return await self._change(
            frozenset([(topic_id, partition)]),
            lambda: objects.plan_skip(self._image, topic_id, partition, end_offset),
        )

    async def expire_registrations(self, now_ms: int) -> list[ObjectRef]:
        return await self._change(_EVERYTHING, lambda: objects.plan_expire_registrations(self._image, now_ms))

    async def objects_to_delete(self, now_ms: int, grace_ms: int) -> list[ObjectRef]:
        return await self._change(_EVERYTHING, lambda: objects.plan_sweep(self._image, now_ms, grace_ms))

    async def forget_objects(self, object_ids: Sequence[int]) -> None:
        await self._change(_EVERYTHING, lambda: objects.plan_forget(self._image, tuple(object_ids)))

    async def close(self) -> None:
        if self._closed is None:
            self._closed = asyncio.get_running_loop().create_future()
            self._maybe_finish_closing()
        await asyncio.shield(self._closed)
        await self._store.close()

    async def _count(self, key: str, count: int) -> int:
        return await self._change(frozenset([key]), lambda: self._plan_count(key, count))

    async def _change(self, scope: frozenset[Hashable] | None, decide: Callable[[], Decision[R]]) -> R:
        if self._closed is not None:
            raise StorageUnavailable("the controller is closed")
        reply: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Change(scope, decide, reply))
        self._start_waiting()
        return await reply

    def _start_waiting(self) -> None:
        """Decide and commit what waits, up to the first change that has to wait for one in flight."""
        while self._waiting and self._may_start(self._waiting[0]):
            change = self._waiting.popleft()
            try:
                decision = change.decide()
            except Exception as error:
                # An expected refusal, or a bug: either way it is the caller's answer, and the image is as it was.
                _answer(change.reply, error)
                continue
            if not decision.puts and not decision.deletes:
                _answer(change.reply, None, decision.reply)
                continue
            self._in_flight.append(change)
            self._held.update(change.scope or ())
            self._store.commit(
                decision.puts,
                decision.deletes,
                partial(self._on_committed, change, decision),
            )

    def _may_start(self, change: _Change[Any]) -> bool:
        if not self._in_flight:
            return True
        alone = change.scope is _EVERYTHING or self._in_flight[0].scope is _EVERYTHING
        return not alone and change.scope is not None and self._held.isdisjoint(change.scope)

    def _on_committed(self, change: _Change[R], decision: Decision[R], failure: StorageUnavailable | None) -> None:
        self._in_flight.remove(change)
        self._held.difference_update(change.scope or ())
        answer: Exception | None = failure
        try:
            if failure is None:
                for key, value in decision.puts:
                    self._image.put(key, value)
                for key in decision.deletes:
                    self._image.delete(key)
                for event in decision.events:
                    _note_compaction(event)
                    for subscriber in self._subscribers:
                        subscriber(event)
        except Exception as bug:
            answer = bug
            raise
        finally:
            # The loop reports the bug; nobody waits for ever because of it.
            _answer(change.reply, answer, decision.reply)
            self._start_waiting()
            self._maybe_finish_closing()

    def _maybe_finish_closing(self) -> None:
        if self._closed is not None and not self._closed.done() and not self._in_flight and not self._waiting:
            self._closed.set_result(None)

    def _new_topic_id(self) -> TopicId:
        while True:
            topic_id = self._entropy.bytes(16)
            # Tools take a word that begins with "-" for an option: Kafka avoids such ids, too.
            usable = topic_id != NO_TOPIC_ID and not topic_id_text(topic_id).startswith("-")
            if usable and self._image.topic_by_id(topic_id) is None:
                return topic_id

    def _plan_cluster_id(self) -> Decision[None]:
        cluster_id = topic_id_text(self._new_topic_id())
        return Decision(None, puts=((fmt.CLUSTER_KEY, fmt.encode_cluster(cluster_id)),))

    def _plan_count(self, key: str, count: int) -> Decision[int]:
        first = self._image.counter(key)
        if not 0 < count <= _COUNTER_MAX - first:
            raise InvalidRequest(f"{count} numbers of {key} cannot be given out")
        return Decision(first, puts=((key, fmt.encode_counter(first + count)),))

    def _plan_broker_start(
        self, node_id: NodeId, rack: str | None, endpoints: Mapping[str, tuple[str, int]]
    ) -> Decision[BrokerStart]:
        if self._image.brokers and self._image.brokers[0].node_id != node_id:
            raise InvalidSettings(
                f"node.id is {node_id}, but the metadata belongs to node {self._image.brokers[0].node_id}"
            )
        start = BrokerStart(self._image.counter(fmt.BROKER_EPOCH), self._image.counter(fmt.LEADER_EPOCH))
        named = {name: Endpoint(host, port) for name, (host, port) in endpoints.items()}
        return Decision(
            start,
            puts=(
                (fmt.broker_key(node_id), fmt.encode_broker(Broker(node_id, rack, named, *start))),
                (fmt.BROKER_EPOCH, fmt.encode_counter(start.broker_epoch + 1)),
                (fmt.LEADER_EPOCH, fmt.encode_counter(start.leader_epoch + 1)),
            ),
        )


def _note_compaction(event: ChangeEvent) -> None:
    """Say that a user's topic was given a policy that is accepted and does not do what it says yet."""
    if isinstance(event, TopicCreated):
        before: tuple[str, ...] = ()
    elif isinstance(event, ConfigChanged):
        before = event.previous.configs.cleanup_policy
    else:
        return
    topic = event.topic
    if "compact" in topic.configs.cleanup_policy and "compact" not in before and not topic.is_internal:
        logger.warning("topic %s has cleanup.policy=compact: not built yet, all its records are kept", topic.name)


def _answer(reply: "asyncio.Future[R]", error: Exception | None, result: R | None = None) -> None:
    """Tell a caller, unless it was cancelled meanwhile."""
    if reply.done():
        return
    if error is not None:
        reply.set_exception(error)
    else:
        reply.set_result(result)  # type: ignore[arg-type]
