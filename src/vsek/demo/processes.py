"""Child programs with a folder and a log of their own, which never outlive us."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from vsek.errors import ServiceError

_PR_SET_PDEATHSIG = 1
_KEPT = ("VSEK_CACHE", "VSEK_DEBIAN_MIRROR")
"""What concerns the machine, not one installation of vsek."""
_LIBC = ctypes.CDLL(None, use_errno=True)


def _die_with_parent() -> None:
    """In the child before exec: get SIGKILL when the parent is gone."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Program:
    """A running program. Ends by ``stop``, or together with this process."""

    def __init__(
        self,
        name: str,
        process: asyncio.subprocess.Process,
        log: Path,
        environment: Mapping[str, str],
    ) -> None:
        self.name = name
        self.process = process
        self.log = log
        self.environment = environment
        """With which it was started."""

    @classmethod
    async def start(
        cls,
        name: str,
        argv: Sequence[str | Path],
        *,
        folder: Path,
        log: Path,
        environment: Mapping[str, str] | None = None,
        output: int | None = None,
    ) -> Program:
        """Starts ``argv`` in ``folder``; stderr goes to ``log``, and stdout unless it is a pipe.

        It gets our environment without the settings of whoever runs us (``VSEK_…``), and
        ``environment``. Raises ``ServiceError`` when it cannot be started.
        """
        whole = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("VSEK_") or name in _KEPT
        } | dict(environment or {})
        with log.open("ab") as sink:
            try:
                process = await asyncio.create_subprocess_exec(
                    *map(str, argv),
                    cwd=folder,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=sink if output is None else output,
                    stderr=sink,
                    env=whole,
                    preexec_fn=_die_with_parent,
                )
            except OSError as error:
                raise ServiceError(f"{name}: {argv[0]} does not start: {error}") from error
        return cls(name, process, log, whole)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        """``None`` while it runs."""
        return self.process.returncode

    def send_signal(self, number: int) -> None:
        """Sends a signal; nothing happens when it has ended already."""
        if self.process.returncode is None:
            self.process.send_signal(number)

    async def wait(self) -> int:
        """Its exit code, when it has ended."""
        return await self.process.wait()

    async def stop(self, *, number: int = signal.SIGTERM, grace_s: float = 5.0) -> int:
        """Ends it: ``number`` first, SIGKILL after ``grace_s`` seconds. Returns the exit code."""
        self.send_signal(number)
        try:
            async with asyncio.timeout(grace_s):
                return await self.process.wait()
        except TimeoutError:
            self.send_signal(signal.SIGKILL)
            return await self.process.wait()

    def log_tail(self, lines: int = 15) -> str:
        """The end of its log, for messages."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])
