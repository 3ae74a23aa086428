"""What a process needs to begin."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest

from vsek.errors import ServiceError
from vsek.startup import control_socket, own_journal, read_number, write_number
from vsek.switchboard.journal import Journal


def test_a_number_is_kept(tmp_path: Path) -> None:
    kept = tmp_path / "shipped"
    assert read_number(kept) == 0
    write_number(kept, 41)
    assert read_number(kept) == 41
    kept.write_text("x")
    assert read_number(kept) == 0
    write_number(tmp_path / "nowhere" / "shipped", 1)  # logged


def test_the_control_socket_is_for_its_owner_and_takes_a_dead_ones_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # such a path may be short only
    path = Path("run/control.sock")
    control_socket(path).close()
    with control_socket(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(ServiceError, match="cannot listen"):
        control_socket(Path("x" * 120))


async def test_who_starts_waits_for_the_one_that_still_runs(tmp_path: Path) -> None:
    first = Journal(tmp_path)
    waiting = asyncio.create_task(own_journal(tmp_path))
    done, _ = await asyncio.wait({waiting}, timeout=0.1)
    assert not done
    first.release()
    async with asyncio.timeout(5):
        (await waiting).release()
