"""One Asterisk and everything around it, in which the competitors take turns.

Theory of operation. The servers are the ones that ``vsek up`` starts, but here they are started one
by one: Asterisk gets further configuration (:mod:`vsek.bench.pbx`), and the switchboard must end
while others are measured, since Asterisk tells it of every call of its agents. Agents are in vsek's
directory, so their accounts in Asterisk are those that vsek made; their telephones register like
any other. Nothing of this differs between the competitors.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import secrets
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import asyncpg

from vsek.bench.machine import Cores
from vsek.bench.pbx import EXTRA, Pbx, agent_name, queue_name, require_modules
from vsek.bench.results import Competitor
from vsek.demo.events import eventually
from vsek.demo.load import CountingSmtp, ports
from vsek.demo.loadpeers import Crowd
from vsek.demo.processes import Program
from vsek.demo.stack import Stack
from vsek.demo.usage import Usage
from vsek.domain.ids import AgentId
from vsek.embedded.asterisk import PrivateAsterisk
from vsek.embedded.ports import free_port
from vsek.embedded.postgres import PrivatePostgres
from vsek.errors import ServiceError
from vsek.store import agents as agent_table
from vsek.store import migrate

RING_S: Final = 3
"""How long an agent is rung, in seconds: vsek and ``Queue()`` alike."""
PARK_S: Final = 1.0
"""How long vsek leaves an agent alone who did not answer."""
_REGISTERED_FOR_S: Final = 400.0
"""Registrations last 600 s."""
_REGISTER_RATE: Final = 200
_READY_S: Final = 120.0
_IN_THE_PATH: Final = ("asterisk", "serve")
_IDLE_S: Final = 0.2
"""Processor seconds a second that are no work: 2,000 telephones are asked every 30 s whether they
are there."""
_LOOK_EVERY_S: Final = 0.5
_VSEK: Final = (sys.executable, "-m", "vsek.cli.main")
_CLIENT: Final = """\
  - id: bench-{number:04}
    name: Bench {number} GmbH
    numbers: {{did: ["{did}"]}}
    policy: ring
    contacts: [{{name: B, email: notes@bench.example, notes: true}}]
