"""Either side hangs up, in every stage: one outcome, and a second later nothing is left of it."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from tests.acceptance.house import ALDER, CEDAR, Agent, Crew, House

from vsek.demo import g711
from vsek.demo.caller import Caller
from vsek.demo.events import eventually
from vsek.demo.softphone import PhoneCall
from vsek.errors import ServiceError

pytestmark = pytest.mark.asyncio(loop_scope="module")

SETTINGS = {
    "VSEK_CALLS__WRAP_UP_S": "0",
    "VSEK_CALLS__RONA_PARK_S": "1",
    "VSEK_CALLS__REFUSAL_PARK_S": "1",
}
GONE_S = 1.0
ELM, NOBODY = "+49305550301", "+49305550999"
_CLIENTS = f"""\
clients:
  - id: elm
    name: Elm GmbH
    numbers: {{did: ["{ELM}"]}}
    policy: screen
    greeting: {{file: greeting-of-alder.wav}}
    screening: {{prompt: {{file: prompt.wav}}, max_s: 8}}
    contacts: [{{name: E, email: notes@elm.example, notes: true}}]
"""
_SPEECH = g711.melody(300, 2.0)


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def clients(house: House) -> None:
    g711.write_wav(house.folder / "prompt.wav", g711.melody(880, 1.0))
    (house.folder / "elm.yaml").write_text(_CLIENTS)
    await house.stack.cli("client", "import", house.folder / "elm.yaml")


async def ari(house: House, what: str) -> list[dict[str, Any]]:
    text = await asyncio.to_thread((house.stack.folder / "run/stack.json").read_text)
    told = json.loads(text)["settings"]["ari"]
    login = base64.b64encode(f"{told['username']}:{told['password']}".encode()).decode()
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Basic {login}"}) as session,
        session.get(f"{told['url']}/ari/{what}") as reply,
    ):
        return list(await reply.json())


async def wait_clear(house: House, channels: int = 0) -> None:
    """Within a second: no leg or bridge (playbacks and recordings end with their channel), nobody
    rung or talking, and ``channels`` of callers."""
    since = time.monotonic()

    async def probe() -> bool | None:
        # The dialplan's own watch over vsek is no call, and goes on for a moment.
        things = [t for t in await ari(house, "channels") if t["name"].startswith("PJSIP/")]
        if len(things) != channels or any(t["id"].startswith("vsekcall-") for t in things):
            return None
        # Whoever waits keeps an empty one for the next agent.
        if any(bridge["channels"] or not channels for bridge in await ari(house, "bridges")):
            return None
        states = {agent["state"] for agent in (await house.stack.agents()).values()}
        return None if states & {"offered", "talking"} else True

    await eventually(probe, "nothing left", timeout_s=5.0, every_s=0.02)
    assert time.monotonic() - since < GONE_S


async def closed(house: House, caller: Caller) -> tuple[str, str]:
    """Outcome and stage of the caller's only call."""
    await wait_clear(house)
    (row,) = await house.wait_closed(caller, timeout_s=20.0)
    numbers = [call["caller_number"] for call in await house.calls()]
    assert numbers.count(caller.dialled.caller) == 1
    assert [step["kind"] for step in row["steps"]].count("ended") == 1
    return row["outcome"], row["stage"]


async def step(house: House, caller: Caller, kind: str) -> None:
    """Waits for a line of the caller's timeline."""

    async def probe() -> bool | None:
        for call in await house.calls():
            if call["caller_number"] == caller.dialled.caller:
                return any(step["kind"] == kind for step in call["steps"]) or None
        return None

    await eventually(probe, f"step {kind}", timeout_s=10.0)


# --- nobody is there to take the call -----------------------------------------------------------


async def at_once(house: House, caller: Caller) -> None:
    """Before anything has come back."""


async def in_stage(house: House, caller: Caller, stage: str) -> None:
    await house.wait_live(caller, stage)


async def recorded(house: House, caller: Caller) -> None:
    await step(house, caller, "recording")


ALONE: dict[str, tuple[str, Callable[[House, Caller], Awaitable[None]], set[str]]] = {
    "arriving": (ALDER, at_once, {"arriving", "greeting"}),
    "ringing": (CEDAR, lambda h, c: in_stage(h, c, "waiting"), {"waiting"}),
    "greeting": (ALDER, lambda h, c: in_stage(h, c, "greeting"), {"greeting"}),
    "prompt": (ELM, lambda h, c: in_stage(h, c, "screening"), {"screening"}),
    "recording": (ELM, recorded, {"screening"}),
    "waiting": (ALDER, lambda h, c: in_stage(h, c, "waiting"), {"waiting"}),
    "announcement": (NOBODY, lambda h, c: in_stage(h, c, "announcement"), {"announcement"}),
}


@pytest.mark.parametrize("when", ALONE)
async def test_the_caller_hangs_up_while_alone(house: House, crew: Crew, when: str) -> None:
    number, until, stages = ALONE[when]
    caller = await crew.dial(number)
    await until(house, caller)
    await caller.hang_up()
    outcome, stage = await closed(house, caller)
    assert outcome == ("unknown_number" if number == NOBODY else "abandoned")
    assert stage in stages


