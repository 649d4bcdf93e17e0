"""The buffer pool: what is referred to is never given away, what is free is used again."""

from tailrace_engine.cache.buffers import SMALLEST_BYTES, BufferPool


def test_a_buffer_is_used_again_once_nobody_refers_to_it() -> None:
    pool = BufferPool(10 * SMALLEST_BYTES)
    first = pool.take(SMALLEST_BYTES)
    owner = id(first.obj)
    part = first[10:20]
    second = pool.take(SMALLEST_BYTES)
    assert id(second.obj) != owner
    del first
    assert id(pool.take(SMALLEST_BYTES).obj) != owner, "a slice refers to it too"
    del part
    assert id(pool.take(SMALLEST_BYTES).obj) == owner
    assert pool.bytes_held == 3 * SMALLEST_BYTES


def test_buffers_in_use_are_all_different() -> None:
    pool = BufferPool(4 * SMALLEST_BYTES)
    views = []
    for n in range(50):
        view = pool.take(SMALLEST_BYTES if n % 3 else 2 * SMALLEST_BYTES)
        view[:1] = bytes([n])
        views.append(view)
        if n % 5 == 4:
            del views[n // 5]
    assert len({id(view.obj) for view in views}) == len(views)
    assert sorted(view[0] for view in views) == [view[0] for view in views]
    assert pool.bytes_held <= 4 * SMALLEST_BYTES


def test_free_buffers_of_another_size_give_way_when_the_budget_is_used() -> None:
    pool = BufferPool(2 * SMALLEST_BYTES)
    pool.take(2 * SMALLEST_BYTES)
    assert pool.bytes_held == 2 * SMALLEST_BYTES
    assert len(pool.take(SMALLEST_BYTES)) == SMALLEST_BYTES
    assert pool.bytes_held == SMALLEST_BYTES


def test_small_buffers_are_made_to_measure() -> None:
    pool = BufferPool(10 * SMALLEST_BYTES)
    assert isinstance(owner := pool.take(100).obj, bytearray)
    assert len(owner) == 100
    assert pool.bytes_held == 0
