"""The few requests the bench makes by hand: ApiVersions, Metadata, CreateTopics, DeleteTopics, ListOffsets,
and a group's coordinator.

One blocking connection, one request at a time, in versions without flexible encoding. A client library would add its
own retries and caches to what is timed (start-up, creation), and would hide errors that a load should fail with.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager

EARLIEST, LATEST = -2, -1


class WireError(Exception):
    """The broker answered an error code, or not what was asked for."""


class Wire:
    """One connection. Every call raises OSError when it breaks and WireError when the broker refuses."""

    def __init__(self, port: int, timeout_s: float = 30) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout_s)
        self._stream = self._socket.makefile("rb")

    def close(self) -> None:
        self._stream.close()
        self._socket.close()

    def api_versions(self) -> dict[int, tuple[int, int]]:
        """Key to (min, max) version."""
        answer = self._ask(18, 0, b"")
        error, count = answer.take("hi")
        _check(error, "ApiVersions")
        return {key: (low, high) for key, low, high in (answer.take("hhh") for _ in range(count))}

    def create_topic(self, name: str, partitions: int) -> None:
        body = struct.pack(">i", 1) + _string(name) + struct.pack(">ihiiib", partitions, 1, 0, 0, 60_000, 0)
        answer = self._ask(19, 4, body)
        answer.take("ii")
        answer.string()
        (error,) = answer.take("h")
        _check(error, f"CreateTopics {name}: {answer.string()}")

    def delete_topic(self, name: str) -> None:
        answer = self._ask(20, 3, struct.pack(">i", 1) + _string(name) + struct.pack(">i", 30_000))
        answer.take("ii")
        answer.string()
        _check(answer.take("h")[0], f"DeleteTopics {name}")

    def partitions_led(self, topic: str) -> int:
        """How many partitions of the topic have a leader."""
        answer = self._ask(3, 5, struct.pack(">i", 1) + _string(topic) + b"\x00")
        answer.take("i")
        for _ in range(answer.take("i")[0]):
            answer.take("i")
            answer.string()
            answer.take("i")
            answer.string()
        answer.string()
        _, topics, error = answer.take("iih")
        if topics != 1 or error:
            return 0
        answer.string()
        _, count = answer.take("?i")
        led = 0
        for _ in range(count):
            error, _, leader = answer.take("hii")
            led += error == 0 and leader >= 0
            for _ in range(3):
                answer.take(f"{answer.take('i')[0]}i")
        return led

    def offsets(self, topic: str, partitions: int, timestamp: int = LATEST) -> list[int]:
        """ListOffsets of partitions 0 up to `partitions` (exclusive), in order."""
        wanted = b"".join(struct.pack(">iq", p, timestamp) for p in range(partitions))
        answer = self._ask(
            2, 2, struct.pack(">ibi", -1, 0, 1) + _string(topic) + struct.pack(">i", partitions) + wanted
        )
        answer.take("ii")
        answer.string()
        found = {}
        for _ in range(answer.take("i")[0]):
            partition, error, _, offset = answer.take("ihqq")
            _check(error, f"ListOffsets {topic} {partition}")
            found[partition] = offset
        if len(found) != partitions:
            raise WireError(f"ListOffsets {topic}: {len(found)} of {partitions} partitions answered")
        return [found[p] for p in range(partitions)]

    def find_coordinator(self, group: str, limit_s: float = 60) -> None:
        """Waits until the group is served: its topic is made when somebody first asks."""
        begin = time.monotonic()
        while True:
            (error,) = self._ask(10, 0, _string(group)).take("h")
            if not error:
                (_, error) = self._ask(15, 0, struct.pack(">i", 1) + _string(group)).take("ih")
            if not error:
                return
            if time.monotonic() - begin > limit_s:
                _check(error, f"a coordinator for {group}")
            time.sleep(0.01)

    def delete_group(self, group: str) -> None:
        answer = self._ask(42, 0, struct.pack(">i", 1) + _string(group))
        answer.take("ii")
        answer.string()
        _check(answer.take("h")[0], f"DeleteGroups {group}")

    def _ask(self, key: int, version: int, body: bytes) -> _Answer:
        head = struct.pack(">hhi", key, version, 7) + _string("bench")
        self._socket.sendall(struct.pack(">i", len(head) + len(body)) + head + body)
        (size,) = struct.unpack(">i", self._exactly(4))
        answer = _Answer(self._exactly(size))
        if answer.take("i")[0] != 7:
            raise WireError("answer to another request")
        return answer

    def _exactly(self, size: int) -> bytes:
        got = self._stream.read(size)
        if len(got) != size:
            raise ConnectionResetError("the broker closed the connection")
        return got


@contextmanager
def wire(port: int) -> Iterator[Wire]:
    """A Wire that is closed at the end."""
    connection = Wire(port)
    try:
        yield connection
    finally:
        connection.close()


class _Answer:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, form: str) -> tuple[int, ...]:
        form = ">" + form
        values = struct.unpack_from(form, self._data, self._at)
        self._at += struct.calcsize(form)
        return values

    def string(self) -> str:
        (length,) = self.take("h")
        if length < 0:
            return ""
        self._at += length
        return self._data[self._at - length : self._at].decode()


def _string(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()


def _check(error: int, what: str) -> None:
    if error:
        raise WireError(f"{what}: error {error}")
