"""Clients, agents and calls from the command line, in a real database."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

CLIENTS = """\
clients:
  - id: acme
    name: ACME GmbH
    numbers: {did: ["+49 30 5550100"]}
    policy: ring
    contacts: [{name: Erika Muster, email: erika@acme.example, notes: true}]
  - id: bell
    name: Bell Ltd
    language: en
    timezone: Europe/London
    numbers: {forwarding: ["+44 20 7946 0001"]}
    contacts: [{name: Ann Bell, email: ann@bell.example, notes: true}]
"""


class Vsek:
    """Runs the program as an operator does."""

    def __init__(self, folder: Path, dsn: str) -> None:
        self.folder = folder
        self._env = {**os.environ, "VSEK_DIR": str(folder), "VSEK_DATABASE__DSN": dsn}

    def __call__(
        self, *arguments: str, code: int = 0, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "vsek.cli.main", *arguments],
            env=self._env,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json").stdout)


@pytest.fixture
def vsek(tmp_path: Path, postgres_dsn: str) -> Vsek:
    """Without the calls of other tests."""
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute("TRUNCATE vsek.calls CASCADE")
    return Vsek(tmp_path, postgres_dsn)


def test_what_a_caller_said_is_written_to_a_file_and_erased(vsek: Vsek, postgres_dsn: str) -> None:
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute("""
            INSERT INTO vsek.calls (id, received_at, caller_number, caller_name, caller_withheld,
                                    did, forwarded_by, forward_reason, policy, channel)
            VALUES ('r1', now(), '', '', true, '+4930', '{}', '', 'screen', 'ch-r1')
        """)
        connection.execute("INSERT INTO vsek.note_drafts (call_id) VALUES ('r1')")
        connection.execute("""
            INSERT INTO vsek.recordings (call_id, kind, name, at, consent, seconds, wav)
            VALUES ('r1', 'voicemail', 'vsek/r1-1', now(), true, 7, '\\x52494646')
        """)
    shown = vsek("call", "show", "r1").stdout
    assert re.search(r"voicemail .* 7 s", shown)
    [told] = vsek.json("call", "show", "r1")["recordings"]
    assert (told["kind"], told["size"]) == ("voicemail", 4)
    file = vsek.folder / "said.wav"
    assert vsek("call", "recording", "r1", "--out", str(file)).stdout.strip() == str(file)
    assert file.read_bytes() == b"RIFF"
    assert "no such recording" in vsek("call", "recording", "r1", "--number", "2", code=2).stderr
    assert "no call 'r9'" in vsek("call", "recording", "r9", code=2).stderr
    assert "Recordings of call r1 erased: 1." in vsek("call", "recording", "r1", "--erase").stderr
    assert "was erased on" in vsek("call", "recording", "r1", "--out", str(file), code=2).stderr
    assert "erased" in vsek("call", "show", "r1").stdout


def test_clients_in_and_out(vsek: Vsek) -> None:
    file = vsek.folder / "clients.yaml"
    file.write_text(CLIENTS)
    first = vsek("client", "import", str(file))
    assert first.stdout == "2 added: acme, bell\n"
    assert "takes effect when it starts" in first.stderr
    again = vsek("client", "import", str(file))
    assert (again.stdout, again.stderr) == ("2 unchanged: acme, bell\n", "")

    assert [one["id"] for one in vsek.json("client", "list")["clients"]] == ["acme", "bell"]
    assert vsek.json("client", "show", "bell")["language"] == "en"
    table = vsek("client", "list").stdout
    assert "+49305550100" in table
    assert "erika@acme.example" in table

    exported = vsek.folder / "exported.yaml"
    vsek("client", "export", "--output", str(exported))
    assert vsek("client", "import", str(exported)).stdout == "2 unchanged: acme, bell\n"
    assert vsek("client", "export", "acme").stdout in vsek("client", "show", "acme").stdout


def test_a_wrong_file_changes_nothing_and_names_every_line(vsek: Vsek) -> None:
    file = vsek.folder / "wrong.yaml"
    wrong = CLIENTS.replace("id: acme", "id: other").replace("5550100", "5550199")
    wrong = wrong.replace("policy: ring", "polcy: ring").replace("language: en", "language: fr")
    file.write_text(wrong)
    before = vsek("client", "list", "--json").stdout
    refused = vsek("client", "import", str(file), code=2)
    assert refused.stdout == ""
    assert f"{file}, line 5: " in refused.stderr
    assert "polcy" in refused.stderr
    assert f"{file}, line 9: " in refused.stderr
    assert vsek("client", "list", "--json").stdout == before
    missing = vsek("client", "import", str(vsek.folder / "none.yaml"), code=2)
    assert "none.yaml" in missing.stderr


def test_an_empty_list_says_so(vsek: Vsek) -> None:
    file = vsek.folder / "empty.yaml"
    file.write_text("clients: []\n")
    done = vsek("client", "import", str(file))
    assert (done.stdout, done.stderr) == ("", f"{file} lists no clients: nothing to import.\n")


def test_agents_come_and_go(vsek: Vsek) -> None:
    made = vsek.json("agent", "add", "anna", "--name", "Anna Schmidt")
    assert len(made["secret"]) >= 12
    chosen = vsek("agent", "add", "ben", "--name", "Ben", "--secret", "-", stdin="s" * 12 + "\n")
    assert "ssss" not in chosen.stdout
    assert [one["id"] for one in vsek.json("agent", "list")["agents"]] == ["anna", "ben"]
    short = vsek("agent", "add", "carl", "--name", "Carl", "--secret", "short-one", code=2)
    assert "field:  secret" in short.stderr
    assert "short-one" not in short.stderr
    assert "remedy:" in vsek("agent", "add", "anna", "--name", "A", code=2).stderr
    vsek("agent", "remove", "ben")
    assert "remedy:" in vsek("agent", "remove", "ben", code=2).stderr
    assert [one["id"] for one in vsek.json("agent", "list")["agents"]] == ["anna"]
    # Live changes need a switchboard.
    assert "remedy:" in vsek("agent", "ready", "anna", code=1).stderr


def test_calls(vsek: Vsek) -> None:
    assert vsek.json("call", "list") == {"calls": []}
    unknown = vsek("call", "show", "nothing", code=2)
    assert "field:  call" in unknown.stderr
    assert "remedy:" in unknown.stderr


def test_calls_of_a_client_that_does_not_exist(vsek: Vsek) -> None:
    refused = vsek("call", "list", "--client", "nope", code=2)
    assert refused.stderr.startswith(
        "vsek: There is no client 'nope'\n  field:  --client\n  value:  nope\n  remedy: "
    )
