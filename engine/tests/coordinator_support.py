"""What the tests of the coordinators' owner share: a shard of words, and a broker's storage with coordinators on it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from engine_support import Node, until

from tailrace_core.schema.errors import DecodeError
from tailrace_engine.coordinator.decision import NOTHING, Answer, Decision, Now, Record, Shard, Ticket
from tailrace_engine.coordinator.group_messages import TopicsDeleted
from tailrace_engine.runtime.coordinator import Coordinator
from tailrace_engine.runtime.shard_owner import ShardOwner

TOPIC = "__consumer_offsets"
START_MS = 7_000
"""The steady clock at the start of a test."""


TORN = b"torn"
"""Its record cannot be read back; it can be put in with engine.append only."""


class Put(NamedTuple):
    """Outcome: how many words there are then."""

    words: dict[bytes, bytes | None]


class Get(NamedTuple):
    """Outcome: the word's value, or None."""

    word: bytes


class WaitFor(NamedTuple):
    """Answered when the word is put, with its value."""

    word: bytes


class PutAt(NamedTuple):
    """Outcome: None. The word is put when the time has come, by the steady clock."""

    word: bytes
    at_ms: int


class Break(NamedTuple):
    """A bug."""


class Words:
    """A Shard that keeps words."""

    def __init__(self) -> None:
        self.words: dict[bytes, bytes] = {}
        self.waiting: dict[bytes, Ticket] = {}
        self.due: dict[bytes, int] = {}
        self.loaded: Now | None = None
        self.replayed = 0
        self.deleted: list[str] = []

    def decide(self, request: Any, ticket: Ticket, now: Now) -> Decision:
        match request:
            case Put(words):
                return self._put(words, (Answer(ticket, len({**self.words, **words})),))
            case Get(word):
                return Decision((), (Answer(ticket, self.words.get(word)),))
            case WaitFor(word):
                self.waiting[word] = ticket
                return NOTHING
            case PutAt(word, at_ms):
                self.due[word] = at_ms
                return Decision((), (Answer(ticket, None),))
            case TopicsDeleted(topics):
                self.deleted += [name for name, _ in topics]
                return Decision((), (Answer(ticket, None),))
        raise ValueError("a bug")

    def _put(self, words: dict[bytes, bytes | None], answers: tuple[Answer, ...] = ()) -> Decision:
        found = tuple(Answer(self.waiting.pop(word), words[word]) for word in words if word in self.waiting)
        return Decision(tuple(Record(*item) for item in words.items()), answers + found)

    def replay(self, record: Record) -> None:
        self.replayed += 1
        if record.key == TORN:
            raise DecodeError("the record ends early")
        self.words.pop(record.key, None)
        if record.value is not None:
            self.words[record.key] = record.value

    def on_loaded(self, now: Now) -> Decision:
        self.loaded = now
        return NOTHING

    def expire(self, now: Now) -> Decision:
        due = [word for word, at_ms in self.due.items() if at_ms <= now.steady_ms]
        for word in due:
            del self.due[word]
        return self._put(dict.fromkeys(due, b"due"))

    def next_deadline_ms(self, now: Now) -> int | None:
        return min(self.due.values(), default=None)


class HandClock:
    """A node's wall clock, and a steady one by hand."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.steady_ms = START_MS

    def now_ms(self) -> int:
        return self._node.clock.now_ms()

    def monotonic(self) -> float:
        return (self.steady_ms + 0.5) / 1000


class Coordinated:
    """A Node with coordinators: as a broker runs them."""

    def __init__(self, node: Node, partition_count: int = 4, make_shard: Callable[[], Shard] = Words) -> None:
        self.node = node
        self.partition_count = partition_count
        self.make_shard = make_shard
        self.clock = HandClock(node)
        self.tasks: set[asyncio.Task[None]] = set()
        self.flushes = 0
        self.begin()

    def begin(self) -> None:
        """After the node has started."""
        node = self.node
        self.coordinator = Coordinator(
            TOPIC,
            self.partition_count,
            self.make_shard,
            (Put,),
            node.engine,
            node.controller,
            self.clock,
            asyncio.get_running_loop(),
            self._spawn,
        )
        self.coordinator.on_answers = self._on_answers
        self.coordinator.start()

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def _on_answers(self) -> None:
        self.flushes += 1

    async def restart(self) -> None:
        self.coordinator.stop()
        await self.node.restart()
        self.begin()

    def ask(self, key: str, request: Any) -> list[Any]:
        """The outcome will be in the list."""
        outcomes: list[Any] = []
        self.coordinator.ask(key, request, outcomes.append)
        return outcomes

    async def asked(self, key: str, request: Any) -> Any:
        outcomes = self.ask(key, request)
        await until(lambda: outcomes)
        assert len(outcomes) == 1
        return outcomes[0]

    async def loaded(self) -> None:
        await until(lambda: not self.coordinator.loading)

    def owner(self, key: str) -> ShardOwner:
        owner = self.coordinator._places[self.coordinator.partition_for(key)]
        assert isinstance(owner, ShardOwner), owner
        return owner

    def words(self, key: str) -> dict[bytes, bytes]:
        """As they are in memory, durable or not."""
        shard = self.owner(key).shard
        assert isinstance(shard, Words)
        return shard.words


def coordinated(
    folder: Path, test: Callable[[Coordinated], Awaitable[None]], *, topic: bool = True, **options: Any
) -> None:
    """Run a test with coordinators on a simulated disk."""

    async def run() -> None:
        async with Node(folder, sim_seed=1, **options) as node:
            made = Coordinated(node)
            if topic:
                await made.coordinator.ensure_topic()
            await test(made)
            made.coordinator.stop()

    asyncio.run(run())


class HeldDisk:
    """A disk whose writes do not end until they are let go."""

    def __init__(self, disk: Any) -> None:
        self._disk = disk
        self._write = disk.write
        self.held: list[tuple[Any, ...]] = []

    def write(self, *arguments: Any) -> None:
        self.held.append(arguments)

    def let_go(self) -> None:
        held, self.held = self.held, []
        for arguments in held:
            self._write(*arguments)


@contextmanager
def held_disk(node: Node) -> Iterator[HeldDisk]:
    """What is written meanwhile becomes durable only by let_go, or at the end."""
    held = HeldDisk(node.disk)
    with patch.object(node.disk, "write", held.write):
        yield held
    held.let_go()


async def turns(count: int = 20) -> None:
    """Let the loop come round."""
    for _ in range(count):
        await asyncio.sleep(0)
