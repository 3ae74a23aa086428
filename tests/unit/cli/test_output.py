"""Tables, facts and JSON."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from vsek.cli import output
from vsek.domain.note import NoteDraft


@pytest.fixture(autouse=True)
def _utc() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        ("", "-"),
        (True, "yes"),
        (0, "0"),
        (["a", None], "a, -"),
        ((), "-"),
        ({"agent": "anna", "cause": 17}, "agent=anna cause=17"),
        ("bell\x07 and\nline \x1b[31m", "bell  and line  [31m"),
        ("[bold]Müller[/bold]", "[bold]Müller[/bold]"),
        (NOON, "2026-03-01 12:00:00"),
    ],
)
def test_shown(value: object, text: str) -> None:
    assert output.shown(value) == text


def test_a_table_in_a_pipe_cuts_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 300
    output.table(("A", "B"), [("[red]1[/red]", long), (None, "2")], empty="none")
    out, err = capsys.readouterr()
    assert err == ""
    assert long in out
    assert "[red]1[/red]" in out


def test_an_empty_table_says_so_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("A",), [], empty="No calls.")
    assert capsys.readouterr() == ("", "No calls.\n")


def test_facts_keep_the_lines_of_a_text(capsys: pytest.CaptureFixture[str]) -> None:
    output.facts([("Id", 7), ("Text", "one\ntwo\x1b[2J"), ("Empty", "")])
    assert capsys.readouterr().out == "Id:    7\nText:  one\n       two [2J\nEmpty: -\n"


def test_json_of_models_and_times(capsys: pytest.CaptureFixture[str]) -> None:
    output.json({"at": NOON, "draft": NoteDraft(text="Grüße")})
    text = capsys.readouterr().out
    assert "Grüße" in text
    assert json.loads(text)["at"] == "2026-03-01T12:00:00Z"
    assert json.loads(text)["draft"]["text"] == "Grüße"
    assert output.json_line({"a": 1}) == '{"a":1}'


def test_moments() -> None:
    assert output.moment(NOON.timestamp()) == NOON
    assert output.moment("2026-03-01T12:00:00Z") == NOON
    assert output.moment("soon") == "soon"
    assert output.moment(None) is None


_WIDE = """
from vsek.cli import output
rows = [
    ("260722-120311-abc234", "2026-07-22 12:03:11", "Alder Vermögensverwaltung GmbH", number,
     "answered", "talking", None, "312 s")
    for number in ("+4930123456", "Jörg Weiß-Ümläut +49301234567")
]
columns = ("Call", "Received", "Client", "Caller", "Outcome", "Stage", "Agent", "Talk")
output.table(columns, rows, empty="none")
"""


def on_a_terminal(program: str, width: int) -> list[str]:
    """What ``program`` (Python) prints on a terminal that wide, without escape sequences."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (25, width))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=theirs,
        stdout=theirs,
        env={**environment, "TERM": "xterm", "NO_COLOR": "1"},
    ) as process:
        os.close(theirs)
        text = b""
        with contextlib.suppress(OSError):  # how Linux tells that the other end was closed
            while part := os.read(ours, 4096):
                text += part
    os.close(ours)
    assert process.returncode == 0
    return re.sub(r"\x1b\[[0-9;?]*[a-z]", "", text.decode()).splitlines()


@pytest.mark.parametrize(("width", "lines"), [(80, 7), (150, 4)])
def test_a_narrow_terminal_gets_paragraphs(width: int, lines: int) -> None:
    shown = on_a_terminal(_WIDE, width)
    assert len(shown) == lines, shown
    assert max(map(len, shown)) <= width
    assert "Alder Vermögensverwaltung GmbH" in "\n".join(shown)
    assert "312 s" in shown[-1]
    if width == 80:
        assert shown[0] == "260722-120311-abc234  2026-07-22 12:03:11"
        assert shown[1].startswith("    Client: Alder")
        assert "Agent" not in "\n".join(shown)


_LONG = """
from vsek.cli import output
output.paragraph("12:00:00  ", "waited 5.0 s (urgency 0.77); " * 4 + "all circles are open\\x1b[2J")
"""


@pytest.mark.parametrize("width", [20, 80])
def test_a_long_line_goes_on_indented(width: int) -> None:
    shown = on_a_terminal(_LONG, width)
    assert len(shown) > 1
    assert shown[0].startswith("12:00:00  waited 5.0 s")
    assert all(line.startswith(" " * 10) and line[10] != " " for line in shown[1:])
    assert max(map(len, shown)) <= max(width, 40)
    assert " ".join(line[10:] for line in shown).endswith("all circles are open [2J")


def test_a_pipe_gets_lines_whole(capsys: pytest.CaptureFixture[str]) -> None:
    output.paragraph("  ", "word " * 100)
    assert capsys.readouterr().out == "  " + ("word " * 100).rstrip() + "\n"
