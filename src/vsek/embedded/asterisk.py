"""A private Asterisk on loopback, with the same configuration that a PBX administrator gets.

Usage::

    async with PrivateAsterisk(folder) as server:     # folder: e.g. DIR/asterisk
        server.ari_url, server.ari_password           # ARI user `vsek`; also ami_port, ami_secret
        server.sip_port                               # UDP on 127.0.0.1, callers and agents
        server.sounds                                 # a folder that it can read
        server.settings()                             # for vsek.settings.Settings(**…)

    server = PrivateAsterisk(folder, sip_port=5060, extra={"extensions": "[mine]\nexten => …"})
    await server.start(); …; await server.stop()      # ready when ARI answers

Theory of operation. ``asterisk-conf/`` is copied to ``etc`` as it is. What is different here stands
in ``etc/vsek-local/``, which those files include: ports, generated secrets, the transport on
loopback, and the trunk ``loopback``, which takes unauthenticated calls from 127.0.0.0/8 as the
public network. Agents are told apart by their name and must prove it
(``endpoint_identifier_order``). ``extra`` adds text to those local files (for tests). All folders
of Asterisk lie in the run folder, so agents' accounts and registrations (``lib/astdb.sqlite3``)
survive a restart. Ports that are not given are chosen at the first start, and kept.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import shutil
import signal
import socket
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from vsek.embedded import packages, resources
from vsek.embedded.ports import free_port, require_free
from vsek.embedded.servant import (
    Servant,
    command_as,
    home_for,
    unprivileged,
    until_ready,
)
from vsek.errors import ServiceError

_PATIENCE_S = 60.0
_PROBE_PAUSE_S = 0.05
_PROBE_TIMEOUT_S = 2.0
_QUIET_FILES = {
    "cdr": "[general]\nenable = no\n",
    "cel": "[general]\nenable = no\n",
    "ccss": "[general]\n",
    "acl": "",
    "udptl": "[general]\n",
    "pjproject": "",
    "websocket_client": "",
    "cli_aliases": "[general]\n",
    "indications": "[general]\ncountry = de\n\n"
    "[de]\ndescription = Germany\nringcadence = 1000,4000\n"
    "dial = 425\nbusy = 425/480,0/480\nring = 425/1000,0/4000\ncongestion = 425/240,0/240\n"
    "callwaiting = !425/200,!0/200,!425/200,!0/5000,!425/200,!0/200,!425/200,!0/5000,0\n"
    "dialrecall = !425/80,!0/80,!425/80,!0/80,!425/80,!0/80,425\n"
    "record = 1400/80,0/15000\ninfo = 950/330,0/200,1400/330,0/200,1800/330,0/1000\n"
    "stutter = 425+400\n",
}
"""Files that a PBX has anyway; Asterisk reports an error for each that is missing."""


class PrivateAsterisk:
    """An Asterisk of our own; see the module's text.

    ``sounds`` is where audio for it is put; by default ``sounds`` beside ``folder``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        sip_port: int | None = None,
        http_port: int | None = None,
        ami_port: int | None = None,
        sounds: Path | None = None,
        log: Path | None = None,
        extra: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = folder.absolute()
        self._sounds_link = (sounds or self._folder.with_name("sounds")).absolute()
        self._wanted_ports = (sip_port, http_port, ami_port)
        self._extra = dict(extra or {})
        self._account = unprivileged()
        self._servant = Servant("Asterisk", log or self._folder.with_name("asterisk.log"))
        self.sip_port = 0
        self.http_port = 0
        self.ami_port = 0
        self.ari_username = "vsek"
        self.ari_password = ""
        self.ami_username = "vsek"
        self.ami_secret = ""
        self.sounds = self._sounds_link
        self.home = self._folder

    @property
    def ari_url(self) -> str:
        """Root of its HTTP server, without ``/ari``."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def music_conf(self) -> Path:
        """The file of music classes that vsek writes and Asterisk includes."""
        return self.sounds / "musiconhold.conf"

    @property
    def pid(self) -> int:
        """Process id; 0 while it does not run."""
        return self._servant.pid

    @property
    def log_folder(self) -> Path:
        """Asterisk's own logs: ``messages`` and ``security``."""
        return self.home / "log"

    @property
    def ledger(self) -> Path:
        """Where the dialplan writes its call ledger."""
        return self.home / "ledger"

    def settings(self) -> dict[str, Any]:
        """The part of vsek's settings that leads to this server."""
        return {
            "ari": {
                "url": self.ari_url,
                "username": self.ari_username,
                "password": self.ari_password,
            },
            "ami": {
                "host": "127.0.0.1",
                "port": self.ami_port,
                "username": self.ami_username,
                "secret": self.ami_secret,
            },
            "sounds": {
                "folder": str(self.sounds),
                "asterisk_folder": str(self.sounds),
                "music_conf": str(self.music_conf),
            },
            "asterisk": {"agent_transport": "agents", "ledger_folder": str(self.ledger)},
        }

    async def start(self) -> None:
        """Writes the configuration, starts Asterisk and returns when ARI answers."""
        prefix = await asyncio.to_thread(packages.ensure, ["servers"])
        self.home = await asyncio.to_thread(home_for, self._folder, self._account)
        self.sounds = await asyncio.to_thread(home_for, self._sounds_link, self._account)
        sip, http, ami = self._wanted_ports
        if sip:
            # Asterisk would start without its SIP port, and calls would go to whoever has it.
            require_free(sip, socket.SOCK_DGRAM, "sip-port")
        tries = 3
        for left in reversed(range(tries)):
            self.sip_port = sip or self.sip_port or free_port()
            self.http_port = http or self.http_port or free_port()
            self.ami_port = ami or self.ami_port or free_port()
            await asyncio.to_thread(self._render, prefix)
            try:
                await self._start_server(prefix)
            except ServiceError:
                # A chosen port may have been taken in between: that shows as a port we cannot use.
                await self.stop()
                if not left or all(self._wanted_ports) or not self._port_taken():
                    raise
                self.sip_port = self.http_port = self.ami_port = 0
            else:
                break

    def _port_taken(self) -> bool:
        told = self._servant.last_lines(60)
        return "Address already in use" in told or "in use" in told

    async def _start_server(self, prefix: packages.Prefix) -> None:
        command = command_as(
            self._account,
            prefix.tool("asterisk"),
            ["-f", "-C", self.home / "etc" / "asterisk.conf"],
            host_name="localhost",
        )
        await self._servant.start(command)
        await until_ready(
            self._servant, asyncio.ensure_future(self._answers()), patience_s=_PATIENCE_S
        )

    async def _answers(self) -> None:
        timeout = aiohttp.ClientTimeout(total=_PROBE_TIMEOUT_S)
        login = base64.b64encode(f"{self.ari_username}:{self.ari_password}".encode()).decode()
        headers = {"Authorization": f"Basic {login}"}
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
            while True:
                try:
                    async with session.get(f"{self.ari_url}/ari/asterisk/ping") as reply:
                        if reply.status == 200:
                            return
                        if reply.status in (401, 403):
                            raise ServiceError(
                                f"Another server than ours answers at {self.ari_url}"
                                f" ({reply.status})"
                            )
                except (aiohttp.ClientError, TimeoutError):
                    pass  # not up yet; the caller limits how long we ask
                await asyncio.sleep(_PROBE_PAUSE_S)

    # ---- configuration ---------------------------------------------------------------------------

    def _render(self, prefix: packages.Prefix) -> None:
        etc, run = self.home / "etc", self.home / "run"
        source = resources.folder("asterisk-conf")
        self._load_secrets()
        shutil.rmtree(etc, ignore_errors=True)
        shutil.copytree(source, etc, ignore=shutil.ignore_patterns("*.example", "README*"))
        for name in ("lib/keys", "spool/recording/vsek", "log", "run", "ledger"):
            (self.home / name).mkdir(parents=True, exist_ok=True)
        for name, text in _QUIET_FILES.items():
            (etc / f"{name}.conf").write_text(text)
        local = etc / "vsek-local"
        local.mkdir(exist_ok=True)
        directories = {
            "astetcdir": etc,
            "astmoddir": prefix.libraries / "asterisk" / "modules",
            "astvarlibdir": self.home / "lib",
            "astdbdir": self.home / "lib",
            "astkeydir": self.home / "lib",
            "astdatadir": prefix.root / "usr/share/asterisk",
            "astagidir": self.home / "lib",
            "astspooldir": self.home / "spool",
            "astrundir": run,
            "astlogdir": self.home / "log",
        }
        lines = "".join(f"{name} => {path}\n" for name, path in directories.items())
        main = etc / "asterisk.conf"
        main.write_text(f"[directories]\n{lines}\n{main.read_text()}")
        if not self.music_conf.exists():
            self.music_conf.write_text("; written by vsek\n")
        for name, text in self._local_files(etc, prefix).items():
            (local / f"{name}.conf").write_text(text + self._extra.get(name, ""))
        for name in self._extra.keys() - self._local_files(etc, prefix).keys():
            (local / f"{name}.conf").write_text(self._extra[name])
        # Asterisk owns what it writes, and nobody else reads the secrets in etc; sounds are ours,
        # and it only reads them.
        self.home.chmod(0o755)
        etc.chmod(0o700)
        # Callers' numbers, and what they said.
        self.ledger.chmod(0o700)
        (self.home / "spool/recording").chmod(0o700)
        self._account.own(self.home)
        self.sounds.chmod(0o755)
        self.music_conf.chmod(0o644)

    def _load_secrets(self) -> None:
        file = self.home / "secrets.json"
        if file.exists():
            kept = json.loads(file.read_text())
        else:
            kept = {"ari": secrets.token_urlsafe(24), "ami": secrets.token_urlsafe(24)}
            file.touch(mode=0o600)
            file.write_text(json.dumps(kept))
        self.ari_password, self.ami_secret = kept["ari"], kept["ami"]

    def _local_files(self, etc: Path, prefix: packages.Prefix) -> dict[str, str]:
        moh = prefix.root / "usr/share/asterisk/moh"
        return {
            "http": f"bindport = {self.http_port}\n",
            "ari": f"password = {self.ari_password}\n",
            "manager-general": f"port = {self.ami_port}\n",
            "manager": f"secret = {self.ami_secret}\n",
            "musiconhold": f"[default](+)\ndirectory = {moh}\n\n#tryinclude {self.music_conf}\n",
            "extensions": (
                f"[globals](+)\nVSEK_SOUNDS = {etc / 'vsek-sounds'}\n"
                f"VSEK_LEDGER = {self.ledger}\n"
                f"VSEK_LANGUAGES = {self.sounds / 'languages.conf'}\n\n"
            ),
            "pjsip": (
                "; This machine only. Calls from loopback without authentication are the public\n"
                "; network.\n"
                f"[agents](+)\nbind = 127.0.0.1:{self.sip_port}\n\n"
                "[loopback](vsek-trunk-by-ip)\n\n"
                "[loopback](vsek-trunk-match)\nmatch = 127.0.0.0/8\nendpoint = loopback\n\n"
            ),
        }

    async def stop(self) -> None:
        """Ends it; calls that are up are hung up."""
        await self._servant.stop(signal.SIGTERM, patience_s=10.0)

    async def wait(self) -> int:
        """Waits until Asterisk has ended."""
        return await self._servant.wait()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        await self.stop()
