"""``vsek up``: everything in one process tree, on one machine.

Theory of operation. PostgreSQL and Asterisk are started side by side, the schema is brought up to
date, their addresses and secrets are written to ``run/stack.json`` (mode 0600, read by every other
``vsek`` command of this run folder), then the switchboard and the note service are started as
children. A part that dies is started again, at once the first time, then with growing pauses
(:mod:`vsek.embedded.restart`); servers keep their ports. A service that hangs is killed, and so
dies. When both services are ready, the ready line is given out.

SIGHUP renews both services, with the code that is installed by then. The new switchboard is started
beside the old one and stands by: loaded and connected, it waits for the journal. Then the old one
is told to end, and callers notice nothing. Asterisk and PostgreSQL are left alone.

The end goes the other way round: switchboard, note service, Asterisk, PostgreSQL, so that whatever
a part still writes finds its reader. Every part has a parent-death signal, so nothing survives when
this process is killed. A lock in the run folder keeps a second stack out; ports of the last run are
taken again where they are free, so that softphones stay registered.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import structlog

from vsek.embedded import packages, restart
from vsek.embedded.asterisk import PrivateAsterisk
from vsek.embedded.child import Child
from vsek.embedded.ports import free_port, is_free, require_free
from vsek.embedded.postgres import PrivatePostgres
from vsek.errors import InputError, ServiceError
from vsek.health import sdnotify
from vsek.settings import load
from vsek.store import migrate

log = structlog.get_logger(__name__)

_READY_WITHIN_S = 60.0
_PROBE_PAUSE_S = 0.05
_STAND_BY_WITHIN_S = 20.0
_WATCH_EVERY_S = 1.0
_SOCKET_PATH_LIMIT = 100
"""Bytes that the path of a unix socket may have (the kernel takes 107)."""


class _Part(Protocol):
    """A server or child that can be started, waited for and stopped."""

    @property
    def pid(self) -> int: ...
    async def start(self) -> None: ...
    async def wait(self) -> int: ...
    async def stop(self) -> None: ...


async def run_stack(
    dir: Path,  # noqa: A002 - the option's name
    *,
    sip_port: int | None = None,
    http_port: int | None = None,
    smtp: str | None = None,
    on_ready: Callable[[dict[str, Any]], None],
) -> int:
    """Runs the stack in the run folder ``dir`` until SIGTERM or SIGINT; returns the exit code.

    ``sip_port`` and ``http_port`` (the note service's) are chosen if not given. ``smtp`` is
    ``HOST:PORT``. ``on_ready`` gets the ready line once callers can call. Raises ``InputError``
    for a wrong option and ``ServiceError`` when a part cannot be started; all parts have ended
    then.
    """
    mail = _host_and_port(smtp) if smtp else None
    folder = await asyncio.to_thread(_prepare_folder, dir)
    with _sole_stack(folder):
        if http_port is not None:
            # The note service would start again and again, and nobody would know why.
            require_free(http_port, socket.SOCK_STREAM, "http-port")
        stack = _Stack(folder, sip_port, http_port, mail, on_ready)
        loop = asyncio.get_running_loop()
        handlers = {
            signal.SIGTERM: stack.stopping.set,
            signal.SIGINT: stack.stopping.set,
            signal.SIGHUP: stack.renewal.set,
        }
        for signum, handler in handlers.items():
            loop.add_signal_handler(signum, handler)
        try:
            return await stack.run()
        finally:
            for signum in handlers:
                loop.remove_signal_handler(signum)


def _prepare_folder(folder: Path) -> Path:
    folder = folder.expanduser().resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("run", "log"):
        # Secrets, the control socket, numbers of callers.
        (folder / name).mkdir(mode=0o700, exist_ok=True)
    return folder


@contextlib.contextmanager
def _sole_stack(folder: Path) -> Iterator[None]:
    with (folder / "run" / "up.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ServiceError(
                f"A stack is running in {folder} already",
                remedy="End it first, or choose another folder with --dir",
            ) from None
        yield


def _host_and_port(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise InputError(
            f"{text!r} is no mail server",
            field="smtp",
            value=text,
            remedy="Write HOST:PORT, for example 127.0.0.1:25",
        )
    return host.strip("[]"), int(port)


@dataclass
class _Stack:
    folder: Path
    sip_port: int | None
    http_port: int | None
    mail: tuple[str, int] | None
    on_ready: Callable[[dict[str, Any]], None]
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    renewal: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        log_folder = self.folder / "log"
        last = _ports_of_last_run(self.folder)
        self.postgres = PrivatePostgres(
            self.folder / "postgres",
            port=_if_free(last.get("postgres")) or 0,
            log=log_folder / "postgres.log",
        )
        self.asterisk = PrivateAsterisk(
            self.folder / "asterisk",
            sip_port=self.sip_port or _if_free(last.get("sip"), socket.SOCK_DGRAM),
            http_port=_if_free(last.get("ari")),
            ami_port=_if_free(last.get("ami")),
            sounds=self.folder / "sounds",
            log=log_folder / "asterisk.log",
        )
        self.notes_port = self.http_port or _if_free(last.get("notes")) or free_port()
        self.notes_token = secrets.token_urlsafe(24)
        self.parts: dict[str, _Part] = {}
        self.control, self._control_folder = _control_socket(self.folder)
        self._supervisor = self.control.with_name("notify.sock")
        self.serve = self._new_serve()
        self.notes = Child(
            "notes",
            self.folder,
            self._environment(),
            url=self.notes_url,
            connector=aiohttp.TCPConnector,
        )

    def _environment(self) -> dict[str, str]:
        environment = {"NOTIFY_SOCKET": str(self._supervisor)}
        if self.mail:
            environment |= {"VSEK_SMTP__HOST": self.mail[0], "VSEK_SMTP__PORT": str(self.mail[1])}
        return environment

    def _new_serve(self) -> Child:
        return Child(
            "serve",
            self.folder,
            self._environment(),
            url="http://switchboard",
            connector=lambda: aiohttp.UnixConnector(str(self.control)),
        )

    async def run(self) -> int:
        """Start, wait, stop; see :func:`run_stack`."""
        stopping = asyncio.create_task(self.stopping.wait(), name="stop")
        keepers: list[asyncio.Task[None]] = []
        starting = asyncio.create_task(self._start(keepers), name="start")
        try:
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                try:
                    starting.result()
                except BaseExceptionGroup as group:
                    raise _first(group) from None
                self.on_ready(self.ready_line())
                sdnotify.tell(sdnotify.READY)
                await asyncio.wait({stopping, *keepers}, return_when=asyncio.FIRST_COMPLETED)
                for keeper in keepers:
                    if keeper.done():
                        keeper.result()
            return 0
        finally:
            sdnotify.tell(sdnotify.STOPPING)
            for task in (starting, stopping, *keepers):
                task.cancel()
            await asyncio.gather(starting, stopping, *keepers, return_exceptions=True)
            await self._stop_all()

    async def _start(self, keepers: list[asyncio.Task[None]]) -> None:
        def say(text: str) -> None:
            log.info("packages", text=text)

        await asyncio.to_thread(packages.ensure, ["servers"], progress=say)
        self.parts |= {"postgres": self.postgres, "asterisk": self.asterisk}
        async with asyncio.TaskGroup() as group:
            group.create_task(self._start_database())
            group.create_task(self.asterisk.start())
            group.create_task(asyncio.to_thread(self._fetch_speech, say))
        self._write_stack_file()
        for name, child in (("notes", self.notes), ("serve", self.serve)):
            self.parts[name] = child
            await child.start()
        self._write_stack_file()
        keepers += [
            asyncio.create_task(self._keep(name), name=f"keep-{name}") for name in self.parts
        ]
        keepers += [
            asyncio.create_task(self._watch("serve"), name="watch-serve"),
            asyncio.create_task(self._watch("notes"), name="watch-notes"),
            asyncio.create_task(self._renew_when_told(), name="renew"),
            asyncio.create_task(_pet_supervisor(), name="watchdog"),
        ]
        try:
            async with asyncio.timeout(_READY_WITHIN_S):
                await self._until_ready()
        except TimeoutError:
            raise ServiceError(
                f"The services are not ready after {_READY_WITHIN_S:.0f} s"
                f" (serve: {self.serve.last_lines()}; notes: {self.notes.last_lines()})",
                remedy=f"See {self.folder / 'log'}",
            ) from None

    async def _start_database(self) -> None:
        await self.postgres.start()
        await asyncio.to_thread(migrate.apply, self.postgres.dsn)

    def _fetch_speech(self, say: Callable[[str], None]) -> None:
        """Greetings are made from text; without this the first one would wait for a download."""
        if load(self.folder).sounds.speech not in {"auto", "espeak-ng"}:
            return
        try:
            if not (shutil.which("espeak-ng") and shutil.which("sox")):
                packages.ensure(["speech"], progress=say)
        except ServiceError as error:
            log.warning("no_speech_engine", error=str(error))

    async def _keep(self, name: str) -> None:
        """Starts the part again whenever it dies."""
        loop = asyncio.get_running_loop()
        deaths = 0
        while True:
            since = loop.time()
            part = self.parts[name]
            code = await part.wait()
            if self.parts[name] is not part:
                continue  # another one has taken its place
            if isinstance(part, Child) and part.ending:
                deaths = 0
            else:
                deaths = restart.deaths_in_a_row(deaths, loop.time() - since)
            while True:
                pause_s = restart.pause_before(deaths) if deaths else 0.0
                if deaths:
                    log.warning("part_died", part=name, code=code, deaths=deaths, pause_s=pause_s)
                await asyncio.sleep(pause_s)
                try:
                    await part.start()
                    break
                except ServiceError as error:
                    log.error("part_does_not_start", part=name, error=str(error))
                    deaths += 1
            log.info("part_started", part=name, pid=part.pid)
            self._write_stack_file()

    async def _watch(self, name: str) -> None:
        """Kills the service whenever it hangs; ``_keep`` then starts it again."""
        loop = asyncio.get_running_loop()
        judge, pid, asked_at = restart.Hang(), 0, loop.time()
        while True:
            await asyncio.sleep(max(0.0, asked_at + _WATCH_EVERY_S - loop.time()))
            asked_at = loop.time()
            child = self.parts[name]
            assert isinstance(child, Child)
            if child.pid != pid:
                judge, pid = restart.Hang(), child.pid
            if pid and judge.hangs(await child.alive()) and child.pid == pid:
                log.critical("part_hangs", part=name, pid=pid, probes=judge.missed)
                os.kill(pid, signal.SIGKILL)
                judge = restart.Hang()  # it may take a moment to be gone

    async def _renew_when_told(self) -> None:
        while True:
            await self.renewal.wait()
            self.renewal.clear()
            try:
                await self._renew()
            except (ServiceError, TimeoutError) as error:
                log.error(
                    "not_renewed", error=str(error) or "the new process was not ready in time"
                )

    async def _renew(self) -> None:
        """Both services anew, the switchboard without a gap. Raises ``ServiceError`` when the new
        code does not start; the old one goes on then."""
        began = asyncio.get_running_loop().time()
        log.info("renewing", serve=self.serve.pid, notes=self.notes.pid)
        await asyncio.to_thread(migrate.apply, self.postgres.dsn)
        old, new = self.serve, self._new_serve()
        async with self._heard_of(new) as loaded:
            await new.start()
            ended = asyncio.create_task(new.wait(), name="new-serve")
            awaited: set[asyncio.Future[Any]] = {loaded, ended}
            await asyncio.wait(
                awaited, timeout=_STAND_BY_WITHIN_S, return_when=asyncio.FIRST_COMPLETED
            )
            stands_by = loaded.done() and not ended.done()
            ended.cancel()
            await asyncio.gather(ended, return_exceptions=True)
        if not stands_by:
            await new.stop()
            raise ServiceError(
                f"The new switchboard does not start ({new.last_lines()})",
                remedy=f"See {self.folder / 'log' / 'serve.log'}; the old one goes on",
            )
        self.parts["serve"] = self.serve = new
        handing_over = asyncio.get_running_loop().time()
        await old.stop()
        await self.notes.stop()
        async with asyncio.timeout(_READY_WITHIN_S):
            await self._until_ready()
        now = asyncio.get_running_loop().time()
        log.info(
            "renewed",
            serve=new.pid,
            notes=self.notes.pid,
            took_s=round(now - began, 2),
            hand_over_s=round(now - handing_over, 2),
        )
        self._write_stack_file()

    @contextlib.asynccontextmanager
    async def _heard_of(self, child: Child) -> AsyncIterator[asyncio.Future[None]]:
        """A future that is done when ``child`` says that it stands by, or serves already."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._supervisor.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            listener.bind(str(self._supervisor))
            listener.setblocking(False)

            def hear() -> None:
                said, sender = sdnotify.received(listener)
                loaded = {sdnotify.STANDING_BY, sdnotify.READY} & set(said)
                if loaded and sender == child.pid and not future.done():
                    future.set_result(None)

            loop.add_reader(listener, hear)
            try:
                yield future
            finally:
                loop.remove_reader(listener)
                self._supervisor.unlink(missing_ok=True)
                future.cancel()

    async def _until_ready(self) -> None:
        for child in (self.serve, self.notes):
            await child.until_ready(pause_s=_PROBE_PAUSE_S)

    @property
    def notes_url(self) -> str:
        """Root of the note service."""
        return f"http://127.0.0.1:{self.notes_port}"

    def ready_line(self) -> dict[str, Any]:
        """What is printed when callers can call."""
        return {
            "sip": f"127.0.0.1:{self.asterisk.sip_port}",
            "http": self.notes_url,
            "ari": self.asterisk.ari_url,
            "ami": f"127.0.0.1:{self.asterisk.ami_port}",
            "postgres": self.postgres.dsn,
            "notes": self.notes_url,
            "control": str(self.control),
            "dir": str(self.folder),
            "pids": {
                "up": os.getpid(),
                **{name: part.pid for name, part in self.parts.items()},
            },
        }

    def _write_stack_file(self) -> None:
        settings = {
            **self.asterisk.settings(),
            "database": {"dsn": self.postgres.dsn},
            "control": {"socket": str(self.control)},
            "notes": {"url": self.notes_url, "token": self.notes_token},
        }
        if self.mail:
            settings["smtp"] = {"host": self.mail[0], "port": self.mail[1]}
        file = self.folder / "run" / "stack.json"
        fresh = file.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        fresh.touch(mode=0o600)
        fresh.write_text(json.dumps({**self.ready_line(), "settings": settings}, indent=1))
        fresh.rename(file)

    async def _stop_all(self) -> None:
        for name in ("serve", "notes", "asterisk", "postgres"):
            if name in self.parts:
                await self.parts[name].stop()
        self.control.unlink(missing_ok=True)
        if self._control_folder:
            shutil.rmtree(self._control_folder, ignore_errors=True)


async def _pet_supervisor() -> None:
    """Tells systemd, where it asks for it, that the supervisor of the parts itself lives."""
    every_s = sdnotify.watchdog_s()
    while every_s is not None:
        sdnotify.tell(sdnotify.WATCHDOG)
        await asyncio.sleep(every_s / 3)
    await asyncio.get_running_loop().create_future()


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that ended a group of tasks: its siblings were only cancelled, or failed next."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _control_socket(folder: Path) -> tuple[Path, Path | None]:
    """Where the control socket is, and the folder made for it where the run folder's path is too
    long for a unix socket."""
    usual = folder / "run" / "control.sock"
    if len(os.fsencode(usual)) <= _SOCKET_PATH_LIMIT:
        return usual, None
    own = Path(tempfile.mkdtemp(prefix="vsek-"))
    return own / "control.sock", own


def _ports_of_last_run(folder: Path) -> dict[str, int]:
    try:
        line = json.loads((folder / "run" / "stack.json").read_text())
        found = {name: str(line[name]) for name in ("sip", "ari", "ami", "notes")}
        found["postgres"] = str(line["postgres"]).rpartition("/")[0]
        return {name: int(text.rpartition(":")[2]) for name, text in found.items()}
    except (OSError, ValueError, KeyError):
        return {}


def _if_free(port: int | None, kind: socket.SocketKind = socket.SOCK_STREAM) -> int | None:
    return port if port is not None and is_free(port, kind) else None