"""


def did(client: int) -> str:
    """The number of the client with this number, from 0."""
    return f"+49305551{client:04}"


def dialled(competitor: Competitor, target: int) -> str:
    """What a caller dials to reach a client, a queue, or (``Dial()``) an agent."""
    if competitor is Competitor.VSEK:
        return did(target)
    if competitor is Competitor.QUEUE:
        return queue_name(target)
    return f"d{target:04}"


class House:
    """A PBX with ``agents`` telephones and a vsek with ``clients`` clients."""

    def __init__(self, folder: Path, agents: int, clients: int, cores: Cores) -> None:
        self.folder = folder
        self.agents = agents
        self.clients = clients
        self.cores = cores
        self.mails: dict[str, list[float]] = {}
        self.server = PrivateAsterisk(
            folder / "asterisk",
            sounds=folder / "sounds",
            log=folder / "log" / "asterisk.log",
            extra=EXTRA,
        )
        self.postgres = PrivatePostgres(folder / "postgres", log=folder / "log" / "postgres.log")
        self.pbx = Pbx(self.server)
        self.stack: Stack | None = None
        """While vsek is there."""
        self.notes: Program | None = None
        self.crowd = Crowd(folder / "crowd", ("127.0.0.1", 0), ports())
        self._accounts = {agent_name(n): f"secret-of-{agent_name(n)}" for n in range(agents)}
        self._registered_at = -math.inf  # the clock may have begun a minute ago

    async def open(self, exits: AsyncExitStack) -> None:
        """Starts everything; ``exits`` ends it."""
        for name in ("log", "run"):
            await asyncio.to_thread((self.folder / name).mkdir, parents=True, exist_ok=True)
        loop = asyncio.get_running_loop()
        mail = await loop.create_server(lambda: CountingSmtp(self.mails), "127.0.0.1", 0)
        exits.callback(mail.close)
        exits.push_async_callback(self.postgres.stop)
        exits.push_async_callback(self.server.stop)
        exits.push_async_callback(self.pbx.close)
        await asyncio.gather(self.postgres.start(), self.server.start())
        require_modules(self.server)
        self.crowd.server = ("127.0.0.1", self.server.sip_port)
        await asyncio.to_thread(migrate.apply, self.postgres.dsn)
        await asyncio.to_thread(self._write_settings, mail.sockets[0].getsockname()[1])
        await self._write_directory()
        self.notes = await self._service("notes")
        exits.push_async_callback(self.notes.stop)
        exits.push_async_callback(self._stop_vsek)
        exits.push_async_callback(self.crowd.stop)
        # What we start from now on inherits our core.
        self.cores.pin(os.getpid(), self.cores.load, alone=True)
        self.cores.pin(self.server.pid, self.cores.path)
        for pid in (self.postgres.pid, self.notes.pid):
            self.cores.pin(pid, self.cores.load)
        await self._start_vsek()

    def _write_settings(self, mail_port: int) -> None:
        settings = {
            **self.server.settings(),
            "database": {"dsn": self.postgres.dsn},
            "notes": {
                "url": f"http://127.0.0.1:{free_port()}",
                "token": secrets.token_urlsafe(24),
            },
            "smtp": {"host": "127.0.0.1", "port": mail_port},
            "calls": {
                "wrap_up_s": 0,
                "note_grace_s": 1,
                "ring_timeout_s": RING_S,
                "rona_park_s": PARK_S,
            },
        }
        file = self.folder / "run" / "stack.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps({"settings": settings}))
        clients = "".join(_CLIENT.format(number=n, did=did(n)) for n in range(self.clients))
        (self.folder / "clients.yaml").write_text("clients:\n" + clients)

    async def _write_directory(self) -> None:
        connection = await asyncpg.connect(self.postgres.dsn)
        try:
            async with connection.transaction():
                for name, secret in self._accounts.items():
                    await agent_table.add(connection, AgentId(name), name, secret, "de")
        finally:
            await connection.close()
        program = await self._service("client", "import", self.folder / "clients.yaml")
        if await program.wait() != 0:
            raise ServiceError(f"The clients were not imported: {program.log_tail()}")

    async def _service(self, *words: str | Path) -> Program:
        name = str(words[0])
        return await Program.start(
            f"vsek {name}",
            [*_VSEK, *words, "--dir", self.folder],
            folder=self.folder,
            log=self.folder / "log" / f"{name}.log",
        )

    async def _start_vsek(self) -> None:
        if self.stack is not None:
            return
        program = await self._service("serve")
        self.cores.pin(program.pid, self.cores.path)
        self.stack = Stack(self.folder, program)

        async def serving() -> bool | None:
            assert self.stack is not None
            if program.returncode is not None:
                raise ServiceError(f"vsek serve ended: {program.log_tail()}")
            try:
                health = await self.stack.control("GET", "/v1/health")
                known = len(await self.stack.agents())
                return True if health["status"] != "down" and known == self.agents else None
            except ServiceError:
                return None

        await eventually(serving, "a switchboard that serves", timeout_s=_READY_S)
        self.cores.pin(program.pid, self.cores.path)
        await self._have_registered()
        await self._all_ready()

    async def _all_ready(self) -> None:
        async def ready() -> bool | None:
            assert self.stack is not None
            states = await self.stack.agents()
            return True if all(a["state"] == "ready" for a in states.values()) else None

        await eventually(ready, "all agents ready", timeout_s=_READY_S, every_s=0.2)

    async def _stop_vsek(self) -> None:
        if self.stack is not None:
            stack, self.stack = self.stack, None
            await stack.stop()

    async def _have_registered(self) -> None:
        if time.monotonic() - self._registered_at < _REGISTERED_FOR_S:
            return
        await self.crowd.stop()

        async def registered() -> bool | None:
            # Accounts come a moment after their agents.
            try:
                await self.crowd.register(self._accounts, rate=_REGISTER_RATE)
            except ServiceError:
                return None
            return True

        await eventually(registered, "registered telephones", timeout_s=_READY_S, every_s=0.5)
        # Asterisk asks each telephone whether it is there before it counts as reachable.
        await self.crowd.answer(ring_s=0.1, talk_s=0.1)
        self._registered_at = time.monotonic()

    async def turn_to(self, competitor: Competitor, queues: int) -> None:
        """From now on ``competitor`` is there, and nobody else; raises ``ServiceError`` when the
        last one has left something behind."""
        if competitor is not Competitor.VSEK:
            await self._stop_vsek()
        await self._have_registered()
        if competitor is Competitor.QUEUE:
            await self.pbx.queues(queues, self.agents, RING_S)
        else:
            await self.pbx.queues(0, 0, RING_S)
        if competitor is Competitor.VSEK:
            await self._start_vsek()
            await self._all_ready()
            await self.pbx.alive()
        await self.pbx.clean()
        await self._settled()

    async def _settled(self) -> None:
        """Waits until the PBX and the switchboard do nothing more of what their start has left."""
        pids = self.pids()
        usage = Usage({name: pids[name] for name in _IN_THE_PATH if name in pids}, {})

        def worked() -> float:
            return sum(usage.seconds(name) for name in _IN_THE_PATH if name in pids)

        before = -1.0

        async def probe() -> bool | None:
            nonlocal before
            last, before = before, worked()
            return True if last >= 0 and before - last <= _IDLE_S * _LOOK_EVERY_S else None

        await eventually(probe, "a PBX at rest", timeout_s=_READY_S, every_s=_LOOK_EVERY_S)

    def pids(self) -> dict[str, int]:
        """The processes of the system, by name."""
        found = {"asterisk": self.server.pid, "postgres": self.postgres.pid}
        if self.notes is not None:
            found["notes"] = self.notes.pid
        if self.stack is not None:
            found["serve"] = self.stack.program.pid
        return found
