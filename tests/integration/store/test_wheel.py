"""Migrations are found in an installed wheel as well as in a checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from vsek.store import migrate

ROOT = Path(__file__).resolve().parents[3]


def test_an_installed_wheel_has_the_migrations(tmp_path: Path) -> None:
    assert migrate.folder() == ROOT / "migrations"
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    code = "from vsek.store import migrate; print(migrate.folder())"
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(installed)},
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    assert Path(found) == installed / "vsek" / "migrations"
    assert {path.name for path in Path(found).glob("*.sql")} == {
        path.name for path in (ROOT / "migrations").glob("*.sql")
    }
