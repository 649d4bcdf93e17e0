"""What everything that puts objects shares: their ids, keys and headers, and the registrations that keep them from the
sweep while they are put.

One per broker epoch: the upload sequence in the header rises with every object, so that of two that hold the same
offsets the later one is known by its header alone.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, TypeVar

from tailrace_core.errors import StorageUnavailable
from tailrace_core.ids import NodeId, topic_id_from_text
from tailrace_core.membership import Membership
from tailrace_core.ports import Clock
from tailrace_engine.tier.layout import ObjectHeader

logger = logging.getLogger(__name__)

R = TypeVar("R")

BACK_OFF_SECONDS: Final = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_IDS_RESERVED: Final = 64
_REGISTRATION_MS: Final = 600_000
"""An upload that takes longer, and was not renewed, is void."""


class NewObject(NamedTuple):
    """An object that is to be put."""

    object_id: int
    key: str
    header: ObjectHeader


class Registrar:
    """See the module."""

    def __init__(self, membership: Membership, clock: Clock, broker_id: NodeId, broker_epoch: int) -> None:
        self._membership = membership
        self._clock = clock
        self._broker_id = broker_id
        self._broker_epoch = broker_epoch
        self._cluster_id = topic_id_from_text(membership.image.cluster_id)
        self._sequence = 0
        self._next_id = self._ids_end = 0

    async def new_object(self) -> NewObject:
        """An id that nobody has had. Raises StorageUnavailable."""
        while self._next_id == self._ids_end:
            first = await self._membership.reserve_object_ids(_IDS_RESERVED)
            if self._next_id == self._ids_end:
                self._next_id, self._ids_end = first, first + _IDS_RESERVED
        object_id = self._next_id
        self._next_id += 1
        self._sequence += 1
        header = ObjectHeader(self._cluster_id, self._broker_id, self._broker_epoch, self._sequence)
        return NewObject(object_id, f"data/{object_id:016x}", header)

    async def put(self, new: NewObject, putting: Callable[[], Awaitable[R]]) -> R:
        """Register the object and do what puts it; the registration stands as long as that takes.

        Raises what putting raises, and StorageUnavailable.
        """
        await self._membership.register_object(new.object_id, new.key, self._clock.now_ms() + _REGISTRATION_MS)
        try:
            async with asyncio.TaskGroup() as group:
                renewing = group.create_task(self._renew(new.object_id))
                result = await putting()
                renewing.cancel()
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return result

    async def _renew(self, object_id: int) -> None:
        while True:
            await asyncio.sleep(_REGISTRATION_MS / 3000)
            await self._membership.renew_registration(object_id, self._clock.now_ms() + _REGISTRATION_MS)


async def until_known(commit: Callable[[], Awaitable[R]]) -> R:
    """The same commit again until its outcome is known: it is idempotent by object id."""
    attempt = 0
    while True:
        try:
            return await commit()
        except StorageUnavailable as error:
            seconds = BACK_OFF_SECONDS[min(attempt, len(BACK_OFF_SECONDS) - 1)]
            attempt += 1
            logger.warning("a commit to the catalog failed, trying again in %.1f s: %s", seconds, error)
            await asyncio.sleep(seconds)
