"""The command line of `tailrace admin`: what it takes, what it says, and how it looks. No broker."""

import argparse
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tailrace_admin import completion
from tailrace_admin.client import Client, WrongUrl
from tailrace_admin.groups import _time
from tailrace_admin.main import main, parser
from tailrace_admin.output import Output, printable, size, table
from tailrace_admin.session import DONE, UNREACHABLE, WRONG_USAGE, near, topic_and_partitions

NOBODY = "http://127.0.0.1:1"


def each_command(tree: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """The words of every command that runs, and its help."""
    inner = [action for action in tree._actions if isinstance(action, argparse._SubParsersAction)]
    if not inner:
        yield words, tree.format_help()
    for action in inner:
        for name, sub in action.choices.items():
            yield from each_command(sub, (*words, name))


def test_every_command_explains_itself_with_examples_that_it_takes() -> None:
    found = dict(each_command(parser()))
    assert len(found) > 15
    for words, text in found.items():
        assert "examples:\n" in text, words
        for line in text.partition("examples:\n")[2].splitlines():
            example = line.split()
            assert example[:2] == ["tailrace", "admin"]
            example = example[2 : example.index(">")] if ">" in example else example[2:]
            assert tuple(example[: len(words)]) == words
            parser().parse_args(example)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "COMMAND"),
        (["topics"], "COMMAND"),
        (["topcis", "list"], "choose from 'topics', 'groups', 'configs', 'brokers'"),
        (["topics", "create"], "TOPIC"),
        (["topics", "alter", "a", "--partitions", "3"], "usage: tailrace admin topics alter"),
        (["topics", "create", "a", "--partitions", "x"], "invalid int value"),
        (["topics", "create", "a", "--config", "retention.ms"], "'retention.ms' is not NAME=VALUE"),
        (["topics", "delete-records", "a", "--before", "0"], "'0' is not NAME=VALUE"),
        (["topics", "delete-records", "a", "--before", "0=x"], "is not PARTITION=OFFSET"),
        (["topics", "delete-records", "a"], "either --before PARTITION=OFFSET or --all"),
        (["topics", "alter", "a"], "--set, --delete, --append, --subtract"),
        (["groups", "reset-offsets", "g"], "--to-earliest"),
        (["groups", "reset-offsets", "g", "--to-earliest", "--to-latest"], "not allowed with"),
        (["groups", "reset-offsets", "g", "--to-time", "noon"], "is neither a time like"),
        (["groups", "reset-offsets", "g", "--to-latest", "--topic", "a:b"], "TOPIC:PARTITION,PARTITION"),
        (["configs", "describe", "tables", "a"], "choose from 'topics'"),
        (["--url", "ftp://a", "topics", "list"], "allowed: http://HOST:PORT"),
        (["completion", "tcsh"], "'bash', 'zsh', 'fish'"),
    ],
)
def test_wrong_usage_says_what_is_allowed(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == WRONG_USAGE
    assert said in capsys.readouterr().err


def test_where_no_broker_is_the_address_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["topics", "list", "--url", NOBODY]) == UNREACHABLE
    assert main(["--url", NOBODY, "topics", "list"]) == UNREACHABLE
    assert capsys.readouterr().err.count(NOBODY) == 2


def test_the_address_is_taken_from_the_environment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAILRACE_ADMIN_URL", "127.0.0.1:1")
    assert main(["brokers", "list"]) == UNREACHABLE
    assert NOBODY in capsys.readouterr().err


@pytest.mark.parametrize(
    "url", ["", "http://", "https://a:1", "http://a:b", "http://a:1/v1", "http://a:1?x=1", "a:99999"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(WrongUrl, match="allowed: http://HOST:PORT"):
        Client(url)


def test_completion_is_silent_where_no_broker_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for url in (NOBODY, "rubbish://"):
        monkeypatch.setenv("TAILRACE_ADMIN_URL", url)
        assert main(["__complete", "topics", ""]) == DONE
    assert main(["__complete"]) == DONE
    assert capsys.readouterr() == ("", "")


def test_help_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == DONE
    assert "exit status: 0 done, 1 refused by the broker, 2 wrong usage, 3 no broker there" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1_600_000, "1.5 MiB"), (1 << 62, "4096.0 PiB"), (None, "-")],
)
def test_sizes_are_for_people(count: int | None, said: str) -> None:
    assert size(count) == said


def test_columns_are_aligned_and_numbers_on_the_right() -> None:
    assert table(("NAME", "COUNT", "SIZE"), [("a", 5, "1.0 KiB"), ("longer", 12_345, "7 B"), (None, None, "-")]) == [
        "NAME    COUNT     SIZE",
        "a           5  1.0 KiB",
        "longer  12345      7 B",
        "-           -        -",
    ]
    assert table(("NAME", "COUNT"), []) == ["NAME  COUNT"]


def test_a_name_cannot_move_the_cursor() -> None:
    assert printable("a\x1b[2Jb\n") == "a\\x1b[2Jb\\n"
    assert table(("NAME",), [("\x1b[31m",)])[1] == "\\x1b[31m"
    assert printable("grüße 組") == "grüße 組"


def test_colour_is_for_terminals_that_take_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Output(False)
    assert out.heading("a") == "a"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert out.heading("a") == "\033[1ma\033[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert out.heading("a") == "a"


def test_times_are_moments() -> None:
    assert _time("2026-01-31T12:00:00Z") == {"to": "time", "timestamp_ms": 1_769_860_800_000}
    assert _time("2026-01-31T13:00:00+01:00") == _time("2026-01-31T12:00:00Z")
    assert _time("1769860800000") == _time("2026-01-31T12:00:00Z")


def test_partitions_stand_behind_a_topic() -> None:
    assert topic_and_partitions("a") == {"topic": "a", "partitions": None}
    assert topic_and_partitions("a:0,12") == {"topic": "a", "partitions": [0, 12]}
    for wrong in ("a:", ":1", "a:1,", "a:-1"):
        with pytest.raises(argparse.ArgumentTypeError):
            topic_and_partitions(wrong)


def test_near_names_are_told() -> None:
    assert near("ordes", ["orders", "payments"]) == "; did you mean 'orders'?"
    assert near("x", ["orders"]) == ""


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_a_script_has_every_command_and_option_of_the_tree(shell: str) -> None:
    text = completion.script(shell, parser())
    for words, usage in each_command(parser()):
        assert f"'tailrace admin {' '.join(words)}'" in text
        assert set(re.findall(r"--[a-z-]+", usage.partition("examples:")[0])) <= set(re.findall(r"--[a-z-]+", text))
    if (program := shutil.which(shell)) is not None:
        done = subprocess.run([program, "-n", "/dev/stdin"], input=text, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
