"""A service of vsek as a child of ``vsek up``, and whether it still answers.

A child that dies is noticed by waiting for it; one that hangs (stopped, deadlocked, swapped out)
only by asking. ``GET /v1/live`` is answered by whatever event loop turns, so a child that misses it
again and again serves nobody and is better replaced: calls stay in Asterisk meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import aiohttp

from vsek.embedded.servant import Account, Servant, command_as

PROBE_DEADLINE_S = 1.0
_PATIENCE_S = 15.0

_OURSELVES = Account(-1, -1)


class Child:
    """``vsek NAME --dir DIR`` as a process. ``url`` is the root of its HTTP, reached by
    ``connector``."""

    def __init__(
        self,
        name: str,
        folder: Path,
        environment: Mapping[str, str],
        *,
        url: str,
        connector: Callable[[], aiohttp.BaseConnector],
    ) -> None:
        self.name = name
        self._folder = folder
        self._environment = dict(environment)
        self._url = url
        self._connector = connector
        self._servant = Servant(f"vsek {name}", folder / "log" / f"{name}.log")
        self.ending = False
        """Told to end: no accident when it does."""

    @property
    def pid(self) -> int:
        """Process id; 0 while it does not run."""
        return self._servant.pid

    async def start(self) -> None:
        """Start it; returns before it serves."""
        self.ending = False
        arguments: list[str | Path] = ["-m", "vsek.cli.main", self.name, "--dir", self._folder]
        command = command_as(_OURSELVES, Path(sys.executable), arguments)
        await self._servant.start(command, env={**os.environ, **self._environment})

    async def wait(self) -> int:
        """Wait for its end; the exit code (negative: the signal)."""
        return await self._servant.wait()

    async def stop(self) -> None:
        """End it in order, by force when it takes too long."""
        self.ending = True
        await self._servant.stop(signal.SIGTERM, patience_s=_PATIENCE_S)

    def last_lines(self) -> str:
        """The end of its log."""
        return self._servant.last_lines()

    async def alive(self) -> bool:
        """Whether its event loop turns: asks once, with a deadline."""
        async with self._session() as session:
            return await _status(session, "/v1/live") is not None

    async def until_ready(self, *, pause_s: float) -> None:
        """Ask until it serves."""
        async with self._session() as session:
            while await _status(session, "/v1/ready") != 200:  # noqa: ASYNC110 - another process
                await asyncio.sleep(pause_s)

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            self._url,
            connector=self._connector(),
            timeout=aiohttp.ClientTimeout(total=PROBE_DEADLINE_S),
        )


async def _status(session: aiohttp.ClientSession, path: str) -> int | None:
    """The status of the answer; ``None``: there was none in time."""
    try:
        # A connection of its own each time: the process may be another one by now.
        async with session.get(path, headers={"Connection": "close"}) as reply:
            await reply.read()
            return reply.status
    except (aiohttp.ClientError, TimeoutError, OSError):
        return None
