"""What the tests of broken servers share: a vsek whose every line to a server can be broken.

``FaultHouse`` is the house of the other tests with proxies before Asterisk's HTTP port, PostgreSQL
and the mail server. The tests themselves look past the proxies.
"""

from __future__ import annotations

import asyncio
import base64
import errno
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from io import RawIOBase
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
from tests import console
from tests.acceptance.house import CEDAR, CLIENTS, SETTINGS, SOUNDS, Agent, Crew, House

from vsek.demo import g711, ledger
from vsek.demo.caller import Caller
from vsek.demo.events import eventually
from vsek.demo.mailbox import Mailbox
from vsek.demo.proxy import Proxy
from vsek.demo.softphone import PhoneCall
from vsek.demo.stack import Stack, address
from vsek.domain.ids import OURS
from vsek.embedded.postgres import PrivatePostgres
from vsek.errors import ServiceError

EVENTS = b"app=vsek&"
"""In the request line of the event socket."""
COMMANDS = b"app=vsek-cmd"
SETTLED_S = 60.0
"""Generous: the machine may be busy. What matters is printed, and asserted with a margin."""


def told(what: str, **figures: float) -> None:
    """Prints measured figures (seconds); pytest shows them with -s and for failed tests."""
    shown = "  ".join(f"{name}={value:.3f}" for name, value in figures.items())
    print(f"\n  {what}: {shown}", flush=True)


