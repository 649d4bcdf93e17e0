"""The other side of runtime/workers.py: a process that does one job after another, and ends when its input does."""

import asyncio
import os
import pickle
import signal
import sys
import threading
from queue import SimpleQueue
from typing import Any, BinaryIO, Final

from tailrace_engine.runtime.workers import FRAME

_NICENESS: Final = 5
"""The broker goes first where there are not enough cores, and a quarter of one is left for what bounds its restart."""


def main() -> None:
    """Serve the process that started this one."""
    os.nice(_NICENESS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the broker as well, which ends this process
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a job prints is no answer
    asked: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin.buffer, asked), daemon=True).start()
    while True:
        answer = _answer_to(asked.get())
        answers.write(FRAME.pack(len(answer)))
        answers.write(answer)
        answers.flush()


def _read(requests: BinaryIO, asked: "SimpleQueue[bytes]") -> None:
    """Take jobs in; without a broker there is nobody to work for, whatever is being done."""
    while True:
        head = requests.read(FRAME.size)
        if len(head) < FRAME.size:
            os._exit(0)  # noqa: TID251
        asked.put(requests.read(FRAME.unpack(head)[0]))


def _answer_to(asked: bytes) -> bytes:
    try:
        function, args, kwargs = pickle.loads(asked)
        return pickle.dumps((False, asyncio.run(function(*args, **kwargs))))
    except Exception as error:
        return _failure(error)


def _failure(error: Exception) -> bytes:
    answer: tuple[bool, Any] = (True, error)
    try:
        packed = pickle.dumps(answer)
        pickle.loads(packed)
    except Exception:
        return pickle.dumps((True, RuntimeError(f"{type(error).__name__}: {error}")))
    return packed


if __name__ == "__main__":
    main()
