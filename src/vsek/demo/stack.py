"""A vsek of one's own: ``vsek up`` in a folder, and the ways in which one works with it.

Only public ways: the command line, the control API, the note service, the addresses in the JSON
line that ``vsek up`` prints.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from vsek.demo.processes import Program
from vsek.errors import ServiceError
from vsek.notify.client import NotesClient

_START_S = 90.0
_VSEK = (sys.executable, "-m", "vsek.cli.main")


@dataclass(frozen=True)
class Ran:
    """What a command of the CLI did."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Its stdout as JSON."""
        return json.loads(self.out)


class Stack:
    """A running ``vsek up``; ends with ``async with``, or with ``stop``."""

    def __init__(self, folder: Path, program: Program) -> None:
        self.folder = folder
        self.program = program
        self.ready: dict[str, Any] = {}
        """The JSON line of ``vsek up``."""
        self._pump: asyncio.Task[None] | None = None
        self._session: aiohttp.ClientSession | None = None
        self._notes: NotesClient | None = None

    @classmethod
    async def start(
        cls,
        folder: Path,
        *,
        smtp: str,
        environment: Mapping[str, str] | None = None,
        arguments: tuple[str, ...] = (),
    ) -> Stack:
        """Starts it in ``folder`` and waits until callers can call.

        ``environment``: settings (``VSEK_CALLS__WRAP_UP_S``…), also for its commands. Raises
        ``ServiceError`` with the end of the log when it does not come up.
        """
        stack = cls(folder, await cls._launch(folder, smtp, environment, arguments))
        try:
            await stack._wait_ready()
        except BaseException:
            await stack.stop()
            raise
        return stack

    @staticmethod
    async def _launch(
        folder: Path, smtp: str, environment: Mapping[str, str] | None, arguments: tuple[str, ...]
    ) -> Program:
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        return await Program.start(
            "vsek up",
            [*_VSEK, "up", "--dir", folder, "--smtp", smtp, *arguments],
            folder=folder,
            log=folder / "up.log",
            environment=environment,
            output=asyncio.subprocess.PIPE,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def _wait_ready(self) -> None:
        out = self.program.process.stdout
        assert out is not None
        try:
            async with asyncio.timeout(_START_S):
                line = await out.readline()
        except TimeoutError:
            raise ServiceError(
                f"vsek up was not ready after {_START_S:g} s", remedy=f"See {self.folder / 'log'}"
            ) from None
        if not line:
            code = await self.program.wait()
            raise ServiceError(f"vsek up ended with {code}:\n{self.program.log_tail()}")
        self.ready = json.loads(line)
        self._pump = asyncio.create_task(self._drain(out), name="vsek-up-output")

    async def _drain(self, out: asyncio.StreamReader) -> None:
        with self.program.log.open("ab") as log:
            while line := await out.readline():
                log.write(line)

    @property
    def sip(self) -> tuple[str, int]:
        """Host and port where calls arrive and softphones register."""
        return address(str(self.ready["sip"]))

    @property
    def dsn(self) -> str:
        """The database, as ``postgresql://``."""
        return str(self.ready["postgres"])

    async def cli(self, *arguments: str | Path, check: bool = True) -> Ran:
        """Runs a ``vsek`` command on this folder.

        Raises ``ServiceError`` with its messages when it fails, unless ``check`` is off.
        """
        process = await asyncio.create_subprocess_exec(
            *_VSEK,
            *map(str, arguments),
            "--dir",
            str(self.folder),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(self.program.environment),
        )
        out, err = await process.communicate()
        ran = Ran(process.returncode or 0, out.decode(), err.decode())
        if check and ran.code != 0:
            words = " ".join(map(str, arguments))
            raise ServiceError(f"vsek {words} ended with {ran.code}: {ran.err.strip()}")
        return ran

    async def control(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """A request to the switchboard's control API; raises ``ServiceError`` from 400 on."""
        if self._session is None:
            socket = str(self.ready.get("control") or self.folder / "run" / "control.sock")
            self._session = aiohttp.ClientSession(
                "http://switchboard",
                connector=aiohttp.UnixConnector(socket),
                timeout=aiohttp.ClientTimeout(total=10.0),
            )
        try:
            async with self._session.request(method, path, json=body) as response:
                answer = dict(await response.json())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ServiceError(f"{method} {path}: {str(error) or type(error).__name__}") from error
        if response.status >= 400:
            raise ServiceError(f"{method} {path}: {response.status} {answer}")
        return answer

    @property
    def notes(self) -> NotesClient:
        """The note service."""
        if self._notes is None:
            stack = json.loads((self.folder / "run" / "stack.json").read_text())
            settings = stack["settings"]["notes"]
            self._notes = NotesClient(settings["url"], settings["token"])
        return self._notes

    async def calls(self) -> list[dict[str, Any]]:
        """Live calls."""
        return list((await self.control("GET", "/v1/calls"))["calls"])

    async def agents(self) -> dict[str, dict[str, Any]]:
        """Agents with their live state, by id."""
        return {a["id"]: a for a in (await self.control("GET", "/v1/agents"))["agents"]}

    async def stop(self, *, number: int = signal.SIGTERM) -> int:
        """Ends everything in order (SIGTERM) and returns the exit code."""
        for connections in (self._session, self._notes):
            if connections is not None:
                await connections.close()
        self._session = self._notes = None
        code = await self.program.stop(number=number, grace_s=30.0)
        if self._pump is not None:
            await self._pump
            self._pump = None
        return code


def address(text: str) -> tuple[str, int]:
    """Host and port in a text such as ``127.0.0.1:5060`` or ``sip:127.0.0.1:5060``."""
    match = re.search(r"([\w.-]+):(\d+)/?\Z", text)
    if match is None:
        raise ServiceError(f"{text!r} names no host and port")
    return match[1], int(match[2])
