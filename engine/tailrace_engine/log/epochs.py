"""Leader epochs of one partition and where each began (KIP-101, KIP-320).

An epoch enters with the first batch that was appended in it; epochs without a batch leave no entry. Start offsets rise
with the epochs.
"""

from bisect import bisect_right

UNKNOWN_EPOCH = (-1, -1)


class LeaderEpochs:
    """Pairs of leader epoch and start offset, both rising."""

    __slots__ = ("_entries",)

    def __init__(self, entries: list[tuple[int, int]] | None = None) -> None:
        self._entries = entries or []

    @property
    def entries(self) -> list[tuple[int, int]]:
        """(leader epoch, start offset), oldest first."""
        return self._entries

    def on_append(self, leader_epoch: int, base_offset: int) -> None:
        """Note the epoch of an appended batch."""
        entries = self._entries
        if not entries or entries[-1][0] < leader_epoch:
            entries.append((leader_epoch, base_offset))

    def end_offset_for(self, asked_epoch: int, leader_epoch: int, log_end_offset: int) -> tuple[int, int]:
        """The largest known epoch <= asked_epoch, and the offset (exclusive) where it ended.

        (-1, -1) where the asked epoch is newer than the leader's. An epoch older than all that are known gets itself
        and the start of the first known one, as in LeaderEpochFileCache.endOffsetFor; the leader's own, which nothing
        need have been written in, is known, and begins at the log end then.
        """
        if asked_epoch == leader_epoch:
            return leader_epoch, log_end_offset
        if asked_epoch > leader_epoch or asked_epoch < 0:
            return UNKNOWN_EPOCH
        entries = self._entries
        place = bisect_right(entries, asked_epoch, key=lambda entry: entry[0])
        end_offset = entries[place][1] if place < len(entries) else log_end_offset
        return (entries[place - 1][0] if place else asked_epoch), end_offset

    def epoch_of(self, offset: int) -> int:
        """The epoch in which offset was written; -1 if that is not known."""
        place = bisect_right(self._entries, offset, key=lambda entry: entry[1])
        return self._entries[place - 1][0] if place else -1

    def within(self, base_offset: int, end_offset: int) -> list[tuple[int, int]]:
        """The epochs of [base_offset, end_offset), the first one's start clipped to base_offset."""
        inside = [(epoch, start) for epoch, start in self._entries if base_offset < start < end_offset]
        first = self.epoch_of(base_offset)
        return [(first, base_offset), *inside] if first >= 0 else inside

    def drop_below(self, log_start_offset: int) -> None:
        """Forget epochs that ended at or below the log start; the one that spans it begins there now."""
        place = bisect_right(self._entries, log_start_offset, key=lambda entry: entry[1])
        if place:
            epoch, start = self._entries[place - 1]
            self._entries[:place] = [(epoch, max(start, log_start_offset))]
