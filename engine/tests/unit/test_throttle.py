"""How long producers are told to wait."""

from tailrace_engine.log.throttle import THROTTLE_TIME_MS_MAX, throttle_time_ms


def test_up_to_three_quarters_nobody_waits() -> None:
    assert [throttle_time_ms(share) for share in (-1.0, 0.0, 0.5, 0.75)] == [0, 0, 0, 0]


def test_the_fuller_the_longer_and_never_more_than_a_second() -> None:
    shares = [0.75 + step / 1000 for step in range(1, 400)]
    times = [throttle_time_ms(share) for share in shares]
    assert times == sorted(times)
    assert times[0] >= 1
    assert throttle_time_ms(1.0) == throttle_time_ms(7.0) == THROTTLE_TIME_MS_MAX
    assert throttle_time_ms(0.8) < 100
