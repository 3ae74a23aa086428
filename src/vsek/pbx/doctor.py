"""``vsek doctor``: what keeps calls from working, where, and what to do about it.

Every check is independent and says which file of ``asterisk-conf`` it is about. Only three things
are done to a running system: a probe account is pushed and deleted again (the one way to know that
accounts can be), a channel that goes nowhere has Asterisk look for a file of ours, and the module
for music is reloaded. Nothing of that touches a call.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import aiosmtplib

from vsek.errors import ServiceError, VsekError
from vsek.pbx.ami import Ami, AmiRefusedError
from vsek.pbx.doctor_asterisk import AsteriskExamination
from vsek.pbx.findings import Finding, Report
from vsek.pbx.sounds import ToolFinder, engine
from vsek.settings import Settings

__all__ = ["Finding", "examine"]

_TIMEOUT_S = 5.0
_SLOW_NAME_S = 0.5


async def examine(
    settings: Settings,
    *,
    pending: Callable[[str], list[str]] | None = None,
    find_tool: ToolFinder | None = None,
) -> list[Finding]:
    """Examines everything that ``settings`` name, in a few seconds.

    ``pending`` tells the migrations that a database lacks, ``find_tool`` where programs for speech
    are; what is not given is not examined. Never raises for what it finds.
    """
    return await _Examination(settings, pending, find_tool).run()


class _Examination:
    def __init__(
        self,
        settings: Settings,
        pending: Callable[[str], list[str]] | None,
        find_tool: ToolFinder | None,
    ) -> None:
        self.settings = settings
        self.pending = pending
        self.find_tool = find_tool
        self.report = Report()

    async def run(self) -> list[Finding]:
        if await asyncio.to_thread(_nothing_runs, self.settings):
            # Servers that were never started have no files to be corrected.
            folder = self.settings.dir
            self.report.fail(
                "run folder",
                f"nothing is running in {folder}: run 'vsek up --dir {folder}'",
                "Or name another folder with --dir, or servers of your own in its vsek.toml",
            )
        else:
            await self._servers()
        await self._guarded(self._mail(), "setting smtp")
        await self._guarded(self._speech(), "setting sounds.speech")
        return self.report.findings

    async def _servers(self) -> None:
        asterisk = AsteriskExamination(self.settings, self.report)
        try:
            if await asterisk.reachable():
                for check in asterisk.checks():
                    await self._guarded(check(), "Asterisk")
        finally:
            await asterisk.close()
        await self._guarded(self._manager(), "manager.conf")
        await self._guarded(self._host_name(), "hosts")
        await self._guarded(self._database(), "setting database.dsn")
        await self._guarded(self._notes(), "setting notes.url")

    async def _guarded(self, check: Awaitable[None], where: str) -> None:
        """A check that is cut off half way is a finding, not the end of the examination."""
        try:
            await check
        except VsekError as error:
            self.report.fail(where, error.message, error.remedy or "Look into that server's log")

    async def _manager(self) -> None:
        async with Ami(self.settings.ami, quiet=True) as ami:
            try:
                await ami.wait_connected(_TIMEOUT_S)
            except AmiRefusedError as error:
                self.report.fail("manager.conf", error.message, error.remedy)
                return
            self.report.ok("manager.conf", "AMI accepts the login")
            try:
                steps = await ami.action("ShowDialPlan", Context="vsek-in")
            except ServiceError as error:
                self.report.fail(
                    "manager.conf",
                    f"The AMI user may not ask for the dialplan: {error.message}",
                    "Set write = reporting for it; and include asterisk-conf/extensions.conf",
                )
                return
        if any(step.get("Application") == "Stasis" for step in steps):
            self.report.ok("extensions.conf", "Calls from trunks are handed to vsek")
        else:
            self.report.fail(
                "extensions.conf",
                "Context 'vsek-in' hands no call to vsek",
                "Take it over from asterisk-conf/extensions.conf: Stasis(${VSEK_APP},in,…)",
            )

    async def _host_name(self) -> None:
        remedy = "Put the name into that machine's hosts file (127.0.1.1 NAME)"
        host = urlsplit(self.settings.ari.url).hostname or ""
        if host not in {"localhost", "::1"} and not host.startswith("127."):
            self.report.warn(
                "hosts",
                f"Asterisk is on {host}: whether it can resolve its own name is unknown here",
                "There `getent hosts $(hostname)` must answer at once",
            )
            return
        if await asyncio.to_thread(_has_own_host_name, self.settings.stack_file):
            self.report.ok("hosts", "The embedded Asterisk has a host name of its own, localhost")
            return
        name = socket.gethostname()
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                await loop.getaddrinfo(name, None)
        except (OSError, TimeoutError):
            self.report.fail(
                "hosts",
                f"The host name {name!r} does not resolve; Asterisk asks for it on every call, and"
                " calls then take seconds to set up",
                remedy,
            )
            return
        took_s = loop.time() - began
        if took_s > _SLOW_NAME_S:
            self.report.warn(
                "hosts", f"The host name {name!r} takes {took_s:.1f} s to resolve", remedy
            )
        else:
            self.report.ok("hosts", f"The host name {name!r} resolves")

    async def _database(self) -> None:
        if self.pending is None:
            return
        dsn = self.settings.database.dsn.get_secret_value()
        missing = await asyncio.to_thread(self.pending, dsn)
        if missing:
            self.report.fail(
                "setting database.dsn",
                f"Migrations have not run: {', '.join(missing)}",
                "`vsek up` runs them; otherwise `vsek migrate`",
            )
        else:
            self.report.ok(
                "setting database.dsn", "PostgreSQL is reachable and its schema up to date"
            )

    async def _mail(self) -> None:
        smtp = self.settings.smtp
        client = aiosmtplib.SMTP(
            hostname=smtp.host,
            port=smtp.port,
            timeout=min(smtp.timeout_s, _TIMEOUT_S),
            use_tls=smtp.tls == "implicit",
            start_tls=smtp.tls == "starttls",
        )
        try:
            await client.connect()
            if smtp.username:
                await client.login(smtp.username, smtp.password.get_secret_value())
            await client.quit()
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            self.report.fail(
                "setting smtp",
                f"The mail server {smtp.host}:{smtp.port} cannot be used: {error}",
                "Notes are kept and sent later; correct smtp.host, port, tls, username, password",
            )
        else:
            self.report.ok("setting smtp", f"The mail server {smtp.host}:{smtp.port} answers")

    async def _notes(self) -> None:
        url = f"{self.settings.notes.url.rstrip('/')}/v1/health"
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        try:
            async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as reply:
                status = reply.status
        except (aiohttp.ClientError, TimeoutError) as error:
            self.report.warn(
                "setting notes.url",
                f"The note service does not answer: {str(error) or type(error).__name__}",
                "Start it: `vsek notes`, or `vsek up` for everything",
            )
            return
        if status == 200:
            self.report.ok("setting notes.url", "The note service answers")
        else:
            self.report.warn(
                "setting notes.url", f"The note service answers {status}", "See its log"
            )

    async def _speech(self) -> None:
        if self.settings.sounds.speech == "none" or self.find_tool is None:
            self.report.ok("setting sounds.speech", "Greetings are made from files only")
            return
        engines = await asyncio.to_thread(engine(self.settings.sounds.speech, self.find_tool))
        for candidate in engines:
            if await candidate.ready():
                self.report.ok("setting sounds.speech", f"Greetings are spoken by {candidate.name}")
                return
        self.report.fail(
            "setting sounds.speech",
            "No speech engine is ready, so greetings cannot be made from text",
            "Install espeak-ng and sox, or give clients greetings as files",
        )


def _nothing_runs(settings: Settings) -> bool:
    """Whether the servers are those of ``vsek up`` in this run folder, and it does not run."""
    try:
        stack = json.loads(settings.stack_file.read_text())
        up = Path(f"/proc/{int(stack['pids']['up'])}/cmdline").read_bytes()
    except FileNotFoundError:
        up = b""
    except (OSError, ValueError, KeyError, TypeError):
        return False
    if not settings.stack_file.is_file() and (
        (settings.dir / "vsek.toml").is_file() or {"ari", "database"} & settings.model_fields_set
    ):
        return False
    # The number may be somebody else's by now; and processes of another container have none here.
    return b"vsek" not in up and not _listens(settings.control_socket)


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_TIMEOUT_S)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def _has_own_host_name(stack_file: Path) -> bool:
    """Whether the embedded Asterisk runs in an UTS namespace of its own."""
    try:
        pid = re.search(r'"asterisk":\s*(\d+)', stack_file.read_text())
        return pid is not None and (
            Path(f"/proc/{pid[1]}/ns/uts").readlink() != Path("/proc/self/ns/uts").readlink()
        )
    except OSError:
        return False
