"""What a rule decides: changes of the store's keys, and what to say once they are durable.

A rule looks at the image and decides; it changes nothing. The image changes only by the keys and values that were
committed, the same way as it is built at a start: so what runs and what would be loaded cannot differ.
"""

from typing import Generic, NamedTuple, TypeVar

from tailrace_core.membership import ChangeEvent

R = TypeVar("R")


class Decision(NamedTuple, Generic[R]):
    """One commit. Puts are applied in order, then the deletes; then events are told, then the reply is given."""

    reply: R
    puts: tuple[tuple[str, bytes], ...] = ()
    deletes: tuple[str, ...] = ()
    events: tuple[ChangeEvent, ...] = ()
