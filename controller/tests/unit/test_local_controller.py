"""The order of changes: decide, commit, apply, tell, answer (runtime/active.py)."""

import asyncio
from itertools import count

import pytest

from tailrace_controller.client import open_local_controller
from tailrace_controller.runtime.active import LocalController
from tailrace_controller.store.memory import MemoryStore
from tailrace_core.errors import InvalidConfig, InvalidRequest, InvalidSettings, StorageUnavailable, TopicAlreadyExists
from tailrace_core.extents import StoredObject
from tailrace_core.membership import BrokerStart, CreatedTopic, NewTopic, RefusalReason, TopicCreated, TopicDefaults

ENDPOINTS = {"PLAINTEXT": ("127.0.0.1", 9092)}


class CountedEntropy:
    """Numbers instead of chance."""

    def __init__(self):
        self._numbers = count(1)

    def bytes(self, length):
        return next(self._numbers).to_bytes(length, "big")


class HeldStore(MemoryStore):
    """Answers commits only when told to."""

    def __init__(self, loop):
        super().__init__(loop)
        self.held = None

    def commit(self, puts, deletes, done):
        if self.held is None:
            super().commit(puts, deletes, done)
        else:
            self.held.append((puts, deletes, done))

    def release(self):
        for held in self.held or ():
            super().commit(*held)
        self.held = [] if self.held is not None else None


async def started(store):
    controller = await LocalController.open(store, CountedEntropy(), {})
    await controller.start_broker(1, None, ENDPOINTS)
    return controller


async def create(controller, name, partition_count=1):
    (created,) = await controller.create_topics([NewTopic(name, partition_count)], TopicDefaults())
    return created.topic


def with_controller(test):
    """Run test(controller, store) over a store whose answers can be held back."""

    async def run():
        store = HeldStore(asyncio.get_running_loop())
        await test(await started(store), store)

    asyncio.run(run())


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


def test_nobody_sees_a_change_before_it_is_durable():
    async def test(controller, store):
        order = []
        controller.subscribe(order.append)
        store.held = []
        asking = asyncio.ensure_future(create(controller, "a"))
        await until(lambda: store.held)
        assert controller.image.topic("a") is None
        assert order == []
        store.release()
        topic = await asking
        assert controller.image.topic("a") == topic
        assert order == [TopicCreated(topic)]

    with_controller(test)


def test_subscribers_are_told_before_the_caller_and_see_the_change():
    async def test(controller, store):
        seen = []
        end = controller.subscribe(lambda event: seen.append(controller.image.topic(event.topic.name)))
        topic = await create(controller, "a")
        assert seen == [topic]
        end()
        await create(controller, "b")
        assert seen == [topic]

    with_controller(test)


def test_a_commit_that_fails_changes_nothing_and_may_be_made_again():
    async def test(controller, store):
        store.failure = StorageUnavailable("disk full")
        with pytest.raises(StorageUnavailable, match="disk full"):
            await create(controller, "a")
        assert controller.image.topic("a") is None
        store.failure = None
        assert (await create(controller, "a")).name == "a"

    with_controller(test)


def test_two_creations_of_one_name_at_once_make_one_topic():
    async def test(controller, store):
        asked = [controller.create_topics([NewTopic("a")], TopicDefaults()) for _ in range(2)]
        ((first,), (second,)) = await asyncio.gather(*asked)
        assert isinstance(first, CreatedTopic)
        assert isinstance(second, TopicAlreadyExists)

    with_controller(test)


def test_commits_of_a_partition_wait_for_each_other_and_those_of_others_go_together(extent):
    async def test(controller, store):
        topic = await create(controller, "a", 2)
        await controller.reserve_object_ids(10)
        for object_id in range(3):
            await controller.register_object(object_id, f"o/{object_id}", 1)
        store.held = []

        def commit(object_id, *extents):
            return asyncio.ensure_future(
                controller.commit_object(StoredObject(object_id, f"o/{object_id}", 1_000, extents), 0)
            )

        first = commit(0, extent(topic, 0, 10, leader_epoch=0))
        other = commit(1, extent(topic, 0, 10, partition=1, leader_epoch=0))
        next_one = commit(2, extent(topic, 10, 20, leader_epoch=0), extent(topic, 9, 20, partition=1, leader_epoch=0))
        await until(lambda: len(store.held) == 2)
        assert not next_one.done()
        store.release()
        assert (await first).refused == (await other).refused == ()
        await until(lambda: store.held)
        store.release()
        assert [refused.reason for refused in (await next_one).refused] == [RefusalReason.OFFSET]
        assert controller.extents(topic.topic_id, 0).committed_end == 20

    with_controller(test)


def test_a_replacement_waits_for_a_commit_of_its_partition(extent):
    async def test(controller, store):
        topic = await create(controller, "a", 2)
        await controller.reserve_object_ids(10)
        for object_id in range(3):
            await controller.register_object(object_id, f"o/{object_id}", 1)
        first = extent(topic, 0, 10, leader_epoch=0)
        await controller.commit_object(StoredObject(0, "o/0", 1_000, (first,)), 0)
        replaced = list(controller.extents(topic.topic_id, 0))
        store.held = []
        committing = asyncio.ensure_future(
            controller.commit_object(StoredObject(1, "o/1", 1_000, (extent(topic, 10, 20, leader_epoch=0),)), 0)
        )
        replacing = asyncio.ensure_future(
            controller.replace_extents(StoredObject(2, "o/2", 1_000, (first,)), replaced, 0)
        )
        await until(lambda: store.held)
        assert len(store.held) == 1
        store.release()
        await until(committing.done)
        await until(lambda: store.held)
        store.release()
        assert (await replacing).refused == ()
        assert [placed.object.object_id for placed in controller.extents(topic.topic_id, 0)] == [2, 1]

    with_controller(test)


