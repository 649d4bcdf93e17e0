"""Consumer groups of the simulation: members that join, share partitions, commit, leave and die; and what must be true.

A member asks the coordinator as the gateway does. Its leader assigns ranges of every topic's partitions. What counts is
when the coordinator gives an answer, not when a member gets it: a partition never has two owners in one generation, the
generation never goes back, and what was committed, or was told to be committed, is never undone. Who was heard of a
moment ago is not taken for gone, whatever the wall clock does.
"""

import asyncio
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any

from sim_clients import Client
from sim_model import Fail

from tailrace_core.errors import (
    CoordinatorNotAvailable,
    FencedInstanceId,
    GroupIdNotFound,
    IllegalGeneration,
    MemberIdRequired,
    NotCoordinator,
    RebalanceInProgress,
    TailraceError,
    UnknownMemberId,
)
from tailrace_core.ids import TopicId
from tailrace_engine.coordinator.group_messages import (
    CommitOffsets,
    CommittedOffsets,
    DeleteGroup,
    FetchedOffsets,
    FetchOffsets,
    Heartbeat,
    JoinedGroup,
    JoinGroup,
    LeaveGroup,
    LeavingMember,
    OffsetToCommit,
    SyncedGroup,
    SyncGroup,
)

if TYPE_CHECKING:
    from sim_world import World

SESSION_MS = 3_000
REBALANCE_MS = 2_000
ANSWER_SECONDS = 10.0
PROTOCOL = "range"

Place = tuple[TopicId, int]


@dataclass(slots=True)
class Committed:
    """What a group committed of a partition: numbers that only rise, each used once."""

    newest_sent: int = 0
    known: int = -1
    """Acknowledged, or fetched."""
    newest_deleted: int = -1
    """Up to here it went with its group."""


@dataclass
class GroupModel:
    """What members were told."""

    name: str
    fail: Fail
    generation: int = -1
    """The newest that was synced."""
    owners: dict[Place, str] = field(default_factory=dict)
    """In that generation: member ids, or instance ids where members are static."""
    offsets: dict[Place, Committed] = field(default_factory=dict)
    deletions_in_doubt: int = 0
    """While there are any, offsets may be there or not."""
    times_forgotten: int = 0

    def forget(self) -> None:
        """It was deleted, or a power cut took what was acknowledged, as wal.sync=interval allows."""
        self.times_forgotten += 1
        self.generation = -1
        self.owners = {}
        for offset in self.offsets.values():
            offset.known = offset.newest_deleted = -1

    def begin_life(self) -> None:
        """Nobody will hear any more what became of a deletion."""
        if self.deletions_in_doubt:
            self.deletions_in_doubt = 0
            self.forget()

    def begin_deletion(self) -> dict[Place, int]:
        """What will be gone, for on_deleted."""
        self.deletions_in_doubt += 1
        return {place: offset.newest_sent for place, offset in self.offsets.items()}

    def on_deleted(self, newest_sent: dict[Place, int], outcome: TailraceError | None) -> None:
        self.deletions_in_doubt -= 1
        if outcome is None or isinstance(outcome, NotCoordinator):
            self.forget()
        if outcome is None:
            for place, number in newest_sent.items():
                self.offsets[place].newest_deleted = number

    def on_joined(self, generation: int) -> None:
        if generation < self.generation:
            self.fail(f"group {self.name} joins generation {generation}, it was in {self.generation}")

    def on_synced(self, generation: int, member: str, places: list[Place]) -> None:
        self.on_joined(generation)
        if generation > self.generation:
            self.generation = generation
            self.owners = {}
        for place in places:
            owner = self.owners.setdefault(place, member)
            if owner != member:
                both = f"{owner} and {member}"
                self.fail(f"group {self.name} gives partition {place[1]} to {both} in generation {generation}")

    def on_committed(self, place: Place, number: int) -> None:
        offset = self.offsets[place]
        offset.known = max(offset.known, number)

    def on_fetched(self, place: Place, number: int, known_before: int) -> None:
        """known_before: when it was asked."""
        offset = self.offsets.setdefault(place, Committed())
        if not known_before <= number <= offset.newest_sent:
            self.fail(
                f"group {self.name} has committed {number} of partition {place[1]}, known was {known_before}, "
                f"the newest that was sent {offset.newest_sent}"
            )
        if 0 <= number <= offset.newest_deleted:
            self.fail(f"group {self.name} was deleted, and has committed {number} of partition {place[1]} again")
        offset.known = max(offset.known, number)


