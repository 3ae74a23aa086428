"""What the bench adds to Asterisk's configuration, and the two competitors that live in it.

Callers of all three come over the same trunk. What they dial tells who serves them: a client's
number is vsek's, ``q0007`` the queue of that name, ``d0007`` agent number 7 by bare ``Dial()``.

``Queue()`` gets the configuration that serves it best:

- ``rrmemory``: one agent after the other. (``leastrecent`` would be closer to what vsek does, but
  asks an agent who never answers again and again before all others.)
- ``ringinuse = no``, ``autofill = yes``, ``shared_lastcall = yes``;
- ``retry = 1``, the shortest that it takes (0 counts as 5 s), no wrap-up, no announcements;
- callers hear ringing instead of music (option ``r``), as vsek's do under the policy ``ring``;
- no queue log, no CDR, no CEL (they are off in this Asterisk anyway).

Every agent is a member of every queue, as with vsek each agent may take each client's calls, as
long as that makes ``MEMBERSHIPS`` at most; beyond, each queue gets as many agents as that allows,
and each agent equally many queues. Asterisk 22 loads 100,000 memberships in a minute or two and a
million in more than an hour (the time grows with the square), so nobody could run it otherwise. It
is an advantage for ``Queue()``: it looks at fewer agents.

While somebody else is measured the module is not loaded at all, as it looks at each member of each
queue whenever an agent's telephone changes its state.
"""

from __future__ import annotations

import asyncio
import base64
import shutil
import time
from pathlib import Path
from typing import Any, Final

import aiohttp

from vsek.demo.events import eventually
from vsek.embedded.asterisk import PrivateAsterisk
from vsek.embedded.servant import unprivileged
from vsek.errors import ServiceError

QUEUE_MODULE: Final = "app_queue.so"
EXTRA: Final = {
    "modules": "load = app_dial.so\n",
    "extensions": """\
; In a context of their own: what from-trunk does when a caller has gone (h) is vsek's affair.
[from-trunk](+)
exten => _[qd]XXXX,1,Goto(bench,${EXTEN},1)

[bench]
exten => _qXXXX,1,Queue(${EXTEN},r,,,3600)
 same => n,Hangup()
exten => _dXXXX,1,Dial(PJSIP/a${EXTEN:1},60)
 same => n,Hangup()
""",
}
"""For ``vsek-local`` of the private Asterisk."""
MEMBERSHIPS: Final = 40_000
"""Agents in queues, all together."""
_QUEUES: Final = """\
[general]
persistentmembers = no
shared_lastcall = yes
autofill = yes
log_membername_as_agent = no

[all](!)
strategy = rrmemory
ringinuse = no
autofill = yes
timeout = {ring_s}
timeoutrestart = yes
retry = 1
wrapuptime = 0
weight = 0
autopause = no
joinempty = yes
leavewhenempty = no
announce-frequency = 0
announce-holdtime = no
announce-position = no
reportholdtime = no
setinterfacevar = no
setqueueentryvar = no
setqueuevar = no
"""
_LOAD_S: Final = 300.0
_LEFTOVERS_S: Final = 45.0
_FRESH_S: Final = 2.0
"""The dialplan gives vsek three seconds."""


def agent_name(number: int) -> str:
    """Id of the agent with this number, from 0."""
    return f"a{number:04}"


def queue_name(number: int) -> str:
    """Name of the queue with this number, from 0."""
    return f"q{number:04}"