# --- with an agent ------------------------------------------------------------------------------


async def rung(crew: Crew, agent: Agent, number: str = CEDAR) -> tuple[Caller, PhoneCall]:
    """A caller, at whose call the agent's phone rings."""
    caller = await crew.dial(number)
    if number == ELM:
        await step(crew.house, caller, "recording")
        await caller.media.play(_SPEECH)
    return caller, await crew.ring(agent, caller, timeout_s=20.0)


async def test_the_caller_hangs_up_with_an_agent(house: House, crew: Crew) -> None:
    agent = await crew.agent()
    caller, ringing = await rung(crew, agent)
    await caller.hang_up()
    assert await closed(house, caller) == ("abandoned", "waiting")
    await ringing.wait_closed()

    caller, ringing = await rung(crew, agent)
    await ringing.answer()
    await house.wait_live(caller, "talking")
    await caller.hang_up()
    assert await closed(house, caller) == ("answered", "talking")
    await ringing.wait_closed()

    caller, ringing = await rung(crew, agent, ELM)
    await ringing.answer()
    await house.wait_live(caller, "briefing")
    await caller.hang_up()
    assert await closed(house, caller) == ("abandoned", "briefing")
    await ringing.wait_closed()


@pytest.mark.long
async def test_the_caller_hangs_up_at_the_instant_of_the_answer(house: House, crew: Crew) -> None:
    """CANCEL and 200 cross each other, now one and now the other is first."""
    agent = await crew.agent()
    for head_start_s in (0.0, 0.005, 0.01, 0.02, 0.04):
        caller, ringing = await rung(crew, agent)
        await agent.phone.command("accept", ringing.id)
        await asyncio.sleep(head_start_s)
        await caller.hang_up()
        outcome, stage = await closed(house, caller)
        assert (outcome == "answered") == (stage == "talking")
        await ringing.wait_closed()


@pytest.mark.long
async def test_the_agent_hangs_up(house: House, crew: Crew) -> None:
    agent = await crew.agent()

    async def pause() -> None:
        """Or the same phone would ring again at once."""
        await house.stack.control("POST", f"/v1/agents/{agent.id}/pause")

    async def back() -> None:
        await house.stack.control("POST", f"/v1/agents/{agent.id}/ready")
        await house.wait_state(agent.id, "ready")

    async def waits_on(caller: Caller, call: PhoneCall) -> None:
        """The caller keeps waiting; nothing is left of the agent's part."""
        await call.wait_closed()
        await house.wait_live(caller, "waiting")
        await wait_clear(house, channels=1)
        await caller.hang_up()
        assert await closed(house, caller) == ("abandoned", "waiting")
        await back()

    # Declines; is told to pause meanwhile, which takes the ringing away.
    caller, ringing = await rung(crew, agent)
    refused = asyncio.create_task(ringing.refuse())
    again = await crew.ring(agent, caller)
    await refused
    await pause()
    await waits_on(caller, again)

    # Picks up and hangs up in the same breath: the caller waits on, or the talk has just begun.
    for number in (CEDAR, ALDER):
        caller, ringing = await rung(crew, agent, number)
        await agent.phone.command("accept", ringing.id)
        await agent.phone.command("hangup", ringing.id)
        await ringing.wait_closed()
        try:
            again = await crew.ring(agent, caller, timeout_s=1.0)
        except ServiceError:
            await caller.wait_ended()
            assert await closed(house, caller) == ("answered", "talking")
        else:
            await pause()
            await waits_on(caller, again)

    # While hearing what the caller said: rings again, as nobody else is there.
    caller, ringing = await rung(crew, agent, ELM)
    await ringing.answer()
    await house.wait_live(caller, "briefing")
    await ringing.hang_up()
    again = await crew.ring(agent, caller)
    await pause()
    await waits_on(caller, again)

    # While they talk.
    caller, ringing = await rung(crew, agent)
    await ringing.answer()
    await house.wait_live(caller, "talking")
    await ringing.hang_up()
    await caller.wait_ended()
    assert await closed(house, caller) == ("answered", "talking")


@pytest.mark.long
async def test_the_agents_phone_unregisters(house: House, crew: Crew) -> None:
    agent = await crew.agent()
    caller, ringing = await rung(crew, agent)
    await agent.phone.unregister()
    await house.wait_state(agent.id, "logged_out")
    await house.wait_live(caller, "waiting")
    await wait_clear(house, channels=1)
    await caller.hang_up()
    assert await closed(house, caller) == ("abandoned", "waiting")

    other = await crew.agent()
    caller, ringing = await rung(crew, other)
    await ringing.answer()
    await house.wait_live(caller, "talking")
    await other.phone.unregister()
    await caller.hang_up()
    assert await closed(house, caller) == ("answered", "talking")
    await house.wait_state(other.id, "logged_out")
