"""Two groups, five agents, twenty calls: each goes as the rules say, and as ``vsek why`` tells."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.acceptance.house import Agent, Crew, House

from vsek.acd.explain import Edge
from vsek.acd.rules import Admits
from vsek.cli.why_words import story
from vsek.demo.caller import Caller
from vsek.demo.events import eventually
from vsek.demo.sipmessage import Dial
from vsek.demo.softphone import PhoneCall
from vsek.domain.ids import CallId
from vsek.switchboard.history import of_folder
from vsek.switchboard.why import Account, Cause, Waits, differences, explain

pytestmark = pytest.mark.asyncio(loop_scope="module")

SETTINGS = {"VSEK_CALLS__WRAP_UP_S": "0"}

ELM, FIR = "+49305550281", "+49305550282"
TRAINED_S, OVERFLOW_S, HOLD_S = 2.0, 4.0, 30.0
CLIENTS = f"""\
clients:
  - id: elm
    name: Elm GmbH
    numbers: {{did: ["{ELM}"]}}
    policy: ring
    group: gold
    hold_s: {HOLD_S}
    contacts: [{{name: E, email: notes@elm.example, notes: true}}]
  - id: fir
    name: Fir AG
    numbers: {{did: ["{FIR}"]}}
    policy: ring
    group: silver
    contacts: [{{name: F, email: notes@fir.example, notes: true}}]
"""
RULES = """\
groups:
  gold:
    team: near
    circles: {{team: 0, trained: {trained}, overflow: {overflow}}}
    overflow_to: [silver]
  silver: {{}}
agents:
  {anna}: {{team: near, cleared: {{gold: trained}}}}
  {ben}: {{team: near, cleared: {{gold: trained}}}}
  {carl}: {{team: far, cleared: {{gold: trained}}}}
  {dora}: {{cleared: {{silver: trained}}}}
  {eva}: {{cleared: {{silver: trained}}}}
