"""A small client that speaks frames: one socket, no retries, no threads, every byte under the test's control.

Bodies are written and read by `kio`, an implementation that is not the product's. `Connection.call` sends one request
and reads its answer; `send` and `receive` take them apart for pipelining; `send_frame` sends anything at all.

Fields are given as plain values: nested structs as dicts, durations in milliseconds. What is left out is kio's
default, else zero, empty or null.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import io
import socket
import struct
import time
import types
import typing
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

from kio.index import load_request_schema, load_response_schema
from kio.schema.errors import ErrorCode
from kio.schema.index import api_key_map
from kio.serial import entity_reader, entity_writer

from harness import batches

KEYS = {name: key for key, name in api_key_map.items()}
NO_TOPIC_ID = uuid.UUID(int=0)


class ConnectionClosed(Exception):
    """The broker closed the connection, in between frames or inside of one."""


class Connection:
    """One TCP connection. Not safe for threads."""

    def __init__(self, host: str, port: int, *, timeout: float = 15, client_id: str | None = "compat") -> None:
        self.socket = socket.create_connection((host, port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.client_id = client_id
        self._next_correlation_id = 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def send_bytes(self, data: bytes) -> None:
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise ConnectionClosed from error

    def send_frame(self, payload: bytes) -> None:
        self.send_bytes(struct.pack(">i", len(payload)) + payload)

    def receive_frame(self) -> bytes:
        """The next frame without its size. Raises ConnectionClosed, or TimeoutError after the socket's timeout."""
        (size,) = struct.unpack(">i", self._receive_exactly(4))
        return self._receive_exactly(size)

    def _receive_exactly(self, size: int) -> bytes:
        data = bytearray(size)
        view, filled = memoryview(data), 0
        while filled < size:
            try:
                read = self.socket.recv_into(view[filled:])
            except ConnectionResetError as error:
                raise ConnectionClosed from error
            if read == 0:
                raise ConnectionClosed
            filled += read
        return bytes(data)

    def is_closed_by_peer(self, timeout: float = 5) -> bool:
        """Whether the peer closes the connection within `timeout` seconds without sending anything before."""
        before = self.socket.gettimeout()
        self.socket.settimeout(timeout)
        try:
            data = self.socket.recv(1)
        except TimeoutError:
            return False
        except ConnectionResetError:
            return True
        finally:
            self.socket.settimeout(before)
        return data == b""

    def has_nothing_to_read(self, timeout: float = 0.3) -> bool:
        """Whether the connection stays open and silent for `timeout` seconds."""
        before = self.socket.gettimeout()
        self.socket.settimeout(timeout)
        try:
            self.socket.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(before)
        return False

    def send(self, api: str, version: int, fields: Mapping[str, Any] | None = None, *, lenient: bool = False) -> int:
        """Send one request and return its correlation id."""
        correlation_id = self._next_correlation_id
        self._next_correlation_id += 1
        self.send_frame(encode_request(api, version, fields or {}, correlation_id, self.client_id, lenient=lenient))
        return correlation_id

    def receive(self, api: str, version: int, correlation_id: int | None = None) -> Any:
        """The next answer, which must be of this kind and, when given, carry this correlation id."""
        frame = self.receive_frame()
        body, got = response_body(api, version, frame)
        assert correlation_id is None or got == correlation_id, (
            f"answers out of order: {got}, expected {correlation_id}"
        )
        return decode_response(api, version, frame, body)

    def call(self, api: str, version: int, **fields: Any) -> Any:
        return self.receive(api, version, self.send(api, version, fields))

    # Requests that many tests make, spanning versions: fields that a version lacks are left out.

    def produce(
        self,
        topic: str | uuid.UUID,
        partitions: Mapping[int, bytes | None],
        *,
        version: int = 9,
        acks: int = -1,
        timeout_ms: int = 10_000,
        transactional_id: str | None = None,
    ) -> dict[int, Any]:
        """Produce one record set per partition; partition -> its answer."""
        fields = produce_fields(topic, partitions, acks=acks, timeout_ms=timeout_ms, transactional_id=transactional_id)
        answer = self.receive("produce", version, self.send("produce", version, fields, lenient=True))
        return {part.index: part for asked in answer.responses for part in asked.partition_responses}

    def fetch(
        self, topic: str | uuid.UUID, offsets: Mapping[int, int], *, version: int = 11, **options: Any
    ) -> dict[int, Any]:
        """Fetch from partition -> offset; partition -> its answer. Options as in `fetch_fields`."""
        correlation_id = self.send("fetch", version, fetch_fields(topic, offsets, **options), lenient=True)
        answer = self.receive("fetch", version, correlation_id)
        assert answer.__class__.__version__ < 7 or answer.error_code == ErrorCode.none, answer.error_code
        return {part.partition_index: part for asked in answer.responses for part in asked.partitions}

    def list_offset(self, topic: str, partition: int, timestamp: int, *, version: int = 5, **options: Any) -> Any:
        """The answer for one partition; `options` are current_leader_epoch and isolation_level."""
        fields = {
            "replica_id": -1,
            "isolation_level": options.get("isolation_level", 0),
            "topics": [
                {
                    "name": topic,
                    "partitions": [
                        {
                            "partition_index": partition,
                            "timestamp": timestamp,
                            "current_leader_epoch": options.get("current_leader_epoch", -1),
                        }
                    ],
                }
            ],
            "timeout_ms": 10_000,
        }
        answer = self.receive("list_offsets", version, self.send("list_offsets", version, fields, lenient=True))
        return answer.topics[0].partitions[0]

    def metadata(self, topics: Iterable[str] | None, *, version: int = 12, create: bool = False) -> Any:
        named = None if topics is None else [{"name": name, "topic_id": NO_TOPIC_ID} for name in topics]
        fields = {"topics": named, "allow_auto_topic_creation": create}
        return self.receive("metadata", version, self.send("metadata", version, fields, lenient=True))

    def topic_id(self, topic: str) -> uuid.UUID:
        (found,) = self.metadata([topic]).topics
        assert found.error_code == ErrorCode.none, found.error_code
        return uuid.UUID(str(found.topic_id))

    def create_topic(
        self,
        topic: str,
        partitions: int = 1,
        *,
        replication_factor: int = 1,
        configs: Mapping[str, str] | None = None,
        version: int = 7,
        **more: Any,
    ) -> Any:
        """The answer for one topic of CreateTopics."""
        asked = {
            "name": topic,
            "num_partitions": partitions,
            "replication_factor": replication_factor,
            "assignments": more.get("assignments", []),
            "configs": [{"name": name, "value": value} for name, value in (configs or {}).items()],
        }
        fields = {"topics": [asked], "timeout_ms": 15_000, "validate_only": more.get("validate_only", False)}
        return self.receive("create_topics", version, self.send("create_topics", version, fields, lenient=True)).topics[
            0
        ]

    def create_usable_topic(self, topic: str, partitions: int = 1, configs: Mapping[str, str] | None = None) -> str:
        """Create a topic and wait until each of its partitions has a leader that answers; Kafka answers before that."""
        answer = self.create_topic(topic, partitions, configs=configs)
        assert answer.error_code == ErrorCode.none, answer
        for partition in range(partitions):
            self.end_offset(topic, partition)
        return topic

    def end_offset(self, topic: str, partition: int = 0) -> int:
        """The high watermark; waits while the partition has no leader, as after a start."""
        deadline = time.monotonic() + 20
        while True:
            answer = self.list_offset(topic, partition, -1)
            if answer.error_code == ErrorCode.none:
                return int(answer.offset)
            assert answer.error_code.retriable, answer.error_code
            assert time.monotonic() < deadline, f"{topic}-{partition}: {answer.error_code}"
            time.sleep(0.01)

    def new_producer_id(self) -> int:
        """A fresh producer id, of epoch 0; waits while the broker has no ids to give, as after a start."""
        deadline = time.monotonic() + 20
        while True:
            answer = self.call(
                "init_producer_id",
                4,
                transactional_id=None,
                transaction_timeout=60_000,
                producer_id=-1,
                producer_epoch=-1,
            )
            if answer.error_code == ErrorCode.none:
                assert answer.producer_epoch == 0
                return int(answer.producer_id)
            assert answer.error_code.retriable, answer.error_code
            assert time.monotonic() < deadline, answer.error_code
            time.sleep(0.01)

    def read_all(self, topic: str, partition: int = 0, offset: int = 0, *, version: int = 11) -> list[batches.Batch]:
        """All batches from `offset` to the high watermark as it is when the reading starts."""
        end = self.end_offset(topic, partition)
        found: list[batches.Batch] = []
        while offset < end:
            answer = self.fetch(topic, {partition: offset}, version=version)[partition]
            assert answer.error_code == ErrorCode.none, answer.error_code
            got = batches.parse_batches(answer.records)
            assert got, f"nothing at {topic}-{partition} offset {offset}, high watermark {end}"
            found += got
            offset = got[-1].last_offset + 1
        return found


