"""The switchboard's machine is lost, journal and all: another one goes on with the calls."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
import pytest_asyncio
from tests.acceptance import house as acceptance_house
from tests.acceptance.house import ALDER, BIRCH, Crew, House

from vsek.demo.events import eventually
from vsek.demo.processes import Program
from vsek.errors import ServiceError

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETTINGS = {**acceptance_house.SETTINGS, "VSEK_CALLS__WRAP_UP_S": "60"}


class OtherHost:
    """``vsek serve`` in a folder of its own, beside the same Asterisk and PostgreSQL."""

    def __init__(self, house: House, folder: Path) -> None:
        self.folder = folder
        self.socket = house.folder / "other.sock"
        self._house = house
        self._program: Program | None = None

    async def start(self) -> None:
        """Start it; it stands by where another one leads."""
        settings = json.loads((self._house.stack.folder / "run" / "stack.json").read_text())
        settings["settings"]["control"] = {"socket": str(self.socket)}
        (self.folder / "run").mkdir(parents=True, exist_ok=True)
        (self.folder / "run" / "stack.json").write_text(json.dumps(settings))
        self._program = await Program.start(
            "other host",
            [sys.executable, "-m", "vsek.cli.main", "serve", "--dir", self.folder],
            folder=self.folder,
            log=self.folder / "serve.log",
            environment=SETTINGS,
        )

    @property
    def log(self) -> str:
        """What it has said so far."""
        return (self.folder / "serve.log").read_text()

    async def stands_by(self) -> None:
        """Wait until it has seen that another one leads."""

        async def probe() -> bool | None:
            return True if "standing_by" in self.log else None

        await eventually(probe, "the other host stands by", timeout_s=60.0)
        assert not self.socket.exists()

    async def get(self, path: str) -> dict[str, Any] | None:
        """What its control API answers, ``None`` if nothing."""
        try:
            async with (
                aiohttp.ClientSession(
                    connector=aiohttp.UnixConnector(str(self.socket)),
                    timeout=aiohttp.ClientTimeout(total=2.0),
                ) as session,
                session.get(f"http://other{path}") as reply,
            ):
                answer: dict[str, Any] = await reply.json()
                return answer
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None

    async def leads(self) -> None:
        """Wait until it serves calls."""

        async def probe() -> bool | None:
            answer = await self.get("/v1/health")
            return True if answer is not None and answer["ok"] else None

        await eventually(probe, "the other host leads", timeout_s=60.0)

    async def die(self) -> None:
        """kill -9."""
        assert self._program is not None
        self._program.process.send_signal(signal.SIGKILL)
        await self._program.wait()
        self._program = None

    async def stop(self) -> None:
        """In order, if it runs."""
        if self._program is not None:
            await self._program.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def other(house: House, tmp_path: Path) -> AsyncIterator[OtherHost]:
    host = OtherHost(house, tmp_path / "other")
    yield host
    await host.stop()


async def test_the_leader_is_killed_and_its_disk_is_lost(
    house: House, crew: Crew, other: OtherHost
) -> None:
    anna, ben, cleo = await crew.agent(), await crew.agent(), await crew.agent()
    talking = await crew.dial(ALDER)
    talk = await anna.phone.ring()
    await talk.answer()
    await house.wait_live(talking, "talking")
    done = await crew.dial(BIRCH)
    short = await crew.ring(ben, done)
    await short.answer()
    await house.wait_live(done, "talking")
    await house.stack.control("POST", f"/v1/agents/{cleo.id}/pause")
    await house.wait_state(cleo.id, "paused")
    await done.hang_up()
    await house.wait_state(ben.id, "wrap_up")
    first = await crew.dial(ALDER)
    await house.wait_live(first, "waiting")
    second = await crew.dial(BIRCH)
    await house.wait_live(second, "waiting")

    await other.start()
    await other.stands_by()
    old = await house.serve_pid()
    # More happens after the other one began to stand by.
    third = await crew.dial(ALDER)
    await house.wait_live(third, "waiting")
    before = {call["caller_number"]: call for call in await house.stack.calls()}
    await eventually(lambda: _shipped(house), "the journal shipped")
    killed_at = time.monotonic()
    os.kill(old, signal.SIGKILL)
    await other.leads()
    assert time.monotonic() - killed_at < 3.0
    await talking.media.wait_sound(after=len(talking.media.packets))
    assert talking.talking
    after = await other.get("/v1/calls")
    assert after is not None
    calls = {call["caller_number"]: call for call in after["calls"]}
    assert {n: (c["id"], c["stage"]) for n, c in calls.items()} == {
        n: (c["id"], c["stage"]) for n, c in before.items()
    }
    places = [calls[caller.dialled.caller]["place"] for caller in (first, second, third)]
    assert places == [0, 1, 2]
    answer = await other.get("/v1/agents")
    assert answer is not None
    states = {agent["id"]: agent["state"] for agent in answer["agents"]}
    assert [states[a.id] for a in (anna, ben, cleo)] == ["talking", "wrap_up", "paused"]

    # And back: the machine with the new disk takes over from the other one.
    # Exactly one leads: what vsek up has started anew stands by, until its disk is lost, too.
    await eventually(lambda: _stands_by_again(house, old), "the first host stands by", timeout_s=90)
    pid = await house.serve_pid()
    os.kill(pid, signal.SIGKILL)
    shutil.rmtree(house.stack.folder / "journal")
    await third.hang_up()
    await house.wait_closed(third)
    await eventually(lambda: _stands_by_again(house, pid), "the first host stands by", timeout_s=90)
    await other.die()
    await eventually(lambda: _serves(house), "the first host leads", timeout_s=60.0)
    await talking.media.wait_sound(after=len(talking.media.packets))
    assert (await house.wait_live(first, "waiting"))["place"] == 0
    await talk.hang_up()
    await talking.wait_ended()
    await house.stack.control("POST", f"/v1/agents/{anna.id}/ready")
    next_call = await crew.ring(anna, first)
    await next_call.answer()
    await house.wait_live(first, "talking")
    for caller in (first, second):
        await caller.hang_up()
    closed = await house.wait_closed(talking, done, first, second, third)
    assert [c["outcome"] for c in closed] == [
        *("answered", "answered", "answered"),
        *("abandoned", "abandoned"),
    ]
    ids = [before[c.dialled.caller]["id"] for c in (talking, first, second, third)]
    assert [c["id"] for c in closed if c["caller_number"] != done.dialled.caller] == ids
    for call in closed:
        assert [step["kind"] for step in call["steps"]].count("ended") == 1
    for agent in (anna, ben):
        await house.stack.control("POST", f"/v1/agents/{agent.id}/ready")
    for caller in (talking, done, first, second, third):
        await house.wait_mail(caller)


async def _shipped(house: House) -> bool | None:
    """Whether the journal in the database has what the folder has, by its last entry's number."""
    connection = await asyncpg.connect(house.stack.dsn)
    try:
        arrived = await connection.fetchval("SELECT max(last) FROM vsek.journal_batches")
    finally:
        await connection.close()
    health = await house.stack.control("GET", "/v1/health")
    return True if arrived is not None and arrived >= health["journal"] else None


async def _serves(house: House) -> bool | None:
    try:
        return True if (await house.stack.control("GET", "/v1/health"))["ok"] else None
    except ServiceError:
        return None


async def _stands_by_again(house: House, old: int) -> bool | None:
    if await house.serve_pid() == old:
        return None
    log = await asyncio.to_thread((house.stack.folder / "log" / "serve.log").read_text)
    return True if log.rfind("standing_by") > log.rfind('"leading"') else None
