"""The virtual-time loop keeps what asyncio promises, and ends a process at any callback."""

import asyncio
from random import Random
from typing import Any

import pytest

from tailrace_engine.sim.loop import SimCrash, SimLoop, SimStuck


def run(coroutine: Any, seed: int = 1) -> Any:
    loop = SimLoop(Random(seed))
    try:
        return loop.run(coroutine)
    finally:
        loop.drop()


def test_time_jumps_to_the_next_timer() -> None:
    async def main() -> float:
        await asyncio.sleep(100_000)
        return asyncio.get_running_loop().time()

    assert 100_000 <= run(main()) < 100_001


def test_callbacks_run_in_the_order_of_call_soon() -> None:
    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        seen: list[int] = []
        for number in range(100):
            loop.call_soon(seen.append, number)
        await asyncio.sleep(0)
        return seen

    assert run(main()) == list(range(100))


def test_timers_of_different_times_fire_in_order_and_never_early() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        random = Random(5)
        fired: list[float] = []

        def fire(when: float) -> None:
            assert loop.time() >= when
            fired.append(when)

        for _ in range(200):
            when = loop.time() + random.random()
            loop.call_at(when, fire, when)
        await asyncio.sleep(2)
        assert len(fired) == 200
        assert fired == sorted(fired)

    run(main())


def test_the_seed_orders_timers_of_the_same_time() -> None:
    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        seen: list[int] = []
        for number in range(10):
            loop.call_at(1.0, seen.append, number)
        await asyncio.sleep(2)
        return seen

    orders = [run(main(), seed) for seed in (1, 2, 1)]
    assert orders[0] == orders[2] != orders[1]
    assert sorted(orders[1]) == list(range(10))


def test_what_waits_for_ever_is_said() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(SimStuck):
        run(main())


def test_a_crash_runs_nothing_more_and_a_drop_forgets_all_tasks() -> None:
    seen: list[str] = []

    async def work(name: str) -> None:
        try:
            async with asyncio.timeout(1_000):
                while True:
                    seen.append(name)
                    await asyncio.sleep(0.001)
        finally:
            await asyncio.sleep(1)
            seen.append("never")

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(work("a"))
            group.create_task(work("b"))

    loop = SimLoop(Random(1))
    loop.crash_at = 40
    with pytest.raises(SimCrash):
        loop.run(main())
    assert loop.steps == 40
    count = len(seen)
    loop.drop()
    assert len(seen) == count
    assert loop.is_closed()


def test_a_thread_s_work_is_done_on_the_loop_after_a_while() -> None:
    async def main() -> tuple[int, float]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        return await loop.run_in_executor(None, max, 3, 4), loop.time() - began

    result, seconds = run(main())
    assert result == 4
    assert seconds > 0
