"""PostgreSQL is away, frozen, full, overrun or unreachable: calls go on, and nothing is lost.

Routing never waits for it. What happened meanwhile arrives afterwards, each outcome and each note
once.
"""

from __future__ import annotations

import asyncio
import signal
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager

import asyncpg
import pytest
import pytest_asyncio
from tests.acceptance.faults import (
    SETTLED_S,
    FaultHouse,
    family,
    memory_mb,
    ready_now,
    serve_one,
    told,
)
from tests.acceptance.house import Agent, Crew

from vsek.demo.caller import Caller

pytestmark = pytest.mark.asyncio(loop_scope="module")

TALK_S = 0.5
ROUTED_S = 3.0
"""A phone rings within this, on a busy machine too. What matters is the printed figure."""
MEMORY_MB = 64.0
"""What the switchboard may grow by while it keeps records for later."""
ARRIVED_S = 90.0
"""Until everything has arrived: leases, back-off and mail included."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FaultHouse]:
    async with AsyncExitStack() as exits:
        yield await FaultHouse.build(tmp_path_factory.mktemp("house"), exits)


async def calls(
    house: FaultHouse, crew: Crew, agent: Agent, count: int = 1, *, for_s: float = 0.0
) -> tuple[list[Caller], float]:
    """Calls one after the other, ``count`` at least and until ``for_s`` seconds are over; the
    callers, and the median from dialling to ringing."""
    callers: list[Caller] = []
    took: list[float] = []
    until = time.monotonic() + for_s
    while len(callers) < count or time.monotonic() < until:
        caller, ringing, ring_s = await serve_one(house, crew, agent)
        callers.append(caller)
        took.append(ring_s)
        await asyncio.sleep(TALK_S)
        await caller.hang_up()
        await ringing.wait_closed()
        await house.wait_state(agent.id, "wrap_up", "ready", timeout_s=SETTLED_S)
        await ready_now(house, agent)
    return callers, statistics.median(took)


async def through(
    house: FaultHouse, crew: Crew, what: str, broken: AsyncExitStack, for_s: float = 8.0
) -> list[Caller]:
    """Calls before, during (``for_s`` seconds) and after ``broken``; all are accounted for."""
    agent = crew.agents[0]
    before, before_s = await calls(house, crew, agent, 2)
    pid = await house.pid("serve")
    held = memory_mb(pid)
    async with broken:
        meanwhile, during_s = await calls(house, crew, agent, for_s=for_s)
        grown = memory_mb(pid) - held
    loop = asyncio.get_running_loop()
    back = loop.time()
    after, after_s = await calls(house, crew, agent, 1)
    rows = await house.accounted(*before, *meanwhile, *after, timeout_s=ARRIVED_S)
    arrived_s = loop.time() - back
    told(what, before_s=before_s, during_s=during_s, after_s=after_s, arrived_s=arrived_s)
    told(what, grown_mb=grown)
    assert [row["outcome"] for row in rows] == ["answered"] * len(rows)
    assert await house.pid("serve") == pid, "the switchboard did not survive"
    assert during_s < ROUTED_S
    assert grown < MEMORY_MB
    return [*before, *meanwhile, *after]


@contextmanager
def frozen(house: FaultHouse, pid: int) -> Iterator[None]:
    with house.asleep(*family(pid)):
        yield


@pytest.mark.parametrize(
    "for_s", [pytest.param(8, id="8 s"), pytest.param(60, id="60 s", marks=pytest.mark.long)]
)
async def test_frozen(house: FaultHouse, crew: Crew, for_s: float) -> None:
    """All its processes stand still: connections are there, no answer ever comes."""
    await crew.agent()
    broken = AsyncExitStack()
    broken.enter_context(frozen(house, await house.pid("postgres")))
    await through(house, crew, "frozen", broken, for_s)


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGKILL, id="killed"),
        pytest.param(signal.SIGINT, id="fast shutdown", marks=pytest.mark.long),
        pytest.param(signal.SIGQUIT, id="immediate shutdown", marks=pytest.mark.long),
    ],
)
async def test_restarted(house: FaultHouse, crew: Crew, number: int) -> None:
    await crew.agent()
    broken = AsyncExitStack()
    old = await house.kill("postgres", number)
    await through(house, crew, f"restarted by {signal.Signals(number).name}", broken, 1)
    await house.another("postgres", old)
    await house.database_back()
    await house.healthy()


@pytest.mark.parametrize(
    "for_s", [pytest.param(4, id="4 s"), pytest.param(50, id="50 s", marks=pytest.mark.long)]
)
async def test_black_holed(house: FaultHouse, crew: Crew, for_s: float) -> None:
    """The network swallows everything; nobody is told."""
    await crew.agent()
    broken = AsyncExitStack()
    house.database.hold()
    broken.callback(house.heal)
    await through(house, crew, "black hole", broken, for_s)
    await house.healthy()


@pytest.mark.long
async def test_a_black_hole_that_stays_is_given_up_and_gone_round(
    house: FaultHouse, crew: Crew
) -> None:
    """The connections that stand are dead for ever, new ones work (a firewall lost its state)."""
    agent = await crew.agent()
    for link in list(house.database.links):
        for way in link.faults.values():
            way.hold = True
    held = set(house.database.links)
    callers, ring_s = await calls(house, crew, agent, 3)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await house.accounted(*callers, timeout_s=ARRIVED_S)
    told("dead connections", ring_s=ring_s, arrived_s=loop.time() - began)
    for link in held:
        link.cut(reset=True)


@pytest.mark.long
async def test_cut_again_and_again(house: FaultHouse, crew: Crew) -> None:
    agent = await crew.agent()

    async def cut_for_ever() -> None:
        while True:
            await asyncio.sleep(0.3)
            house.database.cut()

    cutting = asyncio.create_task(cut_for_ever())
    callers, ring_s = await calls(house, crew, agent, 8)
    cutting.cancel()
    await asyncio.gather(cutting, return_exceptions=True)
    await house.accounted(*callers, timeout_s=ARRIVED_S)
    told("cut every 0.3 s", ring_s=ring_s)


@pytest.mark.long
async def test_all_connections_taken_by_others(house: FaultHouse, crew: Crew) -> None:
    await crew.agent()
    broken = AsyncExitStack()
    house.database.cut()
    hogs: list[asyncpg.Connection[asyncpg.Record]] = []
    try:
        while True:
            hogs.append(await asyncpg.connect(house.stack.dsn))
    except asyncpg.TooManyConnectionsError:
        pass
    house.database.cut()

    async def let_go() -> None:
        for hog in hogs:
            await hog.close()

    broken.push_async_callback(let_go)
    await through(house, crew, f"{len(hogs)} connections of others", broken)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["locked", "slow"])
async def test_tables_that_do_not_answer(house: FaultHouse, crew: Crew, kind: str) -> None:
    """Somebody else holds a lock on the table of calls; every query takes its time."""
    await crew.agent()
    broken = AsyncExitStack()
    if kind == "slow":
        house.database.delay(0.3)
        broken.callback(house.heal)
    else:
        other = await asyncpg.connect(house.stack.dsn)
        broken.push_async_callback(other.close)
        await other.execute("BEGIN; LOCK TABLE vsek.calls IN ACCESS EXCLUSIVE MODE")
    await through(house, crew, kind, broken)


@pytest.mark.long
async def test_started_while_it_is_away(house: FaultHouse, crew: Crew) -> None:
    """A switchboard that starts without its database serves from the journal."""
    agent = await crew.agent()
    caller, ringing, _ = await serve_one(house, crew, agent)
    house.database.hold()
    old = await house.kill("serve")
    await house.another("serve", old)
    loop = asyncio.get_running_loop()
    began = loop.time()
    # It waits for the database's answer, not for ever, before it believes its own files.
    await house.healthy("database", "directory", "notes", timeout_s=SETTLED_S)
    told("start without a database", serves_after_s=loop.time() - began)
    assert caller.talking
    await caller.hang_up()
    await ringing.wait_closed()
    await house.wait_state(agent.id, "wrap_up", "ready", timeout_s=SETTLED_S)
    await ready_now(house, agent)
    more, _ = await calls(house, crew, agent, 2)
    house.heal()
    await house.accounted(caller, *more, timeout_s=ARRIVED_S)
    await house.healthy()
