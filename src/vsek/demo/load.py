"""A load run: a vsek of its own, a hundred agents, callers at a steady rate, and what it took.

``await run(folder, Plan(rate=20, duration_s=300))`` starts everything with real parts, and returns
a ``Result`` (``print(result.table())``). Times come from the packets on loopback (see
``vsek.demo.capture``), the arrival of mails from a mail server of ours, processor seconds and
memory from ``/proc``. Without the right to capture the times of sound are ``None``.

An agent's note is written and finished while the talk goes on, through the note service, so that
the mail is due when the call ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import shutil
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

import asyncpg
import msgspec

from vsek.demo import g711
from vsek.demo.capture import Capture
from vsek.demo.events import eventually
from vsek.demo.loadpeers import Crowd, Ports
from vsek.demo.loadtimes import Spread, Times, spread, times
from vsek.demo.stack import Stack
from vsek.demo.usage import Usage
from vsek.domain.ids import AgentId
from vsek.errors import ServiceError
from vsek.store import agents as agent_table

DID: Final = "+49305550301"
_CLIENT: Final = f"""\
clients:
  - id: load
    name: Load GmbH
    numbers: {{did: ["{DID}"]}}
    policy: greet
    greeting: {{file: greeting.wav}}
    music: {{file: music.wav}}
    contacts: [{{name: L, email: notes@load.example, notes: true}}]
"""
_MARK: Final = "vsek-load"
_NOTES_EVERY_S: Final = 0.3
_PROBE_EVERY_S: Final = 1.0
_USAGE_EVERY_S: Final = 1.0
# Young calls first, and only those that are not over.
_OPEN_CALLS_SQL: Final = """
SELECT id, caller_number FROM vsek.calls
WHERE outcome IS NULL AND received_at > now() - interval '30 s'
"""
_BOOKS_SQL: Final = """
SELECT count(*) AS calls,
       count(*) FILTER (WHERE outcome = 'answered') AS answered,
       count(*) FILTER (WHERE outcome IS NULL) AS open,
       (SELECT count(*) FROM vsek.note_due WHERE acked_at IS NOT NULL) AS acknowledged,
       (SELECT count(*) FROM vsek.note_due WHERE acked_at IS NULL) AS due,
       (SELECT count(*) FROM notify.deliveries WHERE status = 'accepted') AS delivered
FROM vsek.calls
"""


@dataclass(frozen=True)
class Plan:
    """``rate`` calls a second for ``duration_s``; agents ring, then talk. Times in seconds."""

    rate: float = 20.0
    duration_s: float = 300.0
    agents: int = 100
    ring_s: float = 1.0
    talk_s: float = 2.0
    greeting_s: float = 3.0
    notes: bool = True
    """Write and finish a note in each talk."""
    keep: bool = False
    """Keep the folder with its logs and the capture."""

    @property
    def calls(self) -> int:
        """How many calls it makes."""
        return round(self.rate * self.duration_s)


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What a load run showed. Times in milliseconds, processor time in milliseconds a call."""

    calls: int
    failed: int
    """Calls that SIPp did not see go as planned."""
    complaints: str
    books: dict[str, int]
    """From the database: calls, answered, open, acknowledged, due, delivered."""
    mails: int
    greeting_ms: Spread | None
    """Caller's INVITE → first packet of the greeting."""
    offer_ms: Spread | None
    """Caller's INVITE → agent's INVITE."""
    join_ms: Spread | None
    """Agent's 200 → both hear each other."""
    mail_ms: Spread | None
    """End of the call, and its note finished → mail accepted."""
    control_ms: Spread
    """Time of a health request meanwhile: how long the switchboard's loop makes others wait."""
    cpu_ms: dict[str, float]
    """By process: serve, notes, asterisk, postgres; and sipp and this harness."""
    rss_mb: dict[str, float]
    """Memory at the end."""
    rss_peak_mb: float
    """The switchboard's largest."""
    rss_start_mb: float
    took_s: float
    captured_dropped: int
    audit: str
    """What ``vsek audit`` says; empty: all books tell the same."""
    errors: list[str]
    """Error lines in the logs of switchboard and note service."""

    def problems(self) -> list[str]:
        """Books that do not agree; empty if all is well."""
        wanted = {"calls": self.calls, "answered": self.calls, "open": 0, "due": 0}
        wanted |= {"acknowledged": self.calls, "delivered": self.calls}
        found = [
            f"{name}: {self.books[name]} instead of {number}"
            for name, number in wanted.items()
            if self.books[name] != number
        ]
        if self.mails != self.calls:
            found.append(f"mails: {self.mails} instead of {self.calls}")
        if self.audit:
            found.append(self.audit)
        if self.failed:
            found.append(f"{self.failed} calls failed: {self.complaints}")
        if self.errors:
            found.append(f"{len(self.errors)} errors logged, the first: {self.errors[0]}")
        return found

    def table(self) -> str:
        """For people."""
        lines = [f"{self.calls} calls, {self.failed} failed, {self.took_s:.0f} s"]
        lines += self.problems()
        lines.append(f"{'ms':<28}{'p50':>9}{'p90':>9}{'p99':>9}{'max':>9}{'n':>8}")
        for title, values in (
            ("INVITE → greeting", self.greeting_ms),
            ("INVITE → agent's INVITE", self.offer_ms),
            ("agent's 200 → both hear", self.join_ms),
            ("end → mail accepted", self.mail_ms),
            ("control API", self.control_ms),
        ):
            if values is not None:
                columns = (values.p50, values.p90, values.p99, values.worst)
                numbers = "".join(f"{value:9.1f}" for value in columns)
                lines.append(f"{title:<28}{numbers}{values.count:8}")
        lines.append("processor, ms a call: " + _pairs(self.cpu_ms, ".2f"))
        lines.append("memory, MB: " + _pairs(self.rss_mb, ".0f"))
        lines.append(
            f"switchboard's memory: {self.rss_start_mb:.0f} MB before, "
            f"{self.rss_peak_mb:.0f} MB at most"
        )
        if self.captured_dropped:
            lines.append(f"{self.captured_dropped} packets were not captured")
        return "\n".join(lines)


