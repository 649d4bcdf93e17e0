"""What every form of the MetadataStore port does."""

import asyncio

import pytest

from tailrace_controller.runtime.active import LocalController
from tailrace_controller.store import MetadataStore
from tailrace_controller.store.memory import MemoryStore
from tailrace_controller.store.sqlite import SqliteStore
from tailrace_core.errors import StorageUnavailable
from tailrace_core.extents import StoredObject
from tailrace_core.membership import NewTopic, TopicDefaults


@pytest.fixture(params=["sqlite", "memory"])
def open_store(request, tmp_path):
    """Opens the same store at every call."""
    memory = []

    async def open_it() -> MetadataStore:
        loop = asyncio.get_running_loop()
        if request.param == "sqlite":
            return await SqliteStore.open(tmp_path / "metadata.db", loop)
        store = MemoryStore(loop)
        store.values = memory[0].values if memory else store.values
        store.revision = memory[0].revision if memory else 0
        memory.insert(0, store)
        return store

    return open_it


async def commit(store, puts=(), deletes=()):
    answered = asyncio.get_running_loop().create_future()
    store.commit(puts, deletes, answered.set_result)
    failure = await answered
    if failure is not None:
        raise failure


def test_a_fresh_store_is_empty(open_store):
    async def run():
        store = await open_store()
        assert (await store.load()).items == []
        await store.close()

    asyncio.run(run())


def test_what_was_committed_is_there_after_it_is_opened_again(open_store):
    async def run():
        store = await open_store()
        await commit(store, [("b", b"1"), ("a", b"\x00\xff"), ("c", b"")])
        await commit(store, [("b", b"2")], ["c", "never there"])
        first = await store.load()
        await store.close()
        store = await open_store()
        second = await store.load()
        await store.close()
        assert first == second
        assert second.items == [("a", b"\x00\xff"), ("b", b"2")]

    asyncio.run(run())


def test_deletes_come_after_puts(open_store):
    async def run():
        store = await open_store()
        await commit(store, [("a", b"1")], ["a"])
        assert (await store.load()).items == []
        await store.close()

    asyncio.run(run())


def test_the_revision_moves_with_commits(open_store):
    async def run():
        store = await open_store()
        before = (await store.load()).revision
        await commit(store, [("a", b"1")])
        assert (await store.load()).revision > before
        await store.close()

    asyncio.run(run())


def test_commits_are_answered_in_order_and_never_at_once(open_store):
    async def run():
        store = await open_store()
        answers = []
        last = asyncio.get_running_loop().create_future()
        for number in range(300):
            store.commit([("n", b"%d" % number)], [], lambda failure, number=number: answers.append((number, failure)))
        store.commit([("n", b"last")], [], last.set_result)
        assert answers == []
        await last
        assert answers == [(number, None) for number in range(300)]
        assert (await store.load()).items == [("n", b"last")]
        await store.close()

    asyncio.run(run())


def test_close_finishes_what_was_handed_in(open_store):
    async def run():
        store = await open_store()
        answered = asyncio.get_running_loop().create_future()
        store.commit([("a", b"1")], [], answered.set_result)
        await store.close()
        assert await answered is None
        store = await open_store()
        assert (await store.load()).items == [("a", b"1")]
        await store.close()

    asyncio.run(run())


def test_a_closed_store_refuses(open_store):
    async def run():
        store = await open_store()
        await store.close()
        await store.close()
        with pytest.raises(StorageUnavailable, match="closed"):
            await commit(store, [("a", b"1")])

    asyncio.run(run())


class NoEntropy:
    def bytes(self, count):
        return bytes(range(count))


def test_a_replacement_is_there_after_the_store_is_opened_again(open_store, extent):
    async def opened():
        return await LocalController.open(await open_store(), NoEntropy(), {})

    async def run():
        controller = await opened()
        begun = await controller.start_broker(1, None, {"PLAINTEXT": ("127.0.0.1", 9092)})
        ((topic, _, _),) = await controller.create_topics([NewTopic("a", 1)], TopicDefaults())
        await controller.reserve_object_ids(4)
        extents = [extent(topic, base, base + 10, leader_epoch=begun.leader_epoch) for base in (0, 10)]
        for object_id, each in enumerate(extents):
            await controller.register_object(object_id, f"o/{object_id}", 1)
            await controller.commit_object(StoredObject(object_id, f"o/{object_id}", 1_000, (each,)), 0)
        await controller.register_object(3, "o/3", 1)
        merged = extent(topic, 0, 20, leader_epoch=begun.leader_epoch)
        stored = StoredObject(3, "o/3", 1_000, (merged,))
        replaced = list(controller.extents(topic.topic_id, 0))
        assert (await controller.replace_extents(stored, replaced, 0)).refused == ()
        before = list(controller.extents(topic.topic_id, 0))
        assert [placed.extent for placed in before] == [merged]
        await controller.close()
        controller = await opened()
        assert list(controller.extents(topic.topic_id, 0)) == before
        assert (await controller.replace_extents(stored, replaced, 0)).refused == ()
        assert await controller.objects_to_delete(5, 0) == []
        assert [ref.object_id for ref in await controller.objects_to_delete(5, 0)] == [0, 1]
        await controller.close()

    asyncio.run(run())
