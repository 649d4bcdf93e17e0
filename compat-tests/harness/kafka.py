"""How Apache Kafka is started, the yardstick: a test that fails there is a wrong test.

One KRaft node from the jars of Maven Central. The class path is resolved once and kept in ~/.cache/tailrace; needs
`mvn` and Java 17. `wal.sync=always` becomes a flush per batch; the product's other settings have no counterpart and
are left out.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from harness.process import HOST, Broker, Setting, Settings, free_port, need

VERSION = "4.3.1"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tailrace" / f"kafka-{VERSION}"
CLUSTER_ID = "dGFpbHJhY2UtY29tcGF0MA"

SHARED_SETTINGS = (
    Setting.NUM_PARTITIONS,
    Setting.INITIAL_REBALANCE_DELAY_MS,
    Setting.GROUP_MAX_SIZE,
    Setting.LOG_RETENTION_HOURS,
    Setting.LOG_RETENTION_CHECK_INTERVAL_MS,
    Setting.MAX_CONNECTIONS_PER_IP,
    Setting.MAX_CONNECTIONS_PER_IP_OVERRIDES,
)
"""Settings of Kafka's names: handed on."""

POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tailrace.compat</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>{VERSION}</version></dependency>
  </dependencies>
</project>
"""


def class_path() -> str:
    """The jars of Apache Kafka and what they need, fetched by Maven on first use and after a change of POM."""
    resolved = CACHE / f"classpath-{hashlib.sha256(POM.encode()).hexdigest()[:12]}.txt"
    need("java")
    if not resolved.exists():
        need("mvn")
        CACHE.mkdir(parents=True, exist_ok=True)
        (CACHE / "pom.xml").write_text(POM)
        subprocess.run(
            ["mvn", "-q", "-B", "dependency:build-classpath", f"-Dmdep.outputFile={resolved}"],
            cwd=CACHE,
            check=True,
            stdin=subprocess.DEVNULL,
            timeout=900,
        )
    return resolved.read_text().strip()


class Kafka(Broker):
    """`kafka.Kafka` as a child, broker and controller in one."""

    name = "kafka"
    ready_timeout = 90.0

    def __init__(self, folder: Path, settings: Settings | None = None, *, data_dir: Path | None = None) -> None:
        super().__init__(HOST, free_port())
        self.folder = folder
        self.data_dir = data_dir or folder / "data"
        self.log_path = folder / "kafka.log"
        self.settings: dict[Setting, str | int] = dict(settings or {})
        self._controller_port = free_port()

    def start(self) -> None:
        properties = self._write_properties()
        if not (self.data_dir / "meta.properties").exists():
            tool = [*self._java("128m"), "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(properties)]
            subprocess.run(tool, check=True, stdout=subprocess.DEVNULL, timeout=60)
            # The tool does not sync bootstrap.checkpoint, and an empty one keeps a recovered node from starting.
            subprocess.run(["sync", "-f", str(self.data_dir)], check=True)
        super().start()

    def _java(self, heap: str) -> list[str]:
        return ["java", f"-Xmx{heap}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", class_path()]

    def command(self) -> Sequence[str]:
        return [*self._java("512m"), "kafka.Kafka", str(self._write_properties())]

    def _write_properties(self) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        synced = self.settings.get(Setting.WAL_SYNC) == "always"
        properties = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://{HOST}:{self._controller_port}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "controller.listener.names": "CONTROLLER",
            # Voters by configuration: with dynamic ones the log holds the address, and a copied data folder would
            # join the original.
            "controller.quorum.voters": f"1@{HOST}:{self._controller_port}",
            # A killed broker's registration expires before its successor is let in.
            "broker.session.timeout.ms": 1000,
            "broker.heartbeat.interval.ms": 200,
            "log.dirs": self.data_dir,
            "offsets.topic.replication.factor": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "share.coordinator.state.topic.replication.factor": 1,
            "group.initial.rebalance.delay.ms": 0,
            "num.recovery.threads.per.data.dir": 2,
            **({"log.flush.interval.messages": 1} if synced else {}),
            **{key.value: value for key, value in self.settings.items() if key in SHARED_SETTINGS},
        }
        path = self.folder / "server.properties"
        path.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
        return path
