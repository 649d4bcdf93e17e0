"""make sim: run seeds, and say of the first failure how to repeat it.

make sim SEED=17              one seed, with all its events
make sim SEEDS=1000 SEED=1    seeds 1 to 1000, on all cores
"""

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from sim_world import World  # noqa: E402 - found by the line above

from tailrace_engine.sim.trace import SimFailure  # noqa: E402


def run_seeds(first: int, count: int) -> tuple[int, list[str]]:
    """Callbacks that were run, and what failed."""
    steps = 0
    failures = []
    for seed in range(first, first + count):
        world = World(seed)
        try:
            world.run()
        except SimFailure as failure:
            failures.append(str(failure))
        steps += world.steps
    return steps, failures


def run_many(first: int, count: int, chunk: int = 10, progress: bool = False) -> tuple[int, list[str]]:
    """As run_seeds, on all cores."""
    steps, failures, done = 0, [], 0
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        chunks = [
            pool.submit(run_seeds, start, min(chunk, first + count - start))
            for start in range(first, first + count, chunk)
        ]
        for ended in as_completed(chunks):
            more, failed = ended.result()
            steps += more
            failures += failed
            done += 1
            if progress:
                seeds = min(done * chunk, count)
                print(f"\r{seeds} of {count} seeds, {steps} callbacks, {len(failures)} failures", end="", flush=True)
    if progress:
        print()
    return steps, failures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--quiet", action="store_true", help="one seed without its events")
    arguments = parser.parse_args()
    if arguments.seeds == 1:
        world = World(arguments.seed, None if arguments.quiet else print)
        try:
            world.run()
        except SimFailure as failure:
            print(failure)
            return 1
        print(f"seed {arguments.seed}: {world.steps} callbacks in {world.lives} lives, trace {world.trace.digest()}")
        return 0
    started = time.perf_counter()
    steps, failures = run_many(arguments.seed, arguments.seeds, progress=True)
    for text in sorted(failures)[:5]:
        print(text)
    seconds = time.perf_counter() - started
    print(f"{arguments.seeds} seeds, {steps} callbacks, {len(failures)} failures in {seconds:.0f} s")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