def produce_fields(topic: str | uuid.UUID, partitions: Mapping[int, bytes | None], **options: Any) -> dict[str, Any]:
    """A Produce request's fields for any version; a UUID names the topic by id (v13 and later)."""
    data = [{"index": index, "records": records} for index, records in partitions.items()]
    return {
        "transactional_id": options.get("transactional_id"),
        "acks": options.get("acks", -1),
        "timeout": options.get("timeout_ms", 10_000),
        "timeout_ms": options.get("timeout_ms", 10_000),
        "topic_data": [{**_topic(topic), "partition_data": data}],
    }


def fetch_fields(
    topic: str | uuid.UUID,
    offsets: Mapping[int, int],
    *,
    max_wait_ms: int = 500,
    min_bytes: int = 1,
    max_bytes: int = 50 << 20,
    partition_max_bytes: int = 10 << 20,
    isolation_level: int = 0,
    current_leader_epoch: int = -1,
) -> dict[str, Any]:
    """A Fetch request's fields for any version, without a session."""
    return {
        "replica_id": -1,
        "max_wait": max_wait_ms,
        "max_wait_ms": max_wait_ms,
        "min_bytes": min_bytes,
        "max_bytes": max_bytes,
        "isolation_level": isolation_level,
        "session_id": 0,
        "session_epoch": -1,
        "topics": [
            {
                **_topic(topic),
                "partitions": [
                    {
                        "partition": partition,
                        "current_leader_epoch": current_leader_epoch,
                        "fetch_offset": offset,
                        "last_fetched_epoch": -1,
                        "log_start_offset": -1,
                        "partition_max_bytes": partition_max_bytes,
                    }
                    for partition, offset in offsets.items()
                ],
            }
        ],
    }


