"""Many calls at once: none is lost, nobody waits, and what a call costs.

The whole measurement is ``make accept ARGS="-k load -s"``; ``-s`` shows the table.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from vsek.demo.caller import Caller
from vsek.demo.events import eventually
from vsek.demo.load import DID, House, Plan, Result, ports, run
from vsek.demo.sipmessage import Dial
from vsek.errors import ServiceError

SHORT = Plan(rate=5.0, duration_s=6.0, agents=30)
FULL = Plan()


async def test_a_few_seconds(tmp_path: Path) -> None:
    result = await run(tmp_path / "load", SHORT)
    print(result.table())
    assert result.problems() == []
    # Wide limits: this runs beside anything. What they catch is a wait that should not be.
    _assert_spread(result, greeting_ms=1000, join_ms=1000, mail_ms=5000)


@pytest.mark.long
async def test_twenty_calls_a_second_for_five_minutes(tmp_path: Path) -> None:
    result = await run(tmp_path / "load", FULL)
    print(result.table())
    assert result.problems() == []
    _assert_spread(result, greeting_ms=150, join_ms=100, mail_ms=2000)
    assert result.rss_peak_mb < 150
    assert result.rss_peak_mb - result.rss_start_mb < 50


def _assert_spread(result: Result, *, greeting_ms: float, join_ms: float, mail_ms: float) -> None:
    """The slowest of a hundred; without the right to capture there is nothing to compare."""
    for found, limit in (
        (result.greeting_ms, greeting_ms),
        (result.join_ms, join_ms),
        (result.mail_ms, mail_ms),
    ):
        if found is not None:
            assert found.count == result.calls
            assert found.p99 <= limit, result.table()


async def _first_offer_s(folder: Path, agents: int, limit_s: float) -> float:
    """Seconds from kill -9 to the offer of a caller who waited, with all ``agents`` talking.

    While nobody is there a talk ends: the next switchboard sees it, and has an agent free.
    """
    plan = Plan(agents=agents, ring_s=0.2, talk_s=600.0)
    async with AsyncExitStack() as exits:
        house = await House.open(folder, plan, ports(), {}, exits)
        stack = house.stack
        await house.crowd.call(DID, house.callers(agents - 1), rate=20, patience_s=600.0)
        await _stages(house, talking=agents - 1)
        leaving = await Caller.dial(stack.sip, Dial(DID, caller="+4940770001"))
        exits.push_async_callback(leaving.close)
        await _stages(house, talking=agents)
        waiting = await Caller.dial(stack.sip, Dial(DID, caller="+4940770002"))
        exits.push_async_callback(waiting.close)
        await _stages(house, talking=agents, waiting=1)
        os.kill(int(stack.ready["pids"]["serve"]), signal.SIGKILL)
        killed = time.monotonic()
        await leaving.hang_up()

        async def offered() -> float | None:
            try:
                calls = await stack.calls()
            except ServiceError:
                return None
            number = waiting.dialled.caller
            mine = [call for call in calls if call["caller_number"] == number]
            got = [c for c in mine if c["offered_to"] is not None or c["agent_id"] is not None]
            return time.monotonic() - killed if got else None

        took_s = await eventually(offered, "an offer", timeout_s=limit_s, every_s=0.02)
        await _stages(house, talking=agents)
        return took_s


async def _stages(house: House, **wanted: int) -> None:
    async def probe() -> bool | None:
        stages = [call["stage"] for call in await house.stack.calls()]
        return True if all(stages.count(s) == n for s, n in wanted.items()) else None

    await eventually(probe, str(wanted), timeout_s=60.0, every_s=0.1)


async def test_a_restart_is_short(tmp_path: Path) -> None:
    print(f"first offer {await _first_offer_s(tmp_path / 'load', 10, 20.0):.2f} s after kill -9")


@pytest.mark.long
async def test_a_restart_with_two_hundred_channels_is_short(tmp_path: Path) -> None:
    took_s = await _first_offer_s(tmp_path / "load", 100, 20.0)
    print(f"first offer {took_s:.2f} s after kill -9, with 200 channels")
    assert took_s <= 2.0
