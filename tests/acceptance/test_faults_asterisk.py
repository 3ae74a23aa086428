"""Asterisk dies, hangs, is restarted or reloaded, with calls in every stage.

A call that it takes with it has one outcome and one note. Agents can be rung again seconds after it
is back, and who was busy with a note or had a break still is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio
from tests.acceptance.faults import SETTLED_S, FaultHouse, ready_now, serve_one, told
from tests.acceptance.house import ALDER, CEDAR, Agent, Crew

from vsek.app import COMPARE_PRESENCE_S
from vsek.demo.caller import Caller
from vsek.demo.events import eventually
from vsek.demo.softphone import PhoneCall
from vsek.errors import ServiceError

pytestmark = pytest.mark.asyncio(loop_scope="module")

USABLE_S = 5.0
"""From the moment at which Asterisk serves again to the ringing of an agent's phone."""
SLACK = 3.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FaultHouse]:
    async with AsyncExitStack() as exits:
        # Long enough that nobody's wrap-up ends while Asterisk is away.
        settings = {"VSEK_CALLS__WRAP_UP_S": "45"}
        yield await FaultHouse.build(tmp_path_factory.mktemp("house"), exits, settings)


class Stages:
    """A caller in each stage, and an agent in each state."""

    def __init__(self, house: FaultHouse, crew: Crew) -> None:
        self.house = house
        self.crew = crew
        self.over: list[Caller] = []

    async def fill(self) -> None:
        crew, house = self.crew, self.house
        self.resting, self.anna, self.ben, self.writing = [await crew.agent() for _ in range(4)]
        path = f"/v1/agents/{self.resting.id}/pause"
        await house.stack.control("POST", path, {"reason": "lunch"})
        for agent in (self.anna, self.ben):
            await house.stack.control("POST", f"/v1/agents/{agent.id}/pause")
        done, call, _ = await serve_one(house, crew, self.writing)
        await done.hang_up()
        await call.wait_closed()
        await house.wait_state(self.writing.id, "wrap_up", timeout_s=SETTLED_S)
        self.over = [done]
        await ready_now(house, self.anna)
        self.talking, self.talk, _ = await serve_one(house, crew, self.anna)
        await ready_now(house, self.ben)
        self.ringing = await crew.dial(CEDAR)
        self.ring: PhoneCall = await crew.ring(self.ben, self.ringing, timeout_s=20)
        self.waiting = await crew.dial(ALDER)
        await house.wait_live(self.waiting, "waiting", timeout_s=SETTLED_S)
        self.greeted = await crew.dial(ALDER)
        await house.wait_live(self.greeted, "greeting", timeout_s=SETTLED_S)

    @property
    def live(self) -> list[Caller]:
        return [self.talking, self.ringing, self.waiting, self.greeted]

    async def states_kept(self) -> None:
        agents = await self.house.stack.agents()
        assert agents[self.resting.id]["state"] == "paused", agents
        assert agents[self.resting.id]["reason"] == "lunch", agents
        assert agents[self.writing.id]["state"] == "wrap_up", agents

    async def let_go(self) -> None:
        """Both ends of calls whose middle is gone hang up."""
        await asyncio.gather(*(caller.close() for caller in self.live))
        for call in (self.talk, self.ring):
            if not call.closed:
                try:
                    await call.hang_up()
                except ServiceError:  # in the same instant Asterisk did
                    await call.wait_closed()


async def reachable(house: FaultHouse, *agents: Agent) -> float:
    """Waits until Asterisk has the agents' registrations; seconds."""
    began = time.monotonic()

    async def probe() -> bool | None:
        try:
            states = await house.stack.agents()
        except ServiceError:
            return None
        return True if all(states[agent.id]["reachable"] for agent in agents) else None

    await eventually(probe, "registrations", timeout_s=SETTLED_S)
    return time.monotonic() - began


@pytest.mark.parametrize(
    "how",
    [
        pytest.param("killed", id="killed"),
        pytest.param("core restart now", id="restarted at once", marks=pytest.mark.long),
        pytest.param("answering", id="killed while one is put through", marks=pytest.mark.long),
    ],
)
async def test_it_dies_with_calls_in_every_stage(house: FaultHouse, crew: Crew, how: str) -> None:
    stages = Stages(house, crew)
    await stages.fill()
    serve = await house.pid("serve")
    began = time.monotonic()
    if how == "core restart now":
        await house.console(how)
        await house.problem("asterisk")
    else:
        if how == "answering":
            await stages.ben.phone.command("accept", stages.ring.id)
        old = await house.kill("asterisk")
        await house.another("asterisk", old)
    await house.healthy()
    served_s = time.monotonic() - began
    await reachable(house, stages.anna, stages.ben, stages.resting, stages.writing)
    usable_s = time.monotonic() - began - served_s
    assert await house.pid("serve") == serve
    await stages.states_kept()
    equal_s = await house.same_as_asterisk()
    # Notes wait for whoever still writes them.
    await ready_now(house, stages.anna, stages.writing)
    rows = await house.accounted(*stages.over, *stages.live)
    noted_s = time.monotonic() - began
    assert rows[1]["outcome"] == "answered"
    assert {row["outcome"] for row in rows[2:]} <= {"abandoned", "failed", "answered"}, rows
    # And life goes on.
    await stages.let_go()
    for agent in (stages.anna, stages.writing):
        await house.stack.control("POST", f"/v1/agents/{agent.id}/pause")
    await ready_now(house, stages.ben)
    last, _, ring_s = await serve_one(house, crew, stages.ben, timeout_s=20)
    await last.hang_up()
    told(f"Asterisk {how}", served_s=served_s, usable_s=usable_s, noted_s=noted_s)
    told(f"Asterisk {how}", equal_s=equal_s, ring_s=ring_s)
    assert usable_s < USABLE_S * SLACK
    assert ring_s < USABLE_S


