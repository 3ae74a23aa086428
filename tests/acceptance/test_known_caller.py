"""Who phones again: the same agent, or the next one in time; and nobody for a shared number."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import pytest_asyncio
from tests.acceptance.house import Agent, Crew, House

from vsek.demo.caller import Caller
from vsek.demo.events import eventually
from vsek.demo.sipmessage import Dial
from vsek.demo.softphone import PhoneCall

pytestmark = pytest.mark.asyncio(loop_scope="module")

SETTINGS = {"VSEK_CALLS__WRAP_UP_S": "0"}

ELM = "+49305550271"
HOLD_S = 1.5
CLIENTS = f"""\
clients:
  - id: elm
    name: Elm GmbH
    numbers: {{did: ["{ELM}"]}}
    hold_s: {HOLD_S}
    contacts: [{{name: E, email: notes@elm.example, notes: true}}]
"""
KARL, OFFICE = "+491705550271", "+49405550272"
A_TALK = 160
"""Packets of a talk that makes acquainted, 20 ms each."""
SOON_S = 1.0


@pytest_asyncio.fixture(loop_scope="module")
async def elm(house: House) -> None:
    file = house.folder / "elm.yaml"
    await asyncio.to_thread(file.write_text, CLIENTS)
    await house.stack.cli("client", "import", file)


async def dial(crew: Crew, number: str, name: str = "") -> Caller:
    caller = await Caller.dial(crew.house.stack.sip, Dial(ELM, caller=number, name=name))
    crew.callers.append(caller)
    return caller


async def answer(agent: Agent, caller: Caller) -> PhoneCall:
    ringing = await agent.phone.ring(timeout_s=SOON_S)
    assert ringing.peer.startswith(f"sip:{caller.dialled.caller}@")
    await ringing.answer()
    await caller.wait_answered()
    return ringing


async def talk(caller: Caller) -> None:
    """Waits until the two have talked for long enough."""
    heard = len(caller.media.packets)

    async def enough() -> bool | None:
        return len(caller.media.packets) >= heard + A_TALK or None

    await eventually(enough, "a talk")


async def steps(house: House, call_id: str, last: str) -> list[dict[str, Any]]:
    """The timeline of a call, when it has come to ``last``."""

    async def probe() -> list[dict[str, Any]] | None:
        for call in await house.calls():
            if call["id"] == call_id and last in [step["kind"] for step in call["steps"]]:
                told: list[dict[str, Any]] = call["steps"]
                return told
        return None

    return await eventually(probe, f"step {last}")


async def newest(house: House) -> str:
    return str(max(await house.stack.calls(), key=lambda call: call["received_at"])["id"])


async def test_who_phones_again(house: House, crew: Crew, elm: None) -> None:
    anna, ben, carl = [await crew.agent() for _ in range(3)]
    # Karl talks with Anna, and two people in one office with Ben and Carl.
    callers, talks = [], []
    for agent, number in ((anna, KARL), (ben, OFFICE), (carl, OFFICE)):
        callers.append(await dial(crew, number))
        talks.append(await answer(agent, callers[-1]))
    live = {call["agent_id"]: call["id"] for call in await house.stack.calls()}
    for agent, name in ((ben, "Eva Sommer"), (carl, "Uwe Winter")):
        draft = {"caller_name": name}
        await house.stack.notes.write_draft(live[agent.id], draft, finish=True)
    dora = await crew.agent()
    await asyncio.gather(*map(talk, callers))
    for ringing, agent in zip(reversed(talks), (carl, ben, anna), strict=True):
        await ringing.hang_up()
        await house.wait_state(agent.id, "ready")

    # Dora has been idle for longest and Anna least, but Anna knows what Karl wants.
    again = await dial(crew, KARL)
    await answer(anna, again)
    (told,) = [
        step["detail"]
        for step in await steps(house, await newest(house), "connected")
        if step["kind"] == "recognised"
    ]
    assert told == {"why": "number", "agents": anna.id, "sure": "yes"}

    # While Anna talks her callers wait for her, for so long and no longer.
    third = await dial(crew, KARL)
    assert (await house.wait_live(third, "waiting"))["offered_to"] is None
    ringing = await dora.phone.ring(timeout_s=HOLD_S + SOON_S)
    waited = await steps(house, await newest(house), "offered")
    at = {step["kind"]: step["at"] for step in waited}
    assert (at["offered"] - at["arrived"]).total_seconds() == pytest.approx(HOLD_S, abs=0.2)
    await ringing.answer()
    await third.wait_answered()

    # Of the office's callers only those are known whose name is shown, once the notes were read.
    async def by_name() -> Caller | None:
        caller = await dial(crew, OFFICE, "Sommer, Eva")
        await house.wait_live(caller, "waiting")
        found = await steps(house, await newest(house), "offered")
        if {"why": "person", "agents": ben.id, "sure": "yes"} in [s["detail"] for s in found]:
            return caller
        (rung,) = [s["detail"]["agent"] for s in found if s["kind"] == "offered"]
        ringing = await {ben.id: ben, carl.id: carl}[rung].phone.ring()
        await caller.hang_up()
        await ringing.wait_closed()
        return None

    named = await eventually(by_name, "the note's name on the display", timeout_s=5)
    await answer(ben, named)
    nameless = await dial(crew, OFFICE)
    await house.wait_live(nameless, "waiting")
    kinds = await steps(house, await newest(house), "offered")
    assert {"why": "shared_number"} in [step["detail"] for step in kinds]
