"""Rules and temporary instructions from the command line, in a real database."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
from tests.integration.cli.test_directory import CLIENTS

from vsek.cli import main

EXAMPLE = Path(__file__).resolve().parents[3] / "docs" / "example-rules.yaml"


class Printed(NamedTuple):
    stdout: str
    stderr: str


class Vsek:
    """Runs the program as an operator does, but in this process: there are many commands here."""

    def __init__(self, folder: Path, run: Callable[..., Printed]) -> None:
        self.folder = folder
        self._run = run

    def __call__(self, *arguments: str, code: int = 0) -> Printed:
        return self._run(*arguments, code=code)

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json").stdout)


@pytest.fixture
def vsek(
    tmp_path: Path,
    postgres_dsn: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Vsek:
    """Two clients, four agents, and no rules."""
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute(
            "TRUNCATE vsek.clients, vsek.client_numbers, vsek.client_history, vsek.rules, "
            "vsek.agents"
        )
        for agent_id in ("anna", "ben", "carla", "david"):
            connection.execute(
                "INSERT INTO vsek.agents (id, name, language, ha1) VALUES (%s, %s, 'de', %s)",
                (agent_id, agent_id.title(), "0" * 32),
            )
    monkeypatch.setenv("VSEK_DIR", str(tmp_path))
    monkeypatch.setenv("VSEK_DATABASE__DSN", postgres_dsn)

    def run(*arguments: str, code: int) -> Printed:
        monkeypatch.setattr(sys, "argv", ["vsek", *arguments])
        with pytest.raises(SystemExit) as ended:
            main.main()
        printed = Printed(*capsys.readouterr())
        assert (ended.value.code or 0) == code, printed.stderr
        return printed

    program = Vsek(tmp_path, run)
    (tmp_path / "clients.yaml").write_text(CLIENTS)
    program("client", "import", str(tmp_path / "clients.yaml"))
    return program


def test_rules_in_and_out(vsek: Vsek) -> None:
    assert "every agent takes every call" in vsek("rules", "history").stderr
    first = vsek("rules", "import", str(EXAMPLE))
    assert first.stdout == "Rules imported: version 1\n"
    assert "warning" not in first.stderr
    assert "takes effect when it starts" in first.stderr
    assert vsek("rules", "import", str(EXAMPLE)).stdout == "Rules unchanged: version 1\n"

    exported = vsek.folder / "exported.yaml"
    vsek("rules", "export", "--output", str(exported))
    assert vsek("rules", "import", str(exported)).stdout == "Rules unchanged: version 1\n"
    exported.write_text("agents: {anna: {team: west}}\n")
    second = vsek("rules", "import", str(exported))
    assert second.stdout == "Rules imported: version 2\n"
    assert f"warning: {exported}, line 1: agents.anna.team: no group has the team" in second.stderr
    (warning,) = vsek.json("rules", "import", str(exported))["warnings"]
    assert warning["field"] == "agents.anna.team"
    assert vsek("rules", "export").stdout == "agents:\n  anna:\n    team: west\n"
    assert "medical" in vsek("rules", "export", "--version", "1").stdout
    assert "no version 9" in vsek("rules", "export", "--version", "9", code=2).stderr

    text = vsek("client", "export", "acme").stdout + "    hold_s: 10\n"
    (vsek.folder / "acme.yaml").write_text(text)
    assert vsek("client", "import", str(vsek.folder / "acme.yaml")).stdout == "1 changed: acme\n"
    changes = vsek.json("rules", "history")["changes"]
    assert [(one["version"], one["rules"], one["clients"]) for one in changes] == [
        (3, False, ["acme"]),
        (2, True, []),
        (1, True, []),
    ]
    assert changes[1]["source"] == "exported.yaml"
    table = vsek("rules", "history", "-n", "2").stdout
    assert "clients acme" in table
    assert "example-rules.yaml" not in table


def test_what_is_wrong_is_told_and_changes_nothing(vsek: Vsek) -> None:
    vsek("rules", "import", str(EXAMPLE))
    file = vsek.folder / "wrong.yaml"
    file.write_text("groups:\n  a: {circles: {trained: 5}}\nagents:\n  anna: {skills: {x: 10}}\n")
    refused = vsek("rules", "import", str(file), code=2)
    assert refused.stdout == ""
    assert "line 2: groups.a.circles: nobody may take a call at first" in refused.stderr
    assert "line 4: agents.anna.skills.x: is more than 9 (given: '10')" in refused.stderr
    file.write_text("agents:\n  zoe: {}\n")
    assert "there is no agent 'zoe'" in vsek("rules", "import", str(file), code=2).stderr
    assert "cannot be read" in vsek("rules", "import", str(vsek.folder / "no"), code=2).stderr
    assert vsek.json("rules", "history")["changes"][0]["version"] == 1


def test_rules_are_shown(vsek: Vsek) -> None:
    assert "(clients without a group)" in vsek("rules", "show").stdout
    vsek("rules", "import", str(EXAMPLE))
    text = vsek("client", "export").stdout
    text = text.replace(
        "    name: ACME", "    group: medical\n    requires: {english: 9}\n    name: ACME"
    )
    (vsek.folder / "all.yaml").write_text(text)
    vsek("client", "import", str(vsek.folder / "all.yaml"))
    shown = vsek("rules", "show").stdout
    assert "# Version 2" in shown
    assert "# ring_timeout_s 15" in shown
    assert "team after 0 s, trained after 10 s, learning after 20 s" in shown
    group = vsek("rules", "show", "medical").stdout
    assert "english=9 medicine=7" in group
    assert "learning" in group
    assert "overflow" in group, "David is not cleared, but helps out"
    assert "ACME GmbH" in group
    assert "no group 'x'" in vsek("rules", "show", "x", code=2).stderr
    plain = vsek.json("rules", "show")
    assert [one["id"] for one in plain["groups"]] == ["medical", "office", "backup", ""]
    assert plain["groups"][0]["clients"] == ["acme"]
    assert plain["groups"][0]["admits"] == ["anna", "ben", "carla", "david"]
    assert vsek.json("rules", "show", "backup")["agents"][0]["skills"]["english"] == 9


def test_instructions_come_and_go(vsek: Vsek) -> None:
    later = (datetime.now(UTC) + timedelta(days=2)).strftime("%Y-%m-%d")
    done = vsek("client", "instruct", "acme", "Bitte\u202e nicht\x1b stören", "--until", later)
    assert "Bitte nicht stören" in done.stdout
    assert "takes effect when it starts" in done.stderr
    vsek(
        "client", "instruct", "acme", "Zu", "--until", f"{later} 16:00", "--from", later, "--closed"
    )
    listed = vsek("client", "instruct", "acme").stdout
    assert "holds" in listed
    assert "to come" in listed
    told = vsek.json("client", "instruct", "acme")["temporary"]
    assert [(one["number"], one["state"], one.get("closed", False)) for one in told] == [
        (1, "holds", False),
        (2, "to come", True),
    ]
    shown = vsek("client", "show", "acme").stdout
    assert "Bitte nicht stören" in shown.split("clients:")[0], "those that hold come first"
    assert "# Version 3" in shown
    assert "Zu" in shown
    file = vsek.folder / "again.yaml"
    file.write_text(vsek("client", "export", "acme").stdout)
    assert vsek("client", "import", str(file)).stdout == "1 unchanged: acme\n"
    assert (
        vsek("client", "instruct", "acme", "--remove", "1").stdout
        == "Removed: Bitte nicht stören\n"
    )
    assert [one["text"] for one in vsek.json("client", "instruct", "acme")["temporary"]] == ["Zu"]
    assert "has no temporary instructions" in vsek("client", "instruct", "bell").stderr


def test_instructions_that_make_no_sense(vsek: Vsek) -> None:
    for arguments, told in (
        (["acme", "x"], "When does the instruction end?"),
        (["acme", "x", "--until", "soon"], "'soon' is not a time"),
        (["acme", "x", "--until", "2001-01-01"], "over already"),
        (["acme", " ", "--until", "2100-01-01"], "The instruction is empty"),
        (["acme", "x" * 2001, "--until", "2100-01-01"], "has 2001 letters"),
        (["acme", "--until", "2100-01-01"], "needs a TEXT"),
        (["acme", "--remove", "7"], "no temporary instruction 7"),
        (["zz", "x", "--until", "2100-01-01"], "no client 'zz'"),
    ):
        assert told in vsek("client", "instruct", *arguments, code=2).stderr
    # The day, as it was written, and not its end, which is another day.
    over = vsek("client", "instruct", "acme", "x", "--until", "2001-01-01", code=2).stderr
    assert "  field:  --until\n  value:  2001-01-01\n" in over
