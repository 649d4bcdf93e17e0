"""What a log record looks like, and how many of the noisy ones are written."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from tailrace_gateway.observability.logging import RepeatLimit, configure, fields, noisy


@pytest.fixture(autouse=True)
def _root_logger_restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_line_for_people() -> None:
    stream = Terminal()
    configure("info", "auto", stream)
    logging.getLogger("engine").info("uploaded %d", 3, extra=fields(key="a b", size=5))
    line = stream.getvalue()
    assert line.endswith('INFO    engine: uploaded 3 key="a b" size=5\n')


def test_anything_else_gets_json_with_the_fields() -> None:
    stream = io.StringIO()
    configure("info", "auto", stream)
    try:
        raise ValueError("bad")
    except ValueError:
        logging.getLogger("engine").exception("failed", extra=fields(partition=3, data=b"\x00"))
    record = json.loads(stream.getvalue())
    assert record["level"] == "error"
    assert record["logger"] == "engine"
    assert record["message"] == "failed"
    assert (record["partition"], record["data"]) == (3, "b'\\x00'")
    assert "ValueError: bad" in record["exception"]
    assert record["time"].endswith("Z")


def test_a_message_with_line_ends_stays_one_record() -> None:
    stream = io.StringIO()
    configure("info", "json", stream)
    logging.getLogger("engine").info("two\nlines")
    assert stream.getvalue().count("\n") == 1
    human = io.StringIO()
    configure("info", "human", human)
    logging.getLogger("engine").info("two\nlines", extra=fields(what="a\nb"))
    assert human.getvalue().splitlines()[1] == '  lines what="a\\nb"'


def test_less_important_records_are_left_out() -> None:
    stream = io.StringIO()
    configure("warning", "json", stream)
    logging.getLogger("engine").info("no")
    logging.getLogger("engine").warning("yes")
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["yes"]


def record_at(moment: float, line: int, **extra: object) -> logging.LogRecord:
    record = logging.makeLogRecord({"pathname": "wal.py", "lineno": line, **extra})
    record.created = moment
    return record


def test_noisy_records_of_one_place_are_held_back_and_counted() -> None:
    limit = RepeatLimit(records_max=2, seconds=10)
    passed = [limit.filter(record_at(100 + second, 1, **noisy(client="x"))) for second in range(6)]
    assert passed == [True, True, False, False, False, False]
    assert limit.filter(record_at(101, 2, **noisy())), "another place has its own count"
    later = record_at(111, 1, **noisy(client="y"))
    assert limit.filter(later)
    assert later.__dict__["fields"] == {"client": "y", "held_back": 4}


def test_a_clock_that_jumps_back_does_not_silence_a_place() -> None:
    limit = RepeatLimit(records_max=1, seconds=10)
    assert limit.filter(record_at(100, 1, **noisy()))
    assert limit.filter(record_at(50, 1, **noisy()))


def test_other_records_are_never_held_back() -> None:
    limit = RepeatLimit(records_max=1, seconds=10)
    assert all(limit.filter(record_at(100, 1, **fields(partition=number))) for number in range(20))


def test_fields_may_not_hide_the_record() -> None:
    with pytest.raises(AssertionError, match="reserved"):
        fields(message="x")
