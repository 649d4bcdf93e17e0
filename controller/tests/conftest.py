"""The metadata as rules see it: an image, and a dict that stands for the store."""

from dataclasses import dataclass, field
from itertools import count
from typing import TypeVar

import pytest

from tailrace_controller.metadata import format as fmt
from tailrace_controller.metadata import objects, topics
from tailrace_controller.metadata.configs import ConfigRules
from tailrace_controller.metadata.decision import Decision
from tailrace_controller.metadata.image import Image
from tailrace_core.errors import TailraceError
from tailrace_core.extents import Extent, StoredObject
from tailrace_core.ids import TopicId
from tailrace_core.membership import (
    Broker,
    ChangeEvent,
    CommitResult,
    CreatedTopic,
    Endpoint,
    NewTopic,
    Topic,
    TopicDefaults,
)

R = TypeVar("R")
LEADER_EPOCH = 7


@dataclass
class Metadata:
    """Applies decisions to the image and to what the store would have."""

    image: Image = field(default_factory=lambda: Image(ConfigRules({})))
    values: dict[str, bytes] = field(default_factory=dict)
    events: list[ChangeEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._ids = count(1)
        broker = Broker(1, None, {"PLAINTEXT": Endpoint("127.0.0.1", 9092)}, 3, LEADER_EPOCH)
        self.run(
            Decision(
                None,
                puts=(
                    (fmt.broker_key(1), fmt.encode_broker(broker)),
                    (fmt.OBJECT_ID, fmt.encode_counter(1_000_000)),
                ),
            )
        )

    def run(self, decision: Decision[R]) -> R:
        for key, value in decision.puts:
            self.values[key] = value
            self.image.put(key, value)
        for key in decision.deletes:
            del self.values[key]
            self.image.delete(key)
        self.events += decision.events
        return decision.reply

    def new_topic_id(self) -> TopicId:
        return next(self._ids).to_bytes(16, "big")

    def create(
        self, *new_topics: NewTopic, defaults: TopicDefaults | None = None, validate_only: bool = False
    ) -> list[CreatedTopic | TailraceError]:
        return self.run(
            topics.plan_create(self.image, new_topics, defaults or TopicDefaults(), self.new_topic_id, validate_only)
        )

    def topic(self, name: str, partition_count: int = 1) -> Topic:
        (created,) = self.create(NewTopic(name, partition_count))
        assert isinstance(created, CreatedTopic), created
        return created.topic

    def commit(self, object_id: int, *extents: Extent, now_ms: int = 0) -> CommitResult:
        """Register the object where that was not done, and commit it."""
        if fmt.object_key(object_id) not in self.values and fmt.registration_key(object_id) not in self.values:
            self.run(objects.plan_register(self.image, object_id, f"o/{object_id}", 1_000))
        stored = StoredObject(object_id, f"o/{object_id}", 1_000_000, extents)
        return self.run(objects.plan_commit(self.image, stored, now_ms))

    def replace(self, object_id: int, *extents: Extent, now_ms: int = 0) -> CommitResult:
        """Put a new object's extents in the place of all that lie in their range."""
        self.run(objects.plan_register(self.image, object_id, f"o/{object_id}", 1_000))
        replaced = [
            placed
            for extent in extents
            for placed in self.image.catalog.partition(extent.topic_id, extent.partition)
            if extent.base_offset <= placed.extent.base_offset and placed.extent.end_offset <= extent.end_offset
        ]
        stored = StoredObject(object_id, f"o/{object_id}", 1_000_000, extents)
        return self.run(objects.plan_replace(self.image, stored, replaced, now_ms))

    def reloaded(self) -> Image:
        """What a start would build of the store."""
        image = Image(ConfigRules({}))
        image.load(self.values.items())
        return image


def extent(
    topic: Topic, base_offset: int, end_offset: int, partition: int = 0, leader_epoch: int = LEADER_EPOCH
) -> Extent:
    return Extent(
        topic.topic_id, partition, leader_epoch, base_offset, end_offset, 1_700_000_000_000, 100, 50, 60, 0xDEADBEEF
    )


@pytest.fixture
def metadata() -> Metadata:
    return Metadata()


@pytest.fixture(name="extent")
def extent_fixture() -> object:
    return extent
