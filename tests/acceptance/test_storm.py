"""kill -9 of the switchboard, hundreds of times, while callers keep coming and agents work.

Callers and agents behave as people do, at random: they talk, hang up in the middle, give up early,
refuse, wait for long. What became of each call is asked of everybody who can know: the callers
themselves (each speaks one value of A-law all the time, which the agents' phones send back: who
hears it talks with an agent), the agents' phones (they note when it is they who hang up), Asterisk,
its ledger, the database, the mails.

``VSEK_STORM_SEED`` repeats a run as far as timing allows, ``VSEK_STORM_KILLS`` makes it longer.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import random
import re
import signal
import time
from array import array
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from vsek.demo import g711, ledger, load
from vsek.demo.caller import Caller
from vsek.demo.events import eventually
from vsek.demo.loadpeers import VOICE, Crowd, agent_scenario
from vsek.demo.sipmessage import Dial
from vsek.demo.softphone import Softphone
from vsek.domain.ids import OURS
from vsek.errors import ServiceError

SETTINGS = {
    "VSEK_CALLS__RING_TIMEOUT_S": "3",
    "VSEK_CALLS__WRAP_UP_S": "0.2",
    "VSEK_CALLS__NOTE_GRACE_S": "1",
    "VSEK_CALLS__RONA_PARK_S": "1",
    "VSEK_CALLS__REFUSAL_PARK_S": "1",
}
TALK_S = 4.0
LEFTOVERS_S = 1.0
"""By when a switchboard that is ready has removed what its predecessor left."""
SILENCE_S = 2.0
"""A talk in which nothing is heard for so long was interrupted."""
PATIENCES_S = (0.2, 1.0, 2.0, 4.0, 6.0)
"""Of those who have little; half of all callers have enough."""
_FRAME = bytes([VOICE]) * 160
_SPEECH = array("h", g711.decode(bytes([VOICE]), 8)) * (g711.RATE * 70)


@dataclass(frozen=True)
class Told:
    """What a caller tells of a call. Times are monotonic seconds."""

    number: str
    ended_by: str
    statuses: tuple[int, ...]
    talked_s: float
    longest_silence_s: float


class NotingCrowd(Crowd):
    """Agents who write down whom they have left."""

    async def answer(
        self, *, ring_s: float, talk_s: float, talk_to_s: float | None = None, silent: str = ""
    ) -> None:
        port = self.ports.agents_sound
        text = agent_scenario(ring_s, talk_s, port, talk_to_s=talk_to_s, silent=silent)
        mark = '<label id="goodbye"/>\n'
        note = '  <nop><action><log message="left [$1]"/></action></nop>\n'
        assert mark in text
        self._write("agents.xml", text.replace(mark, mark + note))
        sound = ("-mp", str(port), "-rtp_echo", "-trace_logs", "-log_file", "left.log")
        await self._start("agents", self.ports.agents, "-aa", *sound)

    def left(self) -> set[str]:
        """Numbers of the callers whose agent hung up."""
        text = (self.folder / "left.log").read_text(errors="replace")
        return set(re.findall(r"left .*?sip:(\+?\d+)@", text))


class Storm:
    """One run."""

    def __init__(self, house: load.House, crowd: NotingCrowd, kills: int, seed: str) -> None:
        self.house = house
        self.stack = house.stack
        self.crowd = crowd
        self.kills = kills
        self.seed = seed
        self.told: list[Told] = []
        self.restarts_s: list[float] = []
        self.faults: list[str] = []
        self.missing: list[Told] = []
        self._up = int(self.stack.ready["pids"]["up"])
        self._over = False

    def _dice(self, name: str) -> random.Random:
        return random.Random(f"{self.seed}/{name}")

    # Callers and agents

    async def callers(self, rate: float, enough_s: float) -> None:
        """Until the kills are over; who has patience waits ``enough_s``."""
        dice = self._dice("callers")
        async with asyncio.TaskGroup() as calls:
            for number in range(100_000):
                if self._over:
                    return
                calls.create_task(self._call(f"+4940{6_000_000 + number}", dice.random(), enough_s))
                await asyncio.sleep(dice.expovariate(rate))

    async def _call(self, number: str, seed: float, enough_s: float) -> None:
        dice = random.Random(seed)
        caller = await Caller.dial(self.stack.sip, Dial(load.DID, caller=number))
        caller.media.play(_SPEECH)
        try:
            await caller.wait_ended(timeout_s=dice.choice((dice.choice(PATIENCES_S), enough_s)))
        except ServiceError:
            with contextlib.suppress(ServiceError):
                await caller.hang_up(timeout_s=20.0)
        await caller.close()
        echo = [packet.at for packet in caller.media.packets if packet.payload == _FRAME]
        gaps = [after - before for before, after in itertools.pairwise(echo)]
        self.told.append(
            Told(
                number,
                caller.ended_by,
                tuple(caller.statuses),
                echo[-1] - echo[0] if echo else 0.0,
                max(gaps, default=0.0),
            )
        )

    async def moody(self, phone: Softphone) -> None:
        """An agent who refuses, or picks up and hangs up at any time."""
        dice = self._dice(phone.name)
        while True:
            call = await phone.ring(timeout_s=3600.0)
            await asyncio.sleep(dice.uniform(0.0, 1.0))
            try:
                if dice.random() < 0.3:
                    await call.refuse()
                    continue
                await call.answer(timeout_s=3.0)
                await asyncio.sleep(dice.choice((0.0, 0.05, 0.5, 2.0)))
                if not call.closed:
                    await call.hang_up()
            except ServiceError:
                # The caller gave up in the same instant: there is nothing left to do.
                await call.wait_closed(timeout_s=60.0)

    # The switchboard's deaths

    def _serve(self) -> int | None:
        """The process of the switchboard that there is now, ready or not."""
        with contextlib.suppress(OSError):
            for pid in Path(f"/proc/{self._up}/task/{self._up}/children").read_text().split():
                if b"\0serve\0" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return int(pid)
        return None

    async def kill(self) -> None:
        """All of them; sometimes while it still starts."""
        dice = self._dice("kills")
        for _ in range(self.kills):
            pid = await eventually(self._running, "a switchboard", timeout_s=30.0)
            if dice.random() < 0.25:
                await asyncio.sleep(dice.uniform(0.2, 1.2))
            else:
                await self._ready()
                await self._no_leftovers()
                await asyncio.sleep(dice.uniform(0.0, 2.0))
            with contextlib.suppress(ProcessLookupError):  # hung, and was killed by `vsek up`
                os.kill(pid, signal.SIGKILL)
            killed = time.monotonic()
            await eventually(self._another(pid), "another switchboard", timeout_s=30.0)
            self.restarts_s.append(time.monotonic() - killed)
        await self._ready()
        await self._no_leftovers()
        self._over = True

    async def _running(self) -> int | None:
        return self._serve()

    def _another(self, pid: int) -> Callable[[], Awaitable[bool | None]]:
        async def probe() -> bool | None:
            return True if self._serve() not in (None, pid) else None

        return probe

    async def _ready(self) -> None:
        async def probe() -> bool | None:
            try:
                return True if (await self.stack.control("GET", "/v1/ready"))["ok"] else None
            except ServiceError:
                return None

        await eventually(probe, "a switchboard that is ready", timeout_s=30.0, every_s=0.05)

    # What there is in Asterisk

    async def ari(self, what: str) -> list[dict[str, Any]]:
        text = await asyncio.to_thread((self.stack.folder / "run/stack.json").read_text)
        ari = json.loads(text)["settings"]["ari"]
        login = base64.b64encode(f"{ari['username']}:{ari['password']}".encode()).decode()
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Basic {login}"}) as session,
            session.get(f"{ari['url']}/ari/{what}") as reply,
        ):
            return list(await reply.json())

    async def _ours(self) -> set[str]:
        """Legs and bridges of ours that belong to no live call."""
        before = {call["id"] for call in await self.stack.calls()}
        things = [*await self.ari("channels"), *await self.ari("bridges")]
        live = before | {call["id"] for call in await self.stack.calls()}
        ours = {thing["id"] for thing in things if thing["id"].startswith(OURS)}
        return {name for name in ours if name.removeprefix(OURS).partition(".")[0] not in live}

    async def _no_leftovers(self) -> None:
        """What is being removed at this moment may be there once, but not a second later."""
        first = await self._ours()
        if first:
            await asyncio.sleep(LEFTOVERS_S)
            self.faults += [f"left behind: {name}" for name in first & await self._ours()]

    async def watch_bookings(self) -> None:
        """Nobody is in two talks."""
        twice: set[str] = set()
        while True:
            names = [
                channel["name"].rpartition("-")[0]
                for channel in await self.ari("channels")
                if channel["id"].startswith(OURS) and channel["state"] == "Up"
            ]
            booked = {name for name, count in Counter(names).items() if count > 1}
            self.faults += [f"booked twice: {name}" for name in booked & twice]
            twice = booked
            await asyncio.sleep(0.5)

    # The end

    async def books(self) -> dict[str, list[dict[str, Any]]]:
        """All calls by the caller's number, when each has an outcome and a note that left."""

        async def settled() -> list[dict[str, Any]] | None:
            try:
                if await self.stack.calls():
                    return None
            except ServiceError:
                return None
            rows = await ledger.read(self.stack.dsn)
            missing = {told.number for told in self.told} - {row["caller_number"] for row in rows}
            self.missing = [told for told in self.told if told.number in missing]
            if any(map(self._was_met, self.missing)):
                return None
            return rows if all(map(ledger.delivered, rows)) else None

        try:
            rows = await eventually(settled, "a note for each call", timeout_s=90.0, every_s=1.0)
        except ServiceError as error:
            error.add_note(f"no call of {self.missing}")
            raise
        by_number: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            by_number.setdefault(row["caller_number"], []).append(row)
        return by_number

    def _was_met(self, told: Told) -> bool:
        """Whether Asterisk's dialplan has seen the call: who hangs up before it runs has not
        called anybody."""
        folder = self.stack.folder / "asterisk" / "ledger"
        digits = told.number.lstrip("+")
        in_ledger = any(digits in day.read_text() for day in folder.glob("*.log"))
        return in_ledger or told.ended_by != "us" or not set(told.statuses) <= {100, 487}

    def compare(self, books: dict[str, list[dict[str, Any]]]) -> None:
        """What the callers tell with what the books say."""
        left = self.crowd.left()
        assert len(self.missing) <= len(self.told) / 100, self.missing
        for told in self.told:
            if told in self.missing:
                continue
            (row,) = books[told.number]
            assert [step["kind"] for step in row["steps"]].count("ended") == 1, row
            assert len(row["notes"]) == 1, row
            if not told.talked_s:
                continue
            if row["outcome"] != "answered":
                self.faults.append(f"talked, and is {row['outcome']}: {told} {row['steps']}")
            if told.ended_by == "them" and told.number not in left:
                self.faults.append(f"was cut off: {told} {row['steps']}")
            if told.longest_silence_s > SILENCE_S:
                self.faults.append(f"heard nothing meanwhile: {told}")

    def table(self) -> str:
        talked = [told for told in self.told if told.talked_s]
        ended = Counter(told.ended_by for told in self.told)
        return (
            f"\n  storm {self.seed}: {self.kills} kills, {len(self.told)} calls ({dict(ended)}), "
            f"{len(talked)} talks, {len(self.missing)} hung up before they were met, "
            f"longest silence "
            f"{max((told.longest_silence_s for told in talked), default=0.0):.2f} s, "
            f"process again after {max(self.restarts_s):.1f} s at most"
        )


