"""The shipped systemd units are sound, and the documentation names them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
UNITS = sorted((ROOT / "systemd").iterdir())
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()


def test_the_documentation_names_each_unit() -> None:
    assert [unit.name for unit in UNITS] == ["vsek-notes.service", "vsek-serve@.service"]
    for unit in UNITS:
        assert f"systemd/{unit.name}" in OPERATIONS


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    """With a program and a user that exist on this machine."""
    for unit in UNITS:
        text = unit.read_text()
        assert "\nUser=vsek\n" in text
        text = text.replace("/opt/vsek/bin/vsek", "/bin/true").replace("User=vsek", "User=root")
        (tmp_path / unit.name.replace("@.", "@a.")).write_text(text)
    paths = sorted(map(str, tmp_path.iterdir()))
    ran = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *paths],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    own = [line for line in ran.stderr.splitlines() if "vsek-" in line]
    assert (ran.returncode, own) == (0, [])
