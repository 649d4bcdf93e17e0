"""Members of groups on raw connections, many in one process: they join, share partitions, read, and heartbeat.

Each does what clients do: it asks for a member id, joins with it, syncs (the leader gives out partitions in order), and
begins again when a heartbeat says that the group rebalances. A client library would add back-offs and polls of its own,
which on both systems would be most of what is measured.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

REBALANCE_IN_PROGRESS, MEMBER_ID_REQUIRED = 27, 79
ILLEGAL_GENERATION = 22
SESSION_MS = 60_000
JOINING_HEARTBEAT_S = 0.05
"""While a group is still coming together; the client's own default of 3 s would be all that one sees."""


class MemberError(Exception):
    """The broker answered an error that no healthy group gives."""


class _Member:
    def __init__(self, port: int, group: str) -> None:
        self._port, self._group = port, group
        self._correlation_id = 0
        self.member_id = ""
        self.generation = -1
        self.members = 0
        """How many the assignment was made for."""
        self.partition = -1

    async def connect(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    async def ask(self, key: int, version: int, body: bytes) -> memoryview:
        """The answer from after its correlation id."""
        self._correlation_id += 1
        head = struct.pack(">hhi", key, version, self._correlation_id) + _string("bench")
        self._writer.write(struct.pack(">i", len(head) + len(body)) + head + body)
        (size,) = struct.unpack(">i", await self._reader.readexactly(4))
        answer = await self._reader.readexactly(size)
        if struct.unpack_from(">i", answer)[0] != self._correlation_id:
            raise MemberError("answers out of order")
        return memoryview(answer)[4:]

    async def join(self) -> None:
        """Until there is an assignment."""
        while not await self._join_once():
            pass

    async def _join_once(self) -> bool:
        body = (
            _string(self._group)
            + struct.pack(">ii", SESSION_MS, SESSION_MS)
            + _string(self.member_id)
            + struct.pack(">h", -1)
            + _string("consumer")
            + struct.pack(">i", 1)
            + _string("range")
            + _bytes(struct.pack(">hii", 0, 0, 0))
        )
        answer = await self.ask(11, 5, body)
        _, error, generation = struct.unpack_from(">ihi", answer)
        at = 10
        _, at = _read_string(answer, at)
        leader, at = _read_string(answer, at)
        self.member_id, at = _read_string(answer, at)
        if error == MEMBER_ID_REQUIRED:
            return False
        _check(error, "JoinGroup")
        (count,) = struct.unpack_from(">i", answer, at)
        at += 4
        assignments = b""
        for number in range(count):
            member_id, at = _read_string(answer, at)
            at += 2  # no instance id
            at += 4 + struct.unpack_from(">i", answer, at)[0]
            assignments += _string(member_id) + _bytes(struct.pack(">ii", number, count))
        assert (leader == self.member_id) == (count > 0)
        body = _string(self._group) + struct.pack(">i", generation) + _string(self.member_id) + struct.pack(">h", -1)
        answer = await self.ask(14, 3, body + struct.pack(">i", count) + assignments)
        _, error, size = struct.unpack_from(">ihi", answer)
        if error == REBALANCE_IN_PROGRESS:
            return False
        _check(error, "SyncGroup")
        if size != 8:
            raise MemberError(f"an assignment of {size} bytes")
        self.partition, self.members = struct.unpack_from(">ii", answer, 10)
        self.generation = generation
        return True

    async def heartbeat(self) -> bool:
        """False when the group rebalances."""
        body = _string(self._group) + struct.pack(">i", self.generation) + _string(self.member_id)
        _, error = struct.unpack_from(">ih", await self.ask(12, 3, body + struct.pack(">h", -1)))
        if error in (REBALANCE_IN_PROGRESS, ILLEGAL_GENERATION):
            return False
        _check(error, "Heartbeat")
        return True

    async def join_with(self, members: int) -> None:
        """Until the group has so many members."""
        await self.join()
        while self.members < members:
            await asyncio.sleep(JOINING_HEARTBEAT_S)
            if not await self.heartbeat():
                await self.join()

    async def first_record(self, topic: str) -> None:
        """What was committed, then the first record of the partition."""
        named = struct.pack(">i", 1) + _string(topic) + struct.pack(">ii", 1, self.partition)
        answer = await self.ask(9, 5, _string(self._group) + named)
        _, at = _read_string(answer, 8)
        (offset,) = struct.unpack_from(">q", answer, at + 8)
        body = struct.pack(">iiiibiii", -1, 500, 1, 1 << 20, 0, 0, -1, 1) + _string(topic)
        body += struct.pack(">iiiqqi", 1, self.partition, -1, max(offset, 0), -1, 1 << 20)
        answer = await self.ask(1, 11, body + struct.pack(">i", 0) + _string(""))
        _, at = _read_string(answer, 14)
        _, _, error, high_watermark = struct.unpack_from(">iihq", answer, at)
        _check(error, "Fetch")
        if high_watermark < 1 or len(answer) < at + 60:
            raise MemberError(f"no record in {topic}-{self.partition}")

    async def leave(self) -> None:
        await self.ask(13, 0, _string(self._group) + _string(self.member_id))


def join(port: int, group: str, topic: str, members: int) -> float:
    """Seconds from the first connect until all members of a new group have read a record of their own partition."""

    async def run() -> float:
        made = [_Member(port, group) for _ in range(members)]

        async def one(member: _Member) -> None:
            await member.connect()
            await member.join_with(members)
            await member.first_record(topic)

        begin = time.perf_counter()
        await _together(one(member) for member in made)
        elapsed_s = time.perf_counter() - begin
        if sorted(member.partition for member in made) != list(range(members)):
            raise MemberError("a partition has two members, or none")
        for member in made:
            await member.leave()
            await member.close()
        return elapsed_s

    return asyncio.run(run())


def heartbeats(
    port: int, prefix: str, groups: int, members: int, interval_s: float, seconds: float,
    measured: Callable[[], AbstractContextManager[Any]],
) -> int:  # fmt: skip
    """Heartbeats of groups with so many members each, for `seconds` inside of `measured`; how many there were."""

    async def run() -> int:
        made = [_Member(port, f"{prefix}-{number // members}") for number in range(groups * members)]

        async def one(member: _Member) -> None:
            await member.connect()
            await member.join_with(members)

        for at in range(0, len(made), 10 * members):  # not all at once: backlogs of sockets are not what is measured
            await _together(one(member) for member in made[at : at + 10 * members])
        count = 0

        async def beat(member: _Member, delay_s: float) -> None:
            nonlocal count
            await asyncio.sleep(delay_s)
            while True:
                if not await member.heartbeat():
                    raise MemberError("a stable group rebalances")
                count += 1
                await asyncio.sleep(interval_s)

        tasks = [
            asyncio.create_task(beat(member, interval_s * number / len(made))) for number, member in enumerate(made)
        ]
        await asyncio.sleep(interval_s)
        with measured():
            before = count
            await asyncio.sleep(seconds)
            beaten = count - before
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome
        for member in made:
            await member.close()
        return beaten

    return asyncio.run(run())


async def _together(work: Any) -> None:
    async with asyncio.TaskGroup() as group:
        for each in work:
            group.create_task(each)


def _string(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()


def _bytes(data: bytes) -> bytes:
    return struct.pack(">i", len(data)) + data


def _read_string(data: memoryview, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from(">h", data, at)
    at += 2
    return (str(data[at : at + length], "utf-8"), at + length) if length >= 0 else ("", at)


def _check(error: int, what: str) -> None:
    if error:
        raise MemberError(f"{what}: error {error}")