@contextlib.asynccontextmanager
async def opened(folder: Path, agents: int, kills: int) -> AsyncIterator[Storm]:
    seed = os.environ.get("VSEK_STORM_SEED") or str(time.time_ns())
    plan = load.Plan(agents=agents, ring_s=0.3, talk_s=TALK_S, greeting_s=0.6)
    async with AsyncExitStack() as exits:
        house = await load.House.open(folder, plan, load.ports(), SETTINGS, exits)
        await house.crowd.stop()
        crowd = NotingCrowd(house.crowd.folder, house.stack.sip, house.crowd.ports)
        exits.push_async_callback(crowd.stop)
        await crowd.answer(ring_s=plan.ring_s, talk_s=plan.talk_s)
        storm = Storm(house, crowd, kills, seed)
        phones = []
        for number in range(2):
            name, secret = f"moody{number}", f"secret-of-moody-{number}"
            await house.stack.cli("agent", "add", name, "--name", name, "--secret", secret)
            phone = Softphone(name, secret, house.stack.sip, folder / "phones" / name)
            exits.push_async_callback(phone.stop)
            g711.write_wav(folder / f"{name}.wav", g711.melody(1200, 20.0))
            await phone.start(voice=folder / f"{name}.wav")
            phones.append(phone)
        work = [asyncio.create_task(storm.moody(phone), name=phone.name) for phone in phones]
        work.append(asyncio.create_task(storm.watch_bookings(), name="bookings"))
        try:
            yield storm
            assert [task for task in work if task.done()] == []
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)


