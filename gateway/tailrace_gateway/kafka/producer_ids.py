"""Producer ids that nobody has had, a block at a time: an InitProducerId seldom waits for the metadata store.

What is left of a block when the broker stops is lost, which costs nothing.
"""

import asyncio
from typing import Final

from tailrace_core.ids import ProducerId
from tailrace_core.membership import Membership

BLOCK_IDS: Final = 1000
"""As Kafka's ProducerIdsBlock."""


class ProducerIds:
    """One per broker."""

    def __init__(self, membership: Membership) -> None:
        self._membership = membership
        self._next = 0
        self._end = 0
        self._refill = asyncio.Lock()

    async def allocate(self) -> ProducerId:
        """The next id. Raises StorageUnavailable when a new block is needed and cannot be had."""
        async with self._refill:
            if self._next == self._end:
                self._next = await self._membership.allocate_producer_ids(BLOCK_IDS)
                self._end = self._next + BLOCK_IDS
            producer_id = self._next
            self._next += 1
            return producer_id
