"""What commands answer to wrong words, ids of the wrong kind, and things that happen later."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from vsek.cli import agents, notes
from vsek.cli.output import shown
from vsek.domain.draft import DraftState
from vsek.domain.note import Action
from vsek.errors import InputError
from vsek.settings import Settings

_NOTE: dict[str, Any] = {
    "id": "n1",
    "key": "call:c1:auto",
    "call_id": "c1",
    "client_id": "acme",
    "client_name": "ACME",
    "kind": "message",
    "caller": "",
    "subject": "x",
    "corrects": None,
    "incomplete": False,
    "received_at": "2026-01-01T00:00:00Z",
    "message_id": "<x@y>",
    "state": "accepted",
    "deliveries": [],
}


_STATE: dict[str, Any] = {
    "call_id": "c1",
    "revision": 2,
    "state": "open",
    "finished": False,
    "due_at": None,
    "author": "",
    "changed_at": None,
    "draft": {"text": "Es tropft", "fields": {"Kunde": "4711"}},
}


def vsek(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the program as an operator does, in a run folder where nothing runs."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith("VSEK_")}
    return subprocess.run(
        [sys.executable, "-m", "vsek.cli.main", *arguments, "--dir", str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("arguments", "option", "words"),
    [
        (["note", "list", "--status", "foo"], "--status", "queued, accepted, bounced, given_up"),
        (["note", "write", "c1", "--action", "foo"], "--action", "RR, RWA, KN, OK"),
        (["call", "list", "--outcome", "foo"], "--outcome", "answered, put_through, callback, "),
    ],
)
def test_a_word_that_an_option_does_not_know(
    tmp_path: Path, arguments: list[str], option: str, words: str
) -> None:
    done = vsek(tmp_path, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(
        f"vsek: {option} does not know 'foo'\n  field:  {option}\n  value:  foo\n"
        f"  remedy: Choose one of: {words}"
    )


@pytest.mark.parametrize(
    "arguments", [["list"], ["show", "n1"], ["retry", "n1"], ["write", "c1", "--text", "x"]]
)
def test_notes_without_a_stack_name_the_folder(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "vsek.toml").write_text('[notes]\nurl = "http://127.0.0.1:1"\n')
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "stack.json").write_text('{"settings": {}}')
    done = vsek(tmp_path, "note", *arguments)
    assert done.returncode == 1
    assert f"remedy: Is it running? Start it with: vsek up --dir {tmp_path}\n" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "toml", "code", "message", "remedy"),
    [
        (
            ["migrate"],
            "",
            1,
            "cannot be migrated",
            "No database is named: set dsn under [database]",
        ),
        (
            ["migrate"],
            '[database]\ndsn = "postgresql://127.0.0.1:1/x"',
            1,
            "port 1 failed: Connection refused",
            "Check database.dsn, that the server runs",
        ),
        (
            ["migrate"],
            '[database]\ndsn = "x"',
            2,
            "DSN cannot be read",
            "Write it like postgresql:",
        ),
        (
            ["health", "--of", "notes"],
            '[notes]\nurl = "http://127.0.0.1:1"',
            1,
            "The note service at http://127.0.0.1:1 does not answer: Connection refused\n",
            "Check the servers named in ",
        ),
    ],
)
def test_what_is_not_there_is_told_with_what_fits_the_folder(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    toml: str,
    code: int,
    message: str,
    remedy: str,
) -> None:
    # Whatever database this machine may have, it is none of ours.
    monkeypatch.setenv("PGHOST", str(tmp_path))
    if toml:
        (tmp_path / "vsek.toml").write_text(toml)
    done = vsek(tmp_path, *arguments)
    assert done.returncode == code
    assert message in done.stderr
    assert f"  remedy: {remedy}" in done.stderr


@pytest.mark.parametrize("arguments", [["agent", "list"], ["migrate"], ["up"], ["demo"]])
def test_a_file_where_a_folder_is_wanted(tmp_path: Path, arguments: list[str]) -> None:
    file = tmp_path / "file"
    file.write_text("")
    done = vsek(file, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"vsek: {file} is a file, not a folder\n  field:  --dir\n")
    assert "  remedy: Name a folder with --dir or VSEK_DIR" in done.stderr


@pytest.fixture
async def settings(tmp_path: Path) -> AsyncIterator[Settings]:
    async def listing(request: web.Request) -> web.Response:
        asked = request.query
        known = asked.get("call") == "c1" or asked.get("key") == "call:c1:auto"
        return web.json_response({"notes": [_NOTE] if known else [], "next": None})

    async def show(_: web.Request) -> web.Response:
        body = {"error_id": "unknown_note", "message": "There is no such note", "field": "note_id"}
        return web.json_response(body, status=404)

    async def draft(request: web.Request) -> web.Response:
        if request.match_info["id"] != "c1":
            return await show(request)
        if request.method == "GET":
            return web.json_response(_STATE)
        draft = await request.json()
        finished, author = draft.pop("finish"), draft.pop("author")
        return web.json_response({**_STATE, "draft": draft, "finished": finished, "author": author})

    app = web.Application()
    app.router.add_get("/v1/notes", listing)
    app.router.add_get("/v1/notes/{id}", show)
    app.router.add_route("*", "/v1/calls/{id}/note", draft)
    async with TestServer(app) as server:
        yield Settings(dir=tmp_path, notes={"url": str(server.make_url("/"))})


@pytest.mark.parametrize(
    ("given", "message", "call"),
    [
        ("c1", "There is no note 'c1': that is a call", "c1"),
        ("call:c1:auto", "There is no note 'call:c1:auto': that is the key of note n1", "c1"),
        ("zz", "There is no note 'zz'", "CALL"),
    ],
)
async def test_who_names_no_note_learns_how_to_find_it(
    settings: Settings, given: str, message: str, call: str
) -> None:
    with pytest.raises(InputError) as caught:
        async with notes._service_with(settings, given) as service:
            await service.show(given)
    assert (caught.value.field, caught.value.message) == ("NOTE", message)
    assert caught.value.remedy.endswith(f"vsek note list --call {call}")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"state": "open", "due_at": None}, "open, revision 2"),
        (
            {"state": "finished", "due_at": "2026-01-01T00:00:00Z"},
            f"finished, revision 2, leaves at {shown(datetime(2026, 1, 1, tzinfo=UTC))}",
        ),
        ({"state": "sent", "due_at": None}, "sent (revision 2)"),
        (
            {"state": "sent", "due_at": "2026-01-01T00:00:00Z"},
            "sent; the correction leaves now (revision 2)",
        ),
    ],
)
def test_what_becomes_of_a_note_that_was_written(answer: dict[str, Any], text: str) -> None:
    assert notes._written(DraftState.model_validate({**_STATE, **answer})) == text


async def test_what_is_written_is_added_to_what_is_there(settings: Settings) -> None:
    changes = {"concern": "Dach", "action": Action.CALL_BACK}
    fields = {"Objekt": "12"}
    state = await notes._write(settings, "c1", changes, fields, finish=True, author="Eva")
    assert state.draft.text == "Es tropft"
    assert state.draft.concern == "Dach"
    assert state.draft.action is Action.CALL_BACK
    assert state.draft.fields == {"Kunde": "4711", "Objekt": "12"}
    assert (state.finished, state.author) == (True, "Eva")


@pytest.mark.parametrize("call_id", ["zz", "a/b", "..", "ü\n"])
async def test_who_names_no_call_learns_how_to_find_it(settings: Settings, call_id: str) -> None:
    with pytest.raises(InputError, match="There is no call") as caught:
        await notes._write(settings, call_id, {}, {}, finish=False, author="")
    assert (caught.value.value, caught.value.error_id) == (call_id, "unknown_call")
    assert "vsek call list" in caught.value.remedy


def test_a_pause_that_follows_on_a_talk(capsys: pytest.CaptureFixture[str]) -> None:
    agents._state("anna", {"state": "talking", "pause_wanted": "lunch"})
    agents._state("anna", {"state": "paused", "pause_wanted": None})
    assert capsys.readouterr().out == (
        "Agent anna: talking; the pause begins after the wrap-up\nAgent anna: paused\n"
    )
    assert agents._doing({"state": "talking", "pause_wanted": "lunch"}) == (
        "talking, then pause (lunch)"
    )
    assert agents._doing({"state": None, "pause_wanted": None}) is None


@pytest.mark.parametrize(
    ("sip", "where"), [("127.0.0.1:5060", "at 127.0.0.1:5060 (UDP):"), ("", "at your Asterisk:")]
)
def test_an_agent_without_a_softphone_is_told_what_is_missing(sip: str, where: str) -> None:
    told = agents._no_calls_yet("anna", {"state": "logged_out", "reachable": False}, sip)
    assert told.startswith("No softphone is registered for anna, so no call can reach them.")
    assert f"remedy: Register a softphone {where} user anna" in told


@pytest.mark.parametrize(
    ("state", "told"),
    [("ready", ""), ("offered", ""), ("talking", "The next call comes after this talk")],
)
def test_an_agent_who_was_made_ready(state: str, told: str) -> None:
    said = agents._no_calls_yet("anna", {"state": state}, "")
    assert said.startswith(told)
    assert bool(said) == bool(told)


def test_ctrl_c_while_the_program_loads() -> None:
    # Whatever the program imports first is where Ctrl-C comes.
    code = (
        "import os, signal, sys\n"
        # Tests that run in the background may have been told to ignore Ctrl-C; terminals never do.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'typer':\n"
        f"            os.kill(os.getpid(), {int(signal.SIGINT)})\n"
        "sys.meta_path.insert(0, Interrupt())\n"
        "import vsek.cli.main\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (130, "")
