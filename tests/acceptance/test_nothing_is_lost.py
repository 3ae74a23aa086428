"""kill -9 of the switchboard in the middle of everything."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from tests.acceptance.house import ALDER, BIRCH, CEDAR, Crew, House

from vsek.demo.events import eventually
from vsek.errors import ServiceError

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def kill_switchboard(house: House) -> int:
    """kill -9; returns the pid that died."""
    pid = await house.serve_pid()
    os.kill(pid, signal.SIGKILL)
    return pid


async def wait_restarted(house: House, old: int) -> None:
    """Waits until ``vsek up`` has another switchboard and that one serves."""

    async def probe() -> bool | None:
        if await house.serve_pid() == old:
            return None
        try:
            return True if (await house.stack.control("GET", "/v1/health"))["ok"] else None
        except ServiceError:
            return None

    await eventually(probe, "a new switchboard", timeout_s=20.0)


async def test_two_talk_one_rings_one_waits(house: House, crew: Crew) -> None:
    anna, ben, cleo = await crew.agent(), await crew.agent(), await crew.agent()
    one = await crew.dial(ALDER)
    first = await anna.phone.ring()
    await first.answer()
    two = await crew.dial(CEDAR)
    second = await ben.phone.ring()
    await second.answer()
    three = await crew.dial(ALDER)
    third = await cleo.phone.ring()
    four = await crew.dial(BIRCH)
    await house.wait_live(one, "talking")
    await house.wait_live(two, "talking")
    await house.wait_live(four, "waiting")
    ids = {call["caller_number"]: call["id"] for call in await house.stack.calls()}

    old = await kill_switchboard(house)
    # The talks go on while nobody is there ...
    for caller in (one, two):
        await caller.media.wait_sound(after=len(caller.media.packets))
    await wait_restarted(house, old)
    # ... and after the restart.
    for caller in (one, two):
        await caller.media.wait_sound(after=len(caller.media.packets))
        assert caller.talking
    assert not first.closed
    assert not second.closed
    assert not three.ended
    assert not four.ended
    # They are the same calls as before.
    assert {call["caller_number"]: call["id"] for call in await house.stack.calls()} == ids
    states = await house.stack.agents()
    assert [states[a.id]["state"] for a in (anna, ben)] == ["talking", "talking"]

    # The call that rang is at the same agent: still ringing, or ringing again.
    if third.closed:
        third = await cleo.phone.ring()
    await third.answer()
    await house.wait_live(three, "talking")
    # The caller who waited has kept the place: next, before somebody who came later.
    five = await crew.dial(ALDER)
    assert (await house.wait_live(four, "waiting"))["place"] == 0
    await house.wait_live(five, "waiting")
    await first.hang_up()
    await one.wait_ended()
    await house.wait_state(anna.id, "wrap_up")
    await house.stack.control("POST", f"/v1/agents/{anna.id}/ready")
    fourth = await anna.phone.ring()
    assert fourth.peer.startswith(f"sip:{four.dialled.caller}@")
    await fourth.answer()
    await house.wait_live(four, "talking")

    for caller in (two, three, four, five):
        await caller.hang_up()
    calls = await house.wait_closed(one, two, three, four, five)
    assert [c["outcome"] for c in calls] == ["answered"] * 4 + ["abandoned"]
    assert [c["agent_id"] for c in calls[:4]] == [anna.id, ben.id, cleo.id, anna.id]
    assert [c["id"] for c in calls[:4]] == [ids[c.dialled.caller] for c in (one, two, three, four)]
    mails = [await house.wait_mail(caller) for caller in (one, two, three, four, five)]
    assert len({mail.message["Message-ID"] for mail in mails}) == 5
    # One outcome and one note each, also after everything has settled.
    for call in await house.wait_closed(one, two, three, four, five):
        assert [step["kind"] for step in call["steps"]].count("ended") == 1
        assert len(call["notes"]) == 1
    shown = (await house.stack.cli("call", "list", "--json")).json()["calls"]
    assert {c["id"] for c in calls} <= {c["id"] for c in shown}


async def test_what_happens_while_the_switchboard_is_dead_is_accounted_for(
    house: House, crew: Crew
) -> None:
    anna = await crew.agent()
    one = await crew.dial(ALDER)
    first = await anna.phone.ring()
    await first.answer()
    await house.wait_live(one, "talking")
    two = await crew.dial(BIRCH)
    await house.wait_live(two, "waiting")
    old = await kill_switchboard(house)
    # The one who talks hangs up, the one who waits gives up; nobody sees it.
    await asyncio.gather(one.hang_up(), two.hang_up())
    await first.wait_closed()
    await wait_restarted(house, old)
    calls = await house.wait_closed(one, two)
    assert [c["outcome"] for c in calls] == ["answered", "abandoned"]
    for caller in (one, two):
        await house.wait_mail(caller)
    # And life goes on: the agent is free again after wrap-up, the next caller is served.
    await house.wait_state(anna.id, "ready")
    three = await crew.dial(CEDAR)
    await (await anna.phone.ring()).answer()
    await three.wait_answered()


async def test_a_call_that_comes_while_the_switchboard_is_dead_is_told_so(
    house: House, crew: Crew
) -> None:
    """The dialplan serves it: an announcement, not silence; afterwards all is well again."""
    anna = await crew.agent()
    old = await kill_switchboard(house)
    caller = await crew.dial(ALDER)
    # The announcement comes before an answer, so that nobody pays for it.
    answer = await caller.events.wait(
        lambda e: e.kind in ("media", "answered", "ended"), "an announcement or an answer"
    )
    if answer.kind != "ended":
        await caller.media.wait_sound()
    await caller.close()
    await wait_restarted(house, old)
    await house.wait_state(anna.id, "ready")
    other = await crew.dial(CEDAR)
    await (await crew.ring(anna, other)).answer()
    await other.wait_answered()


async def test_notes_are_kept_when_the_switchboard_dies_right_after_the_call(
    house: House, crew: Crew
) -> None:
    anna = await crew.agent()
    caller = await crew.dial(ALDER)
    ringing = await anna.phone.ring()
    await ringing.answer()
    call = await house.wait_live(caller, "talking")
    note = {"concern": "Dachrinne tropft", "caller_name": "Frau Huber", "action": "RR"}
    state = await house.stack.notes.write_draft(call["id"], note)
    assert state.state == "open"
    await caller.hang_up()
    old = await kill_switchboard(house)
    # Agents go on writing meanwhile.
    more = {**note, "text": "Seit gestern, über dem Eingang."}
    state = await house.stack.notes.write_draft(call["id"], more)
    assert state.revision == 2
    await wait_restarted(house, old)
    mail = await house.wait_mail(caller)
    assert "Dachrinne tropft" in mail.text
    assert "über dem Eingang" in mail.text
    (closed,) = await house.wait_closed(caller)
    assert len(closed["notes"]) == 1
