"""Batches of any size and codec to topics of any codec, changed in between: each partition keeps the order sent."""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from engine_support import COMPRESSIONS, NOW_MS, Acks, Node, make_batch, record, until
from hypothesis import given
from hypothesis import strategies as st

from tailrace_core.batch import HEADER_BYTES, read_header
from tailrace_core.errors import OutOfOrderSequence
from tailrace_engine.api import APPENDED_LATER
from tailrace_engine.log.codecs import inflate
from tailrace_engine.log.recompress import CODECS

SENT = st.tuples(
    st.integers(0, 1),
    st.sampled_from(sorted(COMPRESSIONS)),
    st.sampled_from([0, 100, 5_000, 200_000]),
    st.booleans(),
)
"""To which partition, in which codec, how large, and whether a batch with a sequence that is too far is sent before."""
CHANGED = st.sampled_from(["producer", *CODECS])
STEPS = st.lists(st.one_of(SENT, CHANGED, st.just(None)), min_size=1, max_size=12)


async def life(folder: Path, steps: list[tuple[int, str, int, bool] | str | None]) -> None:
    async with Node(folder, capacity_bytes=64 << 20, segment_bytes=8 << 20) as node:
        await node.topic("t", 2)
        partitions = [node.engine.partition("t", index) for index in (0, 1)]
        values: list[list[bytes]] = [[], []]
        waiters: list[Acks] = []
        refused: list[Acks] = []
        for step in steps:
            if step is None:
                await asyncio.sleep(0.001)
                continue
            if isinstance(step, str):
                await node.controller.alter_topic_configs("t", {"compression.type": step})
                continue
            index, compression, size, is_followed_too_early = step
            sequence = len(values[index])
            value = b"%d/" % sequence + bytes(size)
            if is_followed_too_early and sequence:
                early = Acks()
                try:
                    batch = memoryview(make_batch(producer=(index, 0, sequence + 1)))
                    assert node.engine.append(partitions[index], batch, early, 0) == APPENDED_LATER
                    refused.append(early)
                except OutOfOrderSequence:
                    pass
            waiter = Acks()
            node.append(
                partitions[index],
                make_batch([NOW_MS], value, producer=(index, 0, sequence), compression=compression),
                waiter,
            )
            values[index].append(value)
            waiters.append(waiter)
        await until(lambda: all(waiter.durable for waiter in waiters))
        assert all(waiter.durable == 1 and not waiter.failures for waiter in waiters)
        assert all(len(waiter.failures) == 1 and not waiter.durable for waiter in refused)
        assert all(isinstance(waiter.failures[0][1], OutOfOrderSequence) for waiter in refused)
        recompression = node.engine.recompression
        assert (recompression.queues, recompression.waiting_bytes) == ({}, 0)
        for partition, expected in zip(partitions, values, strict=True):
            found = await node.read_all(partition)
            bodies = [
                bytes(inflate(read_header(batch).codec, memoryview(batch)[HEADER_BYTES:], 1 << 20)) for batch in found
            ]
            assert bodies == [record(0, 0, value) for value in expected]


@given(STEPS)
def test_order_and_content_are_kept(steps: list[tuple[int, str, int, bool] | str | None]) -> None:
    with TemporaryDirectory() as folder:
        asyncio.run(life(Path(folder), steps))
