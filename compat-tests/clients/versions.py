"""The versions of the clients that the tests run, read from where each is chosen."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
from pathlib import Path

from harness.kafka import VERSION

PROGRAMS = Path(__file__).parent / "programs"


def client_versions() -> dict[str, str]:
    """By the clients' names in MATRIX.md."""
    modules = (PROGRAMS / "go" / "go.mod").read_text()
    packages = json.loads((PROGRAMS / "node" / "package.json").read_text())["dependencies"]

    def go(module: str) -> str:
        found = re.search(rf"^\s*{re.escape(module)} v(\S+)", modules, re.MULTILINE)
        assert found is not None, module
        return found[1]

    return {
        "kcat": _kcat(),
        **{name: importlib.metadata.version(name) for name in ("confluent-kafka", "aiokafka", "kafka-python")},
        "kafkajs": packages["kafkajs"],
        "sarama": go("github.com/IBM/sarama"),
        "franz-go": go("github.com/twmb/franz-go"),
        "Java client": VERSION,
        "Kafka's tools": VERSION,
    }


def _kcat() -> str:
    """kcat's and, behind a slash, librdkafka's."""
    printed = subprocess.run(["kcat", "-V"], capture_output=True, text=True).stdout
    found = re.search(r"Version (\S+).*librdkafka (\S+)", printed)
    return f"{found[1]}/{found[2]}" if found else ""
