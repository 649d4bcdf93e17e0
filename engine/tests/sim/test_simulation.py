"""The simulation in every run of the tests: some hundreds of seeds, and that a seed is a run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sim_run import run_many

FIRST_SEED = 1
SEEDS = 300


@pytest.mark.timeout(900)
def test_seeds_hold_every_invariant() -> None:
    steps, failures = run_many(FIRST_SEED, SEEDS, chunk=5)
    assert not failures, "\n".join([f"{len(failures)} of {SEEDS} seeds fail", *sorted(failures)[:3]])
    assert steps > SEEDS * 1_000


def test_a_seed_gives_the_same_trace_in_every_process() -> None:
    runs = [
        subprocess.run(
            [sys.executable, str(Path(__file__).with_name("sim_run.py")), "--seed", "3"],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        for hash_seed in ("1", "2")
    ]
    assert len(runs[0]) > 100
    for first, second in zip(*runs, strict=True):
        assert first == second
