"""What the admin API works with, and what a request is when it reaches a handler."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from pydantic import BaseModel, ConfigDict

from tailrace_core.errors import TailraceError
from tailrace_engine.runtime.coordinator import Coordinator
from tailrace_gateway.kafka.context import Services


class StorageFigures(NamedTuple):
    """What a broker keeps where, now."""

    data_dir: str
    object_store: str
    durability: str
    wal_backend: str
    wal_sync: str
    wal_used_bytes: int
    wal_capacity_bytes: int
    wal_fenced: str | None
    """What stopped all writes until a restart."""
    hot_bytes: int
    hot_budget_bytes: int
    upload_pending_bytes: int
    holds_back: bool
    """Producers are not read until there is room."""


@dataclass(frozen=True, slots=True)
class AdminContext:
    """Made once by broker.py."""

    services: Services
    is_ready: Callable[[], tuple[bool, str]]
    """Whether the broker serves, and why not."""
    storage: Callable[[], StorageFigures]


class Body(BaseModel):
    """A field that is not known is refused by name, and a value of another type than the field's, too."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Query(Body):
    """Its values are texts, which are taken for numbers where a number is wanted."""

    model_config = ConfigDict(strict=False)


class Asked(NamedTuple):
    """path: what stands at the pattern's {names}. query and body are of the models that the route names."""

    path: Mapping[str, str]
    query: Any
    body: Any


class Pace:
    """Lets the loop serve others now and then within a long walk. After a pause what was looked up may be gone."""

    _STEPS: Final = 200

    def __init__(self) -> None:
        self._left = self._STEPS

    async def step(self) -> None:
        self._left -= 1
        if not self._left:
            self._left = self._STEPS
            await asyncio.sleep(0)


async def outcome_of(coordinator: Coordinator, group_id: str, request: Any) -> Any:
    """What the group's coordinator answers. Raises the error where that is the answer."""
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def on_answer(outcome: Any) -> None:
        if not future.done():
            future.set_result(outcome)

    coordinator.ask(group_id, request, on_answer)
    outcome = await future
    if isinstance(outcome, TailraceError):
        raise outcome
    return outcome


async def outcomes_of_all(coordinator: Coordinator, request: Any) -> list[Any]:
    """What every shard of a coordinator answers."""
    future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()

    def on_answers(outcomes: list[Any]) -> None:
        if not future.done():
            future.set_result(outcomes)

    coordinator.ask_all(request, on_answers)
    return await future
