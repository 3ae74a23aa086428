"""``vsek bench`` with real parts: a tiny run, and the guard against becoming slower.

The guard alone is ``make bench-guard``.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from vsek.bench import results
from vsek.bench.bench import Bench
from vsek.bench.machine import Cores, facts
from vsek.bench.results import Report
from vsek.bench.workloads.common import QUEUE, VSEK
from vsek.bench.workloads.handover import Handover
from vsek.demo.capture import Capture

GUARD = Path(__file__).with_name("bench-guard.json")
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not Capture.allowed(), reason="needs the right to capture packets"),
]


async def test_one_round_of_waiting_callers(tmp_path: Path) -> None:
    report = Report(began_at="", short=True, machine=facts(asterisk="", pinned=False))
    told: list[str] = []
    place = tmp_path / "run"
    bench = Bench(place, report, Cores(pin=False), rounds=1, out=tmp_path, say=told.append)
    try:
        await Handover().run(bench)
    finally:
        await bench.close()
    (case,) = results.load(tmp_path / "results.json").cases
    ours, theirs = case.of(VSEK)[0], case.of(QUEUE)[0]
    assert not ours.trouble + theirs.trouble, told
    assert ours.failed == theirs.failed == 0
    assert ours.samples > 20
    # A queue that asks once a second is slower on any machine.
    assert ours.values["p50"] < theirs.values["p50"], told
    assert ours.cpu_ms["serve"] > 0
    assert "serve" not in theirs.cpu_ms
    assert report.machine.asterisk.startswith("22.")
    assert list(place.iterdir()) == []


async def test_vsek_has_not_become_slower(tmp_path: Path) -> None:
    words = ("W1", "W2", "--short", "--runs", "3", "--guard", str(GUARD), "--out", str(tmp_path))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "vsek.cli.main", "bench", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await process.communicate()
    print(told.decode())
    assert process.returncode == 0, told.decode()
