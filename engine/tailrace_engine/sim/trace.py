"""What happened in a simulated run: a line an event, and a digest of all of them that two runs are compared by."""

import hashlib
from collections import deque
from collections.abc import Callable
from typing import Final

_LINES_KEPT: Final = 60


class SimFailure(AssertionError):
    """An invariant does not hold. The text says how to repeat the run."""

    def __init__(self, seed: int, step: int, what: str, trace: "Trace") -> None:
        lines = "\n    ".join(trace.last)
        super().__init__(
            f"{what}\n  seed {seed}, callback {step}, trace {trace.digest()}; the last events:\n    {lines}\n"
            f"  repeat it with: make sim SEED={seed}"
        )
        self.seed = seed
        self.what = what


class Trace:
    """Virtual time, actor, what."""

    def __init__(self, now: Callable[[], float], write: Callable[[str], object] | None = None) -> None:
        """write gets each line, too."""
        self.last: deque[str] = deque(maxlen=_LINES_KEPT)
        self.lines = 0
        self._now = now
        self._write = write
        self._hash = hashlib.sha256()

    def __call__(self, actor: str, what: str) -> None:
        line = f"{self._now():.6f} {actor}: {what}"
        self.lines += 1
        self.last.append(line)
        self._hash.update(line.encode() + b"\n")
        if self._write is not None:
            self._write(line)

    def digest(self) -> str:
        """Of all lines until now."""
        return self._hash.hexdigest()[:16]
