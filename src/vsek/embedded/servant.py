"""Server processes that run as an unprivileged user and end with their parent.

As root a server runs as ``nobody`` (PostgreSQL refuses root, and Asterisk has no need of it), else
as the user who started it. ``home_for`` finds a folder which that user can reach: a run folder
below ``/root`` or a private temporary folder cannot be entered by ``nobody``, so the servers' own
files then lie in ``/var/lib/vsek/NAME-HASH`` and the run folder holds a link to them. Such a home
remembers where it belongs; one whose link is gone is removed at the next start of any stack.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vsek.errors import ServiceError

_LAUNCHER = Path(__file__).with_name("launch.py")
_HOMES = Path("/var/lib/vsek")
_ORIGIN = "belongs-to"
_LOCK = "lock"


@dataclass(frozen=True)
class Account:
    """The user whom a server runs as; ``uid`` -1: the present one."""

    uid: int
    gid: int

    def own(self, path: Path) -> None:
        """Gives ``path`` and everything below it to this user."""
        if self.uid < 0:
            return
        os.chown(path, self.uid, self.gid, follow_symlinks=False)
        if path.is_dir() and not path.is_symlink():
            for folder, folders, files in os.walk(path):
                for name in (*folders, *files):
                    os.chown(Path(folder, name), self.uid, self.gid, follow_symlinks=False)

    def can_enter(self, path: Path) -> bool:
        """Whether this user can pass through every existing folder down to ``path``."""
        if self.uid < 0:
            return True
        for folder in (path, *path.parents):
            with contextlib.suppress(FileNotFoundError):
                info = folder.stat()
                mask = 0o100 if info.st_uid == self.uid else 0o010 if info.st_gid == self.gid else 1
                if not info.st_mode & mask:
                    return False
        return True


def unprivileged() -> Account:
    """``nobody`` for root, the present user otherwise."""
    if os.geteuid() != 0:
        return Account(-1, -1)
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise ServiceError(
            "There is no user nobody to run the servers as",
            remedy="Run vsek as an ordinary user, or add that user",
        ) from None
    return Account(nobody.pw_uid, nobody.pw_gid)


def home_for(folder: Path, account: Account) -> Path:
    """A folder for a server's files: ``folder``, or where it cannot be entered, what it links to.

    The folder exists afterwards. Its content is not touched, and its owner is the caller's matter.
    """
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.is_symlink():
        home = folder.resolve()
        home.mkdir(parents=True, exist_ok=True)
        return home
    if account.can_enter(folder.parent.resolve()):
        folder.mkdir(exist_ok=True)
        return folder.resolve()
    if folder.is_dir():
        folder.rmdir()  # only an empty one: anything in it was not put there by a server
    digest = hashlib.sha256(str(folder).encode()).hexdigest()[:12]
    home = _HOMES / f"{folder.name}-{digest}"
    _HOMES.mkdir(parents=True, exist_ok=True)
    # Until its link stands a new home looks like an orphan, which another start would remove.
    with (_HOMES / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _remove_orphans()
        shutil.rmtree(home, ignore_errors=True)
        (home / "home").mkdir(parents=True)
        (home / _ORIGIN).write_text(str(folder))
        folder.symlink_to(home / "home")
    return home / "home"


def _remove_orphans() -> None:
    for home in _HOMES.iterdir():
        try:
            origin = Path((home / _ORIGIN).read_text())
        except OSError:
            continue
        if not (origin.is_symlink() and origin.readlink() == home / "home"):
            shutil.rmtree(home, ignore_errors=True)


def command_as(
    account: Account,
    program: Path,
    arguments: Sequence[str | Path],
    *,
    death_signal: signal.Signals = signal.SIGTERM,
    host_name: str = "-",
) -> list[str]:
    """The command line that runs ``program`` as ``account`` and ends it when we die."""
    return [
        *(sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), str(int(death_signal))),
        *(str(account.uid), str(account.gid), host_name, str(program)),
        *(str(argument) for argument in arguments),
    ]


async def run_as(account: Account, program: Path, arguments: Sequence[str | Path]) -> str:
    """Runs a program to its end and returns its output; raises ``ServiceError`` if it fails."""
    process = await asyncio.create_subprocess_exec(
        *command_as(account, program, arguments),
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    text = output.decode(errors="replace")
    if process.returncode != 0:
        last = " / ".join(text.strip().splitlines()[-4:])
        raise ServiceError(f"{program.name} failed ({process.returncode}): {last}")
    return text


class Servant:
    """One server process. ``log`` takes its standard output and error."""

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self.log = log
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """Process id; 0 while it does not run."""
        return self._process.pid if self._process and self.running else 0

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.returncode is None

    async def start(self, command: Sequence[str], env: dict[str, str] | None = None) -> None:
        """Starts it in a session of its own (a ^C in the terminal reaches only the supervisor)."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as sink:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                cwd="/",
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    async def wait(self) -> int:
        """Waits for its end and returns the exit code (negative: the signal)."""
        assert self._process is not None
        return await self._process.wait()

    async def stop(self, how: signal.Signals, patience_s: float) -> None:
        """Sends ``how``, and SIGKILL when it has not ended ``patience_s`` seconds later."""
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(how)
            try:
                await asyncio.wait_for(process.wait(), patience_s)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        self._process = None

    def last_lines(self, count: int = 6) -> str:
        """The end of the log, for error messages."""
        try:
            lines = self.log.read_text(errors="replace").strip().splitlines()
        except OSError:
            return "no log"
        return " / ".join(lines[-count:])


async def until_ready(servant: Servant, ready: asyncio.Future[None], patience_s: float) -> None:
    """Waits for ``ready``; raises ``ServiceError`` if the process ends first or time runs out."""
    ended = asyncio.ensure_future(servant.wait())
    awaited: set[asyncio.Future[Any]] = {ready, ended}
    try:
        done, _ = await asyncio.wait(
            awaited, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED
        )
        if ready in done:
            ready.result()
            return
        what = "ended at once" if ended in done else f"is not ready after {patience_s:.0f} s"
        raise ServiceError(
            f"{servant.name} {what}: {servant.last_lines()}", remedy=f"See {servant.log}"
        )
    finally:
        for task in (ready, ended):
            task.cancel()
        await asyncio.gather(ready, ended, return_exceptions=True)
