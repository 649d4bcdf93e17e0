"""Many connections at once, each with bursts of pipelined frames, and what must come back on them.

- A valid frame is answered, in its turn, and the answer is read by kio to its last byte.
- A mutated frame is answered like that, or the connection is closed, or (a long poll, say) nothing comes for a while.
- No answer holds UNKNOWN_SERVER_ERROR: the broker always knows what happened.
- A Produce with acks=0 is not answered; when it fails the connection is closed, as Kafka does.
- A connection is never closed while only other valid frames are on it. Half of the bursts are of one kind throughout.

What is expected is read off the bytes that are sent (`cut`), as a broker reads them. A frame behind one that closed the
connection was never looked at, so it is sent again on another.
"""

from __future__ import annotations

import random
import select
import socket
import struct
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from kio.schema.errors import ErrorCode

from fuzz import answers
from fuzz.cases import Case

BURST_MAX = 12
PATIENCE_SECONDS = 0.5
"""How long a connection may stand still at a frame that is allowed to wait."""
DEADLINE_SECONDS = 60.0
"""How long a valid frame may wait that has nothing to wait for; generous, as others share the machine."""
PRODUCE, JOIN_GROUP, SYNC_GROUP = 0, 11, 14
MAY_WAIT = (JOIN_GROUP, SYNC_GROUP)
"""Answered when the other members of the group have come, whoever they are."""
REMEMBERED = 20_000


class Found(Exception):
    """Something that must not be, with the cases that may have caused it, likeliest first."""

    def __init__(self, what: str, cases: list[Case]) -> None:
        super().__init__(what)
        self.cases = cases


class Sent(NamedTuple):
    """A frame as the broker reads it off the stream."""

    case: Case
    key: int
    version: int
    correlation_id: int

    @property
    def may_be_silent(self) -> bool:
        return self.case.silent or (self.key == PRODUCE and not self.case.valid)


class Tally:
    """What became of the frames."""

    def __init__(self) -> None:
        self.done = 0
        self.answered: Counter[tuple[int, int]] = Counter()
        self.answered_valid: Counter[tuple[int, int]] = Counter()
        self.closed = 0
        self.silent = 0
        self.left_waiting = 0
        self.connections = 0
        self.errors: Counter[ErrorCode] = Counter()
        self.recent: deque[Case] = deque(maxlen=REMEMBERED)

    def finish(self, case: Case) -> None:
        self.done += 1
        self.recent.append(case)


class _Lane:
    """One connection."""

    def __init__(self, sock: socket.socket, now: float) -> None:
        self.sock = sock
        self.pending: deque[Sent] = deque()
        self.unsent = memoryview(b"")
        self.received = bytearray()
        self.last_progress = now
        self.is_wild = False
        """The stream is no sequence of frames any more: nothing new may follow."""

    @property
    def is_free(self) -> bool:
        return not self.is_wild and not self.unsent and all(each.may_be_silent for each in self.pending)


def cut(stream: bytes, case: Case) -> Iterator[Sent]:
    """The frames in a stream, up to a size that cannot be or goes beyond the end."""
    at = 0
    while at + 4 <= len(stream):
        (size,) = struct.unpack_from(">i", stream, at)
        at += 4
        if not 0 < size <= len(stream) - at:
            return
        yield _sent(stream[at : at + size], case)
        at += size


def _sent(frame: bytes, case: Case) -> Sent:
    if len(frame) < 8:
        return Sent(case, -1, -1, -1)
    return Sent(case, *struct.unpack_from(">hhi", frame))


