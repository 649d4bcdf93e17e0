"""Run librdkafka's broker tests against a fresh broker and print a table: `python librdkafka/run.py --help`.

Run from compat-tests/. Exits with 1 when a test of tests.allow fails, or one that is not there passes every round.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness.kafka import Kafka
from harness.tailrace import Tailrace
from librdkafka.suite import HERE, SETTINGS, TIMEOUT, built_runner, read_tests, run_test


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tests", nargs="*", help="numbers; default: all of tests.all")
    parser.add_argument("--system", choices=("tailrace", "kafka"), default="tailrace")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--logs", type=Path, help="folder that keeps what the tests print")
    parser.add_argument("--json", type=Path, help="file for the outcomes")
    arguments = parser.parse_args()
    listed = {test.number: test for test in read_tests("tests.all")}
    allowed = {test.number for test in read_tests("tests.allow")}
    numbers = arguments.tests or list(listed)
    built_runner()
    logs = arguments.logs or Path(tempfile.mkdtemp(prefix="librdkafka-"))
    logs.mkdir(parents=True, exist_ok=True)
    outcomes: dict[str, list[tuple[int | None, float]]] = {number: [] for number in numbers}
    for turn in range(1, arguments.rounds + 1):
        folder = logs / f"round-{turn}"
        folder.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory() as data:
            broker = (Kafka if arguments.system == "kafka" else Tailrace)(Path(data), SETTINGS)
            broker.start()
            try:
                for number in numbers:
                    outcome = run_test(number, broker.bootstrap, folder, TIMEOUT)
                    outcomes[number].append((outcome.exit_code, outcome.seconds))
                    word = "ok" if outcome.exit_code == 0 else f"FAILED ({outcome.exit_code})"
                    print(f"round {turn}  {number}  {word:14} {outcome.seconds:6.1f} s", flush=True)
            finally:
                broker.close()
    passed = [number for number, each in outcomes.items() if all(code == 0 for code, _ in each)]
    flaky = [number for number, each in outcomes.items() if len({code == 0 for code, _ in each}) > 1]
    print(f"{len(passed)} of {len(numbers)} pass in every round; flaky: {', '.join(flaky) or 'none'}; logs in {logs}")
    if arguments.json:
        revision = ["git", "-C", str(HERE), "rev-parse", "--short=12", "HEAD"]
        kept = {
            "date": datetime.now(UTC).date().isoformat(),
            "commit": subprocess.run(revision, check=True, capture_output=True, text=True).stdout.strip(),
            "system": arguments.system,
            "exit_code_and_seconds_of_each_round": {
                number: [[code, round(seconds, 1)] for code, seconds in each] for number, each in outcomes.items()
            },
        }
        arguments.json.write_text(re.sub(r"\n {3,}|\n {2}(?=\])", " ", json.dumps(kept, indent=1)) + "\n")
    broken = [number for number in numbers if number in allowed and number not in passed]
    unlisted = [number for number in passed if number not in allowed]
    if broken:
        print(f"in tests.allow and not passing: {', '.join(broken)}")
    if unlisted:
        print(f"passing and not in tests.allow: {', '.join(unlisted)}")
    return 1 if arguments.system == "tailrace" and (broken or unlisted) else 0


if __name__ == "__main__":
    sys.exit(main())
