"""Structured logs on the standard library: a message with named fields, as a line for people or as a JSON object.

Any code logs through `logging.getLogger(__name__)` and hands fields over as `extra=fields(partition=3)`; code that may
not import the gateway writes the same as `extra={"fields": {"partition": 3}}`. A warning that one client or one disk
can cause by the thousand is marked with `noisy(...)` (`"noisy": True`): of each place in the code, a few in a time are
written, the rest are counted and told with the next one.
"""

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO

from tailrace_core.limits import LOG_REPEATS_MAX, LOG_REPEATS_SECONDS

RESERVED: Final = frozenset(("time", "level", "logger", "message", "exception"))


def fields(**named: object) -> dict[str, Any]:
    """`extra` of a log call: what happened to what, as names and values."""
    assert RESERVED.isdisjoint(named), f"reserved: {sorted(RESERVED & named.keys())}"
    return {"fields": named}


def noisy(**named: object) -> dict[str, Any]:
    """Like fields, for a record of which there may be very many."""
    return {**fields(**named), "noisy": True}


def _fields(record: logging.LogRecord) -> Mapping[str, object]:
    found = getattr(record, "fields", None)
    return found if isinstance(found, Mapping) else {}


class HumanFormatter(logging.Formatter):
    """`12:00:01.250 WARNING tailrace_engine.wal: message key=value`, in local time."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        parts = [f"{moment}.{int(record.msecs):03d} {record.levelname:<7} {record.name}: {record.getMessage()}"]
        parts += [f"{key}={_word(value)}" for key, value in _fields(record).items()]
        line = " ".join(parts).replace("\n", "\n  ")
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _word(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if not text or any(c in ' "=\n\r\t' for c in text) else text


class JsonFormatter(logging.Formatter):
    """One object a line; the fields stand beside time (UTC), level, logger, message and exception."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        said: dict[str, object] = {
            "time": moment.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        return json.dumps(said, ensure_ascii=False, default=str)


class RepeatLimit(logging.Filter):
    """Lets at most so many noisy records of one place in the code through in a time. The records carry the clock."""

    def __init__(self, records_max: int = LOG_REPEATS_MAX, seconds: float = LOG_REPEATS_SECONDS) -> None:
        super().__init__()
        self._records_max = records_max
        self._seconds = seconds
        # Bounded by the number of places in the code: [start of the time, written in it, held back since].
        self._places: dict[tuple[str, int], list[float]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not getattr(record, "noisy", False):
            return True
        place = self._places.setdefault((record.pathname, record.lineno), [record.created, 0, 0])
        if not 0 <= record.created - place[0] < self._seconds:
            place[0], place[1] = record.created, 0
        if place[1] >= self._records_max:
            place[2] += 1
            return False
        place[1] += 1
        if place[2]:
            record.fields = {**_fields(record), "held_back": int(place[2])}
            place[2] = 0
        return True


def configure(level: str, form: Literal["auto", "human", "json"], stream: TextIO | None = None) -> None:
    """Send all logs of the process, from level on, to stream (the standard error stream by default).

    Replaces what was configured before. auto: human where stream is a terminal, else json.
    """
    stream = sys.stderr if stream is None else stream
    human = form == "human" or (form == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(HumanFormatter() if human else JsonFormatter())
    handler.addFilter(RepeatLimit())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    # asyncio's own "debug" is about its selector and nothing that a reader of our logs asks for.
    logging.getLogger("asyncio").setLevel(max(logging.INFO, root.level))
