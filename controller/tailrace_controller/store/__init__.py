"""The metadata store: keys and values, committed together, durable when that is said.

One process may commit, and judges its changes against its own image; the store only has to keep that process alone
(SQLite: an exclusive lock) and to make each commit whole and durable. sqlite.py is the form of one node, memory.py the
simulated one; both pass the same conformance suite.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from tailrace_core.errors import StorageUnavailable

Done: TypeAlias = Callable[[StorageUnavailable | None], object]


class Snapshot(NamedTuple):
    """All keys and values at a revision."""

    revision: int
    items: list[tuple[str, bytes]]


class MetadataStore(Protocol):
    """The port."""

    async def load(self) -> Snapshot:
        """Everything that is committed. Raises StorageUnavailable, DataCorrupt."""

    def commit(self, puts: Sequence[tuple[str, bytes]], deletes: Sequence[str], done: Done) -> None:
        """Put, then delete, all or nothing; done is called on the loop, in the order of the commits.

        None says that it is durable. An error says that nothing of it is there, or (after a failed write) that all
        later commits fail, too, until the store is opened again: then what is there is the truth.
        """

    async def close(self) -> None:
        """Finish what was handed in. Commits that come later fail."""
