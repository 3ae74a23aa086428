"""The README's first call, step by step, with the commands that stand there."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from vsek.embedded.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
_PATIENCE_S = 90.0


class Reader:
    """Somebody who does what the README says, with other ports and in another folder."""

    def __init__(self, folder: Path) -> None:
        text = (ROOT / "README.md").read_text()
        self.text = text[text.index("## Your own client") : text.index("## Commands")]
        self.folder = folder
        self.ports = {
            "5060": str(free_port()),
            "2525": str(free_port()),
        }
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.env = {**os.environ, "VSEK_DIR": str(folder / "run"), "PATH": path}
        self.env |= {"PYTHONUNBUFFERED": "1"}

    def command(self, start: str, **values: str) -> list[str]:
        """The command of the README that begins with ``start``, words replaced."""
        lines = self.text.replace("\\\n", "")
        found = re.search(rf"^ {{4}}({re.escape(start)}.*)$", lines, re.MULTILINE)
        assert found is not None, start
        words = shlex.split(found[1], comments=True)
        for old, new in {**self.ports, **values}.items():
            words = [re.sub(rf"\b{old}\b", new, word) for word in words]
        return words

    def block(self, language: str) -> str:
        found = re.search(rf"```{language}\n(.*?)```", self.text, re.DOTALL)
        assert found is not None
        return found[1]

    def run(self, start: str, *more: str, **values: str) -> str:
        done = subprocess.run(
            [*self.command(start, **values), *more],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE_S,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def json(self, start: str, **values: str) -> Any:
        return json.loads(self.run(start, "--json", **values))

    @contextmanager
    def running(
        self, start: str, *more: str, out: IO[str] | int, **values: str
    ) -> Iterator[subprocess.Popen[str]]:
        """The command in a terminal of its own, which is closed at the end."""
        log = self.folder / f"{len(list(self.folder.iterdir()))}.log"
        with log.open("w") as errors:
            process = subprocess.Popen(
                [*self.command(start, **values), *more],
                cwd=self.folder,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
                text=True,
                # Tests that run in the background may have been told to ignore Ctrl-C; terminals
                # never do.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
            )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=30)
            if process.stdout is not None:
                process.stdout.close()


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    return Reader(tmp_path)


def _until(what: str, true: Any) -> Any:
    """What ``true`` gives, once it gives something; it asks a process and so takes its time."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        found = true()
        if found:
            return found
        assert time.monotonic() < deadline, what


def test_the_first_call_as_the_readme_tells_it(reader: Reader) -> None:
    mails = reader.folder / "mails.txt"
    with ExitStack() as stack:
        mail_out = stack.enter_context(mails.open("w"))
        stack.enter_context(reader.running("python -m aiosmtpd", out=mail_out))
        up = stack.enter_context(reader.running("vsek up", out=subprocess.PIPE))
        assert up.stdout is not None
        ready = json.loads(up.stdout.readline())
        assert ready["sip"] == f"127.0.0.1:{reader.ports['5060']}"

        (reader.folder / "clients.yaml").write_text(reader.block("yaml"))
        assert reader.run("vsek client import") == "1 added: acme\n"

        added = reader.run("vsek agent add")
        secret = re.search(r"^secret: (\S+) ", added, re.MULTILINE)
        assert secret is not None
        assert f"server: {ready['sip']} (UDP)" in added

        phone = reader.running(
            "python -m vsek.demo.phone anna",
            "--answer",
            out=subprocess.DEVNULL,
            SECRET=secret[1],
        )
        stack.enter_context(phone)
        _until(
            "anna is ready",
            lambda: reader.json("vsek agent list")["agents"][0]["state"] == "ready",
        )
        assert "Anna Schmidt   ready" in reader.run("vsek agent list")

        caller = "python -m vsek.demo.phone +49"
        with reader.running(caller, "--seconds", "6", out=subprocess.DEVNULL) as calling:
            calling.wait(timeout=60)
        (call,) = _until(
            "the call is over",
            lambda: [c for c in reader.json("vsek call list")["calls"] if c["outcome"]],
        )
        assert (call["outcome"], call["agent_id"]) == ("answered", "anna")
        assert "ACME Dental Practice" in reader.run("vsek call list")

        reader.run("vsek note write", CALL=call["id"])
        assert call["id"] in reader.run("vsek call show", CALL=call["id"])
        _until("the mail arrives", lambda: "Toothache since yesterday." in mails.read_text())
        assert "alice@acme.example" in mails.read_text()
        _until("the note is accepted", lambda: "accepted" in reader.run("vsek note list"))
        assert "anna: ready" in reader.run("vsek agent ready")
