"""Deliberate faults in the distribution, one at a time in a copy: the tests see every one.

And the walks of the unit tests at length (``tests/unit/acd/world.py``).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.acd.faults import FAULTS, Fault
from tests.unit.acd.world import walk

ROOT = Path(__file__).parents[2]
CASES = [
    *("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"),
    *("--ignore=tests/unit/acd/test_machine.py", "--ignore=tests/unit/acd/test_docs.py"),
    "tests/unit/acd",
]
WALKS = "from tests.unit.acd.world import walk; [walk(seed, 300) for seed in range(100)]"
LONGEST_S = 120.0
"""A fault may be an endless loop."""


def faulty_copy(fault: Fault, folder: Path) -> Path:
    """A copy of the sources that has the fault."""
    copy = folder / "src" / "vsek"
    shutil.copytree(ROOT / "src" / "vsek", copy, ignore=shutil.ignore_patterns("__pycache__"))
    path = copy / "acd" / fault.file
    text = path.read_text()
    assert text.count(fault.right) == 1, f"{fault.right!r} is not in {fault.file} once"
    path.write_text(text.replace(fault.right, fault.wrong))
    return copy.parent


def passes(source: Path, *arguments: str) -> bool:
    """Whether Python, run with these arguments and ``source`` in place of ours, is content."""
    environment = {**os.environ, "PYTHONPATH": f"{source}:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            timeout=LONGEST_S,
            check=True,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return False
    return True


@pytest.mark.long
@pytest.mark.parametrize("fault", FAULTS, ids=[fault.what for fault in FAULTS])
def test_a_fault_is_seen(fault: Fault, tmp_path: Path) -> None:
    source = faulty_copy(fault, tmp_path)
    by_walk = not passes(source, "-c", WALKS)  # sees most of them sooner
    assert by_walk or not passes(source, *CASES)


@pytest.mark.long
def test_what_has_no_fault_passes(tmp_path: Path) -> None:
    """Otherwise every fault would seem to be seen."""
    shutil.copytree(ROOT / "src" / "vsek", tmp_path / "vsek")
    assert passes(tmp_path, *CASES)
    assert passes(tmp_path, "-c", WALKS)


@pytest.mark.long
def test_long_walks() -> None:
    """A quarter of a million steps of any kind, in walks that are ten times as long."""
    steps = sum(walk(seed, 3_000).steps for seed in range(10_000, 10_085))
    assert steps >= 250_000