"""
SOON_S = 5.0
A_TALK = 160
"""Packets of a talk that makes acquainted, 20 ms each."""


@dataclass
class Expected:
    """What a call is to become: who is rung, in order, and what the last has over the others."""

    caller: Caller
    agents: tuple[Agent, ...]
    edge: Edge | None
    circle: int = 1


class Script:
    """Callers who call, agents who answer, and what was expected of each call."""

    def __init__(self, crew: Crew) -> None:
        self.crew = crew
        self.calls: list[Expected] = []

    async def dial(self, number: str, own: int) -> Caller:
        dialled = Dial(number, caller=f"+4940555028{own:02}")
        caller = await Caller.dial(self.crew.house.stack.sip, dialled)
        self.crew.callers.append(caller)
        return caller

    async def answered(
        self,
        caller: Caller,
        agent: Agent,
        edge: Edge,
        *,
        circle: int = 1,
        timeout_s: float = SOON_S,
        refused_by: tuple[Agent, ...] = (),
    ) -> PhoneCall:
        """The call rings at ``agent`` and is answered there."""
        for refusing in refused_by:
            await (await self.crew.ring(refusing, caller, timeout_s=timeout_s)).refuse()
        ringing = await self.crew.ring(agent, caller, timeout_s=timeout_s)
        await ringing.answer()
        await caller.wait_answered()
        # Who hung up before the two are joined would be taken to be lost.
        await self.crew.house.wait_live(caller, "talking")
        self.calls.append(Expected(caller, (*refused_by, agent), edge, circle))
        return ringing

    async def brief(self, number: str, own: int, agent: Agent, edge: Edge, **more: Any) -> None:
        """A short call at ``agent``, who is ready again afterwards."""
        caller = await self.dial(number, own)
        await self.end(await self.answered(caller, agent, edge, **more), agent)

    async def end(self, ringing: PhoneCall, agent: Agent) -> None:
        await ringing.hang_up()
        await self.crew.house.wait_state(agent.id, "ready")

    async def talked(self, caller: Caller) -> None:
        """Waits until caller and agent have talked for long enough to know each other."""
        heard = len(caller.media.packets)

        async def enough() -> bool | None:
            return len(caller.media.packets) >= heard + A_TALK or None

        await eventually(enough, "a talk")


async def open_house(house: House, crew: Crew) -> list[Agent]:
    """Five agents, two groups, and the rules for them."""
    agents = [await crew.agent() for _ in range(5)]
    names = zip(("anna", "ben", "carl", "dora", "eva"), agents, strict=True)
    ids = {name: agent.id for name, agent in names}
    clients, rules = house.folder / "why-clients.yaml", house.folder / "why-rules.yaml"
    text = RULES.format(trained=TRAINED_S, overflow=OVERFLOW_S, **ids)
    await asyncio.to_thread(rules.write_text, text)
    await asyncio.to_thread(clients.write_text, CLIENTS)
    await house.stack.cli("rules", "import", rules)
    await house.stack.cli("client", "import", clients)
    return agents


async def play(script: Script, house: House, agents: list[Agent]) -> Caller:
    """Twenty calls; the one that nobody could take in time is given back."""
    anna, ben, carl, dora, eva = agents
    # Everybody comes to know somebody. The third caller of the group has to wait for the circle of
    # all who are trained, the fourth for the overflow, the last one for somebody to come free.
    one = await script.answered(await script.dial(ELM, 1), anna, Edge.IDLE)
    two = await script.answered(await script.dial(ELM, 2), ben, Edge.ALONE)
    four = await script.answered(await script.dial(FIR, 4), dora, Edge.IDLE)
    widens = await script.dial(ELM, 3)
    await house.wait_live(widens, "waiting")
    spills = await script.dial(ELM, 6)
    late_s = TRAINED_S + SOON_S
    three = await script.answered(widens, carl, Edge.ALONE, circle=2, timeout_s=late_s)
    late_s = OVERFLOW_S + SOON_S
    six = await script.answered(spills, eva, Edge.ALONE, circle=3, timeout_s=late_s)
    gives_up = await script.dial(ELM, 7)
    await house.wait_live(gives_up, "waiting")
    await script.talked(spills)
    await gives_up.hang_up()
    script.calls.append(Expected(gives_up, (), None))
    for ringing, agent in ((six, eva), (four, dora), (three, carl), (two, ben), (one, anna)):
        await script.end(ringing, agent)

    # Who phones again gets the agent of before, whoever has been idle for longer.
    await script.brief(ELM, 1, anna, Edge.KNOWN)
    await script.brief(FIR, 4, dora, Edge.KNOWN)
    await script.brief(ELM, 6, eva, Edge.KNOWN)
    await script.brief(ELM, 3, carl, Edge.KNOWN)
    await script.brief(ELM, 8, ben, Edge.IDLE)
    # While Anna talks the call is kept for her, though Ben is free.
    busy = await script.answered(await script.dial(ELM, 9), anna, Edge.IDLE)
    kept = await script.dial(ELM, 1)
    await house.wait_live(kept, "waiting")
    await busy.hang_up()
    await script.end(await script.answered(kept, anna, Edge.ALONE), anna)
    # Dora has been idle for longer than Eva, refuses, and is parked.
    await script.brief(FIR, 10, eva, Edge.ALONE, refused_by=(dora,))
    await script.brief(FIR, 11, eva, Edge.ALONE)
    await script.brief(ELM, 12, ben, Edge.IDLE)
    await script.brief(ELM, 13, anna, Edge.IDLE)
    await script.brief(ELM, 2, ben, Edge.KNOWN)
    await script.brief(FIR, 14, eva, Edge.ALONE)
    await script.brief(ELM, 15, anna, Edge.IDLE)
    return gives_up


def waits_of(account: Account) -> list[Waits]:
    return [one for one in account.happenings if isinstance(one, Waits)]


async def test_calls_go_as_the_rules_say_and_as_is_told_of_them(house: House, crew: Crew) -> None:
    agents = await open_house(house, crew)
    script = Script(crew)
    gives_up = await play(script, house, agents)
    assert len(script.calls) == 20

    # In the database the newest calls of a number stand last.
    callers = {expected.caller.dialled.caller for expected in script.calls}

    async def all_closed() -> list[dict[str, Any]] | None:
        mine = [call for call in await house.calls() if call["caller_number"] in callers]
        return mine if len(mine) == 20 and all(call["outcome"] for call in mine) else None

    stored = await eventually(all_closed, "an outcome for each call")
    chronicle = of_folder(house.stack.folder / "journal")
    accounts: dict[Caller, Account] = {}
    by_number: dict[str, list[dict[str, Any]]] = {}
    for call in stored:
        by_number.setdefault(call["caller_number"], []).append(call)
    in_order = sorted(script.calls, key=lambda one: crew.callers.index(one.caller))
    for expected in in_order:
        call = by_number[expected.caller.dialled.caller].pop(0)
        found = explain(chronicle, CallId(call["id"]))
        assert found is not None
        account, gaps = found
        accounts[expected.caller] = account
        assert not gaps.any
        steps = [(step["kind"], step["detail"]) for step in call["steps"]]
        assert differences(account, steps) == []
        assert [offer.agent_id for offer in account.offers] == [a.id for a in expected.agents]
        if account.offers:
            last = account.offers[-1]
            assert (last.view.edge, last.view.circle) == (expected.edge, expected.circle)
            assert call["agent_id"] == last.agent_id

    # What the telephones saw.
    for agent in agents:
        offers = [
            (offer.at, caller.dialled.caller)
            for caller, account in accounts.items()
            for offer in account.offers
            if offer.agent_id == agent.id
        ]
        rung = [f"sip:{number}@" for _, number in sorted(offers)]
        seen = [ring.peer[: ring.peer.index("@") + 1] for ring in agent.phone.rings]
        assert seen == rung

    widened, spilled, kept = (accounts[crew.callers[n]] for n in (3, 4, 12))
    for account, admits, after_s in (
        (widened, Admits.TRAINED, TRAINED_S),
        (spilled, Admits.OVERFLOW, OVERFLOW_S),
    ):
        (offer,) = account.offers
        assert offer.view.circles[offer.view.circle - 1] == (after_s, admits)
        assert after_s <= offer.view.waited_s < after_s + 1.0
    assert [one.causes for one in waits_of(spilled)] == [(Cause.QUEUED,), (Cause.CIRCLE,)]
    (held,) = waits_of(kept)
    assert held.view.keeper == agents[0].id
    never = waits_of(accounts[gives_up])[0]
    assert never.view.entitled == []
    assert all(line for _, line, _ in story(accounts[gives_up]))

    # The same by the command, for people and for programs.
    document = (await house.stack.cli("why", accounts[gives_up].call_id, "--json")).json()
    assert document["differences"] == []
    assert document["compared"]
    assert document["outcome"] == "abandoned"
    told = (await house.stack.cli("why", spilled.call_id)).out
    assert f"offered to {agents[4].id}: nobody else who is ready may take it" in told
    assert "circle 3 of 3 (overflow from other groups, group gold)" in told
    assert "1 offer, as stored" in told

    # And the whole of it once more, in virtual time.
    began = datetime.fromtimestamp(waits_of(widened)[0].at - 60, UTC)
    rules = house.folder / "why-rules.yaml"
    words = ("--from", began.isoformat(timespec="seconds"), "--rules", rules, "--json")
    again = (await house.stack.cli("replay", *words)).json()
    assert again["calls"] == 20
    assert again["total"]["again"]["mean_s"] == pytest.approx(
        again["total"]["happened"]["mean_s"], abs=0.3
    )
