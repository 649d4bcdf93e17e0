"""`make soak`: mixed load on one broker for a while, with restarts by SIGTERM and kill -9, and what grew meanwhile.

Fails when anything acknowledged is lost or is another thing, when a client gets an error that does not pass, when the
broker logs an error, or when memory, open files, threads or latencies grow beyond the bounds in `report.py`, which are
judged per life of the process, after a warm-up, where it was long enough. With --write the plot and the findings go
to docs/.

The first life takes 40 % of the time and the last one 30 %: slopes need length. Four restarts are in between.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from harness.process import Setting
from harness.tailrace import Tailrace

from soak import report
from soak.actors import CONFIGS, PARTITIONS, Actor, Shared, cast, check_commits, retrying, verify
from soak.samples import Life, take

MIB = 1 << 20
SETTINGS: dict[Setting, str | int] = {
    Setting.HOT_BYTES: 16 * MIB,
    Setting.UPLOAD_BYTES: 4 * MIB,
    Setting.UPLOAD_INTERVAL_MS: 2_000,
    Setting.LOG_RETENTION_CHECK_INTERVAL_MS: 5_000,
    Setting.CACHE_COLD_BYTES: 8 * MIB,
    Setting.READ_AHEAD_BYTES_MAX: 4 * MIB,
    Setting.READ_AHEAD_BUDGET_BYTES: 8 * MIB,
    Setting.SWEEP_INTERVAL_MS: 5_000,
    Setting.DELETE_GRACE_MS: 10_000,
}
"""Small, so that in minutes everything comes round: eviction, uploads, reads from the store, deletion; and that caches
are full soon, whose filling would look like a leak."""
RESTARTS = ((0.40, "SIGTERM"), (0.475, "kill -9"), (0.55, "SIGTERM"), (0.625, "kill -9"))
"""Each at a share of the time."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30, help="how long (30)")
    parser.add_argument("--seed", type=int, default=1, help="of sizes, partitions and orders (1)")
    parser.add_argument("--write", action="store_true", help="keep the findings in docs/soak.md and docs/soak.svg")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tailrace-soak-") as folder:
        broker = Tailrace(Path(folder), SETTINGS)
        broker.start()
        try:
            run = Run(broker, options.minutes * 60, options.seed)
            run.go()
        finally:
            broker.close()
    findings = report.findings(run.lives, run.shared, run.failures, options.minutes)
    print("\n".join(findings.lines))
    if options.write:
        report.write(run.lives, findings, SETTINGS, options.minutes)
    return 1 if findings.failed else 0


class Run:
    """One run, from the actors' start to their end."""

    def __init__(self, broker: Tailrace, seconds: float, seed: int) -> None:
        self.shared = Shared(broker.host, broker.port, seed)
        self.lives: list[Life] = []
        self.failures: list[str] = []
        self._broker = broker
        self._seconds = seconds
        self._began = time.monotonic()
        self._actors: list[Actor] = []

    def go(self) -> None:
        with self._broker.connect() as connection:
            for topic, partitions in PARTITIONS.items():
                connection.create_usable_topic(topic, partitions, CONFIGS[topic])
        self._actors = cast(self.shared)
        for actor in self._actors:
            actor.start()
        restarts = [(share * self._seconds, how) for share, how in RESTARTS]
        self.lives.append(Life(self._now()))
        try:
            while self._now() < self._seconds and not self.shared.over.wait(1):
                if restarts and self._now() >= restarts[0][0]:
                    self._restart(restarts.pop(0)[1])
                take(self._broker, self.shared, self.lives[-1], self._now())
                if not self._broker.is_alive():
                    raise AssertionError("the broker has ended")
            self._verify()
        except BaseException as error:
            self.failures.append(f"{type(error).__name__}: {error}")
            if not isinstance(error, Exception):
                raise
        finally:
            self._end()

    def _now(self) -> float:
        return time.monotonic() - self._began

    def _end(self) -> None:
        self.shared.over.set()
        for actor in self._actors:
            actor.join(60)
            if actor.is_alive():
                self.failures.append(f"{actor.name} does not end")
        if self.shared.failure is not None:
            self.failures.append(f"{type(self.shared.failure).__name__}: {self.shared.failure}")
        if self._broker.log_path:
            lines = self._broker.log_path.read_text(errors="replace").splitlines()
            self.failures += [line for line in lines if '"level": "error"' in line or line.startswith("Traceback")][:5]

    def _restart(self, how: str) -> None:
        """Under load; then everything that was acknowledged before must be there."""
        commits = self.shared.ledger.commits()
        if how == "SIGTERM":
            status = self._broker.terminate()
            assert status == 0, f"SIGTERM: status {status}"
        else:
            self._broker.kill()
        self.lives[-1].ended_by = how
        began = time.monotonic()
        self._broker.start()
        self.lives.append(Life(self._now()))
        print(f"{self._now():.0f} s: {how}, back after {time.monotonic() - began:.1f} s", flush=True)
        with self._broker.connect() as connection:
            retrying(lambda: check_commits(self.shared, commits, connection))
        self._verify()

    def _verify(self) -> None:
        """Reads everything; producers pause meanwhile, so that it ends."""
        self.shared.quiet.set()
        for place in self.shared.ledger.places():

            def step(place: tuple[str, int] = place) -> None:
                with self._broker.connect() as connection:
                    verify(self.shared, connection, place)

            retrying(step)
        self.shared.quiet.clear()


if __name__ == "__main__":
    sys.exit(main())
