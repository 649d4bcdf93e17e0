"""Apache Kafka from its Maven jars: one KRaft node, 1 GiB of heap, the JVM options of Kafka's own scripts.

Two forms: as it comes (nothing is synced: the page cache is trusted), and synced per batch
(log.flush.interval.messages=1), which is what Tailrace's wal.sync=always promises. Everything else is Kafka's default
but for what one node needs, quick removal of deleted topics so that rounds do not fill the disk, and no delay before a
group's first rebalance, which would hide what joining costs.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from server import CACHE, Server, free_port

VERSION = "4.3.1"
HEAP = "1g"
JVM = [
    f"-Xms{HEAP}", f"-Xmx{HEAP}", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent", "-XX:MaxInlineLevel=15",
    "-Djava.awt.headless=true",
]  # fmt: skip

_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tailrace.bench</groupId>
  <artifactId>kafka</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version></dependency>
  </dependencies>
</project>
"""

_PROPERTIES = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
log.dirs={folder}/data
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.segment.delete.delay.ms=1000
group.initial.rebalance.delay.ms=0
"""


class KafkaDefault(Server):
    """Kafka as it comes."""

    label = "kafka-default"
    extra = ""

    def prepare(self) -> None:
        properties = self.folder / "server.properties"
        properties.write_text(
            _PROPERTIES.format(port=self.port, controller=free_port(), folder=self.folder) + self.extra
        )
        run = subprocess.run(
            ["java", "-Xmx256m", "-cp", classpath(), "kafka.tools.StorageTool", "format",
             "-t", "dGFpbHJhY2UtYmVuY2gtMQ", "-c", str(properties)],
            capture_output=True, text=True, timeout=120, cwd=self.folder,
        )  # fmt: skip
        if run.returncode:
            raise RuntimeError(f"Kafka's folder was not formatted:\n{run.stdout}{run.stderr}")

    def command(self) -> list[str]:
        return ["java", *JVM, "-cp", classpath(), "kafka.Kafka", str(self.folder / "server.properties")]


class KafkaSynced(KafkaDefault):
    """Kafka that syncs every batch before it answers."""

    label = "kafka-synced"
    extra = "log.flush.interval.messages=1\n"


def classpath() -> str:
    """The jars, fetched by Maven the first time."""
    folder = CACHE / f"kafka-{VERSION}"
    found = folder / "classpath.txt"
    if not found.exists() or not all(map(os.path.exists, found.read_text().strip().split(":"))):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "pom.xml").write_text(_POM)
        fresh = Path(f"{found}.new")
        subprocess.run(
            ["mvn", "-q", "-B", "dependency:build-classpath", f"-Dmdep.outputFile={fresh}"],
            cwd=folder, check=True, timeout=600,
        )  # fmt: skip
        fresh.replace(found)
    return found.read_text().strip()


def java_version() -> str:
    run = subprocess.run(["java", "-version"], capture_output=True, text=True, timeout=60)
    return run.stderr.splitlines()[0] if run.stderr else "unknown"