class FaultHouse(House):
    """A running vsek between proxies."""

    ari: Proxy
    ami: Proxy
    database: Proxy
    mail: Proxy

    @classmethod
    async def build(
        cls,
        folder: Path,
        exits: AsyncExitStack,
        settings: dict[str, str] | None = None,
        prepare: Callable[[Path], None] = lambda _: None,
    ) -> FaultHouse:
        """Starts everything; ``exits`` ends it. ``prepare`` gets the run folder before."""
        mailbox = Mailbox(folder / "mails")
        await mailbox.start()
        exits.push_async_callback(mailbox.stop)
        home = folder / "vsek"
        home.mkdir()
        prepare(home)
        # Made first, because its password goes into the address by which vsek reaches it.
        async with PrivatePostgres(home / "postgres") as postgres:
            dsn = postgres.dsn
        where = home / "run" / "stack.json"
        ari = Proxy(lambda: address(str(json.loads(where.read_text())["ari"])))
        ami = Proxy(lambda: address(str(json.loads(where.read_text())["ami"])))
        database = Proxy(lambda: _database(where))
        mail = Proxy(("127.0.0.1", mailbox.port))
        for proxy in (ari, ami, database, mail):
            await proxy.start()
            exits.push_async_callback(proxy.stop)
        login = dsn.partition("@")[0]
        environment = {
            **SETTINGS,
            "VSEK_ARI__URL": f"http://{ari.address}",
            "VSEK_AMI__PORT": str(ami.port),
            "VSEK_DATABASE__DSN": f"{login}@{database.address}/vsek",
            **(settings or {}),
        }
        stack = await Stack.start(home, smtp=mail.address, environment=environment)
        exits.push_async_callback(stack.stop)
        for name, samples in SOUNDS.items():
            g711.write_wav(folder / f"{name.replace(' ', '-')}.wav", samples)
        (folder / "clients.yaml").write_text(CLIENTS)
        await stack.cli("client", "import", folder / "clients.yaml")
        house = cls(folder, stack, mailbox)
        house.ari, house.ami, house.database, house.mail = ari, ami, database, mail
        return house

    def heal(self) -> None:
        """No line is broken any more."""
        for proxy in (self.ari, self.ami, self.database, self.mail):
            proxy.heal()

    # -- processes ---------------------------------------------------------------------------

    async def pid(self, part: str) -> int:
        """The process id of ``serve``, ``notes``, ``asterisk`` or ``postgres`` now."""
        file = self.stack.folder / "run" / "stack.json"
        return int(json.loads(await asyncio.to_thread(file.read_text))["pids"][part])

    async def kill(self, part: str, number: int = signal.SIGKILL) -> int:
        """Sends a signal to a part; returns its process id."""
        pid = await self.pid(part)
        os.kill(pid, number)
        return pid

    async def another(self, part: str, old: int, *, timeout_s: float = SETTLED_S) -> int:
        """Waits until ``vsek up`` has started ``part`` anew."""

        async def probe() -> int | None:
            pid = await self.pid(part)
            return pid if pid not in (0, old) else None

        return await eventually(probe, f"another {part}", timeout_s=timeout_s)

    async def healthy(self, *without: str, timeout_s: float = SETTLED_S) -> float:
        """Waits until the switchboard serves and has no problem but ``without``; seconds."""
        began = time.monotonic()

        async def probe() -> bool | None:
            try:
                health = await self.stack.control("GET", "/v1/health")
            except ServiceError:
                return None
            return True if health["ok"] and set(health["problems"]) <= set(without) else None

        await eventually(probe, "a healthy switchboard", timeout_s=timeout_s)
        return time.monotonic() - began

    async def problem(self, name: str, *, timeout_s: float = SETTLED_S) -> float:
        """Waits until the switchboard tells of this problem; seconds."""
        began = time.monotonic()

        async def probe() -> bool | None:
            try:
                health = await self.stack.control("GET", "/v1/health")
            except ServiceError as error:
                return True if name in str(error) else None  # 503 tells the problems, too
            return True if name in health["problems"] else None

        await eventually(probe, f"the problem {name}", timeout_s=timeout_s)
        return time.monotonic() - began

    async def database_back(self) -> float:
        """Waits until PostgreSQL serves; seconds."""
        began = time.monotonic()

        async def probe() -> bool | None:
            try:
                connection = await asyncpg.connect(self.stack.dsn, timeout=5)
            except (OSError, TimeoutError, asyncpg.PostgresError):
                return None
            await connection.close()
            return True

        await eventually(probe, "PostgreSQL", timeout_s=SETTLED_S)
        return time.monotonic() - began

    # -- Asterisk, past the proxy --------------------------------------------------------------

    async def asterisk(self, method: str, uri: str, **query: str) -> Any:
        """A request to Asterisk; ``None`` where there is no such thing."""
        file = self.stack.folder / "run" / "stack.json"
        ready = json.loads(await asyncio.to_thread(file.read_text))
        ari = ready["settings"]["ari"]
        login = base64.b64encode(f"{ari['username']}:{ari['password']}".encode()).decode()
        headers = {"Authorization": f"Basic {login}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.request(method, f"{ready['ari']}/ari/{uri}", params=query) as reply,
        ):
            return await reply.json() if reply.status == 200 else None

    async def same_as_asterisk(self, *, timeout_s: float = SETTLED_S) -> float:
        """Waits until Asterisk holds exactly what the switchboard's calls need; seconds.

        No channel, bridge or ringing phone that belongs to no live call, and for each talk a
        bridge with two in it.
        """
        began = time.monotonic()
        last: dict[str, Any] = {}

        async def probe() -> bool | None:
            try:
                calls = await self.stack.calls()
                channels = await self.asterisk("GET", "channels")
                bridges = await self.asterisk("GET", "bridges")
            except (ServiceError, aiohttp.ClientError, OSError):
                return None
            # Whom the dialplan serves by itself is no concern of the switchboard for now.
            calls = [call for call in calls if call["stage"] not in ("fallback", "ended")]
            ids = {call["id"] for call in calls}
            legs = [c["id"] for c in channels if c["id"].startswith(OURS)]
            callers = [c for c in channels if c["dialplan"]["app_name"] == "Stasis"]
            callers = [c for c in callers if c["id"] not in legs]
            held = [b for b in bridges if b["id"].startswith(OURS)]
            talks = [call for call in calls if call["stage"] == "talking"]
            last.update(calls=calls, channels=channels, bridges=bridges)
            good = (
                all(any(call in leg for call in ids) for leg in legs)
                and len(legs) <= len(calls)
                and len(callers) == len(calls)
                and all(any(call in bridge["id"] for call in ids) for bridge in held)
                and all(
                    any(talk["id"] in b["id"] and len(b["channels"]) == 2 for b in held)
                    for talk in talks
                )
            )
            return True if good else None

        try:
            await eventually(probe, "the same state in Asterisk", timeout_s=timeout_s)
        except ServiceError as error:
            raise AssertionError(f"{error}: {last}") from None
        return time.monotonic() - began

    async def pulse(self) -> None:
        """Waits for a sign of life that the dialplan got after now: it trusts the switchboard with
        everybody who is there now, and leaves them to it for a while when the line breaks."""
        now = int(time.time())

        async def probe() -> bool | None:
            answer = await self.asterisk("GET", "asterisk/variable", variable="VSEK_ALIVE")
            return True if answer and int(answer["value"] or 0) > now else None

        await eventually(probe, "a sign of life", timeout_s=SETTLED_S)

    async def console(self, command: str) -> str:
        """What Asterisk's console says to a command."""
        return await console.ask((self.stack.folder / "asterisk").resolve() / "etc", command)

    # -- records -----------------------------------------------------------------------------

    async def accounted(
        self, *callers: Caller, timeout_s: float = SETTLED_S
    ) -> list[dict[str, Any]]:
        """The calls in the database when each has its outcome and its note has been accepted.

        Asserts that each has exactly one of both, and that there was one mail for it.
        """
        numbers = [caller.dialled.caller for caller in callers]

        async def probe() -> list[dict[str, Any]] | None:
            try:
                rows = await self.calls()
            except (OSError, asyncpg.PostgresError):
                return None
            found = [row for row in rows if row["caller_number"] in numbers]
            whole = len(found) >= len(numbers) and all(map(ledger.delivered, found))
            return found if whole else None

        what = "an outcome and a note for each"
        try:
            found = await eventually(probe, what, timeout_s=timeout_s, every_s=0.25)
        except ServiceError as error:
            rows = [r for r in await self.calls() if r["caller_number"] in numbers]
            raise AssertionError(f"{error}: {len(rows)} of {len(numbers)}: {rows}") from None
        by_number = {row["caller_number"]: row for row in found}
        assert len(found) == len(by_number) == len(numbers), found
        said = ["".join(filter(str.isdigit, mail.text)) for mail in self.mailbox.mails]
        for row in found:
            assert [step["kind"] for step in row["steps"]].count("ended") == 1, row
            assert len(row["notes"]) == 1, row
            digits = row["caller_number"].lstrip("+")
            assert sum(digits in text for text in said) == 1, row
        return [by_number[number] for number in numbers]

    @contextmanager
    def asleep(self, *pids: int) -> Iterator[None]:
        """The processes stand still (SIGSTOP) for the time of the context."""
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGCONT)
                except ProcessLookupError:
                    continue


