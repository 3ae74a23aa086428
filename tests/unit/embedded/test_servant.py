"""Processes and folders of servers; no server is started."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from vsek.embedded import servant
from vsek.embedded.servant import Account, Servant, command_as, home_for, run_as
from vsek.errors import ServiceError

_ME = Account(-1, -1)
_STRANGER = Account(54321, 54321)


def test_a_reachable_folder_is_used_itself(tmp_path: Path) -> None:
    assert home_for(tmp_path / "a" / "postgres", _ME) == tmp_path / "a" / "postgres"


def test_an_unreachable_folder_gets_a_home_that_vanishes_with_its_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    homes = tmp_path / "homes"
    monkeypatch.setattr(servant, "_HOMES", homes)
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    first = home_for(private / "postgres", _STRANGER)
    assert first.is_relative_to(homes)
    assert (private / "postgres").resolve() == first
    (first / "kept").touch()
    assert home_for(private / "postgres", _STRANGER) == first
    assert (first / "kept").exists()
    (private / "postgres").unlink()
    second = home_for(private / "asterisk", _STRANGER)
    assert not first.exists()
    assert second.exists()


def test_who_can_enter(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    assert _ME.can_enter(closed)
    assert not _STRANGER.can_enter(closed)
    assert not _STRANGER.can_enter(closed / "not" / "there")
    mine = Account(os.getuid(), os.getgid())
    assert mine.can_enter(closed) is mine.can_enter(tmp_path)


async def test_a_failing_program_is_told_with_its_last_words() -> None:
    with pytest.raises(ServiceError, match=r"failed \(3\): oh no"):
        await run_as(_ME, Path("/bin/sh"), ["-c", "echo oh no; exit 3"])
    assert await run_as(_ME, Path("/bin/sh"), ["-c", "echo $0", "yes"]) == "yes\n"


async def test_a_program_ends_with_its_parent(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.set_inheritable(write, True)
    code = (
        "import subprocess, sys\nfrom pathlib import Path\n"
        "from vsek.embedded.servant import Account, command_as\n"
        "c = command_as(Account(-1, -1), Path('/bin/sh'), ['-c', 'echo here; read forever'])\n"
        "p = subprocess.Popen(c, stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False)\n"
        "p.stdout.readline()\nprint('up', flush=True)\nsys.stdin.read()\n"
    )
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        close_fds=False,
    )
    os.close(write)
    assert parent.stdout is not None
    assert await parent.stdout.readline() == b"up\n"
    parent.send_signal(signal.SIGKILL)
    await parent.wait()
    # The pipe is at its end only when the last holder is gone.
    async with asyncio.timeout(10):
        assert await asyncio.to_thread(os.read, read, 1) == b""
    os.close(read)


async def test_a_servant_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    one = Servant("deaf", tmp_path / "log")
    command = command_as(_ME, Path("/bin/sh"), ["-c", "trap '' TERM; echo up; read x < /dev/zero"])
    await one.start(command)
    assert one.running
    assert one.pid > 0
    await one.stop(signal.SIGTERM, patience_s=0.2)
    assert one.pid == 0
    await one.stop(signal.SIGTERM, patience_s=0.2)


async def test_a_servant_that_ends_at_once_shows_its_log(tmp_path: Path) -> None:
    one = Servant("Weak", tmp_path / "log")
    await one.start(command_as(_ME, Path("/bin/sh"), ["-c", "echo no room; exit 1"]))
    ready = asyncio.get_running_loop().create_future()
    with pytest.raises(ServiceError, match="Weak ended at once: no room"):
        await servant.until_ready(one, ready, patience_s=10)
