"""How long producers are told to wait before the WAL or the memory is full (KIP-219).

Two things fill up: what is appended and not durable (the disk is behind), and the WAL (the object store is behind). Up
to three quarters of either, nobody waits. From there on each Produce response names a time, which the client keeps, and
the connection is not read for so long: little at first, a second where there is no more room. So producers come down to
the rate at which room is made, and their requests are answered, instead of lying unread until they time out. What the
time is does not depend on how many producers there are: the fuller it gets, the longer, until it does not get fuller.
A second is the bound because room may come back at any time, and a client that sleeps does not use it.
"""

from typing import Final

THROTTLE_TIME_MS_MAX: Final = 1_000
_FREE_SHARE: Final = 0.75


def throttle_time_ms(used_share: float) -> int:
    """Milliseconds for a share of the room that is used; 1 is full, and it may be above."""
    if used_share <= _FREE_SHARE:
        return 0
    pressure = min((used_share - _FREE_SHARE) / (1 - _FREE_SHARE), 1.0)
    return max(int(THROTTLE_TIME_MS_MAX * pressure * pressure), 1)