def _pairs(values: dict[str, float], form: str) -> str:
    return ", ".join(f"{name} {value:{form}}" for name, value in values.items())


class CountingSmtp(asyncio.Protocol):
    """A mail server that keeps nothing but when it took the mail of which caller."""

    def __init__(self, accepted: dict[str, list[float]]) -> None:
        self._accepted = accepted
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._in_data = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greets."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(b"220 load.invalid\r\n")

    def data_received(self, data: bytes) -> None:
        """Commands line by line, a mail as a whole."""
        self._buffer += data
        while self._transport is not None:
            if self._in_data:
                mail, end, rest = self._buffer.partition(b"\r\n.\r\n")
                if not end:
                    return
                self._buffer, self._in_data = rest, False
                found = re.search(rf"{_MARK} (\d+)".encode(), mail)
                number = found[1].decode() if found else ""
                self._accepted.setdefault(number, []).append(time.time())
                self._transport.write(b"250 taken\r\n")
                continue
            line, end, rest = self._buffer.partition(b"\r\n")
            if not end:
                return
            self._buffer = rest
            self._answer(line.upper())

    def _answer(self, command: bytes) -> None:
        assert self._transport is not None
        if command.startswith(b"DATA"):
            self._in_data = True
            self._transport.write(b"354 go on\r\n")
        elif command.startswith(b"EHLO"):
            self._transport.write(b"250-load.invalid\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n")
        elif command.startswith(b"QUIT"):
            self._transport.write(b"221 bye\r\n")
            self._transport.close()
        else:
            self._transport.write(b"250 ok\r\n")


