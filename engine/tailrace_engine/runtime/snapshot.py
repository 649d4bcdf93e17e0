"""What an object keeps of a partition's state besides its batches: leader epochs and producers up to the section's end.

The newest extent's snapshot and the WAL's batches after it make the whole state again at a start.
"""

import asyncio
from struct import Struct
from struct import error as StructError
from typing import Final

from tailrace_core.errors import DataCorrupt
from tailrace_engine.log.epochs import LeaderEpochs
from tailrace_engine.log.producers import ProducerStates, join_snapshot, pack_producers

_COUNT: Final = Struct(">I")
_EPOCH: Final = Struct(">iq")


async def encode(epochs: LeaderEpochs, producers: ProducerStates | None, end_offset: int) -> bytes:
    """The state below end_offset. With many producers the loop gets its turn in between."""
    entries = [entry for entry in epochs.entries if entry[1] < end_offset]
    packed = []
    for some in producers.in_steps() if producers is not None else ():
        packed.append(pack_producers(some, end_offset))
        await asyncio.sleep(0)
    return b"".join((_COUNT.pack(len(entries)), *[_EPOCH.pack(*entry) for entry in entries], join_snapshot(packed)))


def decode(snapshot: bytes) -> tuple[LeaderEpochs, ProducerStates | None]:
    """Raises DataCorrupt where the bytes cannot be a snapshot."""
    try:
        (count,) = _COUNT.unpack_from(snapshot)
        end = _COUNT.size + count * _EPOCH.size
        entries = [_EPOCH.unpack_from(snapshot, place) for place in range(_COUNT.size, end, _EPOCH.size)]
    except StructError as error:
        raise DataCorrupt(f"a partition snapshot of {len(snapshot)} bytes cannot be read: {error}") from error
    producers = None
    if len(snapshot) > end:
        producers = ProducerStates()
        producers.restore(snapshot[end:])
    return LeaderEpochs(entries), producers
