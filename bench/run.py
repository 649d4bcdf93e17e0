"""The end-to-end bench: the same loads on Apache Kafka and on Tailrace, alternating, beside each other on one machine.

    run.py                          everything, medians of 3, rendered into docs/ (about 25 minutes)
    run.py --smoke                  every load very small, on Tailrace alone: does it work at all
    run.py --only one --only many --systems kafka-default,tailrace-always --rounds 1 --no-docs

Exit 1 when a load failed. A missed goal is no failure: the table says it.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import fcntl
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator

import generators
import kafka_server
import report
from goals import medians_of, verdicts
from kafka_server import KafkaDefault, KafkaSynced
from loads import FULL, LOADS, SMOKE, WARM_UP, Figures, Load
from server import WORK, Server, back_memory, machine_busy_s
from tailrace_server import TailraceAlways, TailraceInterval

SYSTEMS: dict[str, Callable[[], Server]] = {
    kind.label: kind for kind in (KafkaDefault, KafkaSynced, TailraceAlways, TailraceInterval)
}
SMOKE_SYSTEMS = [TailraceAlways.label, TailraceInterval.label]
HEADLINES = 4
WARM_UP_ROUNDS = 2
OTHER_CORES_MAX = 0.3
ATTEMPTS = 3
QUIET_LIMIT_S = 20.0
BACKED_BYTES = 8 << 30


class Bench:
    """One run: which brokers are up, what was measured, how far it is."""

    def __init__(self, loads: list[Load], systems: list[str], rounds: int, smoke: bool, attempts: int) -> None:
        self.shared = [load for load in loads if not load.own_broker]
        self.alone = [load for load in loads if load.own_broker]
        self.systems, self.rounds, self.smoke, self.attempts = systems, rounds, smoke, attempts
        self.scale = SMOKE if smoke else FULL
        self.figures: dict[str, dict[str, list[Figures]]] = {}
        self.failures: list[str] = []
        self._servers: list[Server] = []
        self._begin = self._measuring_since = time.monotonic()
        # Seconds of work that are expected and that are done tell the time to go; the estimate mends itself as it runs.
        self._expected = rounds * sum(load.seconds * len(self._of(load)) for load in loads)
        self._done = 0.0

    def run(self) -> None:
        """Everything. Brokers are removed at the end, whatever happens."""
        try:
            if self.shared:
                self._run_shared()
            for number in range(self.rounds):
                for load in self.alone:
                    for system in self._of(load, number):
                        server = self._new(system, load.name)
                        self._measure(load, server, number)
                        self._remove(server)
        finally:
            for server in list(self._servers):
                self._remove(server)

    def _run_shared(self) -> None:
        running: dict[str, Server] = {}
        for system in self.systems:
            server = self._new(system, "main")
            try:
                self._say(f"{system}: ready after {server.start():.2f} s")
                running[system] = server
            except Exception as error:
                self._fail(f"{system} did not start: {error}")
        if not self.smoke:
            self._warm_up(list(running.values()))
        self._measuring_since = time.monotonic()
        for number in range(self.rounds):
            for load in self.shared:
                for system in self._of(load, number):
                    if system in running:
                        self._measure(load, running[system], number)
        for system, server in running.items():
            try:
                if len(self.shared) == sum(not load.own_broker for load in LOADS):
                    self._keep("after_all", system, {"rss_mib": server.rss_mib()})
                server.stop()
            except Exception as error:
                self._fail(f"{system} at the end: {error}")
            self._remove(server)

    def _warm_up(self, servers: list[Server]) -> None:
        for number in range(WARM_UP_ROUNDS):
            for server in servers:
                self._say(f"warm-up {number + 1}/{WARM_UP_ROUNDS} of {server.label}")
                for load in self.shared:
                    try:
                        load.run(server, WARM_UP)
                    except Exception as error:
                        self._fail(f"{load.name} on {server.label} while warming up: {error}")

    def _measure(self, load: Load, server: Server, number: int) -> None:
        self._say(f"{load.title} on {server.label}, round {number + 1}/{self.rounds}")
        try:
            figures = min(self._attempts(load, server), key=_other_cores)
            self._keep(load.name, server.label, figures)
        except Exception as error:
            self._fail(f"{load.name} on {server.label}: {type(error).__name__}: {error}")
        self._done += load.seconds

    def _attempts(self, load: Load, server: Server) -> Iterator[Figures]:
        """Measurements until one was left alone by the rest of the machine; the caller takes the quietest."""
        for _ in range(1 if load.own_broker else self.attempts):
            if self.attempts > 1:
                self._await_quiet()
            figures = load.run(server, self.scale)
            if not figures or all(value == 0 for value in figures.values()):
                raise RuntimeError("nothing was measured")
            if not load.own_broker:
                server.settle()
            first = ", ".join(f"{name} {value:,.4g}" for name, value in list(figures.items())[:HEADLINES])
            disturbed = not self.smoke and _other_cores(figures) > OTHER_CORES_MAX
            print(
                f"      {first}{f' (disturbed: {_other_cores(figures):.1f} cores busy otherwise)' * disturbed}",
                flush=True,
            )
            yield figures
            if not disturbed:
                return

    def _await_quiet(self) -> None:
        """Waits, within a bound, until little else runs on the machine than the brokers."""
        end = time.monotonic() + QUIET_LIMIT_S
        calm = 0
        while calm < 2 and time.monotonic() < end:
            before = machine_busy_s()
            time.sleep(0.5)
            calm = calm + 1 if machine_busy_s() - before < 0.5 * OTHER_CORES_MAX else 0

    def _keep(self, load: str, system: str, figures: Figures) -> None:
        self.figures.setdefault(load, {}).setdefault(system, []).append(figures)

    def _of(self, load: Load, number: int = 0) -> list[str]:
        """The systems of a load, each round beginning with another one."""
        systems = [system for system in self.systems if system in load.systems]
        turn = number % len(systems) if systems else 0
        return systems[turn:] + systems[:turn]

    def _new(self, system: str, instance: str) -> Server:
        server = SYSTEMS[system]()
        server.folder = WORK / f"{system}-{instance}"
        self._servers.append(server)
        return server

    def _remove(self, server: Server) -> None:
        server.remove()
        self._servers.remove(server)

    def _fail(self, what: str) -> None:
        self.failures.append(what)
        print(f"      FAILED: {what}", flush=True)

    def _say(self, what: str) -> None:
        gone = time.monotonic() - self._begin
        pace = (time.monotonic() - self._measuring_since) / self._done if self._done > 30 else 1.0
        to_go = max(self._expected - self._done, 0) * (0.1 if self.smoke else pace)
        print(f"[{_clock(gone)}, about {_clock(to_go)} to go] {what}", flush=True)


def _other_cores(figures: Figures) -> float:
    return max((value for name, value in figures.items() if name.endswith("other_cores")), default=0.0)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _end(number: int, frame: object) -> None:
    """SIGTERM unwinds, so that the brokers are removed."""
    sys.exit(128 + number)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="very small, Tailrace alone, nothing written to docs/")
    parser.add_argument("--only", action="append", choices=[load.name for load in LOADS], help="this load (repeatable)")
    parser.add_argument("--rounds", type=int, help="default 3; 1 with --smoke")
    parser.add_argument("--systems", help=f"of {','.join(SYSTEMS)}; with --smoke the Tailrace ones")
    parser.add_argument("--no-docs", action="store_true", help="print, but leave docs/ alone")
    parser.add_argument("--no-repeat", action="store_true", help="no waiting for a quiet machine, nothing done again")
    options = parser.parse_args()
    systems = options.systems.split(",") if options.systems else SMOKE_SYSTEMS if options.smoke else list(SYSTEMS)
    if unknown := set(systems) - set(SYSTEMS):
        parser.error(f"unknown systems: {', '.join(unknown)}")
    rounds = options.rounds or (1 if options.smoke else 3)
    loads = [dataclasses.replace(load) for load in LOADS if not options.only or load.name in options.only]

    WORK.mkdir(parents=True, exist_ok=True)
    with (WORK / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            parser.exit(2, "another bench is running in this tree; two would measure each other\n")
        print("building the load generators", flush=True)
        generators.build()
        if any(system.startswith("kafka") for system in systems):
            print(f"looking for Apache Kafka {kafka_server.VERSION} (Maven fetches it the first time)", flush=True)
            kafka_server.classpath()
        if not options.smoke:
            print("touching memory, so that no broker pays for getting it from the host", flush=True)
            back_memory(BACKED_BYTES)
            with contextlib.suppress(PermissionError):  # brokers and generators inherit it: others disturb less
                os.setpriority(os.PRIO_PROCESS, 0, -20)
        signal.signal(signal.SIGTERM, _end)
        bench = Bench(loads, systems, rounds, options.smoke, 1 if options.smoke or options.no_repeat else ATTEMPTS)
        bench.run()

    medians = medians_of(bench.figures)
    print("\n" + report.terminal(report.figures_table(medians)))
    if not options.smoke and (found := verdicts(medians)):
        print("\n" + report.terminal(report.table(found)))
    if not (options.smoke or options.no_docs):
        report.write(report.about(rounds), bench.figures, bench.failures)
        print(f"\nwritten: {report.DOCS / 'figures.md'}")
    for failure in bench.failures:
        print(f"FAILED: {failure}")
    return 1 if bench.failures or not bench.figures else 0


if __name__ == "__main__":
    sys.exit(main())