class House:
    """A vsek with agents whose telephones are registered, for one load run or several."""

    def __init__(self, plan: Plan, stack: Stack, crowd: Crowd, mails: dict[str, list[float]]):
        self.plan = plan
        self.stack = stack
        self.crowd = crowd
        self.mails = mails
        """Caller's number without its plus → when mails about this caller's calls were taken."""
        self.finished: dict[str, float] = {}
        """The same → when the call's note was finished."""
        self.accounts = {f"agent{n}": f"secret-of-agent-{n}" for n in range(1, plan.agents + 1)}
        """Agents and their secrets."""

    @classmethod
    async def open(
        cls, folder: Path, plan: Plan, ports: Ports, settings: dict[str, str], exits: AsyncExitStack
    ) -> House:
        """Starts everything; ``exits`` ends it."""
        mails: dict[str, list[float]] = {}
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: CountingSmtp(mails), "127.0.0.1", 0)
        exits.callback(server.close)
        port = server.sockets[0].getsockname()[1]
        stack = await Stack.start(
            folder / "vsek",
            smtp=f"127.0.0.1:{port}",
            environment={
                "VSEK_CALLS__WRAP_UP_S": "0",
                # Longer than any note of ours takes: each call has one note, the finished one.
                "VSEK_CALLS__NOTE_GRACE_S": "60" if plan.notes else "1",
                **settings,
            },
        )
        exits.push_async_callback(stack.stop)
        g711.write_wav(folder / "greeting.wav", g711.melody(330, plan.greeting_s))
        g711.write_wav(folder / "music.wav", g711.melody(470, 10.0))
        (folder / "clients.yaml").write_text(_CLIENT)
        await stack.cli("client", "import", folder / "clients.yaml")
        crowd = Crowd(folder / "crowd", stack.sip, ports)
        exits.push_async_callback(crowd.stop)
        house = cls(plan, stack, crowd, mails)
        await house._hire()
        return house

    async def _hire(self) -> None:
        connection = await asyncpg.connect(self.stack.dsn)
        try:
            for name, secret in self.accounts.items():
                await agent_table.add(connection, AgentId(name), name.title(), secret, "de")
        finally:
            await connection.close()
        await self.stack.control("POST", "/v1/sync")
        await self.register()

    async def register(self) -> None:
        """Have the agents there, for ten minutes, and taking calls."""
        await self.crowd.register(self.accounts)
        await self.crowd.answer(ring_s=self.plan.ring_s, talk_s=self.plan.talk_s)

        async def all_ready() -> bool | None:
            states = await self.stack.agents()
            return True if all(a["state"] == "ready" for a in states.values()) else None

        await eventually(all_ready, "all agents ready", timeout_s=30.0)

    def callers(self, count: int) -> list[str]:
        """Numbers of callers."""
        return [f"+4940{5_000_000 + n}" for n in range(count)]

    async def quiet(self, *, timeout_s: float = 60.0) -> None:
        """Waits until no call is left."""

        async def probe() -> bool | None:
            return True if not await self.stack.calls() else None

        await eventually(probe, "no live call", timeout_s=timeout_s, every_s=0.25)


async def run(folder: Path, plan: Plan, *, settings: dict[str, str] | None = None) -> Result:
    """One load run in ``folder``. Raises ``ServiceError`` when it cannot be made at all."""
    async with AsyncExitStack() as exits:
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        house = await House.open(folder, plan, ports(), settings or {}, exits)
        result = await measure(house, folder)
    if not plan.keep:
        shutil.rmtree(folder, ignore_errors=True)
    return result


def ports() -> Ports:
    """A free block. Below the ports that the kernel hands out, and beside Asterisk's sound."""
    blocks = [Ports.block(first) for first in (2_000, 6_000, 8_000, 30_000)]
    random.shuffle(blocks)  # two runs at once shall not reach for the same
    for block in blocks:
        try:
            with ExitStack() as held:
                for port in (block.callers, block.agents, *block.sound[:100]):
                    probe = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return block
    raise ServiceError("No free ports for a load run", remedy="End the others first")


async def measure(house: House, folder: Path) -> Result:
    """The load itself, against a house that is ready."""
    plan, stack = house.plan, house.stack
    capture: Capture | None = None
    if Capture.allowed():
        capture = Capture(folder / "load.pcap", stack.sip[1], house.crowd.ports.sound)
        capture.start()
    pids: dict[str, int] = stack.ready["pids"]
    usage = Usage(
        {name: pids[name] for name in ("serve", "notes", "asterisk", "postgres")},
        {"agents": house.crowd.programs["agents"].pid, "harness": os.getpid()},
    )
    started = time.monotonic()
    try:
        callers = await house.crowd.call(DID, house.callers(plan.calls), rate=plan.rate)
        async with watched(house, usage) as probes:
            code = await callers.wait()
            await house.quiet()
            with contextlib.suppress(ServiceError):  # what is missing is told by the result
                await _books_closed(stack, plan.calls)
    finally:
        if capture is not None:
            await asyncio.to_thread(capture.stop)
    cpu = usage.cpu_ms(plan.calls)
    took_s = time.monotonic() - started
    found = await asyncio.to_thread(_times, capture, house)
    failed = _failed(house.crowd.folder) if code else 0
    return Result(
        calls=plan.calls,
        failed=failed,
        complaints=(house.crowd.errors("callers") + " " + house.crowd.errors("agents")).strip(),
        books=await _books(stack),
        mails=sum(map(len, house.mails.values())),
        greeting_ms=found.greeting,
        offer_ms=found.offer,
        join_ms=found.join,
        mail_ms=found.mail,
        control_ms=spread([1000 * one for one in probes]) or Spread(),
        cpu_ms=cpu,
        rss_mb={name: usage.memory_mb(name) for name in ("serve", "notes", "asterisk")},
        rss_peak_mb=usage.peak_mb,
        rss_start_mb=usage.start_mb,
        took_s=took_s,
        captured_dropped=capture.dropped if capture is not None else 0,
        audit=await _audit(stack),
        errors=await asyncio.to_thread(_errors, stack.folder / "log"),
    )