class Member(Client):
    """One consumer of a group."""

    def __init__(self, world: "World", name: str, group_id: str, is_static: bool) -> None:
        super().__init__(world, name)
        self.instance_id = name if is_static else None
        self.group_id = group_id
        self.model = world.groups_of[group_id]
        self.member_id = ""
        self.generation = -1
        self.places: list[Place] = []
        self.is_settled = False
        """In a generation, with what it was given."""
        self.heard: tuple[float, int, int] | None = None
        """When it sent the last heartbeat that was fine, and to which shard: the life, and how many were lost in it."""

    async def run(self) -> None:
        while True:
            try:
                if not self.is_settled:
                    await self.join()
                elif self.world.producing and self.random.random() < 0.04:
                    await self.end()
                else:
                    await self.work()
            except RebalanceInProgress:
                self.is_settled = False
            except CoordinatorNotAvailable:
                await self.make_topic()
            except TailraceError as error:
                self.say(f"is told {type(error).__name__}")
                if isinstance(error, UnknownMemberId | IllegalGeneration | GroupIdNotFound | FencedInstanceId):
                    self.forget()
                await self.pause(0.3)

    async def make_topic(self) -> None:
        await self.pause(0.2)
        try:
            await self.world.groups.ensure_topic()
        except TailraceError as error:
            self.say(f"cannot make the topic of groups: {type(error).__name__}")

    def forget(self) -> None:
        self.member_id, self.generation, self.places, self.is_settled = "", -1, [], False
        self.heard = None

    async def ask(self, request: Any, watch: Any = None) -> Any:
        """The outcome. Raises what the coordinator says; RebalanceInProgress, which asks to join again, when in doubt.

        watch is told of the outcome when the coordinator gives it.
        """
        await self.network()
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def on_answer(outcome: Any) -> None:
            if watch is not None and not isinstance(outcome, TailraceError):
                watch(outcome)
            if not answer.done():
                answer.set_result(outcome)

        self.world.groups.ask(self.group_id, request, on_answer)
        breaks = self.random.random() < 0.05
        try:
            async with asyncio.timeout(self.random.random() * 0.01 if breaks else ANSWER_SECONDS):
                outcome = await answer
                await self.network()
        except TimeoutError:
            self.say(f"lost the connection, {type(request).__name__} is in doubt")
            raise RebalanceInProgress("") from None
        if isinstance(outcome, TailraceError):
            raise outcome
        return outcome

    async def join(self) -> None:
        request = JoinGroup(
            self.group_id,
            self.member_id,
            self.instance_id,
            client_id=self.name,
            client_host="/sim",
            session_timeout_ms=SESSION_MS,
            rebalance_timeout_ms=REBALANCE_MS,
            protocol_type="consumer",
            protocols=((PROTOCOL, b"metadata"),),
            requires_known_member_id=True,
            supports_skipping_assignment=True,
        )
        try:
            joined: JoinedGroup = await self.ask(request, lambda outcome: self.model.on_joined(outcome.generation_id))
        except MemberIdRequired as required:
            self.member_id = required.member_id
            return
        self.member_id, self.generation = joined.member_id, joined.generation_id
        assignments: tuple[tuple[str, bytes], ...] = ()
        if joined.members and not joined.skip_assignment:
            assignments = self.assign([member.member_id for member in joined.members])
        await self.pause(0.05)
        generation, member_id = self.generation, self.member_id
        synced: SyncedGroup = await self.ask(
            SyncGroup(self.group_id, generation, member_id, self.instance_id, "consumer", PROTOCOL, assignments),
            lambda outcome: self.model.on_synced(
                generation, self.instance_id or member_id, decoded(outcome.assignment)
            ),
        )
        self.places = decoded(synced.assignment)
        self.is_settled = True
        self.heard = None
        self.say(f"is in generation {generation} of {self.group_id} with {len(self.places)} partitions")
        await self.fetch_offsets()

    def assign(self, member_ids: list[str]) -> tuple[tuple[str, bytes], ...]:
        """Ranges of each topic's partitions."""
        places: dict[str, list[Place]] = {member_id: [] for member_id in sorted(member_ids)}
        for topic in self.world.membership.image.topics:
            if topic.is_internal:
                continue
            share = -(-topic.partition_count // len(places))
            for index in range(topic.partition_count):
                places[sorted(places)[index // share]].append((topic.topic_id, index))
        return tuple((member_id, encoded(owned)) for member_id, owned in places.items())

    async def work(self) -> None:
        await self.pause(SESSION_MS / 2_000)
        if self.random.random() < 0.6:
            for _ in range(self.random.choice([1, 1, 1, 15])):
                await self.commit()
        elif self.random.random() < 0.3:
            await self.fetch_offsets()
        await self.heartbeat()

    async def heartbeat(self) -> None:
        world = self.world
        now = world.clock.monotonic()
        try:
            await self.ask(Heartbeat(self.group_id, self.generation, self.member_id, self.instance_id))
        except UnknownMemberId:
            before, *shard = self.heard or (-inf, 0, 0)
            seconds = world.clock.monotonic() - before
            if shard == [world.lives, world.groups.shards_lost] and seconds * 1_000 < min(SESSION_MS, REBALANCE_MS):
                world.fail(f"{self.name} was taken for gone {seconds:.3f} s after it was heard of")
            raise
        self.heard = now, world.lives, world.groups.shards_lost

    async def commit(self) -> None:
        image = self.world.membership.image
        offsets = []
        numbers = []
        for place in self.places:
            topic = image.topic_by_id(place[0])
            if topic is None:
                continue
            committed = self.model.offsets.setdefault(place, Committed())
            committed.newest_sent += 1
            numbers.append((place, committed.newest_sent))
            text = "x" * self.random.choice([0, 10, 1_000, 4_000])
            offsets.append(OffsetToCommit(topic.name, place[0], place[1], committed.newest_sent, -1, text))
        if not offsets:
            return

        def watch(outcome: CommittedOffsets) -> None:
            for (place, number), error in zip(numbers, outcome.errors, strict=True):
                if error is None and self.world.stands(place[0]):
                    self.model.on_committed(place, number)

        await self.ask(
            CommitOffsets(self.group_id, self.generation, self.member_id, self.instance_id, tuple(offsets)),
            watch,
        )

    async def fetch_offsets(self) -> None:
        image = self.world.membership.image
        topics = [(place, topic) for place in self.places if (topic := image.topic_by_id(place[0])) is not None]
        if not topics:
            return
        asked = tuple((topic.name, place[0], place[1]) for place, topic in topics)
        known = [self.model.offsets.setdefault(place, Committed()).known for place, _ in topics]
        times_forgotten = self.model.times_forgotten

        def watch(outcome: FetchedOffsets) -> None:
            is_known = self.model.times_forgotten == times_forgotten and not self.model.deletions_in_doubt
            for (place, _), before, fetched in zip(topics, known, outcome.offsets, strict=True):
                if fetched.error is None and self.world.stands(place[0]):
                    self.model.on_fetched(place, fetched.offset, before if is_known else -1)

        await self.ask(FetchOffsets(self.group_id, self.member_id, -1, asked), watch)

    async def end(self) -> None:
        """Leave, or die without a word; and come back later."""
        if self.random.random() < 0.5:
            self.say("leaves")
            await self.ask(LeaveGroup(self.group_id, (LeavingMember(self.member_id, self.instance_id),)))
        else:
            self.say("dies")
        self.forget()
        await self.pause(4.0)


class Standalone(Member):
    """Commits offsets of a group of its own, which it never joins, and deletes the group now and then."""

    def __init__(self, world: "World", name: str, group_id: str) -> None:
        super().__init__(world, name, group_id, is_static=False)

    async def run(self) -> None:
        while True:
            await self.pause(2.0)
            found = self.some_partition()
            if found is None:
                continue
            self.places = [(found[0].topic_id, found[1])]
            what = self.random.random()
            try:
                if what < 0.5:
                    await self.commit()
                elif what < 0.8:
                    await self.fetch_offsets()
                else:
                    await self.delete()
            except RebalanceInProgress:
                continue
            except CoordinatorNotAvailable:
                await self.make_topic()
            except TailraceError as error:
                self.say(f"is told {type(error).__name__}")

    async def delete(self) -> None:
        """Does not wait for the answer."""
        await self.network()
        self.say(f"deletes {self.group_id}")
        newest_sent = self.model.begin_deletion()

        def on_answer(outcome: TailraceError | None) -> None:
            self.say(f"is told {type(outcome).__name__} for the deletion")
            self.model.on_deleted(newest_sent, outcome)

        self.world.groups.ask(self.group_id, DeleteGroup(self.group_id), on_answer)


def encoded(places: list[Place]) -> bytes:
    return b"".join(topic_id + bytes([index]) for topic_id, index in places)


def decoded(assignment: bytes) -> list[Place]:
    return [(assignment[at : at + 16], assignment[at + 16]) for at in range(0, len(assignment), 17)]