def _database(stack_file: Path) -> tuple[str, int]:
    return address(str(json.loads(stack_file.read_text())["postgres"]).rpartition("/")[0])


def small_disk(exits: AsyncExitStack, place: Path, size: str) -> Path:
    """Mounts a file system of ``size`` (``"1m"``) in the memory at ``place``; only root may."""
    place.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", str(place)]
    subprocess.run(mount, check=True)
    # Whoever still has a file there does not keep the test from ending.
    exits.callback(subprocess.run, ["umount", "--lazy", str(place)], check=False)
    return place


def _fits(file: RawIOBase, piece: bytes) -> bool:
    try:
        return bool(file.write(piece))
    except OSError as error:
        if error.errno == errno.ENOSPC:
            return False
        raise


@contextmanager
def full(place: Path) -> Iterator[None]:
    """The disk at ``place`` has no byte left for the time of the context."""
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file:
        for piece in (bytes(65536), bytes(512), b"0"):
            while _fits(file, piece):
                pass
    try:
        yield
    finally:
        filler.unlink()


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for known in found:
        found += children.get(known, [])
    return found


def memory_mb(pid: int) -> float:
    """What a process holds in memory now."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"no memory of {pid}")


async def serve_one(
    house: House, crew: Crew, agent: Agent, *, number: str = CEDAR, timeout_s: float = 20.0
) -> tuple[Caller, PhoneCall, float]:
    """A call that ``agent`` answers; also the seconds from dialling to the phone's ringing."""
    began = time.monotonic()
    caller = await crew.dial(number)
    ringing = await crew.ring(agent, caller, timeout_s=timeout_s)
    took_s = ringing.rang_at - began
    await ringing.answer()
    await caller.wait_answered(timeout_s=timeout_s)
    await house.wait_live(caller, "talking", timeout_s=timeout_s)
    return caller, ringing, took_s


async def ready_now(house: House, *agents: Agent) -> None:
    """Ends wrap-up: the agents are ready for the next call."""
    for agent in agents:
        await house.stack.control("POST", f"/v1/agents/{agent.id}/ready")
        await house.wait_state(agent.id, "ready", timeout_s=SETTLED_S)