@pytest.mark.long
@pytest.mark.parametrize("for_s", [10, 50])
async def test_it_hangs_and_goes_on(house: FaultHouse, crew: Crew, for_s: float) -> None:
    """Calls that it still has are served when it wakes up, each to one outcome.

    After 60 s without an agent's sound, its own silence included, Asterisk ends a talk.
    """
    stages = Stages(house, crew)
    await stages.fill()
    serve = await house.pid("serve")
    pid = await house.pid("asterisk")
    with house.asleep(pid):
        noticed_s = await house.problem("asterisk")
        await asyncio.sleep(for_s - noticed_s)
    began = time.monotonic()
    await house.healthy()
    back_s = time.monotonic() - began
    equal_s = await house.same_as_asterisk()
    told(f"hung for {for_s} s", noticed_s=noticed_s, back_s=back_s, equal_s=equal_s)
    assert await house.pid("asterisk") == pid
    assert await house.pid("serve") == serve
    if for_s < 45:  # as long as wrap-up
        await stages.states_kept()
    assert stages.talking.talking
    await stages.talking.media.wait_sound(after=len(stages.talking.media.packets), timeout_s=20)
    live = {call["caller_number"]: call["stage"] for call in await house.stack.calls()}
    told(f"after {for_s} s", **{f"live_{stage}": 1 for stage in live.values()})
    await stages.let_go()
    await ready_now(house, stages.writing, stages.anna)
    rows = await house.accounted(*stages.over, *stages.live)
    assert rows[1]["outcome"] == "answered"
    assert back_s < USABLE_S * SLACK
    await house.same_as_asterisk()


@pytest.mark.long
async def test_it_is_restarted_gracefully(house: FaultHouse, crew: Crew) -> None:
    """The talk is finished; then Asterisk starts anew and the agent is rung again."""
    anna = await crew.agent()
    caller, call, _ = await serve_one(house, crew, anna)
    await house.console("core restart gracefully")
    await caller.media.wait_sound(after=len(caller.media.packets))
    assert caller.talking
    await caller.hang_up()
    await call.wait_closed()
    await house.problem("asterisk")
    await house.healthy()
    await reachable(house, anna)
    await ready_now(house, anna)
    another, _, ring_s = await serve_one(house, crew, anna, timeout_s=20)
    told("restarted gracefully", ring_s=ring_s)
    await another.hang_up()
    await house.wait_state(anna.id, "wrap_up", timeout_s=SETTLED_S)
    await ready_now(house, anna)
    await house.accounted(caller, another)


@pytest.mark.long
@pytest.mark.parametrize(
    "command", ["core reload", "module reload res_pjsip.so", "module reload res_ari.so"]
)
async def test_it_is_reloaded(house: FaultHouse, crew: Crew, command: str) -> None:
    """Nothing is lost, nobody is cut off."""
    stages = Stages(house, crew)
    await stages.fill()
    await house.console(command)
    await house.console("core show uptime")
    await house.healthy()
    await house.same_as_asterisk()
    await stages.states_kept()
    await stages.talking.media.wait_sound(after=len(stages.talking.media.packets))
    assert not any(caller.ended for caller in stages.live)
    assert not stages.ring.closed
    await stages.ring.answer()
    await house.wait_live(stages.ringing, "talking", timeout_s=SETTLED_S)
    await stages.let_go()
    await ready_now(house, stages.writing, stages.anna, stages.ben)
    rows = await house.accounted(*stages.over, *stages.live)
    assert [row["outcome"] for row in rows[:3]] == ["answered"] * 3


@pytest.mark.long
async def test_the_manager_interface_is_away(house: FaultHouse, crew: Crew) -> None:
    """It is for reports and for asking phones; calls need it for nothing."""
    anna = await crew.agent()
    house.ami.refuse()
    house.ami.cut()
    caller, call, ring_s = await serve_one(house, crew, anna)
    told("without AMI", ring_s=ring_s)
    await caller.hang_up()
    await call.wait_closed()
    await house.wait_state(anna.id, "wrap_up", timeout_s=SETTLED_S)
    await ready_now(house, anna)
    await house.accounted(caller)
    await house.ami.start()


@pytest.mark.long
async def test_a_phone_that_leaves_and_no_event_tells(house: FaultHouse, crew: Crew) -> None:
    """Asterisk has lost the subscription to the agent's telephone, for whatever reason."""
    anna = await crew.agent()
    source = f"endpoint:PJSIP/{anna.id}"
    gone = "applications/vsek-cmd-1/subscription"
    assert await house.asterisk("DELETE", gone, eventSource=source) is not None
    began = time.monotonic()
    await anna.phone.unregister()
    await house.wait_state(anna.id, "logged_out", timeout_s=COMPARE_PRESENCE_S + SETTLED_S)
    told("no event of a telephone", noticed_s=time.monotonic() - began)
