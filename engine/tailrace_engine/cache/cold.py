"""The cold cache: what was read from the tier, within a budget of bytes, so that scans do not flush it. Pure.

The policy is 2Q in its full form (Johnson and Shasha, VLDB 1994). A new value enters a FIFO of a quarter of the budget
whose hits count for nothing; only what is asked for again after it fell out of the FIFO, while its key is still
remembered, enters the LRU that has the rest. Why not S3-FIFO or SLRU: they promote on a hit, and here hits are
correlated: one consumer that scans a block in small fetches hits it many times, and a hundred that run side by side hit
it a hundred times, and then nobody does any more. 2Q keeps such a block for as long as the FIFO lasts, which serves
those consumers, and takes only what comes back later for worth keeping.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_FIFO_SHARE: Final = 4
"""The FIFO has a quarter of the budget, as the paper recommends."""
_GHOST_SHARE: Final = 2
"""Keys are remembered for as many values as fill half of the budget."""


class ColdCache(Generic[K, V]):
    """Values with a size in bytes, by key. bytes_used never exceeds the budget."""

    __slots__ = ("_fifo", "_fifo_bytes", "_ghost_bytes", "_ghosts", "_lru", "budget_bytes", "bytes_used")

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self.bytes_used = 0
        self._fifo: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._lru: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._ghosts: OrderedDict[K, int] = OrderedDict()
        self._fifo_bytes = 0
        self._ghost_bytes = 0

    def __len__(self) -> int:
        return len(self._fifo) + len(self._lru)

    def __contains__(self, key: K) -> bool:
        """Without counting as a use."""
        return key in self._fifo or key in self._lru

    def get(self, key: K) -> V | None:
        """The value, or None."""
        found = self._lru.get(key)
        if found is not None:
            self._lru.move_to_end(key)
            return found[0]
        found = self._fifo.get(key)
        return None if found is None else found[0]

    def keeps(self, key: K) -> bool:
        """Whether a value that is put under key now would enter the part that scans do not flush."""
        return key in self._ghosts

    def put(self, key: K, value: V, size: int) -> None:
        """Take a value of size bytes in place of the key's old one. Larger than the budget: not kept."""
        self.discard(key)
        if size > self.budget_bytes:
            return
        ghost = self._ghosts.pop(key, None)
        if ghost is not None:
            self._ghost_bytes -= ghost
        self._make_room(size)
        if ghost is not None:
            self._lru[key] = (value, size)
        else:
            self._fifo[key] = (value, size)
            self._fifo_bytes += size
        self.bytes_used += size

    def discard(self, key: K) -> None:
        """Forget a value; its key is not remembered either."""
        found = self._fifo.pop(key, None)
        if found is not None:
            self._fifo_bytes -= found[1]
        else:
            found = self._lru.pop(key, None)
        if found is not None:
            self.bytes_used -= found[1]

    def _make_room(self, size: int) -> None:
        # The FIFO may fill what the LRU does not use, and gives it back first.
        while self.bytes_used + size > self.budget_bytes:
            if self._fifo and (self._fifo_bytes > self.budget_bytes // _FIFO_SHARE or not self._lru):
                key, (_, freed) = self._fifo.popitem(last=False)
                self._fifo_bytes -= freed
                self._remember(key, freed)
            else:
                _, (_, freed) = self._lru.popitem(last=False)
            self.bytes_used -= freed

    def _remember(self, key: K, size: int) -> None:
        self._ghosts[key] = size
        self._ghost_bytes += size
        while self._ghost_bytes > self.budget_bytes // _GHOST_SHARE:
            self._ghost_bytes -= self._ghosts.popitem(last=False)[1]
