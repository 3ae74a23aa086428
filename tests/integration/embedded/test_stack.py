"""`vsek up` as a process: it mends itself, ends in order, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from pathlib import Path
from typing import Any

from vsek.demo.mailbox import Mailbox
from vsek.demo.stack import Stack
from vsek.errors import ServiceError
from vsek.pbx.doctor import examine
from vsek.settings import load
from vsek.store import migrate


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


async def _pids(stack: Stack) -> dict[str, int]:
    text = await asyncio.to_thread((stack.folder / "run" / "stack.json").read_text)
    return dict(json.loads(text)["pids"])


async def _eventually(test: Any, limit_s: float = 30.0) -> None:
    """Other processes tell nobody when they are done: ask until ``test`` holds."""
    async with asyncio.timeout(limit_s):
        while not await test():  # noqa: ASYNC110 - nobody could set an event
            await asyncio.sleep(0.02)


async def test_every_part_that_dies_comes_back(tmp_path: Path) -> None:
    stack = await Stack.start(tmp_path / "run folder", smtp="127.0.0.1:1")
    try:
        for name in ("serve", "notes", "asterisk", "postgres"):
            before = await _pids(stack)
            os.kill(before[name], signal.SIGKILL)

            async def is_back(name: str = name, old: int = before[name]) -> bool:
                return (await _pids(stack))[name] not in (old, 0)

            await _eventually(is_back)

        async def healthy() -> bool:
            with contextlib.suppress(ServiceError):
                await stack.control("GET", "/v1/health")
                return True
            return False

        await _eventually(healthy)
        now = await _pids(stack)
    finally:
        code = await stack.stop()
    assert code == 0
    assert not [name for name, pid in now.items() if _alive(pid)]
    left = sorted(path.name for path in (tmp_path / "run folder" / "run").iterdir())
    assert left == ["stack.json", "up.lock"]


async def test_nothing_survives_the_supervisor_and_ports_are_kept(tmp_path: Path) -> None:
    stack = await Stack.start(tmp_path, smtp="127.0.0.1:1")
    first = stack.ready
    await stack.stop(number=signal.SIGKILL)

    async def all_gone() -> bool:
        return not any(_alive(pid) for pid in first["pids"].values())

    await _eventually(all_gone)
    stack = await Stack.start(tmp_path, smtp="127.0.0.1:1")
    try:
        for name in ("sip", "http", "ari", "ami", "postgres"):
            assert stack.ready[name] == first[name]
    finally:
        await stack.stop()


async def test_the_doctor_finds_a_whole_stack_well_and_names_what_is_wrong(
    tmp_path: Path, monkeypatch: Any
) -> None:
    mailbox = Mailbox(tmp_path / "mail")
    await mailbox.start()
    async with await Stack.start(tmp_path, smtp=mailbox.address):
        findings = await examine(load(tmp_path), pending=migrate.pending)
        assert not [finding for finding in findings if finding.level != "ok"], findings
        assert not [finding for finding in findings if finding.level == "ok" and finding.remedy]

        monkeypatch.setenv("VSEK_ARI__APP", "other")
        monkeypatch.setenv("VSEK_AMI__SECRET", "wrong")
        monkeypatch.setenv("VSEK_ASTERISK__AGENT_TRANSPORT", "none")
        monkeypatch.setenv("VSEK_SMTP__PORT", "1")
        monkeypatch.setenv("VSEK_SOUNDS__ASTERISK_FOLDER", "/elsewhere")
        monkeypatch.setenv("VSEK_ASTERISK__LEDGER_FOLDER", "/elsewhere")
        found = await examine(load(tmp_path), pending=migrate.pending)
        assert {finding.where for finding in found if finding.level == "fail"} == {
            "extensions.conf",
            "manager.conf",
            "pjsip.conf",
            "setting asterisk.ledger_folder",
            "setting smtp",
            "setting sounds.asterisk_folder",
        }
        assert all(finding.remedy for finding in found if finding.level != "ok")

        monkeypatch.setenv("VSEK_ARI__PASSWORD", "wrong")
        monkeypatch.setenv("VSEK_DATABASE__DSN", "postgresql://127.0.0.1:1/x")
        found = await examine(load(tmp_path), pending=migrate.pending)
        failed = {finding.where for finding in found if finding.level == "fail"}
        assert {"ari.conf", "setting database.dsn"} <= failed
    await mailbox.stop()
    # Nothing runs any more: that is what is said, and nobody is sent to Asterisk's files.
    found = await examine(load(tmp_path))
    assert found[0].where == "run folder"
    assert "vsek up" in found[0].what
    assert not {"ari.conf", "http.conf", "manager.conf"} & {finding.where for finding in found}
