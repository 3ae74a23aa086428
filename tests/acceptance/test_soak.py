"""A busy minute with a switchboard that is killed again and again.

Agents and callers behave as people do, at random from a fixed seed: they let it ring, refuse, talk,
give up early or wait for long. In the end every call that the switchboard ever knew has one outcome
and one note, callers who came while it was dead were told so, and Asterisk holds nothing any more.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import signal
from typing import Any

import aiohttp
import pytest
from tests.acceptance.house import ALDER, BIRCH, CEDAR, DOGWOOD, Agent, Crew, House

from vsek.demo import ledger
from vsek.demo.caller import Caller
from vsek.demo.events import eventually
from vsek.errors import ServiceError

pytestmark = [pytest.mark.long, pytest.mark.asyncio(loop_scope="module")]

SETTINGS = {
    "VSEK_CALLS__RING_TIMEOUT_S": "3",
    "VSEK_CALLS__WRAP_UP_S": "0.5",
    "VSEK_CALLS__RONA_PARK_S": "1",
    "VSEK_CALLS__REFUSAL_PARK_S": "1",
}
AGENTS, CALLS, KILLS, SPAN_S = 4, 40, 4, 45.0
PATIENCES_S = (0.2, 1.0, 3.0, 60.0, 60.0, 60.0, 60.0)


async def take_calls(agent: Agent, dice: random.Random) -> None:
    """An agent's work, until cancelled."""
    while True:
        call = await agent.phone.ring(timeout_s=3600.0)
        await asyncio.sleep(dice.uniform(0.05, 1.0))
        try:
            if dice.random() < 0.1:
                await call.refuse()
                continue
            await call.answer(timeout_s=3.0)
            await asyncio.sleep(dice.uniform(0.3, 3.0))
            if not call.closed:
                await call.hang_up()
        except ServiceError:
            # The caller gave up, or hung up, in the same instant: there is nothing left to do.
            await call.wait_closed()


async def call_once(crew: Crew, dice: random.Random) -> Caller:
    """A caller's attempt, from dialling to its end."""
    begin_s, number = dice.uniform(0, SPAN_S), dice.choice((ALDER, BIRCH, CEDAR, DOGWOOD))
    patience_s = dice.choice(PATIENCES_S)
    await asyncio.sleep(begin_s)
    caller = await crew.dial(number)
    try:
        await caller.wait_ended(timeout_s=patience_s)
    except ServiceError:
        await caller.hang_up()
    return caller


async def kill_now_and_then(house: House, dice: random.Random) -> None:
    for _ in range(KILLS):
        await asyncio.sleep(dice.uniform(3.0, SPAN_S / KILLS))
        try:
            os.kill(await house.serve_pid(), signal.SIGKILL)
        except ProcessLookupError:
            continue  # killed before, and not yet started again


async def left_in_asterisk(house: House, what: str) -> list[Any]:
    text = await asyncio.to_thread((house.stack.folder / "run" / "stack.json").read_text)
    ari = json.loads(text)["settings"]["ari"]
    login = base64.b64encode(f"{ari['username']}:{ari['password']}".encode()).decode()
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Basic {login}"}) as session,
        session.get(f"{ari['url']}/ari/{what}") as reply,
    ):
        return list(await reply.json())


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_every_call_is_accounted_for(house: House, crew: Crew, seed: int) -> None:
    for _ in range(AGENTS):
        await crew.agent()
    dices = [random.Random(f"{seed}/{number}") for number in range(AGENTS + CALLS + 1)]
    work = [
        asyncio.create_task(take_calls(agent, dices.pop()), name=agent.id) for agent in crew.agents
    ]
    killing = asyncio.create_task(kill_now_and_then(house, dices.pop()), name="killing")
    callers = await asyncio.gather(*(call_once(crew, dice) for dice in dices))
    await killing

    async def settled() -> list[dict[str, Any]] | None:
        try:
            if await house.stack.calls():
                return None
        except ServiceError:
            return None  # not yet started again
        rows = await house.calls()
        return rows if all(map(ledger.delivered, rows)) else None

    rows = await eventually(settled, "an outcome and a note for each call", timeout_s=60.0)
    for task in work:
        assert not task.done(), task
        task.cancel()
    await asyncio.gather(*work, return_exceptions=True)

    by_caller = {row["caller_number"]: row for row in rows}
    assert len(by_caller) == len(rows)
    unknown = []
    for caller in callers:
        row = by_caller.get(caller.dialled.caller)
        if row is None:
            unknown.append(caller)
            continue
        assert [step["kind"] for step in row["steps"]].count("ended") == 1, row
        assert len(row["notes"]) == 1, row
        # Who hangs up in the milliseconds in which the two are joined was not talked with.
        picked_up = row["outcome"] == "answered" or row["stage"] == "connecting"
        assert picked_up == (row["agent_id"] is not None), row
    # Asterisk itself told those who called while nobody was there (early media, then 503).
    for caller in unknown:
        assert caller.statuses[-1] in (487, 503), caller.statuses
        assert any(packet.loud for packet in caller.media.packets)
    assert len(callers) - len(unknown) > 10
    for what in ("channels", "bridges"):
        assert await left_in_asterisk(house, what) == []
    states = {(await house.stack.agents())[agent.id]["state"] for agent in crew.agents}
    assert states <= {"ready", "wrap_up", "parked"}
