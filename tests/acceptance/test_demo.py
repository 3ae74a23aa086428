"""``vsek demo`` from outside: its verdict, its document, and that nothing stays behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path

from vsek.demo.events import eventually

_DEMO = (sys.executable, "-m", "vsek.cli.main", "demo")


def processes_naming(text: str) -> list[str]:
    """Command lines of running processes in which ``text`` occurs."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if text in line:
                found.append(line)
    return found


async def demo(folder: Path, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *_DEMO,
        "--dir",
        str(folder),
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_two_demos_at_once_go_well_and_leave_nothing_behind(tmp_path: Path) -> None:
    """One prints JSON, the other is for people."""
    began = time.monotonic()
    folders = tmp_path / "one", tmp_path / "two"
    runs = await demo(folders[0], "--json"), await demo(folders[1])
    (out, err), (shown, trouble) = await asyncio.gather(*(run.communicate() for run in runs))
    assert [run.returncode for run in runs] == [0, 0], (err + shown + trouble).decode()[-3000:]
    assert time.monotonic() - began < 60
    document = json.loads(out)
    assert document["ok"] is True
    assert [(c["client_id"], c["outcome"], c["stage"]) for c in document["calls"]] == [
        ("becker", "answered", "talking"),
        ("hartley", "answered", "talking"),
        ("becker", "abandoned", "greeting"),
        ("lindner", "answered", "talking"),
    ]
    agents = [call["agent_id"] for call in document["calls"]]
    assert {agents[0], agents[1]} == {"anna", "ben"}
    assert sorted(mail["recipients"][0] for mail in document["mails"]) == [
        "empfang@lindner.example",
        "jutta@becker.example",
        "jutta@becker.example",
        "olivia@hartley.example",
    ]
    subjects = [mail["subject"] for mail in document["mails"]]
    assert "[Dringend] Anruf: Karl Müller – RR" in subjects
    files = [Path(mail["file"]).stat().st_size for mail in document["mails"]]  # noqa: ASYNC240
    assert all(files)
    for text in (b"agent_ringing", b"Karl M", b"Every call has its outcome"):
        assert text in shown
    for folder in folders:
        assert processes_naming(str(folder)) == []


async def test_a_demo_that_is_told_to_stop_takes_everything_with_it(tmp_path: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        folder = tmp_path / number.name
        run = await demo(folder)
        assert run.stdout is not None
        while b"callers can call" not in (line := await run.stdout.readline()):
            assert line, (await run.communicate())[1].decode()
        assert processes_naming(str(folder))
        run.send_signal(number)
        await run.communicate()
        assert run.returncode != 0

        async def nobody(folder: Path = folder) -> bool | None:
            return True if not processes_naming(str(folder)) else None

        await eventually(nobody, "the end of all processes")