def test_a_caller_that_gives_up_does_not_take_its_change_back():
    async def test(controller, store):
        store.held = []
        asking = asyncio.ensure_future(create(controller, "a"))
        await until(lambda: store.held)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        store.release()
        await until(lambda: controller.image.topic("a") is not None)

    with_controller(test)


def test_a_subscriber_that_raises_hangs_nobody():
    async def test(controller, store):
        reported = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context["exception"]))

        def broken(event):
            raise ZeroDivisionError

        end = controller.subscribe(broken)
        with pytest.raises(ZeroDivisionError):
            await create(controller, "a")
        end()
        assert [type(error) for error in reported] == [ZeroDivisionError]
        assert (await create(controller, "b")).name == "b"

    with_controller(test)


def test_ids_are_given_out_once_also_after_a_restart():
    async def run():
        store = MemoryStore(asyncio.get_running_loop())
        controller = await started(store)
        assert await asyncio.gather(*[controller.allocate_producer_ids(1_000) for _ in range(3)]) == [0, 1_000, 2_000]
        assert await controller.reserve_object_ids(5) == 0
        again = await LocalController.open(store, CountedEntropy(), {})
        assert await again.allocate_producer_ids(1) == 3_000
        assert await again.reserve_object_ids(1) == 5
        with pytest.raises(InvalidRequest):
            await again.allocate_producer_ids(0)

    asyncio.run(run())


def test_every_start_of_the_broker_has_new_epochs_in_one_commit():
    async def run():
        store = MemoryStore(asyncio.get_running_loop())
        controller = await LocalController.open(store, CountedEntropy(), {})
        assert (controller.image.controller_id, controller.image.leader_epoch) == (-1, -1)
        for number in range(3):
            controller = await LocalController.open(store, CountedEntropy(), {})
            before = store.revision
            assert await controller.start_broker(1, "rack", ENDPOINTS) == BrokerStart(number, number)
            assert store.revision == before + 1
            assert controller.image.leader_epoch == number
            assert controller.image.brokers[0].endpoints["PLAINTEXT"].port == 9092

    asyncio.run(run())


def test_another_node_id_is_refused():
    async def test(controller, store):
        with pytest.raises(InvalidSettings, match=r"node\.id is 2"):
            await controller.start_broker(2, None, ENDPOINTS)

    with_controller(test)


def test_an_extent_of_an_earlier_start_is_refused(extent):
    async def test(controller, store):
        topic = await create(controller, "a")
        await controller.reserve_object_ids(1)
        await controller.register_object(0, "o/0", 1)
        await controller.start_broker(1, None, ENDPOINTS)
        old = StoredObject(0, "o/0", 1_000, (extent(topic, 0, 10, leader_epoch=0),))
        assert (await controller.commit_object(old, 0)).refused[0].reason is RefusalReason.LEADER_EPOCH

    with_controller(test)


def test_close_waits_for_what_was_asked_and_refuses_what_comes_later():
    async def test(controller, store):
        asked = [asyncio.ensure_future(create(controller, name)) for name in "abc"]
        await asyncio.sleep(0)
        await controller.close()
        assert [topic.name for topic in await asyncio.gather(*asked)] == ["a", "b", "c"]
        with pytest.raises(StorageUnavailable, match="closed"):
            await create(controller, "d")

    with_controller(test)


def test_all_of_it_is_there_after_the_file_is_opened_again(tmp_path, extent):
    path = tmp_path / "data" / "metadata.db"

    async def run():
        loop = asyncio.get_running_loop()
        controller = await open_local_controller(path, CountedEntropy(), loop)
        await controller.start_broker(1, None, ENDPOINTS)
        topic = await create(controller, "a", 2_000)
        await controller.reserve_object_ids(1)
        await controller.register_object(0, "o/0", 1)
        await controller.commit_object(StoredObject(0, "o/0", 1_000, (extent(topic, 0, 10, leader_epoch=0),)), 0)
        await controller.trim(topic.topic_id, 0, 5)
        placed = list(controller.extents(topic.topic_id, 0))
        cluster_id = controller.image.cluster_id
        await controller.close()
        controller = await open_local_controller(path, CountedEntropy(), loop)
        assert controller.image.cluster_id == cluster_id
        assert len(cluster_id) == 22
        assert controller.image.topics == (topic,)
        assert list(controller.extents(topic.topic_id, 0)) == placed
        assert controller.extents(topic.topic_id, 0).log_start_offset == 5
        await controller.close()

    asyncio.run(run())


def test_a_bad_default_refuses_the_start_and_lets_the_file_go(tmp_path):
    async def run():
        loop = asyncio.get_running_loop()
        with pytest.raises(InvalidConfig, match=r"log\.retention\.ms"):
            await open_local_controller(tmp_path / "m.db", CountedEntropy(), loop, {"log.retention.ms": "soon"})
        controller = await open_local_controller(tmp_path / "m.db", CountedEntropy(), loop, {"log.retention.ms": "7"})
        await controller.start_broker(1, None, ENDPOINTS)
        assert (await create(controller, "a")).configs.retention_ms == 7
        await controller.close()

    asyncio.run(run())
