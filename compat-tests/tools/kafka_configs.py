"""Makes engine/tailrace_core/kafka_configs.tsv: every config of Apache Kafka that is not internal, out of its jars.

Run it after the version in harness/kafka.py moved: `python compat-tests/tools/kafka_configs.py`. It needs what that
needs, and `javac`. A line is: resource, name, type, default (\\N: none), what is allowed, how it changes at run time
(of brokers), and the broker configs that it derives from, the first that is set going before the others.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

COMPAT_TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(COMPAT_TESTS))

from harness.kafka import VERSION, class_path  # noqa: E402

TABLE = COMPAT_TESTS.parent / "engine" / "tailrace_core" / "kafka_configs.tsv"
HEADER = f"# Configs of Apache Kafka {VERSION}, printed by compat-tests/tools/kafka_configs.py\n"


def allowed(validator: str) -> str:
    """Kafka's text of a check, as `least..most` or `one|another`; what is
    neither stays as it is."""
    if numbers := re.fullmatch(r"\[(-?[\d.]+),\.\.\.(?:,(-?[\d.]+))?\](.*)", validator):
        least, most, more = numbers.groups()
        return f"{least}..{most or ''}{more}"
    if words := re.fullmatch(r"(\(case insensitive\) )?\[([\w,: ]+)\]", validator):
        either = "|".join(word.strip() for word in words[2].split(","))
        return f"(in any case) {either}" if words[1] else either
    return validator


def dump() -> list[list[str]]:
    path = class_path()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(__file__).with_name("KafkaConfigs.java")
        subprocess.run(["javac", "-d", folder, "-cp", path, source], check=True, timeout=120)
        java = ["java", "-cp", f"{folder}:{path}", "KafkaConfigs"]
        printed = subprocess.run(java, check=True, capture_output=True, text=True, timeout=120).stdout
    return [line.split("\t") for line in printed.splitlines()]


def main() -> None:
    order = ("topic", "broker", "group", "client_metrics")
    rows = sorted(dump(), key=lambda row: (order.index(row[0]), row[1]))
    for row in rows:
        row[4] = allowed(row[4])
        # A config is always its own first synonym where it has any: only the others say something.
        row[6] = "" if row[6] == row[1] and row[0] == "broker" else row[6]
    TABLE.write_text(HEADER + "".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
