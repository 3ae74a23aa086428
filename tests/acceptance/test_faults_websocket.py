"""The line between the switchboard and Asterisk breaks, in every way a line can break.

Whatever happens to it: talks go on, state and Asterisk are the same right after the reconnect, and
each call has one outcome and one note.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio
from tests.acceptance.faults import (
    COMMANDS,
    EVENTS,
    SETTLED_S,
    FaultHouse,
    serve_one,
    told,
)
from tests.acceptance.house import ALDER, BIRCH, CEDAR, Agent, Crew

from vsek.demo.caller import Caller
from vsek.demo.events import eventually
from vsek.demo.proxy import Proxy, Way
from vsek.demo.softphone import PhoneCall

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOTICED_S = 5.0
"""Within this a line that swallows everything must be given up."""
EQUAL_S = 1.0
"""Within this after the reconnect, Asterisk holds nothing that no call needs."""
SLACK = 3.0
"""For a machine that is busy with something else."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FaultHouse]:
    async with AsyncExitStack() as exits:
        yield await FaultHouse.build(tmp_path_factory.mktemp("house"), exits)


class Stages:
    """A call in every stage: ringing at an agent, greeted, talking, waiting."""

    talking: Caller
    talk: PhoneCall
    ringing: Caller
    ring: PhoneCall
    greeted: Caller
    anna: Agent
    ben: Agent

    @classmethod
    async def fill(cls, house: FaultHouse, crew: Crew) -> Stages:
        self = cls()
        self.anna, self.ben = await crew.agent(), await crew.agent()
        self.talking, self.talk, _ = await serve_one(house, crew, self.anna)
        self.ringing = await crew.dial(CEDAR)
        self.ring = await crew.ring(self.ben, self.ringing)
        self.greeted = await crew.dial(ALDER)
        await house.wait_live(self.greeted, "greeting")
        return self

    async def finish(self, house: FaultHouse, crew: Crew) -> None:
        """All of them are served to their end, and accounted for."""
        assert self.talking.talking
        await self.talking.media.wait_sound(after=len(self.talking.media.packets))
        if self.ring.closed:
            self.ring = await crew.ring(self.ben, self.ringing, timeout_s=30)
        await self.ring.answer()
        await house.wait_live(self.ringing, "talking", timeout_s=SETTLED_S)
        await house.wait_live(self.greeted, "waiting", timeout_s=SETTLED_S)
        await self.talking.hang_up()
        await house.wait_state(self.anna.id, "wrap_up", "ready", timeout_s=SETTLED_S)
        await ready_now_unless_offered(house, self.anna)
        last = await crew.ring(self.anna, self.greeted, timeout_s=30)
        await last.answer()
        await house.wait_live(self.greeted, "talking", timeout_s=SETTLED_S)
        await house.same_as_asterisk()
        await asyncio.gather(self.ringing.hang_up(), self.greeted.hang_up())
        rows = await house.accounted(self.talking, self.ringing, self.greeted)
        assert [row["outcome"] for row in rows] == ["answered"] * 3
        assert [row["agent_id"] for row in rows] == [self.anna.id, self.ben.id, self.anna.id]
        await house.same_as_asterisk()


async def ready_now_unless_offered(house: FaultHouse, agent: Agent) -> None:
    await house.stack.control("POST", f"/v1/agents/{agent.id}/ready")


async def reconnected(house: FaultHouse, lines_before: int, how_many: int) -> float:
    """Waits until as many lines as were broken are new and the switchboard serves; seconds."""
    began = time.monotonic()

    async def probe() -> bool | None:
        return True if house.ari.accepted >= lines_before + how_many else None

    await eventually(probe, "new lines", timeout_s=SETTLED_S)
    await house.healthy()
    return time.monotonic() - began


@pytest.mark.parametrize(
    ("only", "reset"),
    [
        pytest.param(b"", True, id="all cut"),
        pytest.param(EVENTS, True, id="events cut", marks=pytest.mark.long),
        pytest.param(COMMANDS, True, id="commands cut", marks=pytest.mark.long),
        pytest.param(EVENTS, False, id="events closed", marks=pytest.mark.long),
        pytest.param(COMMANDS, False, id="commands closed", marks=pytest.mark.long),
    ],
)
async def test_a_cut(house: FaultHouse, crew: Crew, only: bytes, reset: bool) -> None:
    stages = await Stages.fill(house, crew)
    before = house.ari.accepted
    broken = house.ari.cut(only or b"/ari/events", reset=reset)
    back_s = await reconnected(house, before, broken)
    equal_s = await house.same_as_asterisk()
    told(f"cut {only!r}", lines=broken, back_s=back_s, equal_s=equal_s)
    assert back_s < 1.0 * SLACK
    assert equal_s < EQUAL_S * SLACK
    await stages.finish(house, crew)


@pytest.mark.parametrize(
    ("only", "ways"),
    [
        pytest.param(b"", ("up", "down"), id="all swallowed"),
        pytest.param(EVENTS, ("down",), id="events swallowed", marks=pytest.mark.long),
        pytest.param(COMMANDS, ("up",), id="commands swallowed", marks=pytest.mark.long),
        pytest.param(COMMANDS, ("down",), id="replies swallowed", marks=pytest.mark.long),
    ],
)
async def test_a_black_hole(
    house: FaultHouse, crew: Crew, only: bytes, ways: tuple[Way, ...]
) -> None:
    """Nobody resets the line; the switchboard notices by itself that nothing comes through."""
    stages = await Stages.fill(house, crew)
    await house.pulse()
    house.ari.hold(only, ways)
    noticed_s = await house.problem("asterisk")
    late = await crew.dial(BIRCH)
    await late.wait_status(100)
    house.ari.heal()
    back_s = await house.healthy()
    equal_s = await house.same_as_asterisk()
    told(f"black hole {only!r} {ways}", noticed_s=noticed_s, back_s=back_s, equal_s=equal_s)
    assert noticed_s < NOTICED_S + 1.0
    assert equal_s < EQUAL_S * SLACK
    await late.hang_up()
    await stages.finish(house, crew)
    await house.healthy()


@pytest.mark.parametrize(
    "slow",
    [
        pytest.param(lambda proxy: proxy.delay(0.3), id="300 ms later"),
        pytest.param(lambda proxy: proxy.throttle(100_000.0), id="100 kB a second"),
    ],
)
@pytest.mark.long
async def test_a_slow_line(house: FaultHouse, crew: Crew, slow: Callable[[Proxy], None]) -> None:
    slow(house.ari)
    try:
        stages = await Stages.fill(house, crew)
        await stages.finish(house, crew)
        await house.stack.control("POST", f"/v1/agents/{stages.ben.id}/pause")
        await house.stack.control("POST", f"/v1/agents/{stages.anna.id}/ready")
        _, _, rang_s = await serve_one(house, crew, stages.anna)
        told("slow line", rang_s=rang_s)
        assert not (await house.stack.control("GET", "/v1/health"))["problems"]
    finally:
        house.heal()


@pytest.mark.long
@pytest.mark.parametrize("only", [EVENTS, COMMANDS], ids=["event", "reply"])
async def test_a_cut_in_the_middle_of_a_frame(house: FaultHouse, crew: Crew, only: bytes) -> None:
    stages = await Stages.fill(house, crew)
    before = house.ari.accepted
    house.ari.cut_within(only)
    # Something must be said on the line, so that there is a frame to be cut.
    another = await crew.dial(BIRCH)
    await reconnected(house, before, 1)
    await house.same_as_asterisk()
    await another.hang_up()
    await stages.finish(house, crew)