class Lanes:
    """Sends cases until there are no more; `run` raises Found."""

    def __init__(
        self, host: str, port: int, chance: random.Random, live: Callable[[bytes], bytes], count: int = 96
    ) -> None:
        self.tally = Tally()
        self._address = (host, port)
        self._chance = chance
        self._live = live
        self._count = count
        self._lanes: dict[int, _Lane] = {}
        self._again: deque[Case] = deque()
        self._poll = select.epoll()

    def run(self, cases: Iterator[Case], on_tick: Callable[[], None]) -> None:
        """Until every case is done. `on_tick` is called several times a second, and may raise."""
        self._cases = cases
        self._exhausted = False
        ticked = time.monotonic()
        while True:
            now = time.monotonic()
            if now - ticked > 0.2:
                ticked = now
                on_tick()
                self._look_for_stalls(now)
            while len(self._lanes) < self._count and self._has_more():
                self._open(now)
            for lane in list(self._lanes.values()):
                if lane.is_free and not self._start(lane, now):
                    self._finish(lane)
            if not self._lanes and not self._has_more():
                return
            for number, events in self._poll.poll(0.05):
                lane = self._lanes[number]
                if events & select.EPOLLOUT:
                    self._send(lane)
                if events & ~select.EPOLLOUT and number in self._lanes:
                    self._receive(lane, time.monotonic())

    def close(self) -> None:
        for lane in list(self._lanes.values()):
            self._drop(lane)
        self._poll.close()

    def _next(self) -> Case | None:
        if self._again:
            return self._again.popleft()
        if self._exhausted:
            return None
        found = next(self._cases, None)
        self._exhausted = found is None
        return found

    def _has_more(self) -> bool:
        if not self._again and (found := self._next()) is not None:
            self._again.append(found)
        return bool(self._again)

    def _open(self, now: float) -> None:
        sock = socket.create_connection(self._address, timeout=20)
        # Nothing of a closed connection is to linger: there are tens of thousands.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        self.tally.connections += 1
        self._lanes[sock.fileno()] = _Lane(sock, now)
        self._poll.register(sock, select.EPOLLIN)

    def _drop(self, lane: _Lane) -> None:
        number = lane.sock.fileno()
        self._poll.unregister(number)
        del self._lanes[number]
        lane.sock.close()

    def _finish(self, lane: _Lane) -> None:
        """Nothing more to send. What may be silent was; the connection's last answer has told."""
        for each in lane.pending:
            self.tally.silent += 1
            self.tally.finish(each.case)
        self._drop(lane)

    def _start(self, lane: _Lane, now: float) -> bool:
        parts = []
        alike = self._chance.random() < 0.5
        first: Case | None = None
        for _ in range(self._chance.randrange(1, BURST_MAX + 1)):
            case = self._next()
            if case is None:
                break
            first = first or case
            if alike and case.valid != first.valid:
                self._again.appendleft(case)
                break
            data = self._live(case.data)
            if case.framed:
                parts.append(struct.pack(">i", len(data)) + data)
                lane.pending.append(_sent(data, case))
            else:
                parts.append(data + struct.pack(">i", len(data)) + data)
                lane.pending += cut(parts[-1], case)
                lane.pending.append(Sent(case, PRODUCE, -1, -1))
                lane.is_wild = True
                break
        if not parts:
            return False
        lane.unsent = memoryview(b"".join(parts))
        lane.last_progress = now
        self._send(lane)
        return True

    def _send(self, lane: _Lane) -> None:
        try:
            lane.unsent = lane.unsent[lane.sock.send(lane.unsent) :]
        except BlockingIOError:
            pass
        except ConnectionError:
            self._on_closed(lane)
            return
        self._poll.modify(lane.sock, select.EPOLLIN | (select.EPOLLOUT if lane.unsent else 0))

    def _receive(self, lane: _Lane, now: float) -> None:
        received = lane.received
        try:
            data = lane.sock.recv(1 << 18)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self._on_closed(lane)
            return
        received += data
        lane.last_progress = now
        at = 0
        while len(received) - at >= 4:
            (size,) = struct.unpack_from(">i", received, at)
            if size < 4:
                raise Found(f"an answer of {size} bytes", [each.case for each in lane.pending])
            if len(received) - at - 4 < size:
                break
            self._on_answer(lane, bytes(received[at + 4 : at + 4 + size]))
            at += 4 + size
        if at:
            del received[:at]

    def _on_answer(self, lane: _Lane, frame: bytes) -> None:
        pending = lane.pending
        (correlation_id,) = struct.unpack_from(">i", frame)
        while pending and pending[0].correlation_id != correlation_id and pending[0].may_be_silent:
            self.tally.silent += 1
            self.tally.finish(pending.popleft().case)
        if not pending or pending[0].correlation_id != correlation_id:
            raise Found(f"an answer with correlation id {correlation_id} out of turn", [each.case for each in pending])
        sent = pending.popleft()
        tally = self.tally
        try:
            codes = answers.read(sent.key, sent.version, frame)
        except Exception as error:
            what = f"kio does not read the answer to key {sent.key} version {sent.version}: {error!r}: {frame.hex()}"
            raise Found(what, [sent.case]) from error
        if ErrorCode.unknown_server_error in codes:
            raise Found(f"UNKNOWN_SERVER_ERROR in the answer to key {sent.key} version {sent.version}", [sent.case])
        tally.errors.update(codes)
        tally.answered[sent.key, sent.version] += 1
        if sent.case.valid:
            tally.answered_valid[sent.key, sent.version] += 1
        if not pending or pending[0].case is not sent.case:
            tally.finish(sent.case)

    def _on_closed(self, lane: _Lane) -> None:
        cases = [each.case for each in lane.pending]
        if not lane.is_wild and all(case.valid and not case.silent for case in cases):
            raise Found(f"the connection was closed with {len(cases)} valid frames on it", cases)
        culprit = next((place for place, case in enumerate(cases) if not case.valid or case.silent), len(cases))
        self.tally.closed += 1
        self._drop(lane)
        self._give_back(cases, culprit)

    def _give_back(self, cases: list[Case], last: int) -> None:
        """The cases up to `last` are done, the others start again."""
        for case in cases[: last + 1]:
            self.tally.finish(case)
        done = {case.number for case in cases[: last + 1]}
        again = {case.number: case for case in cases if case.number not in done}
        self._again.extend(again.values())

    def _look_for_stalls(self, now: float) -> None:
        for lane in list(self._lanes.values()):
            waited = now - lane.last_progress
            if waited < PATIENCE_SECONDS:
                continue
            place = next((place for place, each in enumerate(lane.pending) if not each.case.silent), None)
            if place is None:
                continue
            head = lane.pending[place]
            cases = [each.case for each in lane.pending]
            if not head.case.valid or head.key in MAY_WAIT or lane.is_wild:
                self.tally.left_waiting += 1
                self._drop(lane)
                self._give_back(cases, place)
            elif waited > DEADLINE_SECONDS:
                what = f"no answer for {waited:.0f} s to key {head.key} version {head.version}"
                raise Found(what, cases[place:])
