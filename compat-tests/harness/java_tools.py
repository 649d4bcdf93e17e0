"""Apache Kafka's command-line tools, from the same jars as the broker: what `bin/kafka-*.sh` would start."""

from __future__ import annotations

import enum
import subprocess

from harness.kafka import class_path

TIMEOUT = 120
"""Seconds of one command."""


class Tool(enum.StrEnum):
    """The scripts' names without `kafka-`, and the classes that they start."""

    BROKER_API_VERSIONS = "org.apache.kafka.tools.BrokerApiVersionsCommand"
    CLUSTER = "org.apache.kafka.tools.ClusterTool"
    CONFIGS = "kafka.admin.ConfigCommand"
    CONSOLE_CONSUMER = "org.apache.kafka.tools.consumer.ConsoleConsumer"
    CONSOLE_PRODUCER = "org.apache.kafka.tools.ConsoleProducer"
    CONSUMER_GROUPS = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
    DELETE_RECORDS = "org.apache.kafka.tools.DeleteRecordsCommand"
    GET_OFFSETS = "org.apache.kafka.tools.GetOffsetShell"
    GROUPS = "org.apache.kafka.tools.GroupsCommand"
    LOG_DIRS = "org.apache.kafka.tools.LogDirsCommand"
    TOPICS = "org.apache.kafka.tools.TopicCommand"


class ToolError(Exception):
    """A tool ended with a status other than 0; its text is all that it printed."""


def run(tool: Tool, *words: str, data: str | None = None) -> str:
    """What the tool prints on standard output. Raises ToolError."""
    java = ["java", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", class_path(), tool.value]
    done = subprocess.run([*java, *words], input=data or "", capture_output=True, text=True, timeout=TIMEOUT)
    if done.returncode:
        raise ToolError(f"{done.stdout}\n{done.stderr}")
    return done.stdout
