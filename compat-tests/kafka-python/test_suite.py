"""kafka-python's own integration tests, of the version that is installed, against one broker with 4 partitions a topic.

They come out of its source distribution, checked against the lock, into ~/.cache/tailrace. Each file runs once, in a
pytest of its own; what it says of its tests is held against tests.allow, which lists those that pass: nothing else may.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from harness.process import Broker, Setting

VERSION = importlib.metadata.version("kafka-python")
HERE = Path(__file__).parent
LOCK = HERE.parents[1] / "requirements-compat.lock"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tailrace"
FILES = ("test_admin_integration", "test_consumer_integration", "test_producer_integration")
"""Those of TLS and SASL start brokers of their own and skip themselves here."""
KAFKA_VERSION = "4.3"
"""What the tests are told that the broker is."""
SERVICE = '''"""The broker is somebody else's; the source distribution lacks this file."""


class ExternalService:
    def __init__(self, host, port):
        self.host, self.port = host, port

    def open(self):
        pass

    def close(self):
        pass


SpawnedService = None
'''


@cache
def unpacked() -> Path:
    """The source distribution's tests, ready to run."""
    target = CACHE / f"kafka-python-{VERSION}"
    if (target / "test" / "service.py").exists():
        return target
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as name:
        work = Path(name)
        (locked,) = re.findall(rf"^kafka-python=={re.escape(VERSION)}(?: \\\n.*)+\n", LOCK.read_text(), re.MULTILINE)
        (work / "requirements.txt").write_text(locked)
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", "kafka-python"]
        subprocess.run(
            [*command, "--require-hashes", "-r", "requirements.txt"], cwd=work, check=True, timeout=300,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        with tarfile.open(next(work.glob("*.tar.gz"))) as archive:
            archive.extractall(work, filter="data")
        tree = work / f"kafka_python-{VERSION}"
        shutil.rmtree(tree / "kafka")  # the installed one is what is tested
        (tree / "test" / "__init__.py").touch()
        (tree / "test" / "service.py").write_text(SERVICE)
        shutil.rmtree(target, ignore_errors=True)
        tree.rename(target)
    return target


def allowed() -> set[str]:
    lines = (line.partition("#")[0].strip() for line in (HERE / "tests.allow").read_text().splitlines())
    return {line for line in lines if line}


@pytest.fixture(scope="session")
def suite_broker(start_broker: Callable[..., Broker], tmp_path_factory: pytest.TempPathFactory) -> Broker:
    # With Kafka's default delay of a first rebalance: a test gives four members 15 s to come together.
    settings = {Setting.NUM_PARTITIONS: 4, Setting.INITIAL_REBALANCE_DELAY_MS: 3000}
    return start_broker(tmp_path_factory.mktemp("kafka-python"), settings)


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("file", FILES)
def test_the_tests_that_are_listed_pass_and_no_others(
    file: str, suite_broker: Broker, tmp_path: Path, system: str
) -> None:
    result = tmp_path / "result.xml"
    command = [sys.executable, "-m", "pytest", f"test/integration/{file}.py", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "-o", "addopts=", "--timeout=120", "-W", "ignore", f"--junitxml={result}"],
        cwd=unpacked(),
        env={
            **os.environ,
            "KAFKA_URI": f"kafka://{suite_broker.bootstrap}",
            "KAFKA_VERSION": KAFKA_VERSION,
            "KAFKA_ROOT": str(tmp_path),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=850,
    )
    cases = list(ElementTree.parse(result).iter("testcase"))
    passed = {f"{file}::{case.get('name')}" for case in cases if not len(case)}
    ran = {f"{file}::{case.get('name')}" for case in cases if case.find("skipped") is None}
    assert cases, done.stdout
    listed = {name for name in allowed() if name.startswith(f"{file}::")}
    assert not listed - passed, f"{sorted(listed - passed)} should pass\n{done.stdout[-20_000:]}"
    if system == "tailrace":
        assert not passed & ran - listed, "these pass and are to be listed in tests.allow"
