"""The ObjectStore port's promises, over its real and its simulated form."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tailrace_core.errors import MissingObject, ObjectExists, StorageUnavailable
from tailrace_core.ports import ObjectStore
from tailrace_engine.objects import open_store
from tailrace_engine.sim.objects import SimObjectFaults, SimObjectStore

Case = Callable[[ObjectStore], Awaitable[None]]


@pytest.fixture(params=["local", "sim", "slow sim"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Case], None]:
    @asynccontextmanager
    async def opened() -> AsyncIterator[ObjectStore]:
        store: ObjectStore
        if request.param == "local":
            store = open_store((tmp_path / "objects").as_uri())
        else:
            delay = 0.002 if request.param == "slow sim" else 0.0
            store = SimObjectStore(random.Random(7), SimObjectFaults(delay_seconds_max=delay))
        try:
            yield store
        finally:
            await store.close()

    async def main(case: Case) -> None:
        async with opened() as store:
            await case(store)

    return lambda case: asyncio.run(main(case))


def test_what_was_put_is_read_back_in_any_range(run: Callable[[Case], None]) -> None:
    async def case(store: ObjectStore) -> None:
        await store.put("data/a/1", [b"0123", bytearray(b"4567"), memoryview(b"89")])
        assert await store.get_range("data/a/1", 0, 10) == b"0123456789"
        assert await store.get_range("data/a/1", 3, 4) == b"3456"
        assert await store.size("data/a/1") == 10

    run(case)


def test_many_thousands_of_small_parts_are_one_object(run: Callable[[Case], None]) -> None:
    parts = [b"%07d" % i for i in range(5000)]

    async def case(store: ObjectStore) -> None:
        await store.put("many", parts)
        assert await store.get_range("many", 0, 1 << 20) == b"".join(parts)

    run(case)


def test_parts_of_all_sizes_are_put_in_their_order(run: Callable[[Case], None]) -> None:
    sizes = [0, 1, 3 << 20, 1 << 20, 700_000, 700_000, 0, (1 << 20) + 1, *[9_000] * 3000, 5, 0]
    parts = [random.Random(n).randbytes(size) for n, size in enumerate(sizes)]

    async def case(store: ObjectStore) -> None:
        await store.put("k", parts)
        assert await store.get_range("k", 0, 1 << 30) == b"".join(parts)

    run(case)


def test_a_range_beyond_the_end_is_cut_there(run: Callable[[Case], None]) -> None:
    async def case(store: ObjectStore) -> None:
        await store.put("k", [b"0123456789"])
        assert await store.get_range("k", 8, 100) == b"89"
        assert await store.get_range("k", 10, 5) == b""
        assert await store.get_range("k", 50, 5) == b""

    run(case)


def test_a_range_is_read_into_a_buffer_as_far_as_the_object_goes(run: Callable[[Case], None]) -> None:
    async def case(store: ObjectStore) -> None:
        await store.put("k", [b"0123456789"])
        buffer = bytearray(4)
        assert await store.get_into("k", 3, memoryview(buffer)) == 4
        assert buffer == b"3456"
        assert await store.get_into("k", 8, memoryview(buffer)) == 2
        assert buffer == b"8956"
        assert await store.get_into("k", 10, memoryview(buffer)) == 0
        with pytest.raises(MissingObject):
            await store.get_into("absent", 0, memoryview(buffer))

    run(case)


def test_an_empty_object_is_an_object(run: Callable[[Case], None]) -> None:
    async def case(store: ObjectStore) -> None:
        await store.put("empty", [])
        assert await store.size("empty") == 0
        assert await store.list_keys("") == ["empty"]

    run(case)


def test_a_taken_key_is_refused_and_keeps_its_object(run: Callable[[Case], None]) -> None:
    async def case(store: ObjectStore) -> None:
        await store.put("k", [b"first"])
        with pytest.raises(ObjectExists):
            await store.put("k", [b"second"])
        assert await store.get_range("k", 0, 10) == b"first"

    run(case)


def test_of_two_puts_of_one_key_at_once_one_wins(run: Callable[[Case], None]) -> None:
    async def case(store: ObjectStore) -> None:
        contents = [b"%d" % i * 1000 for i in range(8)]
        puts = [store.put("race", [content]) for content in contents]
        outcomes = await asyncio.gather(*puts, return_exceptions=True)
        winners = [i for i, outcome in enumerate(outcomes) if outcome is None]
        assert len(winners) == 1
        assert all(isinstance(outcome, ObjectExists) for i, outcome in enumerate(outcomes) if i != winners[0])
        assert await store.get_range("race", 0, 10_000) == contents[winners[0]]

    run(case)


@pytest.mark.parametrize("key", ["absent", "folder", "folder/leaf/below"])
def test_a_key_without_an_object_is_missing(run: Callable[[Case], None], key: str) -> None:
    async def case(store: ObjectStore) -> None:
        await store.put("folder/leaf", [b"x"])
        with pytest.raises(MissingObject, match=key):
            await store.get_range(key, 0, 1)
        with pytest.raises(MissingObject, match=key):
            await store.size(key)

    run(case)


def test_keys_are_listed_sorted_by_any_prefix(run: Callable[[Case], None]) -> None:
    async def case(store: ObjectStore) -> None:
        for key in ("b/2", "a/10", "a/2", "a/sub/1", "ab"):
            await store.put(key, [b"x"])
        assert await store.list_keys("") == ["a/10", "a/2", "a/sub/1", "ab", "b/2"]
        assert await store.list_keys("a") == ["a/10", "a/2", "a/sub/1", "ab"]
        assert await store.list_keys("a/") == ["a/10", "a/2", "a/sub/1"]
        assert await store.list_keys("a/s") == ["a/sub/1"]
        assert await store.list_keys("none/") == []

    run(case)


def test_a_deleted_key_is_missing_and_may_be_put_again(run: Callable[[Case], None]) -> None:
    async def case(store: ObjectStore) -> None:
        await store.put("a/k", [b"first"])
        await store.delete("a/k")
        await store.delete("a/k")
        await store.delete("never/was")
        with pytest.raises(MissingObject):
            await store.size("a/k")
        await store.put("a/k", [b"second"])
        assert await store.get_range("a/k", 0, 10) == b"second"

    run(case)


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "a//b", "../a", "a/../b", ".", "a/.b", "a b", "ä", "a\n", "a\0b", "k" * 1025]
)
def test_a_bad_key_is_refused(run: Callable[[Case], None], key: str) -> None:
    async def case(store: ObjectStore) -> None:
        with pytest.raises(ValueError, match="object key"):
            await store.put(key, [b"x"])
        with pytest.raises(ValueError, match="object key"):
            await store.get_range(key, 0, 1)
        with pytest.raises(ValueError, match="object key"):
            await store.delete(key)

    run(case)


def test_a_store_that_is_down_says_so_and_does_nothing() -> None:
    async def case() -> None:
        store = SimObjectStore(random.Random(1), SimObjectFaults(down=True))
        with pytest.raises(StorageUnavailable):
            await store.put("k", [b"x"])
        assert store.objects == {}

    asyncio.run(case())


def test_a_put_whose_reply_is_lost_took_effect() -> None:
    async def case() -> None:
        store = SimObjectStore(random.Random(1), SimObjectFaults(lost_reply=1.0))
        with pytest.raises(StorageUnavailable):
            await store.put("k", [b"x"])
        assert store.objects == {"k": b"x"}
        with pytest.raises(ObjectExists):
            await store.put("k", [b"x"])

    asyncio.run(case())


def test_one_seed_gives_the_same_faults() -> None:
    async def trace(seed: int) -> list[bool]:
        store = SimObjectStore(random.Random(seed), SimObjectFaults(failure=0.3, lost_reply=0.3))
        outcomes = await asyncio.gather(*(store.put(f"k{i}", [b"x"]) for i in range(50)), return_exceptions=True)
        return [outcome is None for outcome in outcomes]

    assert asyncio.run(trace(3)) == asyncio.run(trace(3)) != asyncio.run(trace(4))
