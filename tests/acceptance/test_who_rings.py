"""Two agents and more callers: who rings, who waits, and who is never rung."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from tests.acceptance.house import ALDER, BIRCH, CEDAR, Agent, Crew, House

from vsek.demo.caller import Caller
from vsek.demo.softphone import PhoneCall
from vsek.domain.rulesfile import read_rules
from vsek.store.rules import import_rules

pytestmark = pytest.mark.asyncio(loop_scope="module")

FIR = "+49305550205"
SETTINGS = {"VSEK_CALLS__RING_TIMEOUT_S": "2"}

SOON_S = 0.5
"""Within this a free agent's phone rings, on a machine that does other things as well."""


async def talk(caller: Caller, agent: Agent) -> PhoneCall:
    """The next call at ``agent`` is that of ``caller``: answer it."""
    ringing = await agent.phone.ring()
    await ringing.answer()
    await caller.wait_answered()
    return ringing


async def test_the_third_of_three_callers_waits_and_is_next(house: House, crew: Crew) -> None:
    anna, ben = await crew.agent(), await crew.agent()
    one = await crew.dial(ALDER)
    # Anna has been idle for longer.
    first = await talk(one, anna)
    two = await crew.dial(CEDAR)
    second = await talk(two, ben)
    three = await crew.dial(BIRCH)
    await three.wait_answered()
    waiting = await house.wait_live(three, "waiting")
    assert waiting["offered_to"] is None
    assert waiting["place"] == 0
    four = await crew.dial(ALDER)
    assert (await house.wait_live(four, "waiting"))["place"] == 1
    assert len(anna.phone.rings) == len(ben.phone.rings) == 1
    await three.media.wait_sound(after=len(three.media.packets))

    # The first agent to become free gets the third caller, and at once when free.
    await second.hang_up()
    await two.wait_ended()
    wrap_up = await house.wait_state(ben.id, "wrap_up")
    await house.stack.control("POST", f"/v1/agents/{ben.id}/ready")
    third = await ben.phone.ring(timeout_s=SOON_S)
    assert wrap_up["state"] == "wrap_up"
    assert third.peer.startswith(f"sip:{three.dialled.caller}@")
    assert first.closed is False
    await third.answer()
    await house.wait_live(three, "talking")

    # The fourth follows when the other one has wrapped up.
    await one.hang_up()
    fourth = await anna.phone.ring(timeout_s=2 + 2 * SOON_S)
    assert fourth.peer.startswith(f"sip:{four.dialled.caller}@")
    await fourth.answer()
    await house.wait_live(four, "talking")
    await three.hang_up()
    await four.hang_up()

    calls = await house.wait_closed(one, two, three, four)
    assert [call["outcome"] for call in calls] == ["answered"] * 4
    assert [call["agent_id"] for call in calls] == [anna.id, ben.id, ben.id, anna.id]
    for caller in (one, two, three, four):
        await house.wait_mail(caller)


async def test_a_refused_call_goes_to_the_next_agent(house: House, crew: Crew) -> None:
    anna, ben = await crew.agent(), await crew.agent()
    caller = await crew.dial(ALDER)
    await (await anna.phone.ring()).refuse()
    second = await ben.phone.ring(timeout_s=SOON_S)
    assert (await house.wait_state(anna.id, "parked"))["call_id"] is None
    await second.answer()
    await house.wait_live(caller, "talking")
    await caller.hang_up()
    (call,) = await house.wait_closed(caller)
    assert call["agent_id"] == ben.id
    offers = [(s["kind"], s["detail"].get("agent")) for s in call["steps"] if "offer" in s["kind"]]
    assert offers == [("offered", anna.id), ("offer_failed", anna.id), ("offered", ben.id)]
    assert len(anna.phone.rings) == 1


