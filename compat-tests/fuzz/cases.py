"""The frames of a seed: case n is the same in every run, whatever else was sent."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from kio.schema.index import api_key_map

from fuzz import tokens, world
from fuzz.mutate import mutated
from fuzz.tokens import Token

ROUND = 2_000
"""Cases between two refreshes of the world; each round has templates of its own."""
TEMPLATES = 3
VALID_RUN, RUN = 8, 56
"""Of RUN cases the first VALID_RUN are valid: in a row, so that connections carry nothing else for a while."""
WEIGHTS = {"produce": 4.0, "fetch": 3.0, "join_group": 2.0, "offset_commit": 2.0, "create_topics": 0.5}
WEIGHTS |= {"describe_configs": 0.5, "create_partitions": 0.5, "alter_configs": 0.5, "incremental_alter_configs": 0.5}
"""How often an API is chosen, 1 unless it is here: more where bytes go deep, less where each answer is large."""
BOMB_SHARE = 0.002
"""Of all cases; each costs the broker what it unpacks, up to its bound."""


class Case(NamedTuple):
    """A request, or a piece of a stream with frame sizes of its own."""

    number: int
    data: bytes
    """With stand-ins (`World.live`)."""
    framed: bool
    """Whether `data` is a request that a right size is put before."""
    valid: bool
    silent: bool
    """Valid, and not to be answered: Produce with acks=0."""


class Cases:
    """All cases of a seed, for the APIs and versions that a broker serves."""

    def __init__(self, seed: int, served: Mapping[int, Sequence[int]], producer_ids: list[int], broker_id: int) -> None:
        self._seed = seed
        self._producer_ids = producer_ids
        self._broker_id = broker_id
        self._keys = sorted(served)
        self._served = served
        self._weights = [WEIGHTS.get(api_key_map[key], 1.0) for key in self._keys]
        self._bombs = world.bombs()
        self._round = -1
        self._templates: dict[tuple[int, int], list[tuple[list[Token], bool]]] = {}

    def sequence(self, first: int, count: int) -> Iterator[Case]:
        return (self.case(number) for number in range(first, first + count))

    def case(self, number: int) -> Case:
        if number // ROUND != self._round:
            self._make_templates(number // ROUND)
        chance = random.Random(f"{self._seed}/{number}")
        chosen, silent = self._choose(chance)
        if chance.random() < BOMB_SHARE:
            chosen = _with_records(chosen, chance.choice(self._bombs))
        elif number % RUN >= VALID_RUN:
            data, framed = mutated(chance, chosen, self._choose(chance)[0])
            return Case(number, _numbered(data, number, 0 if framed else 4), framed, False, False)
        return Case(number, _numbered(tokens.joined(chosen), number, 0), True, True, silent)

    def _choose(self, chance: random.Random) -> tuple[list[Token], bool]:
        (key,) = chance.choices(self._keys, self._weights)
        return chance.choice(self._templates[key, chance.choice(self._served[key])])

    def _make_templates(self, round_number: int) -> None:
        self._round = round_number
        chance = random.Random(f"{self._seed}/round/{round_number}")
        values = world.Values(chance, self._producer_ids, self._broker_id)
        self._templates = {}
        for key in self._keys:
            for version in self._served[key]:
                made = []
                for number in range(TEMPLATES):
                    values.acks = None
                    request = tokens.request(key, version, values.choose)
                    if number == 0:
                        tokens.check(key, version, request)
                    made.append((request, values.acks == 0))
                self._templates[key, version] = made


def _numbered(data: bytes, number: int, at: int) -> bytes:
    """With the case's number as correlation id."""
    at += 4
    return data if len(data) < at + 4 else data[:at] + number.to_bytes(4, "big") + data[at + 4 :]


def _with_records(request: list[Token], records: bytes) -> list[Token]:
    return [
        Token(token.kind, tokens.varint(len(records) + 1) if token.kind is tokens.Kind.VARINT_SIZE else _size(records))
        if following is tokens.Kind.RECORDS
        else token._replace(data=records)
        if token.kind is tokens.Kind.RECORDS
        else token
        for token, following in zip(request, [*(token.kind for token in request[1:]), None], strict=True)
    ]


def _size(records: bytes) -> bytes:
    return len(records).to_bytes(4, "big")
