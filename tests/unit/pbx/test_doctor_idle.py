"""What the examination says where nothing runs."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path

import pytest

from vsek.pbx import doctor
from vsek.settings import Settings


def _stack_of(folder: Path, pid: int) -> None:
    (folder / "run").mkdir(exist_ok=True)
    (folder / "run" / "stack.json").write_text(json.dumps({"pids": {"up": pid}}))


def _ended() -> int:
    done = subprocess.Popen(["true"])
    done.wait()
    return done.pid


async def test_an_idle_run_folder_is_one_finding_and_no_file_of_asterisk(tmp_path: Path) -> None:
    for has_run in (False, True):
        if has_run:
            _stack_of(tmp_path, _ended())
        first, *others = await doctor.examine(Settings(dir=tmp_path))
        assert first.level == "fail"
        assert first.what == f"nothing is running in {tmp_path}: run 'vsek up --dir {tmp_path}'"
        assert not any(one.where.endswith(".conf") for one in others)


def test_servers_of_ones_own_are_examined(tmp_path: Path) -> None:
    assert not doctor._nothing_runs(Settings(dir=tmp_path, ari={"url": "http://127.0.0.1:1"}))
    (tmp_path / "vsek.toml").write_text("")
    assert not doctor._nothing_runs(Settings(dir=tmp_path))


def test_a_number_that_somebody_else_has_now_is_not_a_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = subprocess.Popen(["sleep", "60"])
    try:
        _stack_of(tmp_path, other.pid)
        assert doctor._nothing_runs(Settings(dir=tmp_path))
    finally:
        other.kill()
        other.wait()
    _stack_of(tmp_path, os.getpid())
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as control:
        control.bind("control.sock")
        control.listen()
        settings = Settings(dir=tmp_path, control={"socket": "control.sock"})
        assert not doctor._nothing_runs(settings)
