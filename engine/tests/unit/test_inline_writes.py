"""When the loop's thread may write a small group itself."""

from tailrace_engine.wal.inline import SLOW_SECONDS, InlineWrites


def test_a_quick_device_is_written_to_on_the_loop() -> None:
    inline = InlineWrites()
    for step in range(100):
        assert inline.allowed(step)
        inline.on_written(step, step + SLOW_SECONDS / 2)


def test_a_slow_write_ends_it_for_a_while_that_doubles() -> None:
    inline = InlineWrites()
    now = 0.0
    pauses = []
    for _ in range(10):
        inline.on_written(now, now + 0.01)
        now += 0.01
        begin = now
        while not inline.allowed(now):
            now += 0.01
        pauses.append(now - begin)
    assert pauses[0] < 0.1
    assert all(later >= earlier for earlier, later in zip(pauses, pauses[1:], strict=False))
    assert 4.9 < pauses[-1] < 5.1


def test_many_quick_writes_forgive() -> None:
    inline = InlineWrites()
    for _ in range(5):
        inline.on_written(0.0, 0.01)
    for _ in range(200):
        inline.on_written(10.0, 10.0)
    inline.on_written(20.0, 20.01)
    assert not inline.allowed(20.05)
    assert inline.allowed(20.07)
