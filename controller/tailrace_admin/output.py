"""What people read: aligned tables, sizes, colour where a terminal takes it; and what programs read: JSON lines."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Final, TextIO, TypeAlias

Cell: TypeAlias = str | int | None
_BOLD, _RED, _YELLOW, _PLAIN = "\033[1m", "\033[31m", "\033[33m", "\033[0m"
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def size(count: int | None) -> str:
    """Bytes for people: 1.5 MiB."""
    if count is None:
        return "-"
    value, unit = float(count), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.1f} {_UNITS[unit]}" if unit else f"{count} B"


def table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> list[str]:
    """Lines, the first one with the names of the columns. A column of numbers and sizes is right-aligned.

    What is None is a dash.
    """
    texts = [["-" if cell is None else printable(str(cell)) for cell in row] for row in rows]
    right = [all(_is_number(row[at]) for row in rows) for at in range(len(columns))]
    widths = [max(len(name), *(len(row[at]) for row in texts), 0) for at, name in enumerate(columns)]
    return [
        "  ".join(
            text.rjust(width) if is_right else text.ljust(width)
            for text, width, is_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in [list(columns), *texts]
    ]


def _is_number(cell: Cell) -> bool:
    return not isinstance(cell, str) or cell == "-" or (cell[:1].isdigit() and cell.endswith(_UNITS))


def printable(text: str) -> str:
    """Names are clients' own: what would move a terminal's cursor is shown as an escape."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


class Output:
    """Where results and remarks go. is_json: results are JSON objects, one a line."""

    def __init__(self, is_json: bool) -> None:
        self.is_json = is_json
        self._progress = 0

    def value(self, answer: Mapping[str, object], lines: Sequence[str]) -> None:
        """A result, in the form that was asked for."""
        self.end_progress()
        if self.is_json:
            lines = [json.dumps(answer, ensure_ascii=False)]
        for line in lines:
            sys.stdout.write(f"{line}\n")

    def heading(self, line: str) -> str:
        return _coloured(line, _BOLD, sys.stdout)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> list[str]:
        first, *rest = table(columns, rows)
        return [self.heading(first), *rest]

    def bad(self, text: str) -> str:
        """A part of a result that somebody must see."""
        return _coloured(text, _RED, sys.stdout)

    def remark(self, text: str) -> None:
        """For people, beside the result."""
        self.end_progress()
        sys.stderr.write(_coloured(text, _YELLOW, sys.stderr) + "\n")

    def error(self, text: str) -> None:
        self.end_progress()
        sys.stderr.write(_coloured("tailrace admin: ", _RED, sys.stderr) + printable(text) + "\n")

    def progress(self, text: str) -> None:
        """How far a long work is, on a terminal."""
        if sys.stderr.isatty():
            self.end_progress()
            sys.stderr.write(f"\r{text}")
            sys.stderr.flush()
            self._progress = len(text)

    def end_progress(self) -> None:
        if self._progress:
            sys.stderr.write("\r" + " " * self._progress + "\r")
            self._progress = 0


def _coloured(text: str, colour: str, stream: TextIO) -> str:
    return f"{colour}{text}{_PLAIN}" if stream.isatty() and not os.environ.get("NO_COLOR") else text