async def test_an_unanswered_call_goes_to_the_next_agent(house: House, crew: Crew) -> None:
    anna, ben = await crew.agent(), await crew.agent()
    caller = await crew.dial(CEDAR)
    first = await anna.phone.ring()
    second = await ben.phone.ring(timeout_s=2 + SOON_S)
    assert second.rang_at - first.rang_at > 1.8
    await first.wait_closed()
    await house.wait_state(anna.id, "parked")
    assert not caller.talking
    await second.answer()
    await caller.wait_answered()
    # The agent who was parked says to be there again and gets the next call.
    await house.stack.cli("agent", "ready", anna.id)
    other = await crew.dial(ALDER)
    await (await anna.phone.ring()).answer()
    await house.wait_live(other, "talking")


async def test_when_everybody_refuses_the_caller_waits_for_the_first_who_is_back(
    house: House, crew: Crew
) -> None:
    anna = await crew.agent()
    caller = await crew.dial(ALDER)
    await (await anna.phone.ring()).refuse()
    await house.wait_state(anna.id, "parked")
    assert (await house.wait_live(caller, "waiting"))["offered_to"] is None
    await house.stack.control("POST", f"/v1/agents/{anna.id}/ready")
    await (await anna.phone.ring(timeout_s=SOON_S)).answer()
    await house.wait_live(caller, "talking")


async def test_only_ready_agents_are_rung(house: House, crew: Crew) -> None:
    stack = house.stack
    away = await crew.agent(register=False)
    gone = await crew.agent()
    paused = await crew.agent()
    busy = await crew.agent()
    await gone.phone.unregister()
    await house.wait_state(gone.id, "logged_out")
    await stack.cli("agent", "pause", paused.id, "--reason", "lunch")
    assert (await house.wait_state(paused.id, "paused"))["reason"] == "lunch"

    one = await crew.dial(ALDER)
    ringing = await talk(one, busy)
    two = await crew.dial(ALDER)
    await house.wait_live(two, "waiting")
    await ringing.hang_up()
    await house.wait_state(busy.id, "wrap_up")
    hung_up = next(e for e in busy.phone.events if e.kind == "CALL_CLOSED").at
    # Wrap-up takes two seconds; the call that waits does not shorten it.
    second = await busy.phone.ring(timeout_s=2 + SOON_S)
    assert second.rang_at - hung_up > 1.8
    await second.answer()
    await house.wait_live(two, "talking")

    three = await crew.dial(CEDAR)
    await house.wait_live(three, "waiting")
    for agent in (away, gone, paused):
        assert agent.phone.rings == []

    # Each gets the call as soon as the obstacle is away: pause, then registration.
    await stack.cli("agent", "ready", paused.id)
    third = await paused.phone.ring()
    await third.refuse()
    await away.phone.register()
    fourth = await away.phone.ring()
    assert fourth.peer.startswith(f"sip:{three.dialled.caller}@")
    await fourth.answer()
    await three.wait_answered()
    assert gone.phone.rings == []


async def test_a_pause_takes_the_ringing_call_away(house: House, crew: Crew) -> None:
    anna, ben = await crew.agent(), await crew.agent()
    caller = await crew.dial(ALDER)
    first = await anna.phone.ring()
    await house.stack.control("POST", f"/v1/agents/{anna.id}/pause", {"reason": "break"})
    await first.wait_closed()
    await (await ben.phone.ring(timeout_s=SOON_S)).answer()
    await house.wait_live(caller, "talking")


async def test_a_caller_who_gives_up_frees_the_agent_at_once(house: House, crew: Crew) -> None:
    anna = await crew.agent()
    one = await crew.dial(CEDAR)
    first = await anna.phone.ring()
    await one.wait_status(180)
    await one.hang_up()
    await first.wait_closed()
    two = await crew.dial(CEDAR)
    await (await anna.phone.ring(timeout_s=SOON_S)).answer()
    await two.wait_answered()
    (call,) = await house.wait_closed(one)
    assert (call["outcome"], call["stage"]) == ("abandoned", "waiting")
    mail = await house.wait_mail(one)
    assert mail.recipients == ("notes@cedar.example",)


async def test_a_phone_without_power_does_not_hold_the_caller_up(house: House, crew: Crew) -> None:
    anna, ben = await crew.agent(), await crew.agent()
    await anna.phone.kill()
    caller = await crew.dial(ALDER)
    # Nobody answers at Anna's address; her ring timeout passes the call on.
    await (await ben.phone.ring(timeout_s=2 + SOON_S)).answer()
    await house.wait_live(caller, "talking")