def queues_conf(queues: int, agents: int, ring_s: int) -> str:
    """``queues.conf``: so many queues with these agents, each rung for ``ring_s`` seconds."""
    size = min(agents, max(1, MEMBERSHIPS // queues))
    text = _QUEUES.format(ring_s=ring_s)
    for queue in range(queues):
        text += f"\n[{queue_name(queue)}](all)\n"
        members = (agent_name((queue * size + n) % agents) for n in range(size))
        text += "".join(f"member => PJSIP/{name}\n" for name in members)
    return text


class Pbx:
    """The private Asterisk, steered from outside over ARI's HTTP."""

    def __init__(self, server: PrivateAsterisk) -> None:
        self.server = server
        self._loaded = ""
        """The queues that are there, as their configuration."""
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Ends our connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _request(self, method: str, path: str, *, patience_s: float = 20.0) -> Any:
        if self._session is None:
            who = f"{self.server.ari_username}:{self.server.ari_password}"
            login = "Basic " + base64.b64encode(who.encode()).decode()
            self._session = aiohttp.ClientSession(headers={"Authorization": login})
        timeout = aiohttp.ClientTimeout(total=patience_s)
        url = f"{self.server.ari_url}/ari/{path}"
        try:
            async with self._session.request(method, url, timeout=timeout) as reply:
                if reply.status >= 400:
                    raise ServiceError(f"{method} {path}: {reply.status} {await reply.text()}")
                return None if reply.status == 204 else await reply.json()
        except (aiohttp.ClientError, TimeoutError) as error:
            told = str(error) or type(error).__name__
            raise ServiceError(f"Asterisk does not answer {method} {path}: {told}") from error

    async def queues(self, queues: int, agents: int, ring_s: int) -> None:
        """Have so many queues, and no others; 0: app_queue is not even loaded."""
        wanted = queues_conf(queues, agents, ring_s) if queues else ""
        if wanted == self._loaded:
            return
        if self._loaded:
            await self._request("DELETE", _module(), patience_s=_LOAD_S)
            self._loaded = ""
        if wanted:
            await asyncio.to_thread(self._write, wanted)
            await self._request("POST", _module(), patience_s=_LOAD_S)
            self._loaded = wanted

    def _write(self, text: str) -> None:
        file = Path(self.server.home) / "etc" / "queues.conf"
        file.write_text(text)
        unprivileged().own(file)

    async def clean(self) -> None:
        """Waits until the last run has left nothing: no channel, nobody in a bridge.

        Raises ``ServiceError`` with what is left otherwise.
        """
        left: list[str] = []

        async def probe() -> bool | None:
            channels = await self._request("GET", "channels")
            bridges = [b for b in await self._request("GET", "bridges") if b["channels"]]
            left[:] = [c["name"] for c in channels] + [b["id"] for b in bridges]
            return None if left else True

        try:
            await eventually(probe, "a clean PBX", timeout_s=_LEFTOVERS_S, every_s=0.1)
        except ServiceError as error:
            few = ", ".join(left[:5])
            raise ServiceError(f"{error.message}: {len(left)} left, such as {few}") from error

    async def alive(self) -> None:
        """Waits until the dialplan hands calls to vsek: it has given a sign of life."""

        async def probe() -> bool | None:
            found = await self._request("GET", "asterisk/variable?variable=VSEK_ALIVE")
            age_s = time.time() - float(found["value"] or 0)
            return True if age_s < _FRESH_S else None

        await eventually(probe, "vsek's sign of life", timeout_s=_LEFTOVERS_S, every_s=0.1)

    async def version(self) -> str:
        """Asterisk's version."""
        info = await self._request("GET", "asterisk/info")
        return str(info["system"]["version"])


def _module() -> str:
    return f"asterisk/modules/{QUEUE_MODULE}"


def require_modules(server: PrivateAsterisk) -> None:
    """Raises ``ServiceError`` where this Asterisk has no ``Queue()`` to compare with."""
    text = (server.home / "etc" / "asterisk.conf").read_text()
    folder = next(
        line.partition("=>")[2].strip() for line in text.splitlines() if "astmoddir" in line
    )
    if not (Path(folder) / QUEUE_MODULE).is_file():
        raise ServiceError(
            f"{QUEUE_MODULE} is not in {folder}",
            remedy="Install Debian's asterisk-modules, or let vsek fetch its own Asterisk",
        )


def remove(folder: Path) -> None:
    """Removes a run folder and what lies elsewhere for it."""
    for name in ("asterisk", "postgres", "sounds"):
        link = folder / name
        if link.is_symlink():
            shutil.rmtree(link.resolve().parent, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
