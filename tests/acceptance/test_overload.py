"""Three times as many calls as one core can do: they take longer, and nothing else.

Asterisk and the switchboard share one core, as in ``vsek bench``. Without turns at Asterisk this
ends in minutes of legs that are made too late, taken back, and made anew.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import pytest

from vsek.bench.drive import Driver, Load
from vsek.bench.house import RING_S, House
from vsek.bench.machine import Cores
from vsek.bench.workloads.common import VSEK
from vsek.demo.capture import Capture

CALLS = 2000
WITHIN_S = 5.0
AGENTS = 300
BUSY = Load(
    1, CALLS / WITHIN_S, CALLS, ring_s=0.02, talk_s=0.4, talk_to_s=0.6, at_once=CALLS, mails=True
)
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not Capture.allowed(), reason="needs the right to capture packets"),
]


async def test_more_calls_than_can_be_done_at_once(tmp_path: Path) -> None:
    cores = Cores(pin=True)
    async with AsyncExitStack() as exits:
        exits.callback(cores.release)
        house = House(tmp_path / "house", AGENTS, 1, cores)
        await house.open(exits)
        seen = await Driver(house).run(VSEK, BUSY)
        offers = sorted(seen.times.offers_ms())
        log = await asyncio.to_thread((house.folder / "log" / "serve.log").read_text)
        outcomes = await _outcomes(house.postgres.dsn)
        print(
            f"{len(offers)} offers, the last after {offers[-1] / 1000:.1f} s, "
            f"{seen.failed} failed; ms of processor a call: {seen.cpu_ms}"
        )
    assert offers[-1] > 1000 * RING_S, "not too much for this machine: raise CALLS"
    assert seen.failed == 0
    assert set(outcomes) == {"answered"}
    assert '"legs_wait"' in log
    for trouble in ("asterisk_away", "no_answer", "no reply within", "decision_failed"):
        assert trouble not in log, trouble


async def _outcomes(dsn: str) -> dict[str, int]:
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch("SELECT outcome, count(*) AS n FROM calls GROUP BY outcome")
    finally:
        await connection.close()
    return {row["outcome"]: row["n"] for row in rows}