async def weather(
    folder: Path, *, agents: int, rate: float, kills: int, enough_s: float = 60.0
) -> None:
    async with opened(folder, agents, kills) as storm:
        print(f"\n  VSEK_STORM_SEED={storm.seed}")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(storm.callers(rate, enough_s))
            tasks.create_task(storm.kill())
        books = await storm.books()
        storm.compare(books)
        print(storm.table())
        assert storm.faults == []

        async def idle() -> bool | None:
            states = await storm.stack.agents()
            return True if all(agent["state"] == "ready" for agent in states.values()) else None

        await eventually(idle, "all agents ready again", timeout_s=15.0)
        # The dialplan's own watch over vsek is no call.
        names = [channel["name"] for channel in await storm.ari("channels")]
        assert [name for name in names if name.startswith("PJSIP/")] == []
        assert await storm.ari("bridges") == []
        audit = await storm.stack.cli("audit", "--settle", "0", check=False)
        assert audit.code == 0, audit.out + audit.err


async def test_a_gust(tmp_path: Path) -> None:
    await weather(tmp_path / "storm", agents=15, rate=3.0, kills=4, enough_s=8.0)


@pytest.mark.long
@pytest.mark.parametrize("quarter", range(4))
async def test_two_hundred_kills(tmp_path: Path, quarter: int) -> None:
    """In four parts, each over before the agents would have to register again (ten minutes)."""
    kills = int(os.environ.get("VSEK_STORM_KILLS", "200"))
    await weather(tmp_path / f"storm{quarter}", agents=30, rate=4.0, kills=kills // 4)