def _topic(topic: str | uuid.UUID) -> dict[str, Any]:
    return {"topic_id": topic} if isinstance(topic, uuid.UUID) else {"name": topic, "topic": topic}


def encode_header(key: int, version: int, correlation_id: int, client_id: str | None, *, flexible: bool) -> bytes:
    """Request header v1, or v2 when flexible."""
    name = b"" if client_id is None else client_id.encode()
    header = struct.pack(">hhih", key, version, correlation_id, -1 if client_id is None else len(name)) + name
    return header + b"\0" if flexible else header


def encode_request(
    api: str,
    version: int,
    fields: Mapping[str, Any],
    correlation_id: int = 1,
    client_id: str | None = "compat",
    *,
    lenient: bool = False,
) -> bytes:
    """A whole request without the frame's size. `lenient` drops fields that this version does not have."""
    schema = load_request_schema(KEYS[api], version)
    body = io.BytesIO()
    _writer(schema)(body, build(schema, fields, lenient=lenient))
    return encode_header(KEYS[api], version, correlation_id, client_id, flexible=schema.__flexible__) + body.getvalue()


def response_body(api: str, version: int, frame: bytes) -> tuple[int, int]:
    """Where the body starts in a response frame, and the correlation id. ApiVersions has header v0 in every version."""
    (correlation_id,) = struct.unpack_from(">i", frame)
    flexible = load_response_schema(KEYS[api], version).__flexible__ and api != "api_versions"
    assert not flexible or frame[4] == 0, "a response header with tags"
    return (5 if flexible else 4), correlation_id


def decode_response(api: str, version: int, frame: bytes, start: int) -> Any:
    """The body of a response; bytes that are left over are an error of the broker."""
    entity, size = entity_reader(load_response_schema(KEYS[api], version))(frame, start)
    assert start + size == len(frame), f"{len(frame) - start - size} bytes after the {api} v{version} response"
    return entity


@functools.cache
def _writer(schema: Any) -> Callable[[Any, Any], None]:
    return entity_writer(schema)


@functools.cache
def _hints(schema: Any) -> dict[str, Any]:
    return typing.get_type_hints(schema)


def build(schema: Any, values: Mapping[str, Any], *, lenient: bool = False) -> Any:
    """A kio struct from plain values."""
    fields = {field.name: field for field in dataclasses.fields(schema)}
    if unknown := [name for name in values if name not in fields]:
        assert lenient, f"{schema.__name__} v{schema.__version__} has no {unknown}, only {list(fields)}"
    given = {}
    for name, field in fields.items():
        hint, kind = _hints(schema)[name], field.metadata.get("kafka_type")
        if name in values:
            given[name] = _convert(hint, kind, values[name], lenient)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            given[name] = _empty(hint, kind)
    return schema(**given)


def _convert(hint: Any, kind: str | None, value: Any, lenient: bool) -> Any:
    if value is None:
        return None
    inner = _without_none(hint)
    if typing.get_origin(inner) is tuple:
        item = typing.get_args(inner)[0]
        return tuple(_convert(item, kind, each, lenient) for each in value)
    if dataclasses.is_dataclass(inner):
        return build(inner, value, lenient=lenient) if isinstance(value, Mapping) else value
    if kind is not None and kind.startswith("timedelta"):
        return datetime.timedelta(milliseconds=value)
    return value


def _empty(hint: Any, kind: str | None) -> Any:
    inner = _without_none(hint)
    if inner is not hint:
        return None
    if typing.get_origin(inner) is tuple:
        return ()
    if dataclasses.is_dataclass(inner):
        return build(inner, {})
    return {"string": "", "bytes": b"", "records": b"", "bool": False, "uuid": NO_TOPIC_ID}.get(
        kind or "", datetime.timedelta(0) if kind and kind.startswith("timedelta") else 0
    )


def _without_none(hint: Any) -> Any:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        inner = [each for each in typing.get_args(hint) if each is not type(None)]
        return inner[0]
    return hint