def _times(capture: Capture | None, house: House) -> Times:
    if capture is None:
        return Times()
    ports = house.crowd.ports
    return times(capture.file, house.stack.sip[1], ports, house.mails, house.finished)


def _failed(folder: Path) -> int:
    """Calls that SIPp counts as failed."""
    lines = (folder / "callers.stat.csv").read_text().splitlines()
    last = dict(zip(lines[0].split(";"), lines[-1].split(";"), strict=False))
    return int(last["FailedCall(C)"])


async def _books(stack: Stack) -> dict[str, int]:
    connection = await asyncpg.connect(stack.dsn)
    try:
        row = await connection.fetchrow(_BOOKS_SQL)
    finally:
        await connection.close()
    return dict(row or {})


def _errors(logs: Path) -> list[str]:
    lines = chain.from_iterable(
        (logs / f"{name}.log").read_text(errors="replace").splitlines()
        for name in ("serve", "notes")
    )
    return [line for line in lines if re.search(r'"level":"(?:error|critical)"', line)]


async def _audit(stack: Stack) -> str:
    """Asterisk writes its ledger at the end of each call: all of them are there by now."""
    audit = await stack.cli("audit", check=False)
    return "" if audit.code == 0 else f"vsek audit: {audit.code} {audit.out}{audit.err}"[:2000]


async def _books_closed(stack: Stack, calls: int) -> None:
    async def probe() -> bool | None:
        books = await _books(stack)
        return True if books["delivered"] >= calls and not books["due"] else None

    await eventually(probe, "a mail for each call", timeout_s=30.0, every_s=0.5)


@asynccontextmanager
async def watched(house: House, usage: Usage) -> AsyncIterator[list[float]]:
    """Writes notes, asks for health, and looks at the memory, until left."""
    probes: list[float] = []
    tasks = [
        asyncio.create_task(_probe(house.stack, probes)),
        asyncio.create_task(_look(usage)),
    ]
    if house.plan.notes:
        tasks.append(asyncio.create_task(_write_notes(house)))
    try:
        yield probes
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        for error in ended:
            if isinstance(error, Exception):
                raise error


async def _probe(stack: Stack, probes: list[float]) -> None:
    while True:
        started = time.perf_counter()
        await stack.control("GET", "/v1/health")
        probes.append(time.perf_counter() - started)
        await asyncio.sleep(_PROBE_EVERY_S)


async def _look(usage: Usage) -> None:
    while True:
        usage.look()
        await asyncio.sleep(_USAGE_EVERY_S)


async def _write_notes(house: House) -> None:
    connection = await asyncpg.connect(house.stack.dsn)
    seen: set[str] = set()
    try:
        while True:
            rows = await connection.fetch(_OPEN_CALLS_SQL)
            fresh = [row for row in rows if row["id"] not in seen]
            seen.update(row["id"] for row in fresh)
            # One after the other, a slow answer to one would be a late note for the next.
            await asyncio.gather(
                *(_write_note(house, row["id"], row["caller_number"]) for row in fresh)
            )
            await asyncio.sleep(_NOTES_EVERY_S)
    finally:
        await connection.close()


async def _write_note(house: House, call_id: str, number: str) -> None:
    digits = number.lstrip("+")
    note = {
        "caller_name": "Erika Muster",
        "concern": "Please call back",
        "text": f"{_MARK} {digits}",
    }
    await house.stack.notes.write_draft(call_id, note, finish=True)
    house.finished[digits] = time.time()
