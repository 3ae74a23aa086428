"""What the machine itself can run out of: room for the journal, for logs, for PostgreSQL, files
that a process may have open; and a control socket that somebody removes. Calls go on.
"""

from __future__ import annotations

import asyncio
import os
import resource
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from tests.acceptance.faults import (
    SETTLED_S,
    FaultHouse,
    full,
    ready_now,
    serve_one,
    small_disk,
    told,
)
from tests.acceptance.house import Agent, Crew

from vsek.demo.caller import Caller
from vsek.demo.events import eventually
from vsek.embedded.servant import home_for, unprivileged

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount small disks"),
]

ROUTED_S = 3.0
ARRIVED_S = 120.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FaultHouse]:
    async with AsyncExitStack() as exits:

        def prepare(run: Path) -> None:
            small_disk(exits, run / "journal", "2m")
            small_disk(exits, run / "log", "4m")
            small_disk(exits, home_for(run / "postgres", unprivileged()), "200m")

        yield await FaultHouse.build(tmp_path_factory.mktemp("house"), exits, prepare=prepare)


async def call(house: FaultHouse, crew: Crew, agent: Agent) -> tuple[Caller, float]:
    """A whole call; also the seconds from dialling to ringing."""
    caller, ringing, ring_s = await serve_one(house, crew, agent)
    await caller.hang_up()
    await ringing.wait_closed()
    await house.wait_state(agent.id, "wrap_up", "ready", timeout_s=SETTLED_S)
    await ready_now(house, agent)
    return caller, ring_s


async def journal_broken(house: FaultHouse) -> bool:
    return "journal" in (await house.stack.control("GET", "/v1/health"))["problems"]


@pytest.mark.parametrize(
    "dies", [False, pytest.param(True, id="and it dies soon after", marks=pytest.mark.long)]
)
async def test_the_journals_disk_is_full(house: FaultHouse, crew: Crew, dies: bool) -> None:
    anna, ben = await crew.agent(), await crew.agent()
    await house.stack.control("POST", f"/v1/agents/{ben.id}/pause")
    callers = [(await call(house, crew, anna))[0]]
    took: list[float] = []

    async def one_more(broken: bool) -> bool | None:
        caller, ring_s = await call(house, crew, anna)
        callers.append(caller)
        took.append(ring_s)
        return True if await journal_broken(house) is broken else None

    with full(house.stack.folder / "journal"):
        # The last block of the file has still room for some entries.
        await eventually(lambda: one_more(True), "a journal that is broken", timeout_s=SETTLED_S)
        await one_more(True)
        await house.stack.control("POST", f"/v1/agents/{anna.id}/pause")
        await ready_now(house, ben)
        talker, ringing, _ = await serve_one(house, crew, ben)
        await ready_now(house, anna)
    began = time.monotonic()
    await eventually(lambda: one_more(False), "a journal that is written", timeout_s=SETTLED_S)
    told("journal full", ring_s=max(took), mended_s=time.monotonic() - began)
    assert max(took) < ROUTED_S
    # What was not written then is not missed: the snapshot has the talk that goes on.
    if dies:
        old = await house.kill("serve")
        await house.another("serve", old)
        await house.healthy()
    assert talker.talking
    assert (await house.wait_live(talker, "talking"))["agent_id"] == ben.id
    await talker.hang_up()
    await ringing.wait_closed()
    rows = await house.accounted(*callers, talker, timeout_s=ARRIVED_S)
    assert {row["outcome"] for row in rows} == {"answered"}


@pytest.mark.long
async def test_it_dies_while_the_journals_disk_is_full(house: FaultHouse, crew: Crew) -> None:
    """Asterisk has the calls, the database what arrived: they go on, and none is lost."""
    anna = await crew.agent()
    with full(house.stack.folder / "journal"):
        await house.stack.control("POST", f"/v1/agents/{anna.id}/pause")
        await ready_now(house, anna)
        talker, ringing, _ = await serve_one(house, crew, anna)
        old = await house.kill("serve")
        await house.another("serve", old)
        await house.healthy("journal")
        assert talker.talking
        await talker.hang_up()
        await ringing.wait_closed()
    rows = await house.accounted(talker, timeout_s=ARRIVED_S)
    told("died with a full journal", ended=1)
    print(f"  outcome: {rows[0]['outcome']}, reason: {rows[0]['reason']}")
    await house.healthy()


async def test_the_logs_disk_is_full(house: FaultHouse, crew: Crew) -> None:
    anna = await crew.agent()
    with full(house.stack.folder / "log"):
        caller, ring_s = await call(house, crew, anna)
    told("log full", ring_s=ring_s)
    assert ring_s < ROUTED_S
    after, _ = await call(house, crew, anna)
    await house.accounted(caller, after, timeout_s=ARRIVED_S)
    # What was logged afterwards is there.
    file = house.stack.folder / "log" / "serve.log"
    [row] = await house.accounted(after)
    assert row["id"] in await asyncio.to_thread(file.read_text)


@contextmanager
def no_more_files(pid: int, spare: int) -> Iterator[None]:
    """The process may open ``spare`` files more than it has open now."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    have = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (have + spare, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


@pytest.mark.long
@pytest.mark.parametrize("cut", [False, True], ids=["lines stand", "lines cut"])
async def test_the_switchboard_may_open_no_more_files(
    house: FaultHouse, crew: Crew, cut: bool
) -> None:
    anna = await crew.agent()
    await call(house, crew, anna)
    pid = await house.pid("serve")
    with no_more_files(pid, 1):
        if cut:
            house.ari.cut(b"/ari/events")
        caller, ringing, ring_s = await serve_one(house, crew, anna)
        await caller.hang_up()
        await ringing.wait_closed()
    told("no more files", ring_s=ring_s)
    assert ring_s < ROUTED_S
    await house.healthy()
    assert await house.pid("serve") == pid
    await house.accounted(caller, timeout_s=ARRIVED_S)


@pytest.mark.long
async def test_the_control_socket_is_removed(house: FaultHouse, crew: Crew) -> None:
    anna = await crew.agent()
    path = Path(str(house.stack.ready["control"]))
    await asyncio.to_thread(path.unlink)
    caller = await crew.dial("+49305550203")
    ringing = await crew.ring(anna, caller, timeout_s=20)
    await ringing.answer()
    await caller.wait_answered()
    began = time.monotonic()

    async def there() -> bool | None:
        return True if await asyncio.to_thread(path.exists) else None

    await eventually(there, "a control socket", timeout_s=SETTLED_S)
    told("control socket", back_s=time.monotonic() - began)
    assert (await house.stack.cli("agent", "list", "--json")).code == 0
    assert caller.talking
    await caller.hang_up()
    await house.accounted(caller, timeout_s=ARRIVED_S)


@pytest.mark.long
async def test_postgresqls_disk_is_full(house: FaultHouse, crew: Crew) -> None:
    anna = await crew.agent()
    pid = await house.pid("serve")
    callers = [(await call(house, crew, anna))[0]]
    took = []
    with full((house.stack.folder / "postgres").resolve()):
        until = time.monotonic() + 20
        while time.monotonic() < until:
            caller, ring_s = await call(house, crew, anna)
            callers.append(caller)
            took.append(ring_s)
            await asyncio.sleep(0.3)
    began = time.monotonic()
    callers.append((await call(house, crew, anna))[0])
    await house.accounted(*callers, timeout_s=ARRIVED_S)
    told("PostgreSQL full", ring_s=max(took), arrived_s=time.monotonic() - began)
    assert await house.pid("serve") == pid
    assert max(took) < ROUTED_S
    await house.healthy()