@pytest.mark.parametrize(
    "status", ["603 Decline", "480 Temporarily Unavailable", "488 Not Acceptable", "500 Broken"]
)
async def test_however_a_telephone_says_no_the_next_one_rings(
    house: House, crew: Crew, status: str
) -> None:
    name, telephone = await crew.refuser(status)
    ben = await crew.agent()
    caller = await crew.dial(ALDER)
    second = await ben.phone.ring(timeout_s=2 * SOON_S)
    assert telephone.calls == 1
    await house.wait_state(name, "parked")
    await second.answer()
    await house.wait_live(caller, "talking")
    assert telephone.calls == 1


async def test_a_telephone_cannot_send_the_caller_elsewhere(house: House, crew: Crew) -> None:
    """A redirection (302) is a refusal: nobody's calls leave by an agent's telephone."""
    elsewhere = await crew.agent()
    await house.stack.control("POST", f"/v1/agents/{elsewhere.id}/pause", {"reason": "test"})
    target = f"<sip:{elsewhere.id}@{house.stack.sip[0]}:{house.stack.sip[1]}>"
    name, telephone = await crew.refuser("302 Moved Temporarily", contact=target)
    ben = await crew.agent()
    caller = await crew.dial(ALDER)
    await (await ben.phone.ring(timeout_s=2 + SOON_S)).answer()
    await house.wait_live(caller, "talking")
    assert telephone.calls == 1
    assert elsewhere.phone.rings == []
    await house.wait_state(name, "parked")


async def test_rules_that_change_while_a_caller_waits_and_another_talks(
    house: House, crew: Crew
) -> None:
    (house.folder / "fir.yaml").write_text(f"""\
clients:
  - id: fir
    name: Fir GmbH
    numbers: {{did: ["{FIR}"]}}
    requires: {{wood: 2}}
    contacts: [{{name: F, email: notes@fir.example, notes: true}}]
""")
    await house.stack.cli("client", "import", house.folder / "fir.yaml")
    anna, ben = await crew.agent(), await crew.agent()
    caller = await crew.dial(FIR)
    await house.wait_live(caller, "waiting")
    assert not anna.phone.rings
    assert not ben.phone.rings

    async def rules(text: str) -> None:
        """Past the command line, so that nobody but the database tells the switchboard."""
        connection = await asyncpg.connect(house.stack.dsn)
        try:
            await import_rules(connection, read_rules(text, "rules.yaml"), by="test")
        finally:
            await connection.close()

    await rules(
        f"agents: {{{anna.id}: {{skills: {{wood: 1}}}}, {ben.id}: {{skills: {{wood: 3}}}}}}"
    )
    ringing = await ben.phone.ring(timeout_s=4 * SOON_S)
    await ringing.answer()
    await house.wait_live(caller, "talking")
    assert not anna.phone.rings

    # Who talks goes on talking, and the next caller is Anna's.
    await rules(
        f"agents: {{{anna.id}: {{skills: {{wood: 2}}}}, {ben.id}: {{cleared: {{'*': none}}}}}}"
    )
    other = await crew.dial(FIR)
    await (await anna.phone.ring(timeout_s=4 * SOON_S)).answer()
    await house.wait_live(other, "talking")
    await house.wait_live(caller, "talking")
    await caller.hang_up()
    await house.wait_state(ben.id, "wrap_up")
    await other.hang_up()
    await house.wait_closed(caller, other)

    # Closed for a while: the agents are free, and nobody rings.
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%d")
    await house.stack.cli(
        "client", "instruct", "fir", "Geschlossen", "--until", tomorrow, "--closed"
    )
    late = await crew.dial(FIR)
    await late.wait_ended(timeout_s=30)
    calls = await house.wait_closed(caller, other, late)
    assert [call["agent_id"] for call in calls] == [ben.id, anna.id, None]
    assert calls[2]["reason"] == "closed"
    await rules("{}")
